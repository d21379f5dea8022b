use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::api::{Api, CONFIG, row};

#[tokio::test]
async fn an_export_has_everything_of_one_user_and_nothing_of_others() {
    let api = Api::new().await;
    let ada = api.token("one", "ada");
    api.post(&ada, CONFIG, r#"{"enabled":true}"#).await.ok();
    api.write(vec![
        row("one", "ada", "AS_1", 1),
        row("one", "bob", "AS_2", 1),
        row("two", "ada", "AS_3", 1),
    ])
    .await;
    let got = api.get(&ada, "/api/v1/aic/users/ada/export").await;
    assert_eq!(
        (got.status, &got.headers["content-type"]),
        (StatusCode::OK, &"application/x-ndjson".parse().unwrap())
    );
    let lines: Vec<Value> = got
        .text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let tables: Vec<_> = lines.iter().map(|line| line["table"].as_str().unwrap()).collect();
    for table in ["users", "aic_configs", "aic_sessions", "aic_metrics"] {
        assert!(tables.contains(&table), "{table} in {tables:?}");
    }
    for foreign in ["bob", "AS_2", "AS_3", "RM_bob", "\"two\""] {
        assert!(!got.text.contains(foreign), "{foreign}");
    }
    api.get(&ada, "/api/v1/aic/users/bob/export")
        .await
        .refused(StatusCode::FORBIDDEN, Some("user_id"));
    api.get(&api.operator("one"), "/api/v1/aic/users/ada/export")
        .await;
}

#[tokio::test]
async fn a_deletion_leaves_nothing_of_the_user_and_everything_of_others() {
    let api = Api::new().await;
    let (ada, bob, boss) = (
        api.token("one", "ada"),
        api.token("one", "bob"),
        api.operator("one"),
    );
    for token in [&ada, &bob] {
        api.post(token, CONFIG, r#"{"enabled":true}"#).await.ok();
    }
    api.write(vec![row("one", "ada", "AS_1", 1), row("one", "bob", "AS_2", 1)])
        .await;
    let erase = async |token: &str, user: &str| {
        api.ask("DELETE", token, &format!("/api/v1/aic/users/{user}"), &[], "")
            .await
    };
    erase(&ada, "bob")
        .await
        .refused(StatusCode::FORBIDDEN, Some("user_id"));
    assert!(erase(&boss, "ada").await.ok()["rows"].as_u64().unwrap() > 0);
    assert_eq!(
        erase(&boss, "ada").await.ok()["rows"],
        json!(0),
        "doing it again finds nothing"
    );

    let policy = api.state.book.get(&auralink_types::UserKey::new("one", "ada"));
    assert!(!policy.active, "a running call obeys at once");
    assert_eq!(api.get(&ada, CONFIG).await.body["config_id"], Value::Null);
    let metrics = api.get(&boss, "/api/v1/aic/metrics").await;
    assert!(!metrics.text.contains("ada") && metrics.text.contains("bob"));
    let savings = api.get(&ada, "/api/v1/aic/stats/bandwidth-savings").await.ok();
    assert_eq!(savings["total_frames"], json!(0));
    assert_eq!(api.get(&bob, CONFIG).await.body["enabled"], json!(true));
}

#[tokio::test]
async fn changes_and_reads_of_somebody_elses_data_are_in_the_audit_log() {
    let api = Api::new().await;
    api.write(vec![row("one", "ada", "AS_1", 1)]).await;
    let (ada, boss) = (api.token("one", "ada"), api.operator_named("one", "boss"));
    api.post(&ada, CONFIG, r#"{"enabled":true}"#).await.ok();
    api.post(
        &boss,
        &format!("{CONFIG}?user_id=ada"),
        r#"{"mode":"aggressive"}"#,
    )
    .await
    .ok();
    for read in ["metrics", "config", "sessions"] {
        api.get(&boss, &format!("/api/v1/aic/{read}?user_id=ada"))
            .await
            .ok();
    }
    api.get(&boss, "/api/v1/aic/sessions/AS_1").await.ok();
    api.get(&boss, "/api/v1/aic/users/ada/export").await;
    api.get(&ada, "/api/v1/aic/metrics").await.ok();
    let log = api.get(&boss, "/api/v1/aic/audit").await.ok();
    let entries: Vec<_> = log["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            let text = |name: &str| entry[name].as_str().unwrap();
            format!("{} {} {}", text("actor"), text("action"), text("user_id"))
        })
        .collect();
    for wanted in [
        "ada config.write ada",
        "boss config.write ada",
        "boss read.metrics ada",
        "boss read.config ada",
    ] {
        assert!(
            entries.iter().any(|entry| entry == wanted),
            "{wanted} in {entries:#?}"
        );
    }
    assert!(
        !entries.iter().any(|entry| entry.starts_with("ada read")),
        "{entries:#?}"
    );
    let other = api.get(&api.operator("two"), "/api/v1/aic/audit").await.ok();
    let theirs = other["entries"].as_array().unwrap();
    assert!(
        theirs.iter().all(|entry| entry["action"] == "read.audit"),
        "{theirs:?}"
    );
}
