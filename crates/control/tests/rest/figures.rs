use std::time::Duration;

use auralink_control::RateLimit;
use auralink_store::Store;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};
use sqlx::ConnectOptions as _;

use crate::api::{Api, CONFIG, row};

#[tokio::test]
async fn a_metric_row_carries_every_name_and_pages_follow_each_other() {
    let api = Api::new().await;
    let ada = api.token("one", "ada");
    api.write((0..5).map(|ago| row("one", "ada", "AS_1", ago)).collect())
        .await;
    let mut uri = "/api/v1/aic/metrics?limit=2&call_id=RM_ada".to_owned();
    let mut seen = Vec::new();
    loop {
        let got = api.get(&ada, &uri).await;
        assert_eq!(got.status, StatusCode::OK, "{}", got.body);
        seen.extend(got.body["metrics"].as_array().unwrap().clone());
        let Some(next) = got.body["next_cursor"].as_str() else {
            break;
        };
        uri = format!("/api/v1/aic/metrics?limit=2&call_id=RM_ada&cursor={next}");
    }
    assert_eq!(seen.len(), 5);
    let first = seen[0].as_object().unwrap();
    for name in [
        "metric_id",
        "call_id",
        "session_id",
        "track_id",
        "user_id",
        "ts",
        "media",
        "original_bandwidth_kbps",
        "compressed_bandwidth_kbps",
        "compression_ratio",
        "bandwidth_savings_percent",
        "savings_basis",
        "inference_latency_ms",
        "inference_latency_p99_ms",
        "quality_score",
        "quality_metric",
        "psnr_db",
        "predicted_quality_score",
        "predicted_compression_ratio",
        "prediction_confidence",
        "model_used",
        "fallback_triggered",
        "fallback_reason",
        "network_class",
    ] {
        assert!(first.contains_key(name), "{name}");
    }
    assert_eq!(first["fallback_reason"], json!("late"));
    assert!((first["bandwidth_savings_percent"].as_f64().unwrap() - 80.0).abs() < 1e-9);
    let times: Vec<_> = seen
        .iter()
        .map(|row| row["ts"].as_str().unwrap().to_owned())
        .collect();
    // From the third on, before the first: two rows of five are left in between.
    let uri = format!("/api/v1/aic/metrics?from={}&to={}", times[2], times[0]);
    assert_eq!(
        api.get(&ada, &uri).await.body["metrics"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[tokio::test]
async fn a_session_and_the_savings_add_up() {
    let api = Api::new().await;
    let ada = api.token("one", "ada");
    let mut rows: Vec<_> = (0..10).map(|ago| row("one", "ada", "AS_1", ago)).collect();
    rows.push(row("one", "ada", "AS_old", 40 * 86_400));
    api.write(rows).await;
    let session = api.get(&ada, "/api/v1/aic/sessions/AS_1").await.body;
    assert_eq!(session["frames"], json!(500));
    assert_eq!(session["original_bytes"], json!(150_000));
    assert_eq!(session["compressed_bytes"], json!(30_000));
    assert_eq!(
        (&session["fallbacks"], &session["ended_at"]),
        (&json!(10), &Value::Null)
    );

    let savings = api
        .get(&ada, "/api/v1/aic/stats/bandwidth-savings?days=7")
        .await
        .body;
    assert!((savings["total_saved_mb"].as_f64().unwrap() - 0.12).abs() < 1e-9);
    assert!((savings["total_saved_gb"].as_f64().unwrap() - 0.00012).abs() < 1e-12);
    assert!((savings["avg_savings_percent"].as_f64().unwrap() - 80.0).abs() < 1e-9);
    assert!((savings["estimated_cost_savings_usd"].as_f64().unwrap() - 0.00012 * 0.09).abs() < 1e-12);
    assert_eq!(
        (&savings["total_frames"], &savings["period_days"]),
        (&json!(500), &json!(7))
    );
    let longer = api
        .get(&ada, "/api/v1/aic/stats/bandwidth-savings?days=60")
        .await
        .body;
    assert_eq!(longer["total_frames"], json!(550));
    let nothing = api
        .get(&api.token("one", "bob"), "/api/v1/aic/stats/bandwidth-savings")
        .await
        .body;
    assert_eq!(
        (&nothing["avg_savings_percent"], &nothing["period_days"]),
        (&json!(0.0), &json!(30))
    );
}

#[tokio::test]
async fn models_health_and_wrong_turns() {
    let api = Api::new().await;
    let ada = api.token("one", "ada");
    let models = api.get(&ada, "/api/v1/aic/models").await.body;
    assert_eq!(models["models"][0]["model_version"], json!("aic-speech-1"));
    let health = api
        .send(Request::get("/healthz").body(Body::empty()).unwrap())
        .await;
    assert_eq!(health.status, StatusCode::OK);
    api.get(&ada, "/api/v1/aic/nothing")
        .await
        .refused(StatusCode::NOT_FOUND, None);
    let request = Request::delete(CONFIG).body(Body::empty()).unwrap();
    api.send(request)
        .await
        .refused(StatusCode::METHOD_NOT_ALLOWED, None);

    api.state.store.close().await;
    api.get(&ada, CONFIG)
        .await
        .refused(StatusCode::SERVICE_UNAVAILABLE, None);
}
#[tokio::test]
async fn the_summary_the_series_and_the_models_agree_with_the_rows() {
    let api = Api::new().await;
    let ada = api.token("one", "ada");
    let mut rows: Vec<_> = (0..10).map(|ago| row("one", "ada", "AS_1", ago)).collect();
    rows.extend((0..5).map(|ago| auralink_types::MetricRow {
        model_used: "neural-6k-60ms".into(),
        quality_score: Some(0.72),
        fallback_triggered: false,
        fallback_reason: None,
        ..row("one", "ada", "AS_2", ago)
    }));
    api.write(rows).await;
    let summary = api.get(&ada, "/api/v1/aic/performance/summary?days=1").await.ok();
    assert_eq!(summary["sessions"], json!(2));
    assert_eq!(summary["traffic"]["seconds"], json!(15));
    assert_eq!(summary["fallbacks"], json!(10));
    assert_eq!(summary["fallbacks_by_reason"], json!({ "late": 10 }));
    let near = |value: &Value, expected: f64| {
        let value = value.as_f64().unwrap();
        assert!((value - expected).abs() < 1e-6, "{value} {expected}");
    };
    near(&summary["avg_quality_score"], (10.0 * 0.9 + 5.0 * 0.72) / 15.0);
    near(&summary["traffic"]["avg_savings_percent"], 80.0);
    near(&summary["fallback_rate"], 10.0 / 15.0);
    assert!(summary["inference_latency"]["p99_ms"].as_f64().unwrap() > 0.0);

    let series = api
        .get(&ada, "/api/v1/aic/performance/series?days=1&step=hour")
        .await
        .ok();
    let seconds = series["points"]
        .as_array()
        .unwrap()
        .iter()
        .map(|point| point["traffic"]["seconds"].as_u64().unwrap());
    assert_eq!(seconds.sum::<u64>(), 15);

    let models = api.get(&ada, "/api/v1/aic/models/performance?days=1").await.ok();
    let seconds: Vec<_> = models["models"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| (&model["model"], &model["traffic"]["seconds"]))
        .collect();
    assert!(
        seconds.contains(&(&json!("lean-12k-60ms"), &json!(10))),
        "{models}"
    );
    assert!(
        seconds.contains(&(&json!("neural-6k-60ms"), &json!(5))),
        "{models}"
    );

    let quality = api
        .get(&ada, "/api/v1/aic/stats/quality-distribution?days=1")
        .await
        .ok();
    assert_eq!(quality["measured_seconds"], json!(15));
    let bins = quality["bins"].as_array().unwrap();
    let share: f64 = bins.iter().map(|bin| bin["share"].as_f64().unwrap()).sum();
    assert!((share - 1.0).abs() < 1e-9);
    let of = |score: f64| {
        bins.iter()
            .find(|bin| bin["from"].as_f64().unwrap() <= score && score < bin["to"].as_f64().unwrap())
            .unwrap()
    };
    assert_eq!(
        (&of(0.72)["seconds"], &of(0.901)["seconds"]),
        (&json!(5), &json!(10))
    );
}

#[tokio::test]
async fn sessions_and_calls_are_listed_page_by_page() {
    let api = Api::new().await;
    let boss = api.operator("one");
    api.write(
        (0..5)
            .map(|n| row("one", &format!("user-{n}"), &format!("AS_{n}"), n))
            .collect(),
    )
    .await;
    for (path, list) in [("sessions", "sessions"), ("calls", "calls")] {
        let mut uri = format!("/api/v1/aic/{path}?limit=2");
        let mut seen = Vec::new();
        loop {
            let page = api.get(&boss, &uri).await.ok();
            seen.extend(
                page[list]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|row| row["call_id"].as_str().unwrap().to_owned()),
            );
            let Some(next) = page["next_cursor"].as_str() else {
                break;
            };
            uri = format!("/api/v1/aic/{path}?limit=2&cursor={next}");
        }
        assert_eq!(
            seen,
            ["RM_user-0", "RM_user-1", "RM_user-2", "RM_user-3", "RM_user-4"],
            "{path}: newest first"
        );
    }
}

#[tokio::test]
async fn a_server_whose_database_takes_no_change_lives_but_is_not_ready() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("aura.db");
    let store = Store::open(file.to_str().unwrap()).await.unwrap();
    let api = Api::on(store, RateLimit::default());
    let ask = async |path: &str| {
        let request = Request::get(path).body(Body::empty()).unwrap();
        api.send(request).await
    };
    for path in ["/livez", "/readyz", "/healthz"] {
        assert_eq!(ask(path).await.status, StatusCode::OK, "{path}");
    }

    // Another program holds the lock: what was read is still there, and nothing can be written.
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&file);
    let mut other = options.connect().await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE")
        .execute(&mut other)
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    for path in ["/readyz", "/healthz"] {
        ask(path).await.refused(StatusCode::SERVICE_UNAVAILABLE, None);
    }
    assert_eq!(ask("/livez").await.status, StatusCode::OK);
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(ask("/readyz").await.status, StatusCode::OK);
}
