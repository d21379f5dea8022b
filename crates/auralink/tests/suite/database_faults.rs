//! The database stalls, dies, is full or is locked while people talk: media never waits for it, the last good
//! configuration goes on, and once it is back it has every second.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use auralink_store::cluster::{Cluster, Durability};
use reqwest::StatusCode;
use serde_json::json;
use sqlx::{Connection as _, PgConnection, SqliteConnection};
use time::OffsetDateTime;

use crate::call::{BINARY, Call, Process, at, coded, configure, http_client, rows, serve, until};

/// How long the database is away.
const AWAY: Duration = Duration::from_secs(6);
/// Rows come once a second; a missing one leaves two.
const ROWS_APART: Duration = Duration::from_millis(1900);

/// A call is coded, the fault comes and goes; nothing is missing from the call nor from the record of it.
async fn survives<Broken>(
    server: &Process,
    break_it: impl AsyncFnOnce() -> Broken,
    mend: impl AsyncFnOnce(Broken),
) {
    let http = &server.address;
    let call = Call::coded(http).await;

    let broken = OffsetDateTime::now_utc();
    let what = break_it().await;
    tokio::join!(refused(http), tokio::time::sleep(AWAY));
    mend(what).await;
    let mended = OffsetDateTime::now_utc();

    let caught_up = |rows: &[serde_json::Value]| {
        rows.last()
            .is_some_and(|row| at(row) > mended + Duration::from_secs(3))
    };
    until("the database has caught up", http, caught_up).await;
    call.end().await;

    let rows = rows(http).await;
    for pair in rows.windows(2) {
        let apart = at(&pair[1]) - at(&pair[0]);
        assert!(apart < ROWS_APART, "a second is missing after {}", pair[0]["ts"]);
    }
    let (meanwhile, uncoded): (Vec<_>, Vec<_>) = rows
        .iter()
        .filter(|row| (broken..mended).contains(&at(row)))
        .partition(|row| coded(row));
    assert!(
        meanwhile.len() >= 5 && uncoded.len() <= 1,
        "{meanwhile:?}, {uncoded:?}"
    );
    let figures = http_client()
        .get(format!("http://{http}/metrics"))
        .send()
        .await
        .unwrap();
    let figures = figures.text().await.unwrap();
    assert!(
        figures.contains("auralink_store_rows_total{result=\"dropped\"} 0"),
        "{figures}"
    );
    let after = configure(http, "ada", json!({ "mode": "conservative" })).await;
    assert_eq!(after.status(), StatusCode::OK);
}

/// What a change of the configuration is answered while the database is away.
async fn refused(http: &str) {
    let answer = configure(http, "ada", json!({ "mode": "aggressive" })).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_dies_and_comes_back_costs_a_running_call_nothing() {
    let cluster = match Cluster::start(Durability::Full) {
        Ok(cluster) => cluster,
        Err(error) => return eprintln!("SKIPPED on PostgreSQL, which could not be started: {error}"),
    };
    let server = Process::serve(&cluster.fresh_database().await.unwrap());
    let die = async || {
        cluster.kill().unwrap();
    };
    survives(&server, die, async |()| {
        cluster.restart().unwrap();
        cluster.answers().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_stalls_for_six_seconds_costs_a_running_call_nothing() {
    let Some(cluster) = Cluster::shared() else { return };
    let url = cluster.fresh_database().await.unwrap();
    let server = Process::serve(&url);
    let name = url.rsplit('/').next().unwrap();
    let mut other = PgConnection::connect(&cluster.url("postgres", name))
        .await
        .unwrap();
    let lock = async || {
        sqlx::raw_sql("BEGIN; LOCK TABLE aic_sessions, aic_metrics, aic_configs IN ACCESS EXCLUSIVE MODE")
            .execute(&mut other)
            .await
            .unwrap();
        other
    };
    survives(&server, lock, async |mut other| {
        sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_another_program_has_locked_costs_a_running_call_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = format!("sqlite://{}", folder.path().join("aura.db").display());
    let server = Process::serve(&file);
    let lock = async || {
        let mut other = SqliteConnection::connect(&file).await.unwrap();
        sqlx::raw_sql("BEGIN IMMEDIATE")
            .execute(&mut other)
            .await
            .unwrap();
        other
    };
    survives(&server, lock, async |mut other| {
        sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    })
    .await;
}

/// A server whose database is on a disk of its own, of 8 MB; and that disk as seen from here.
fn on_small_disk(folder: &Path) -> Option<(Process, PathBuf)> {
    let try_it = ["-rm", "mount", "-t", "tmpfs", "tmpfs"];
    let mounts = Command::new("unshare").args(try_it).arg(folder).status();
    if !mounts.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: this machine lets nobody mount a disk of their own");
        return None;
    }
    let database = format!("sqlite://{}", folder.join("aura.db").display());
    let mut command = Command::new("unshare");
    command
        .args(["-rm", "sh", "-c"])
        .arg(r#"mount -t tmpfs -o size=8m tmpfs "$0" && exec "$@""#)
        .arg(folder)
        .arg(BINARY)
        .args(serve(&database));
    let server = Process::run(&mut command, "http");
    let within = folder.strip_prefix("/").unwrap();
    let disk = Path::new("/proc")
        .join(server.id().to_string())
        .join("root")
        .join(within);
    Some((server, disk))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_costs_a_running_call_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Some((server, disk)) = on_small_disk(folder.path()) else {
        return;
    };
    let filler = disk.join("filler");
    let fill = async || {
        let mut file = File::create(&filler).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        // What the database had already taken of the disk has to be used up as well.
        let http = &server.address;
        for turn in 0.. {
            let mode = ["adaptive", "conservative"][turn % 2];
            let answer = configure(http, "ada", json!({ "mode": mode })).await;
            match answer.status() {
                StatusCode::OK => assert!(turn < 20_000, "never full"),
                StatusCode::SERVICE_UNAVAILABLE => return,
                StatusCode::TOO_MANY_REQUESTS => tokio::time::sleep(Duration::from_millis(100)).await,
                other => panic!("{other}"),
            }
        }
    };
    survives(&server, fill, async |()| fs::remove_file(&filler).unwrap()).await;
}
