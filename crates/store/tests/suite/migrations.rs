//! Migrations: from every earlier version with its rows, by two servers at once, cut short.

use auralink_store::cluster::Cluster;
use auralink_store::{AuditQuery, Span, Store, StoreError, Timestamp};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, SqlSafeStr as _, SqliteConnection,
};

use crate::people::{operator, user};

macro_rules! versions {
    ($folder:literal: $($name:literal $file:literal),+) => {
        [$(($name, include_str!(concat!("../../../../migrations/", $folder, "/", $file)))),+]
    };
}

/// The newest version.
const LATEST: i64 = 5;

/// The migrations of earlier versions, in order.
const SQLITE: [(&str, &str); 3] = versions!("sqlite":
    "first tables" "0001_first_tables.sql", "rollups and outbox" "0002_rollups_and_outbox.sql",
    "predictions" "0003_predictions.sql");
const POSTGRES: [(&str, &str); 3] = versions!("postgres":
    "first tables" "0001_first_tables.sql", "rollups" "0002_rollups.sql", "predictions" "0003_predictions.sql");

fn up_to(version: usize, all: &'static [(&'static str, &'static str)]) -> Migrator {
    let migration = |(number, (name, sql)): (i64, &(&'static str, &'static str))| {
        Migration::new(
            number,
            (*name).into(),
            MigrationType::Simple,
            (*sql).into_sql_str(),
            false,
        )
    };
    Migrator::with_migrations((1..).zip(&all[..version]).map(migration).collect())
}

/// What the first version wrote, as far as both databases had it.
const ROWS_OF_V1: &str = "
    INSERT INTO users VALUES ('one', 'ada', 0);
    INSERT INTO aic_configs VALUES ('one', 'ada', '019a0000-0000-7000-8000-000000000001', 3, TRUE, 'aggressive', NULL,
        0.5, 20, 'encodec', TRUE, TRUE, FALSE, 1, 2);
    INSERT INTO calls VALUES ('one', 'RM_1', 'kitchen', 0, NULL);
    INSERT INTO call_participants VALUES ('one', 'PA_1', 'RM_1', 'ada', 0, NULL);
    INSERT INTO aic_sessions (tenant_id, session_id, user_id, call_id, track_id, media, started_at_us)
        VALUES ('one', 'AS_1', 'ada', 'RM_1', 'TR_1', 'audio', 0);
    INSERT INTO aic_metrics (tenant_id, user_id, call_id, session_id, track_id, ts_us, media, original_bandwidth_kbps,
        compressed_bandwidth_kbps, savings_basis, inference_latency_ms, inference_latency_p99_ms, quality_score,
        quality_metric, model_used, frames, fallback_triggered, network_class)
        VALUES ('one', 'ada', 'RM_1', 'AS_1', 'TR_1', 1000000, 'audio', 120, 24, 'measured', 0.5, 1, 0.9,
        'estimated_pesq_wb', 'lean', 50, FALSE, 'good'), ('one', 'ada', 'RM_1', 'AS_1', 'TR_1', 2000000, 'audio', 120,
        24, 'measured', NULL, NULL, NULL, 'estimated_pesq_wb', 'lean', 50, TRUE, 'good');
    INSERT INTO audit_log (tenant_id, actor, actor_role, action, user_id, detail, at_us)
        VALUES ('one', 'ada', 'user', 'config.write', 'ada', '{\"before\": null}', 2),
        ('one', '(erased)', 'user', 'user.erase', '(erased)', '{\"rows\": 7, \"subject_sha256\": \"5e88\"}', 1);
";

/// And what only SQLite had.
const MORE_OF_SQLITE_V1: &str = "
    INSERT INTO aic_alerts VALUES ('one', 'AL_1', 'ada', 'AS_1', 'quality', 'info', 'old', 5, NULL, NULL);
    INSERT INTO webhook_endpoints VALUES ('one', 'WE_1', 'https://example.com', 'one', '[]', 1, 0);
    INSERT INTO webhook_deliveries (tenant_id, endpoint_id, event, payload, created_at_us, next_attempt_at_us)
        VALUES ('one', 'WE_1', 'aic.config.updated', '{\"user_id\": \"ada\"}', 2, 2);
    INSERT INTO experiments VALUES ('one', 'EX_1', 'x', '[]', 0, NULL, NULL);
    INSERT INTO experiment_exposures VALUES ('one', 'EX_1', 'ada', 'AS_1', 'a', 3);
