//! Rollups: sums that are the same with them and without, at every moment, and what outlives the rows.

use auralink_store::{Housekeeping, MetricQuery, Retained, Retention, Span, Step, Timestamp};
use auralink_types::{MetricRow, Reason};

use crate::people::{operator, row, user, write};
use crate::support::{Db, at, both};

both! {
    sums_are_the_same_before_during_and_after_a_refresh,
    a_row_that_comes_late_is_counted_by_the_next_refresh,
    quality_and_latency_fall_into_their_bins,
    models_and_steps_of_time_add_up_to_the_whole,
    a_models_hour_is_kept_once_it_is_over_with_exact_percentiles,
    rows_go_after_their_time_and_sums_stay,
    a_session_that_fell_silent_is_closed,
    housekeeping_refreshes_at_start,
}

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

fn span(from: i64, to: i64) -> Span {
    Span {
        from: at(from),
        to: at(to),
    }
}

/// One row a quarter of an hour over three days, each with figures of its own.
fn three_days() -> Vec<MetricRow> {
    let row_at = |number: i64| {
        let (name, session) = if number % 3 == 0 {
            ("ada", "AS_1")
        } else {
            ("bob", "AS_2")
        };
        let mut row = row("one", name, session, at(number * 900).as_micros());
        row.original_bandwidth_kbps = 100.0 + number as f64;
        row.compressed_bandwidth_kbps = 20.0;
        row.frames = number.unsigned_abs();
        row.model_used = format!("model-{}", number % 2);
        row.fallback_triggered = number % 7 == 0;
        row.fallback_reason = row.fallback_triggered.then_some(Reason::Quality);
        row.quality_score = (number % 5 != 0).then_some(number as f64 / 288.0);
        row
    };
    (0..288).map(row_at).collect()
}

fn expected(rows: &[MetricRow], from: i64, to: i64) -> (u64, u64, f64, u64) {
    let within = rows
        .iter()
        .filter(|row| (at(from).as_micros()..at(to).as_micros()).contains(&row.ts_us));
    within.fold((0, 0, 0.0, 0), |sum, row| {
        (
            sum.0 + 1,
            sum.1 + row.frames,
            sum.2 + row.original_bandwidth_kbps,
            sum.3 + u64::from(row.fallback_triggered),
        )
    })
}

async fn check(db: &Db, rows: &[MetricRow], when: &str) {
    let bobs: Vec<_> = rows
        .iter()
        .filter(|row| row.owner.user.as_str() == "bob")
        .cloned()
        .collect();
    // Whole hours, as answers have them: within a day, over days, from the first to the last.
    for (from, to) in [
        (0, 3 * DAY),
        (5 * HOUR, 7 * HOUR),
        (20 * HOUR, 60 * HOUR),
        (HOUR, 71 * HOUR),
        (80 * HOUR, 90 * HOUR),
    ] {
        for (scope, rows) in [
            (operator(&db.store, "one"), rows),
            (user(&db.store, "one", "bob"), &bobs),
        ] {
            let summary = scope.performance_summary(&span(from, to)).await.unwrap();
            let found = (
                summary.traffic.seconds,
                summary.traffic.frames,
                summary.traffic.original_kbit,
                summary.fallbacks,
            );
            assert_eq!(found, expected(rows, from, to), "{when}, {from} to {to}");
        }
    }
    for stranger in [operator(&db.store, "two"), user(&db.store, "one", "eve")] {
        let summary = stranger.performance_summary(&span(0, 3 * DAY)).await.unwrap();
        assert_eq!((summary.traffic.seconds, summary.sessions), (0, 0), "{when}");
    }
}

async fn sums_are_the_same_before_during_and_after_a_refresh(db: Db) {
    let rows = three_days();
    let (first, second) = rows.split_at(150);
    write(&db.store, first.to_vec()).await;
    check(&db, first, "before any refresh").await;
    db.store.refresh_rollups(at(30 * HOUR)).await.unwrap();
    check(&db, first, "refreshed up to the middle").await;
    db.store.refresh_rollups(at(DAY)).await.unwrap();
    check(&db, first, "refreshed by a clock that was set back").await;
    write(&db.store, second.to_vec()).await;
    check(&db, &rows, "with rows since").await;
    db.store.refresh_rollups(at(4 * DAY)).await.unwrap();
    check(&db, &rows, "refreshed to the end").await;
    db.store.refresh_rollups(at(4 * DAY)).await.unwrap();
    check(&db, &rows, "refreshed again").await;
    assert_eq!(
        db.number(
            "SELECT count(*) FROM aic_sessions WHERE dirty_from_us IS NOT NULL OR rolling_from_us IS NOT NULL"
        )
        .await,
        0
    );
    let scope = operator(&db.store, "one");
    let reasons = scope.fallbacks_by_reason(&span(0, 3 * DAY)).await.unwrap();
    assert_eq!(reasons, [(Reason::Quality, 42)]);
}

