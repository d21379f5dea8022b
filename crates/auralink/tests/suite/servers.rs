//! Two servers on one database: what one is told the other obeys, and what one leaves open when it is killed the other
//! closes.

use std::path::Path;
use std::time::{Duration, Instant};

use auralink_store::cluster::Cluster;
use auralink_store::{Actor, NewExperiment, Store};
use auralink_types::{ConfigChange, UserKey};
use reqwest::StatusCode;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::call::{Call, Process, at, coded, configure, http_client, rows, token, until};

/// Time in which an opt-out has to hold, wherever it was said.
const PROMISE: Duration = Duration::from_secs(1);
/// Length of what a row tells about.
const ROW: Duration = Duration::from_secs(1);

/// Nothing is coded from then on.
async fn holds(http: &str, over: OffsetDateTime) {
    tokio::time::sleep(Duration::from_secs(5)).await;
    let rows = rows(http).await;
    assert!(rows.iter().any(coded), "there was something to end");
    for row in rows {
        assert!(!coded(&row) || at(&row) - ROW <= over, "coded on: {row}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leg_at_one_server_obeys_an_opt_out_at_another_within_a_second() {
    let Some(cluster) = Cluster::shared() else { return };
    let database = cluster.fresh_database().await.unwrap();
    let (there, here) = (Process::serve(&database), Process::serve(&database));
    // Switched on at its own server; the word against it is said at the other.
    let call = Call::coded(&here.address).await;
    let answer = configure(&there.address, "ada", json!({ "opt_out": true })).await;
    assert!(answer.status().is_success(), "{answer:?}");
    holds(&here.address, OffsetDateTime::now_utc() + PROMISE).await;

    // And for it again.
    let answer = configure(&there.address, "ada", json!({ "opt_out": false })).await;
    assert!(answer.status().is_success(), "{answer:?}");
    let since = OffsetDateTime::now_utc();
    let again = |rows: &[Value]| rows.iter().any(|row| coded(row) && at(row) > since);
    until("it is coded again", &here.address, again).await;
    call.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leg_at_one_server_obeys_an_experiment_and_an_erasure_of_another_within_a_second() {
    let Some(cluster) = Cluster::shared() else { return };
    let database = cluster.fresh_database().await.unwrap();
    let here = Process::serve(&database);
    let call = Call::coded(&here.address).await;
    let there = Store::open(&database).await.unwrap();
    let boss = there.as_user(Actor {
        key: UserKey::new("devkey", "boss"),
        operator: true,
    });
    let off = ConfigChange {
        enabled: Some(false),
        ..ConfigChange::default()
    };
    let experiment: NewExperiment = serde_json::from_value(json!({
        "name": "none", "unit": "user",
        "arms": [{ "name": "a", "weight": 1, "control": true, "change": off },
            { "name": "b", "weight": 1, "change": off }],
    }))
    .unwrap();
    let now = std::time::SystemTime::now().into();
    let running = boss.create_experiment(&experiment, now).await.unwrap();
    holds(&here.address, OffsetDateTime::now_utc() + PROMISE).await;

    boss.end_experiment(&running.experiment_id, now).await.unwrap();
    let since = OffsetDateTime::now_utc();
    let again = |rows: &[Value]| rows.iter().any(|row| coded(row) && at(row) > since);
    until("it is coded again", &here.address, again).await;
    let ada = boss.about("ada".into()).unwrap();
    ada.erase(std::time::SystemTime::now().into()).await.unwrap();
    tokio::time::sleep(PROMISE * 3).await;
    assert_eq!(rows(&here.address).await, Vec::<Value>::new());
    assert!(ada.config().await.unwrap().is_none());
    call.end().await;
}

/// Everything of one kind that ada sees.
async fn all(http: &str, kind: &str) -> Vec<Value> {
    let url = format!("http://{http}/api/v1/aic/{kind}?limit=100");
    let answer = http_client().get(url).bearer_auth(token("ada")).send();
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let mut page: Value = answer.json().await.unwrap();
    serde_json::from_value(page[kind].take()).unwrap()
}

fn time_of(value: &Value) -> Option<OffsetDateTime> {
    let text = value.as_str()?;
    Some(OffsetDateTime::parse(text, &Rfc3339).unwrap())
}

/// What a killed server left open has been closed: the session with its last row, the call when its server was last
/// heard of.
async fn closed(http: &str, killed: OffsetDateTime, patience: Duration) {
    let from = Instant::now();
    let calls = loop {
        let calls = all(http, "calls").await;
        if calls.iter().all(|call| !call["ended_at"].is_null()) {
            break calls;
        }
        assert!(from.elapsed() < patience, "open for ever: {calls:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    assert_eq!(calls.len(), 1);
    let last = rows(http).await.iter().map(at).max().unwrap();
    let ended = time_of(&calls[0]["ended_at"]).unwrap();
    assert!(
        (last..=killed).contains(&ended),
        "{ended} is not between {last} and {killed}"
    );
    let sessions = all(http, "sessions").await;
    assert_eq!(sessions.len(), 1);
    assert_eq!(time_of(&sessions[0]["ended_at"]), Some(last));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_server_left_open_is_closed_when_it_starts_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("aura.db");
    let database = Path::new(&file).display().to_string();
    let server = Process::serve(&database);
    let call = Call::coded(&server.address).await;
    // As `kill -9` does.
    drop(server);
    let killed = OffsetDateTime::now_utc();
    drop(call);
    let again = Process::serve(&database);
    closed(&again.address, killed, Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_server_left_open_is_closed_by_another_on_its_database() {
    let Some(cluster) = Cluster::shared() else { return };
    let database = cluster.fresh_database().await.unwrap();
    let (server, other) = (Process::serve(&database), Process::serve(&database));
    let call = Call::coded(&server.address).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let running = all(&other.address, "calls").await;
    assert!(running[0]["ended_at"].is_null(), "it lives: {running:?}");
    drop(server);
    let killed = OffsetDateTime::now_utc();
    drop(call);
    closed(&other.address, killed, Duration::from_secs(30)).await;
}
