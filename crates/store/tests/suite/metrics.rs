//! Metric rows: in by the writer, totals by the trigger, out in pages.

use std::time::{Duration, SystemTime};

use auralink_store::{MetricQuery, MetricWriter, QUEUE_MAX, WriterStats};
use auralink_types::{Reason, SessionId};

use crate::people::{row, user, write};
use crate::support::{Db, at, both};

both! {
    a_flush_returns_when_every_row_is_in_the_tables_as_it_was_pushed,
    the_trigger_keeps_totals_and_a_second_counts_once,
    a_broken_row_is_refused_and_counted_and_costs_no_neighbour,
    a_row_that_the_tables_refuse_does_not_hold_up_its_batch,
    a_full_queue_drops_without_waiting_and_counts,
    pages_follow_each_other_without_gap_or_repeat,
    rows_are_final,
}

fn all() -> MetricQuery {
    MetricQuery {
        limit: 1000,
        ..MetricQuery::default()
    }
}

async fn a_flush_returns_when_every_row_is_in_the_tables_as_it_was_pushed(db: Db) {
    let writer = MetricWriter::start(db.store.clone());
    let mut fallen = row("devkey", "ada", "AS_1", at(2).as_micros());
    fallen.fallback_triggered = true;
    fallen.fallback_reason = Some(Reason::CoreUnreachable);
    fallen.quality_score = None;
    fallen.psnr_db = Some(41.5);
    let plain = row("devkey", "ada", "AS_1", at(1).as_micros());
    writer.push(plain.clone());
    writer.push(fallen.clone());
    assert!(writer.flush().await);
    let page = user(&db.store, "devkey", "ada").metrics(&all()).await.unwrap();
    let rows: Vec<_> = page.rows.into_iter().map(|stored| stored.row).collect();
    assert_eq!(rows, [fallen, plain]);
    assert_eq!(page.next, None);
}

async fn the_trigger_keeps_totals_and_a_second_counts_once(db: Db) {
    let writer = MetricWriter::start(db.store.clone());
    for second in 1..=10 {
        let mut row = row("devkey", "ada", "AS_1", second * 1_000_000);
        row.fallback_triggered = second == 3;
        row.quality_score = (second > 5).then_some(0.8);
        writer.push(row.clone());
        writer.push(row);
        // In one batch and over several.
        if second % 4 == 0 {
            assert!(writer.flush().await);
        }
    }
    assert!(writer.flush().await);
    let id = SessionId::from("AS_1");
    let ada = user(&db.store, "devkey", "ada");
    let session = ada.session(&id).await.unwrap().unwrap();
    assert_eq!((session.traffic.frames, session.traffic.seconds), (500, 10));
    assert_eq!(session.traffic.original_kbit, 1200.0);
    assert_eq!(session.traffic.compressed_kbit, 240.0);
    assert_eq!(session.fallbacks, 1);
    assert!((session.quality_score.unwrap() - 0.8).abs() < 1e-12);
    assert!((session.latency_ms.unwrap() - 0.4).abs() < 1e-12);
    assert_eq!(session.started_at.as_micros(), 0);
    assert_eq!(session.last_metric_at.unwrap().as_micros(), 10_000_000);
    assert_eq!(session.ended_at, None);

    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(10);
    db.store.end_session(&"devkey".into(), &id, end).await.unwrap();
    let session = ada.session(&id).await.unwrap().unwrap();
    assert_eq!(session.ended_at.unwrap().as_micros(), 10_000_000);
}

async fn a_broken_row_is_refused_and_counted_and_costs_no_neighbour(db: Db) {
    let writer = MetricWriter::start(db.store.clone());
    let mut endless = row("devkey", "ada", "AS_1", 1);
    endless.original_bandwidth_kbps = f64::NAN;
    let mut blurred = row("devkey", "ada", "AS_1", 2);
    blurred.quality_score = Some(f64::INFINITY);
    writer.push(endless);
    writer.push(row("devkey", "", "AS_1", 3));
    writer.push(row("devkey", "a\0da", "AS_1", 4));
    writer.push(row("devkey", "ada", "AS_1", -5));
    writer.push(blurred);
    assert!(writer.flush().await);
    let expected = WriterStats {
        written: 1,
        dropped: 0,
        refused: 4,
    };
    assert_eq!(writer.stats(), expected);
    let page = user(&db.store, "devkey", "ada").metrics(&all()).await.unwrap();
    assert_eq!(page.rows[0].row.quality_score, None);
}

async fn a_row_that_the_tables_refuse_does_not_hold_up_its_batch(db: Db) {
    db.run(if db.is_postgres() {
        "ALTER TABLE aic_metrics ADD CONSTRAINT picky CHECK (track_id <> 'bad')"
    } else {
        "CREATE TRIGGER picky BEFORE INSERT ON aic_metrics WHEN NEW.track_id = 'bad' \
         BEGIN SELECT RAISE(ABORT, 'no'); END"
    })
    .await
    .unwrap();
    let writer = MetricWriter::start(db.store.clone());
    let mut bad = row("devkey", "ada", "AS_1", 2);
    bad.track_id = "bad".into();
    writer.push(row("devkey", "ada", "AS_1", 1));
    writer.push(bad);
    writer.push(row("devkey", "ada", "AS_1", 3));
    assert!(writer.flush().await);
    let stats = writer.stats();
    assert_eq!((stats.written, stats.refused), (2, 1));
    let page = user(&db.store, "devkey", "ada").metrics(&all()).await.unwrap();
    assert_eq!(page.rows.len(), 2);
}

async fn a_full_queue_drops_without_waiting_and_counts(db: Db) {
    let writer = MetricWriter::start(db.store);
    // The runtime has one thread, and nothing here yields to the writer's task.
    for second in 0..QUEUE_MAX + 7 {
        writer.push(row("devkey", "ada", "AS_1", second as i64));
    }
    assert_eq!(writer.stats().dropped, 7);
    assert!(writer.flush().await);
    assert_eq!(writer.stats().written, QUEUE_MAX as u64);
}

async fn pages_follow_each_other_without_gap_or_repeat(db: Db) {
    // Several rows share a second.
    let rows = (0..25).map(|number| row("one", "ada", &format!("AS_{number}"), number / 4));
    write(&db.store, rows).await;
    let ada = user(&db.store, "one", "ada");
    let mut query = MetricQuery {
        limit: 7,
        ..MetricQuery::default()
    };
    let mut ids = Vec::new();
    loop {
        let page = ada.metrics(&query).await.unwrap();
        ids.extend(page.rows.iter().map(|row| (row.row.ts_us, row.metric_id)));
        let Some(next) = page.next else { break };
        query.cursor = Some(next);
    }
    assert_eq!(ids.len(), 25);
    assert!(ids.windows(2).all(|pair| pair[0] > pair[1]));

    query = MetricQuery {
        from: Some(auralink_store::Timestamp::from_micros(2)),
        to: Some(auralink_store::Timestamp::from_micros(4)),
        call_id: Some("RM_1".into()),
        ..all()
    };
    assert_eq!(ada.metrics(&query).await.unwrap().rows.len(), 8);
    query.call_id = Some("RM_2".into());
    assert_eq!(ada.metrics(&query).await.unwrap().rows, []);
}

async fn rows_are_final(db: Db) {
    write(&db.store, [row("one", "ada", "AS_1", 1)]).await;
    assert!(db.run("UPDATE aic_metrics SET frames = 0").await.is_err());
}