async fn a_row_that_comes_late_is_counted_by_the_next_refresh(db: Db) {
    let rows = three_days();
    write(&db.store, rows.clone()).await;
    db.store.refresh_rollups(at(4 * DAY)).await.unwrap();
    let late = row("one", "ada", "AS_1", at(5 * HOUR + 1).as_micros());
    write(&db.store, [late.clone()]).await;
    db.store.refresh_rollups(at(4 * DAY + 1)).await.unwrap();
    let with = [rows, vec![late]].concat();
    check(&db, &with, "with the late one").await;
}

async fn quality_and_latency_fall_into_their_bins(db: Db) {
    let scores = [0.0, 0.49, 0.5, 0.84, 0.85, 0.85, 0.95, 1.0];
    let rows = scores.iter().enumerate().map(|(second, score)| {
        let mut row = row("one", "ada", "AS_1", at(second as i64).as_micros());
        row.quality_score = Some(*score);
        row.inference_latency_ms = Some(0.75);
        row.inference_latency_p99_ms = Some(if second == 0 { 1000.0 } else { 1.5 });
        row
    });
    write(&db.store, rows).await;
    let mut unmeasured = row("one", "ada", "AS_1", at(20).as_micros());
    unmeasured.quality_score = None;
    unmeasured.inference_latency_ms = None;
    unmeasured.inference_latency_p99_ms = None;
    write(&db.store, [unmeasured]).await;
    let ada = user(&db.store, "one", "ada");
    for when in ["raw", "rolled up"] {
        let found = ada.quality_distribution(&span(0, HOUR)).await.unwrap();
        let counts: Vec<_> = found.bins.iter().map(|bin| bin.seconds).collect();
        assert_eq!(counts, [2, 1, 0, 0, 0, 1, 2, 0, 2], "{when}");
        assert_eq!((found.bins[0].from, found.bins[8].to), (0.0, 1.0));
        assert_eq!(found.measured_seconds, 8);
        assert!((found.mean.unwrap() - scores.iter().sum::<f64>() / 8.0).abs() < 1e-9);
        let latency = ada.performance_summary(&span(0, HOUR)).await.unwrap().latency;
        assert!((latency.latency_mean_ms.unwrap() - 0.75).abs() < 1e-9);
        assert_eq!(latency.latency_p50_ms, Some(0.75), "{when}");
        // One second in eight took a second; the last bin has no end.
        assert_eq!(latency.latency_p99_ms, Some(200.0), "{when}");
        db.store.refresh_rollups(at(HOUR)).await.unwrap();
    }
    let none = ada.quality_distribution(&span(DAY, 2 * DAY)).await.unwrap();
    assert_eq!((none.measured_seconds, none.mean, none.bins.len()), (0, None, 9));
}

async fn models_and_steps_of_time_add_up_to_the_whole(db: Db) {
    let rows = three_days();
    write(&db.store, rows.clone()).await;
    db.store.refresh_rollups(at(2 * DAY)).await.unwrap();
    let boss = operator(&db.store, "one");
    let whole = span(0, 3 * DAY);
    let (seconds, frames, original, fallbacks) = expected(&rows, 0, 3 * DAY);

    let models = boss.model_performance(&whole).await.unwrap();
    let names: Vec<_> = models.iter().map(|model| model.model.as_str()).collect();
    assert_eq!(names, ["model-0", "model-1"]);
    assert_eq!(
        models.iter().map(|model| model.traffic.frames).sum::<u64>(),
        frames
    );
    assert_eq!(models.iter().map(|model| model.fallbacks).sum::<u64>(), fallbacks);

    for (step, length) in [(Step::Hour, 3600), (Step::Day, 86_400)] {
        let points = boss.performance_series(&whole, step).await.unwrap();
        assert!(
            points
                .iter()
                .all(|point| point.at.as_micros() % (length * 1_000_000) == 0)
        );
        assert!(points.windows(2).all(|pair| pair[0].at < pair[1].at));
        assert_eq!(
            points.iter().map(|point| point.traffic.seconds).sum::<u64>(),
            seconds
        );
        assert_eq!(
            points
                .iter()
                .map(|point| point.traffic.original_kbit)
                .sum::<f64>(),
            original
        );
    }
}

