use std::time::Duration;

use auralink_types::{
    Media, MetricRow, NetworkClass, QualityMetric, Reason, SavingsBasis, SessionId, UserKey,
};
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use super::*;
use crate::{Actor, MetricQuery, Timestamp};

fn row(user: &str, session: &str, ts_us: i64) -> MetricRow {
    MetricRow {
        owner: UserKey::new("devkey", user),
        call_id: "RM_1".into(),
        session_id: session.into(),
        track_id: "TR_1".into(),
        ts_us,
        media: Media::Audio,
        original_bandwidth_kbps: 120.0,
        compressed_bandwidth_kbps: 24.0,
        savings_basis: SavingsBasis::Measured,
        inference_latency_ms: Some(0.4),
        inference_latency_p99_ms: Some(0.9),
        quality_score: Some(0.9),
        quality_metric: QualityMetric::EstimatedPesqWb,
        psnr_db: None,
        model_used: "lean-12k-60ms".into(),
        frames: 50,
        fallback_triggered: false,
        fallback_reason: None,
        network_class: NetworkClass::Good,
    }
}

fn ada() -> Actor {
    Actor {
        key: UserKey::new("devkey", "ada"),
        operator: false,
    }
}

fn all() -> MetricQuery {
    MetricQuery {
        limit: 1000,
        ..MetricQuery::default()
    }
}

#[tokio::test]
async fn a_flush_returns_when_every_row_is_in_the_tables_as_it_was_pushed() {
    let store = Store::open("memory").await.unwrap();
    let writer = MetricWriter::start(store.clone());
    let mut fallen = row("ada", "AS_1", 2_000_000);
    fallen.fallback_triggered = true;
    fallen.fallback_reason = Some(Reason::CoreUnreachable);
    fallen.quality_score = None;
    writer.push(row("ada", "AS_1", 1_000_000));
    writer.push(fallen.clone());
    assert!(writer.flush().await);
    let page = store.as_user(ada()).metrics(&all()).await.unwrap();
    let rows: Vec<_> = page.rows.into_iter().map(|stored| stored.row).collect();
    assert_eq!(rows, [fallen, row("ada", "AS_1", 1_000_000)]);
    assert_eq!(page.next, None);
}

#[tokio::test]
async fn the_trigger_keeps_totals_and_a_second_counts_once() {
    let store = Store::open("memory").await.unwrap();
    let writer = MetricWriter::start(store.clone());
    for second in 1..=10 {
        let mut row = row("ada", "AS_1", second * 1_000_000);
        row.fallback_triggered = second == 3;
        row.quality_score = (second > 5).then_some(0.8);
        writer.push(row.clone());
        writer.push(row);
    }
    assert!(writer.flush().await);
    let id = SessionId::from("AS_1");
    let session = store.as_user(ada()).session(&id).await.unwrap().unwrap();
    assert_eq!((session.traffic.frames, session.traffic.seconds), (500, 10));
    assert_eq!(session.traffic.original_kbit, 1200.0);
    assert_eq!(session.traffic.compressed_kbit, 240.0);
    assert_eq!(session.fallbacks, 1);
    assert!((session.quality_score.unwrap() - 0.8).abs() < 1e-12);
    assert_eq!(session.started_at, Timestamp::from_micros(0));
    assert_eq!(session.ended_at, None);

    let end = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(10);
    store.end_session(&"devkey".into(), &id, end).await.unwrap();
    let session = store.as_user(ada()).session(&id).await.unwrap().unwrap();
    assert_eq!(session.ended_at, Some(Timestamp::from_micros(10_000_000)));
}

#[tokio::test]
async fn a_broken_row_is_refused_and_counted_and_costs_no_neighbour() {
    let store = Store::open("memory").await.unwrap();
    let writer = MetricWriter::start(store.clone());
    let mut endless = row("ada", "AS_1", 1);
    endless.original_bandwidth_kbps = f64::NAN;
    let mut blurred = row("ada", "AS_1", 2);
    blurred.quality_score = Some(f64::INFINITY);
    writer.push(endless);
    writer.push(row("", "AS_1", 3));
    writer.push(blurred);
    assert!(writer.flush().await);
    assert_eq!(
        writer.stats(),
        WriterStats {
            written: 1,
            dropped: 0,
            refused: 2
        }
    );
    let page = store.as_user(ada()).metrics(&all()).await.unwrap();
    assert_eq!(page.rows[0].row.quality_score, None);
}

#[tokio::test]
async fn a_row_that_the_tables_refuse_does_not_hold_up_its_batch() {
    let store = Store::open("memory").await.unwrap();
    sqlx::query(
        "CREATE TRIGGER picky BEFORE INSERT ON aic_metrics WHEN NEW.track_id = 'bad' \
         BEGIN SELECT RAISE(ABORT, 'no'); END",
    )
    .execute(&store.write)
    .await
    .unwrap();
    let writer = MetricWriter::start(store.clone());
    let mut bad = row("ada", "AS_1", 2);
    bad.track_id = "bad".into();
    writer.push(row("ada", "AS_1", 1));
    writer.push(bad);
    writer.push(row("ada", "AS_1", 3));
    assert!(writer.flush().await);
    let stats = writer.stats();
    assert_eq!((stats.written, stats.refused), (2, 1));
    let page = store.as_user(ada()).metrics(&all()).await.unwrap();
    assert_eq!(page.rows.len(), 2);
}

#[tokio::test]
async fn rows_wait_while_another_holds_the_database_and_the_oldest_give_way() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("aura.db");
    let store = Store::open(path.to_str().unwrap()).await.unwrap();
    let options = SqliteConnectOptions::new().filename(&path);
    let mut other = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE")
        .execute(&mut other)
        .await
        .unwrap();

    let writer = MetricWriter::with_spool(store.clone(), 3);
    for second in 1..=5 {
        writer.push(row("ada", "AS_1", second * 1_000_000));
    }
    assert!(!writer.flush().await, "nobody can write yet");
    assert_eq!((writer.stats().written, writer.stats().dropped), (0, 2));

    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    assert!(writer.flush().await);
    let page = store.as_user(ada()).metrics(&all()).await.unwrap();
    let seconds: Vec<_> = page.rows.iter().map(|row| row.row.ts_us / 1_000_000).collect();
    assert_eq!(seconds, [5, 4, 3]);
}

#[tokio::test]
async fn a_full_queue_drops_without_waiting_and_counts() {
    let store = Store::open("memory").await.unwrap();
    let writer = MetricWriter::start(store);
    // The runtime has one thread, and nothing here yields to the writer's task.
    for second in 0..QUEUE_MAX + 7 {
        writer.push(row("ada", "AS_1", second as i64));
    }
    assert_eq!(writer.stats().dropped, 7);
    assert!(writer.flush().await);
    assert_eq!(writer.stats().written, QUEUE_MAX as u64);
}
