use std::sync::Arc;

use auralink_types::UserKey;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::api::{Api, CONFIG};

#[tokio::test]
async fn a_user_who_never_set_anything_has_the_defaults_and_no_id() {
    let api = Api::new().await;
    let got = api.get(&api.token("one", "ada"), CONFIG).await;
    assert_eq!(got.status, StatusCode::OK);
    let expected = json!({
        "config_id": null, "user_id": "ada", "enabled": false, "mode": "adaptive",
        "target_compression_ratio": 0.8, "max_latency_ms": 20, "model_type": "encodec",
        "min_quality_score": 0.85, "enable_predictive_compression": true,
        "enable_perceptual_optimization": true, "opt_out": false, "model_version": "aic-speech-1",
        "created_at": null, "updated_at": null,
    });
    assert_eq!(got.body, expected);
}

#[tokio::test]
async fn a_change_is_stored_and_reaches_the_book() {
    let api = Api::new().await;
    let ada = api.token("one", "ada");
    let change =
        json!({ "enabled": true, "mode": "aggressive", "min_quality_score": 0.5, "max_latency_ms": null });
    let posted = api.post(&ada, CONFIG, change.to_string()).await;
    assert_eq!(posted.status, StatusCode::OK, "{}", posted.body);
    assert_eq!(posted.body["target_compression_ratio"], json!(0.9));
    assert_eq!(posted.body["min_quality_score"], json!(0.5));
    assert_eq!(posted.body["config_id"].as_str().unwrap().len(), 36);
    assert!(posted.body["created_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(api.get(&ada, CONFIG).await.body, posted.body);
    let policy = api.state.book.get(&UserKey::new("one", "ada"));
    assert!(policy.active);
    assert_eq!(policy.target, 0.9);
    assert!(!api.state.book.get(&UserKey::new("two", "ada")).active);

    let again = api.post(&ada, CONFIG, r#"{"max_latency_ms":5}"#).await;
    assert_eq!(again.body["config_id"], posted.body["config_id"]);
    assert_eq!(again.body["mode"], json!("aggressive"));
}

#[tokio::test]
async fn an_opt_out_reaches_the_book_and_only_the_user_takes_it_back() {
    let api = Api::new().await;
    let (ada, boss) = (api.token("one", "ada"), api.operator("one"));
    let key = UserKey::new("one", "ada");
    let named = format!("{CONFIG}?user_id=ada");
    let enabled = api.post(&boss, &named, r#"{"enabled":true}"#).await;
    assert_eq!(
        (enabled.status, &enabled.body["user_id"]),
        (StatusCode::OK, &json!("ada"))
    );
    assert!(api.state.book.get(&key).active);

    api.post(&ada, CONFIG, r#"{"opt_out":true}"#).await;
    let policy = api.state.book.get(&key);
    assert!(policy.opt_out && !policy.active);

    let lifted = api
        .post(&boss, &named, r#"{"opt_out":false,"enabled":true}"#)
        .await;
    lifted.refused(StatusCode::FORBIDDEN, Some("opt_out"));
    assert!(api.state.book.get(&key).opt_out);
    assert_eq!(api.get(&ada, CONFIG).await.body["opt_out"], json!(true));

    api.post(&ada, CONFIG, r#"{"opt_out":false}"#).await;
    assert!(api.state.book.get(&key).active);
}

#[tokio::test]
async fn changes_at_the_same_time_leave_book_and_store_agreed() {
    let api = Arc::new(Api::new().await);
    let ada = api.token("one", "ada");
    let posts = (1..=40u32).map(|ms| {
        let (api, ada) = (Arc::clone(&api), ada.clone());
        tokio::spawn(async move {
            let body = json!({ "max_latency_ms": ms, "opt_out": ms % 2 == 0 }).to_string();
            api.post(&ada, CONFIG, body).await.status
        })
    });
    for post in posts.collect::<Vec<_>>() {
        assert_eq!(post.await.unwrap(), StatusCode::OK);
    }
    let stored = api.get(&ada, CONFIG).await.body;
    let policy = api.state.book.get(&UserKey::new("one", "ada"));
    assert_eq!(
        stored["max_latency_ms"],
        json!(policy.max_latency.as_millis() as u64)
    );
    assert_eq!(stored["opt_out"], json!(policy.opt_out));
}

#[tokio::test]
async fn a_change_made_on_something_else_than_what_is_there_is_refused() {
    let api = Api::new().await;
    let ada = api.token("one", "ada");
    let json = ("content-type", "application/json");
    let first = api.get(&ada, CONFIG).await;
    assert_eq!(first.etag(), "\"0\"", "nobody has stored anything");
    let made = api
        .ask(
            "POST",
            &ada,
            CONFIG,
            &[json, ("if-match", "\"0\"")],
            r#"{"enabled":true}"#,
        )
        .await;
    assert_eq!((made.status, made.etag()), (StatusCode::OK, "\"1\""));

    for stale in ["\"0\"", "\"2\"", "W/\"1\"", "garbage", "\"7\", \"8\""] {
        let late = api
            .ask(
                "POST",
                &ada,
                CONFIG,
                &[json, ("if-match", stale)],
                r#"{"enabled":false}"#,
            )
            .await;
        late.refused(StatusCode::PRECONDITION_FAILED, Some("If-Match"));
    }
    assert_eq!(api.get(&ada, CONFIG).await.body["enabled"], json!(true));
    for good in ["\"1\"", "\"9\", \"2\"", "*"] {
        let body = json!({ "max_latency_ms": 10 + good.len() }).to_string();
        let changed = api
            .ask("POST", &ada, CONFIG, &[json, ("if-match", good)], body)
            .await;
        assert_eq!(changed.status, StatusCode::OK, "{good}: {}", changed.text);
    }
    let current = api.get(&ada, CONFIG).await;
    let same = api
        .ask("GET", &ada, CONFIG, &[("if-none-match", current.etag())], "")
        .await;
    assert_eq!((same.status, same.text.as_str()), (StatusCode::NOT_MODIFIED, ""));
    let other = api
        .ask("GET", &ada, CONFIG, &[("if-none-match", "\"1\"")], "")
        .await;
    assert_eq!(other.status, StatusCode::OK);
}

#[tokio::test]
async fn replacing_a_configuration_needs_to_have_read_it() {
    let api = Api::new().await;
    let ada = api.token("one", "ada");
    let json = ("content-type", "application/json");
    api.post(&ada, CONFIG, r#"{"enabled":true,"max_latency_ms":7}"#)
        .await
        .ok();
    let blind = api.ask("PUT", &ada, CONFIG, &[json], r#"{"enabled":true}"#).await;
    blind.refused(StatusCode::PRECONDITION_REQUIRED, Some("If-Match"));
    let stale = api
        .ask(
            "PUT",
            &ada,
            CONFIG,
            &[json, ("if-match", "\"9\"")],
            r#"{"enabled":true}"#,
        )
        .await;
    stale.refused(StatusCode::PRECONDITION_FAILED, Some("If-Match"));
    let put = api
        .ask(
            "PUT",
            &ada,
            CONFIG,
            &[json, ("if-match", "\"1\"")],
            r#"{"mode":"aggressive"}"#,
        )
        .await
        .ok();
    assert_eq!(
        (&put["enabled"], &put["max_latency_ms"], &put["mode"]),
        (&json!(false), &json!(20), &json!("aggressive")),
        "what is left out returns to its default"
    );
    assert!(!api.state.book.get(&UserKey::new("one", "ada")).active);
}

#[tokio::test]
async fn of_two_writers_who_read_the_same_one_wins_and_the_other_is_told() {
    let api = Arc::new(Api::new().await);
    let ada = api.token("one", "ada");
    api.post(&ada, CONFIG, r#"{"enabled":true}"#).await.ok();
    for round in 0..20 {
        let etag = api.get(&ada, CONFIG).await.etag().to_owned();
        let writers = [11 + round, 101 + round].map(|ms| {
            let (api, ada, etag) = (Arc::clone(&api), ada.clone(), etag.clone());
            tokio::spawn(async move {
                let headers = [("content-type", "application/json"), ("if-match", etag.as_str())];
                let body = json!({ "max_latency_ms": ms }).to_string();
                (ms, api.ask("POST", &ada, CONFIG, &headers, body).await.status)
            })
        });
        let mut won = Vec::new();
        for writer in writers {
            match writer.await.unwrap() {
                (ms, StatusCode::OK) => won.push(ms),
                (_, status) => assert_eq!(status, StatusCode::PRECONDITION_FAILED),
            }
        }
        assert_eq!(won.len(), 1, "round {round}");
        let stored = api.get(&ada, CONFIG).await.body;
        assert_eq!(stored["max_latency_ms"], json!(won[0]));
    }
}

#[tokio::test]
async fn a_thousand_changes_leave_one_coherent_policy_and_an_audit_entry_each() {
    let api = Arc::new(Api::new().await);
    let ada = api.token("one", "ada");
    let watched = Arc::clone(&api);
    let reader = tokio::spawn(async move {
        let key = UserKey::new("one", "ada");
        let mut seen = 0;
        while seen < 200 {
            let policy = watched.state.book.get(&key);
            if policy.active {
                // Both fields come from the same change, or the snapshot is torn.
                let ms = policy.max_latency.as_millis() as f64;
                assert!((policy.target - ms / 1000.0).abs() < 1e-9, "{policy:?}");
                seen += 1;
            }
            tokio::task::yield_now().await;
        }
    });
    let posts: Vec<_> = (0..1000_u32)
        .map(|n| {
            let (api, ada) = (Arc::clone(&api), ada.clone());
            tokio::spawn(async move {
                let ms = 1 + n % 200;
                let body = json!({ "enabled": true, "max_latency_ms": ms, "target_compression_ratio": f64::from(ms) / 1000.0 });
                api.post(&ada, CONFIG, body.to_string()).await.status
            })
        })
        .collect();
    for post in posts {
        assert_eq!(post.await.unwrap(), StatusCode::OK);
    }
    reader.await.unwrap();
    let stored = api.get(&ada, CONFIG).await.body;
    let policy = api.state.book.get(&UserKey::new("one", "ada"));
    assert_eq!(
        stored["max_latency_ms"],
        json!(policy.max_latency.as_millis() as u64)
    );

    let boss = api.operator("one");
    let (mut entries, mut uri) = (0, "/api/v1/aic/audit?limit=1000".to_owned());
    loop {
        let page = api.get(&boss, &uri).await.ok();
        let rows = page["entries"].as_array().unwrap();
        entries += rows
            .iter()
            .filter(|entry| entry["action"] == "config.write")
            .count();
        let Some(next) = page["next_cursor"].as_str() else {
            break;
        };
        uri = format!("/api/v1/aic/audit?limit=1000&cursor={next}");
    }
    assert_eq!(entries, 1000);
}

#[tokio::test]
async fn a_configuration_deleted_while_it_is_in_use_leaves_its_user_without_aic() {
    let api = Arc::new(Api::new().await);
    let ada = api.token("one", "ada");
    api.post(&ada, CONFIG, r#"{"enabled":true}"#).await.ok();
    let writing = {
        let (api, ada) = (Arc::clone(&api), ada.clone());
        tokio::spawn(async move {
            for ms in 1..=40 {
                let body = json!({ "enabled": true, "max_latency_ms": ms }).to_string();
                let status = api.post(&ada, CONFIG, body).await.status;
                assert_eq!(status, StatusCode::OK);
            }
        })
    };
    for _ in 0..10 {
        api.ask("DELETE", &ada, "/api/v1/aic/users/ada", &[], "")
            .await
            .ok();
        tokio::task::yield_now().await;
    }
    writing.await.unwrap();
    api.ask("DELETE", &ada, "/api/v1/aic/users/ada", &[], "")
        .await
        .ok();
    let after = api.get(&ada, CONFIG).await.body;
    assert_eq!(
        (&after["config_id"], &after["enabled"]),
        (&Value::Null, &json!(false))
    );
    assert!(!api.state.book.get(&UserKey::new("one", "ada")).active);
}

#[tokio::test]
async fn the_same_change_again_changes_nothing() {
    let api = Api::new().await;
    let ada = api.token("one", "ada");
    let body = r#"{"enabled":true,"mode":"aggressive"}"#;
    let first = api.post(&ada, CONFIG, body).await;
    let again = api.post(&ada, CONFIG, body).await;
    assert_eq!(first.body, again.body);
    assert_eq!(first.etag(), again.etag());
}

#[tokio::test]
async fn the_dashboard_reads_and_writes_the_same_configuration() {
    let api = Api::new().await;
    let ada = api.token("one", "ada");
    let dashboard = "/api/v1/dashboard/aic/config";
    api.post(&ada, dashboard, r#"{"enabled":true,"mode":"conservative"}"#)
        .await
        .ok();
    assert_eq!(
        api.get(&ada, CONFIG).await.ok(),
        api.get(&ada, dashboard).await.ok()
    );
    for path in [
        "metrics",
        "performance/summary",
        "bandwidth-savings",
        "stats/bandwidth-savings",
        "alerts",
        "sessions",
        "calls",
    ] {
        api.get(&ada, &format!("/api/v1/dashboard/aic/{path}")).await.ok();
    }
}