";

async fn file(path: &std::path::Path) -> SqliteConnection {
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true);
    options.connect().await.unwrap()
}

async fn sqlite_of(version: usize, folder: &tempfile::TempDir) -> String {
    let path = folder.path().join("aura.db");
    let mut connection = file(&path).await;
    up_to(version, &SQLITE)
        .run_direct(None, &mut connection, false)
        .await
        .unwrap();
    let more = (version == 1).then_some(MORE_OF_SQLITE_V1);
    for rows in [ROWS_OF_V1].into_iter().chain(more) {
        sqlx::raw_sql(rows).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
    path.display().to_string()
}

async fn postgres_of(version: usize, cluster: &Cluster) -> String {
    let url = cluster.bare_database().await.unwrap();
    let mut owner = PgConnection::connect(&url).await.unwrap();
    up_to(version, &POSTGRES)
        .run_direct(None, &mut owner, false)
        .await
        .unwrap();
    owner.close().await.unwrap();
    superuser(&url, ROWS_OF_V1).await;
    url
}

async fn superuser(url: &str, sql: &str) {
    let url = url.replace("auralink_owner@", "postgres@");
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(&mut connection)
        .await
        .unwrap();
}

async fn check(version: i64, url: &str) {
    let pending = Store::pending(url).await.unwrap();
    assert_eq!(
        pending.iter().map(|pending| pending.version).collect::<Vec<_>>(),
        (version + 1..=LATEST).collect::<Vec<_>>()
    );
    let store = Store::open(url).await.unwrap();
    assert_eq!(Store::pending(url).await.unwrap(), []);
    let ada = user(&store, "one", "ada");
    let config = ada.config().await.unwrap().unwrap();
    assert_eq!((config.version, config.config.floor_override), (3, Some(0.5)));
    let session = ada.session(&"AS_1".into()).await.unwrap().unwrap();
    assert_eq!(
        (session.traffic.seconds, session.fallbacks, session.latency_ms),
        (2, 1, Some(0.5))
    );
    // Rows from before are in the sums, read raw and rolled up.
    let span = Span::since(Timestamp::from_micros(0));
    for _ in 0..2 {
        let summary = ada.performance_summary(&span).await.unwrap();
        assert_eq!(
            (summary.traffic.seconds, summary.traffic.original_kbit),
            (2, 240.0)
        );
        assert_eq!(summary.quality_mean, Some(0.9));
        store
            .refresh_rollups(Timestamp::from_micros(3_600_000_000))
            .await
            .unwrap();
    }
    let query = AuditQuery {
        limit: 10,
        ..AuditQuery::default()
    };
    assert_eq!(ada.audit(&query).await.unwrap().rows[0].action, "config.write");
    // Plain hashes of names, which can be guessed, are gone.
    let boss = operator(&store, "one").audit(&query).await.unwrap();
    let erased = boss.rows.iter().find(|entry| entry.action == "user.erase");
    assert_eq!(erased.unwrap().detail, serde_json::json!({ "rows": 7 }));
}

#[tokio::test]
async fn a_file_of_the_first_version_keeps_its_rows() {
    let folder = tempfile::tempdir().unwrap();
    let url = sqlite_of(1, &folder).await;
    check(1, &url).await;
    let store = Store::open(&url).await.unwrap();
    let boss = operator(&store, "one");
    let alerts = boss
        .alerts(&auralink_store::AlertQuery {
            limit: 10,
            ..Default::default()
        })
        .await
        .unwrap();
    assert_eq!(alerts.rows[0].alert_id, "AL_1");
    assert_eq!(boss.experiments(None, 10).await.unwrap().rows[0].name, "x");
    let lease = std::time::Duration::from_secs(1);
    let waiting = store
        .claim_deliveries(Timestamp::from_micros(10), lease, 10)
        .await
        .unwrap();
    assert_eq!(waiting[0].payload, r#"{"user_id": "ada"}"#);
}

#[tokio::test]
async fn a_postgres_of_the_first_version_keeps_its_rows() {
    let Some(cluster) = Cluster::shared() else { return };
    check(1, &postgres_of(1, cluster).await).await;
}

#[tokio::test]
async fn databases_of_later_versions_keep_their_rows() {
    for version in [2, 3] {
        let folder = tempfile::tempdir().unwrap();
        check(version as i64, &sqlite_of(version, &folder).await).await;
        let Some(cluster) = Cluster::shared() else {
            continue;
        };
        check(version as i64, &postgres_of(version, cluster).await).await;
    }
}

/// Something in the way of the second migration's last steps.
const OBSTACLE: &str = "CREATE TABLE aic_rollup_state (x INTEGER)";

async fn cut_short(url: &str, remove: impl AsyncFnOnce()) {
    let failed = Store::open(url).await;
    assert!(matches!(failed, Err(StoreError::Migration(_))), "{failed:?}");
    assert_eq!(
        Store::pending(url).await.unwrap().len() as i64,
        LATEST - 1,
        "it is still at the first version"
    );
    remove().await;
    check(1, url).await;
}

#[tokio::test]
async fn a_migration_that_fails_half_way_leaves_the_file_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let url = sqlite_of(1, &folder).await;
    let path = folder.path().join("aura.db");
    sqlx::raw_sql(OBSTACLE)
        .execute(&mut file(&path).await)
        .await
        .unwrap();
    let columns = "SELECT count(*) FROM pragma_table_info('aic_sessions') WHERE name = 'dirty_from_us'";
    cut_short(&url, async || {
        let mut connection = file(&path).await;
        let count: i64 = sqlx::query_scalar(columns)
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!(count, 0, "half of the migration is there");
        sqlx::raw_sql("DROP TABLE aic_rollup_state")
            .execute(&mut connection)
            .await
            .unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_migration_that_fails_half_way_leaves_postgres_as_it_was() {
    let Some(cluster) = Cluster::shared() else { return };
    let url = postgres_of(1, cluster).await;
    superuser(&url, OBSTACLE).await;
    cut_short(&url, async || {
        superuser(&url, "DROP TABLE aic_rollup_state").await
    })
    .await;
}

async fn at_once(url: &str) {
    let (a, b, c) = tokio::join!(Store::open(url), Store::open(url), Store::open(url));
    for store in [a, b, c] {
        store.unwrap().ping().await.unwrap();
    }
}

#[tokio::test]
async fn servers_that_start_at_once_do_not_migrate_twice() {
    let folder = tempfile::tempdir().unwrap();
    at_once(&folder.path().join("aura.db").display().to_string()).await;
    if let Some(cluster) = Cluster::shared() {
        at_once(&cluster.bare_database().await.unwrap()).await;
    }
}

#[tokio::test]
async fn a_database_that_is_newer_than_the_program_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let url = folder.path().join("aura.db").display().to_string();
    Store::open(&url).await.unwrap().close().await;
    let newer = "INSERT INTO _sqlx_migrations VALUES (99, 'later', 0, TRUE, x'00', 0)";
    sqlx::raw_sql(newer)
        .execute(&mut file(&folder.path().join("aura.db")).await)
        .await
        .unwrap();
    assert!(matches!(Store::open(&url).await, Err(StoreError::Migration(_))));
    assert!(matches!(
        Store::pending(&url).await,
        Err(StoreError::Migration(_))
    ));
    if let Some(cluster) = Cluster::shared() {
        let url = cluster.fresh_database().await.unwrap();
        superuser(&url, &newer.replace(", 0, TRUE, x'00'", ", now(), TRUE, '\\x00'")).await;
        assert!(matches!(Store::open(&url).await, Err(StoreError::Migration(_))));
        assert!(matches!(
            Store::pending(&url).await,
            Err(StoreError::Migration(_))
        ));
    }
}

#[tokio::test]
async fn what_is_no_database_is_an_error_not_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("aura.db");
    std::fs::write(&path, "a poem, and not a short one".repeat(100)).unwrap();
    assert!(Store::open(path.to_str().unwrap()).await.is_err());
    assert!(Store::open("/nowhere/at/all/aura.db").await.is_err());
    for url in [
        "postgres://127.0.0.1:1/none",
        "postgres://%2Fnowhere/none",
        "postgres://[",
        "postgresql://x:y:z",
    ] {
        assert!(Store::open(url).await.is_err(), "{url}");
    }
    let none = folder.path().join("none.db");
    assert_eq!(
        Store::pending(none.to_str().unwrap()).await.unwrap().len() as i64,
        LATEST
    );
    assert!(!none.exists(), "looking makes no file");
}
