//! The database away, stalled, busy: rows wait within bounds, and are all there afterwards.

use std::time::Duration;

use auralink_store::cluster::{Cluster, Durability};
use auralink_store::{EventWriter, MetricQuery, MetricWriter, Store, StoreError};
use auralink_types::EventKind;
use sqlx::Connection as _;

use crate::people::{enable, event, row, session, user};
use crate::support::{Db, at};

fn all() -> MetricQuery {
    MetricQuery {
        limit: 1000,
        ..MetricQuery::default()
    }
}

#[tokio::test]
async fn a_postgres_that_dies_and_comes_back_has_every_row_and_event() {
    let cluster = match Cluster::start(Durability::Full) {
        Ok(cluster) => cluster,
        Err(error) => return eprintln!("SKIPPED on PostgreSQL, which could not be started: {error}"),
    };
    let store = Store::open(&cluster.fresh_database().await.unwrap())
        .await
        .unwrap();
    let ada = user(&store, "one", "ada");
    let (rows, events) = (
        MetricWriter::start(store.clone()),
        EventWriter::start(store.clone()),
    );
    let mut second = 0;
    let mut push = |count: i64| {
        for _ in 0..count {
            rows.push(row("one", "ada", "AS_1", at(second).as_micros()));
            second += 1;
        }
    };
    push(100);
    events.push(event("one", "RM_1", 0, EventKind::CallStarted));
    assert!(rows.flush().await && events.flush().await);

    push(50);
    cluster.kill().unwrap();
    push(50);
    events.push(event(
        "one",
        "RM_1",
        1,
        EventKind::SessionStarted(session("ada", "AS_1")),
    ));
    assert!(!rows.flush().await, "there is no database");
    assert!(!events.flush().await);
    push(100);
    events.push(event(
        "one",
        "RM_1",
        2,
        EventKind::SessionEnded(session("ada", "AS_1")),
    ));
    let refused = ada.change_config(&enable()).await.unwrap_err();
    assert!(refused.is_transient(), "{refused}");

    cluster.restart().unwrap();
    cluster.answers().await.unwrap();
    while !(rows.flush().await && events.flush().await) {}
    assert_eq!((rows.stats().dropped, rows.stats().refused), (0, 0));
    assert_eq!(events.stats().written, 3);
    let page = ada.metrics(&all()).await.unwrap();
    let seconds: Vec<_> = page.rows.iter().rev().map(|row| row.row.ts_us).collect();
    let expected: Vec<_> = (0..300).map(|second| at(second).as_micros()).collect();
    assert_eq!(seconds, expected);
    let session = ada.session(&"AS_1".into()).await.unwrap().unwrap();
    assert_eq!((session.traffic.seconds, session.ended_at), (300, Some(at(2))));
    ada.change_config(&enable()).await.unwrap();
}

#[tokio::test]
async fn a_table_locked_for_five_seconds_holds_up_nobody_and_loses_nothing() {
    let Some(db) = Db::postgres().await else { return };
    let mut other = db.superuser().await;
    let mut lock = other.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE aic_sessions, aic_metrics IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *lock)
        .await
        .unwrap();
    let writer = MetricWriter::start(db.store.clone());
    for second in 0..200 {
        writer.push(row("one", "ada", "AS_1", at(second).as_micros()));
    }
    // Longer than a lock may be waited for, so that the batch fails and is tried again.
    let stall = async {
        tokio::time::sleep(Duration::from_millis(5500)).await;
        lock.commit().await.unwrap();
    };
    let (flushed, ()) = tokio::join!(writer.flush(), stall);
    assert!(flushed);
    let stats = writer.stats();
    assert_eq!((stats.written, stats.dropped, stats.refused), (200, 0, 0));
    let page = user(&db.store, "one", "ada").metrics(&all()).await.unwrap();
    assert_eq!(page.rows.len(), 200);
}

#[tokio::test]
async fn rows_wait_while_another_holds_the_file_and_the_oldest_give_way() {
    let db = Db::sqlite().await;
    let mut other = db.file().await;
    sqlx::raw_sql("BEGIN IMMEDIATE")
        .execute(&mut other)
        .await
        .unwrap();
    let writer = MetricWriter::with_spool(db.store.clone(), 3);
    for second in 1..=5 {
        writer.push(row("one", "ada", "AS_1", second * 1_000_000));
    }
    assert!(!writer.flush().await, "nobody can write yet");
    assert_eq!((writer.stats().written, writer.stats().dropped), (0, 2));
    let ada = user(&db.store, "one", "ada");
    assert!(matches!(
        ada.change_config(&enable()).await,
        Err(StoreError::Busy)
    ));

    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    assert!(writer.flush().await);
    let page = ada.metrics(&all()).await.unwrap();
    let seconds: Vec<_> = page.rows.iter().map(|row| row.row.ts_us / 1_000_000).collect();
    assert_eq!(seconds, [5, 4, 3]);
}
