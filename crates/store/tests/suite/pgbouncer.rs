//! PostgreSQL behind PgBouncer as Debian ships it, with two sessions for everybody.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use auralink_store::cluster::{Cluster, OWNER};
use auralink_store::{MetricQuery, Retention, Store, StoreError};
use sqlx::Connection as _;

use crate::people::{enable, live, operator, row, user, write};
use crate::support::at;

/// Debian keeps it out of a user's PATH.
const PROGRAM: &str = "/usr/sbin/pgbouncer";
static STARTED: AtomicU32 = AtomicU32::new(0);
const PATIENCE: Duration = Duration::from_secs(30);

/// A running PgBouncer; gone when it is dropped.
struct Pooler {
    child: Child,
    socket: String,
}

impl Pooler {
    /// One in front of the cluster, in that mode, told to ignore such options at the start of a session; `None`, said
    /// loudly, where it isn't installed.
    fn start(cluster: &Cluster, mode: &str, ignored: &str) -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            eprintln!("SKIPPED: PgBouncer is not installed (Debian: pgbouncer)");
            return None;
        }
        // Beside the cluster's own files, with their owner: PgBouncer refuses to run as root, too.
        // Short: the path of a socket has at most 107 bytes.
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let folder = cluster.folder().join(format!("pooler{number}"));
        let owner = fs::metadata(cluster.folder()).unwrap();
        fs::create_dir(&folder).unwrap();
        let users = folder.join("users");
        fs::write(&users, format!("\"{OWNER}\" \"\"\n")).unwrap();
        let settings = folder.join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host={}\n[pgbouncer]\nlisten_addr =\nunix_socket_dir = {socket}\nauth_type = trust\n\
             auth_file = {}\npool_mode = {mode}\nignore_startup_parameters = {ignored}\ndefault_pool_size = {size}\n",
            cluster.folder().display(),
            users.display(),
            socket = folder.display(),
            // A session of one's own for each connection, where sessions are what is lent.
            size = if mode == "session" { 20 } else { 2 },
        );
        fs::write(&settings, text).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        chown(&folder, Some(owner.uid()), Some(owner.gid())).unwrap();
        let child = Command::new(PROGRAM)
            .arg(&settings)
            .uid(owner.uid())
            .gid(owner.gid())
            .current_dir("/")
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Some(Self {
            child,
            socket: folder.display().to_string().replace('/', "%2F"),
        })
    }

    /// The database of that URL as it is reached through the pooler.
    async fn before(&self, url: &str) -> String {
        let name = url.rsplit('/').next().unwrap();
        let url = format!("postgres://{OWNER}@{}:6432/{name}", self.socket);
        let begun = Instant::now();
        let options = |url: &str| {
            let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
            options.extra_float_digits(None)
        };
        while let Err(error) = sqlx::PgConnection::connect_with(&options(&url)).await {
            assert!(begun.elapsed() < PATIENCE, "PgBouncer does not answer: {error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        url
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Everything that a server does with its database, from the first migration on, several things at once.
async fn all_works(mode: &str, ignored: &str) {
    let Some(cluster) = Cluster::shared() else { return };
    let Some(pooler) = Pooler::start(cluster, mode, ignored) else {
        return;
    };
    let direct = cluster.bare_database().await.unwrap();
    let url = pooler.before(&direct).await;
    assert!(!Store::pending(&url).await.unwrap().is_empty());
    // Two servers start at once.
    let (store, other) = tokio::join!(Store::open(&url), Store::open(&url));
    let (store, other) = (store.unwrap(), other.unwrap());
    let all = MetricQuery {
        limit: 1000,
        ..MetricQuery::default()
    };
    assert_eq!(Store::pending(&url).await.unwrap(), []);

    live(&store, "one", "ada").await;
    let rounds = (0..8).map(|number| {
        let (store, other, all) = (store.clone(), other.clone(), all.clone());
        let who = format!("user-{number}");
        tokio::spawn(async move {
            for round in 0..10 {
                let ts_us = at(round).as_micros();
                write(&store, [row("one", &who, &format!("AS_{who}"), ts_us)]).await;
                let me = user(&other, "one", &who);
                me.change_config(&enable()).await.unwrap();
                let page = me.metrics(&all).await.unwrap();
                let whose: Vec<_> = page.rows.iter().map(|row| row.row.owner.user.as_str()).collect();
                assert_eq!(whose, vec![who.as_str(); round as usize + 1]);
            }
        })
    });
    for round in rounds.collect::<Vec<_>>() {
        round.await.unwrap();
    }
    store.refresh_rollups(at(60)).await.unwrap();
    store.retain(&Retention::default(), at(60)).await.unwrap();
    user(&store, "one", "user-1").erase(at(60)).await.unwrap();
    let everybody = operator(&store, "one");
    let left = everybody.metrics(&all).await.unwrap();
    assert_eq!(left.rows.len(), 7 * 10 + 5);

    // What bounds a statement holds here too: nobody waits for a lock for ever.
    let mut superuser = sqlx::PgConnection::connect(&direct.replace(OWNER, "postgres"))
        .await
        .unwrap();
    let mut lock = superuser.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE aic_configs IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *lock)
        .await
        .unwrap();
    let begun = Instant::now();
    let refused = user(&store, "one", "eve").change_config(&enable()).await;
    assert!(matches!(refused, Err(StoreError::Busy)), "{refused:?}");
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    lock.rollback().await.unwrap();
    store.close().await;
    other.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_works_behind_a_pooler_that_lends_sessions_for_a_transaction() {
    all_works("transaction", "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_works_behind_a_pooler_that_ignores_options() {
    all_works("transaction", "options,extra_float_digits").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_works_behind_a_pooler_that_lends_sessions_for_a_connection() {
    all_works("session", "").await;
}