async fn a_models_hour_is_kept_once_it_is_over_with_exact_percentiles(db: Db) {
    let rows = (0..100).map(|second| {
        let mut row = row("one", "ada", "AS_1", at(second * 36).as_micros());
        row.inference_latency_ms = Some(second as f64 + 1.0);
        row.inference_latency_p99_ms = Some(2.0 * (second as f64 + 1.0));
        row
    });
    write(&db.store, rows).await;
    let boss = operator(&db.store, "one");
    db.store.refresh_rollups(at(HOUR - 1)).await.unwrap();
    assert_eq!(boss.model_history(&span(0, DAY)).await.unwrap(), []);
    db.store.refresh_rollups(at(HOUR + 60)).await.unwrap();
    db.store.refresh_rollups(at(3 * HOUR)).await.unwrap();
    let windows = boss.model_history(&span(0, DAY)).await.unwrap();
    let [window] = &windows[..] else {
        panic!("{windows:?}")
    };
    assert_eq!((window.from, window.seconds, window.frames), (at(0), 3600, 5000));
    let percentiles = (
        window.latency_p50_ms,
        window.latency_p95_ms,
        window.latency_p99_ms,
    );
    assert_eq!(percentiles, (Some(50.0), Some(190.0), Some(198.0)));
    assert_eq!(window.saved_kbit, 9600.0);
    assert!(
        user(&db.store, "one", "ada")
            .model_history(&span(0, DAY))
            .await
            .is_err()
    );
}

async fn rows_go_after_their_time_and_sums_stay(db: Db) {
    let rows = three_days();
    write(&db.store, rows.clone()).await;
    db.store.refresh_rollups(at(4 * DAY)).await.unwrap();
    let retention = Retention {
        metrics_days: 2,
        ..Retention::default()
    };
    let done = db.store.retain(&retention, at(4 * DAY)).await.unwrap();
    assert!(done.rows + done.partitions > 0);
    let boss = operator(&db.store, "one");
    let query = MetricQuery {
        limit: 1000,
        ..MetricQuery::default()
    };
    let left = boss.metrics(&query).await.unwrap().rows;
    assert_eq!(left.len() as u64, expected(&rows, 2 * DAY, 9 * DAY).0);
    check(&db, &rows, "without the rows").await;
    let session = boss.session(&"AS_1".into()).await.unwrap().unwrap();
    assert_eq!(session.traffic.seconds, 96);

    let all = Retention {
        metrics_days: 1,
        history_days: 1,
        alerts_days: 1,
        webhooks_days: 1,
        audit_days: 1,
    };
    let end = Timestamp::from_micros(at(0).as_micros() + 100 * DAY * 1_000_000);
    db.store.retain(&all, end).await.unwrap();
    for table in [
        "aic_metrics",
        "aic_sessions",
        "aic_usage_hours",
        "calls",
        "aic_model_performance",
    ] {
        assert_eq!(
            db.number(&format!("SELECT count(*) FROM {table}")).await,
            0,
            "{table}"
        );
    }
    assert_eq!(db.store.retain(&all, end).await.unwrap().rows, 0);
    let _: Retained = done;
}

async fn a_session_that_fell_silent_is_closed(db: Db) {
    write(&db.store, [row("one", "ada", "AS_1", at(0).as_micros())]).await;
    write(&db.store, [row("one", "ada", "AS_2", at(2 * HOUR).as_micros())]).await;
    db.store
        .retain(&Retention::default(), at(2 * HOUR))
        .await
        .unwrap();
    let ada = user(&db.store, "one", "ada");
    let ended = async |id: &str| ada.session(&id.into()).await.unwrap().unwrap().ended_at;
    assert_eq!(ended("AS_1").await, Some(at(0)));
    assert_eq!(ended("AS_2").await, None);
}

async fn housekeeping_refreshes_at_start(db: Db) {
    write(&db.store, three_days()).await;
    let _keeping = Housekeeping::start(
        db.store.clone(),
        Retention {
            metrics_days: 36_500,
            history_days: 36_500,
            ..Retention::default()
        },
    );
    let mut tries = 0;
    while db.number("SELECT count(*) FROM aic_usage_hours").await == 0 {
        tries += 1;
        assert!(tries < 200, "nothing was refreshed");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
