use auralink_types::ConfigChange;
use serde_json::Value;

use super::*;
use crate::Store;

async fn scalar(store: &Store, sql: &'static str) -> Vec<String> {
    sqlx::query_scalar(sql).fetch_all(&store.read).await.unwrap()
}

#[tokio::test]
async fn a_change_leaves_an_audit_entry_and_an_outbox_row_for_each_endpoint_that_wants_it() {
    let store = Store::open("memory").await.unwrap();
    for (tenant, endpoint, events, enabled) in [
        ("one", "all", "[]", 1),
        ("one", "config", r#"["aic.config.updated"]"#, 1),
        ("one", "alerts", r#"["aic.alert.raised"]"#, 1),
        ("one", "asleep", "[]", 0),
        ("two", "all", "[]", 1),
    ] {
        sqlx::query("INSERT INTO webhook_endpoints VALUES (?, ?, 'https://example.com', 'k', ?, ?, 0)")
            .bind(tenant)
            .bind(endpoint)
            .bind(events)
            .bind(enabled)
            .execute(&store.write)
            .await
            .unwrap();
    }
    let boss = Actor {
        key: UserKey::new("one", "boss"),
        operator: true,
    };
    let scope = store.as_user(boss).about("ada".into()).unwrap();
    let change = ConfigChange {
        enabled: Some(true),
        ..ConfigChange::default()
    };
    scope.change_config(&change).await.unwrap();

    let sent = "SELECT endpoint_id FROM webhook_deliveries ORDER BY endpoint_id";
    assert_eq!(scalar(&store, sent).await, ["all", "config"]);
    let payload = scalar(&store, "SELECT payload FROM webhook_deliveries LIMIT 1").await;
    let payload: Value = serde_json::from_str(&payload[0]).unwrap();
    assert_eq!(
        (&payload["user_id"], &payload["enabled"]),
        (&json!("ada"), &json!(true))
    );

    let who = "SELECT actor || ' ' || actor_role || ' ' || action || ' ' || user_id FROM audit_log";
    assert_eq!(scalar(&store, who).await, ["boss operator config.write ada"]);
    let detail = scalar(&store, "SELECT detail FROM audit_log").await;
    let detail: Value = serde_json::from_str(&detail[0]).unwrap();
    assert_eq!(detail["before"], Value::Null);
    assert_eq!(detail["after"]["enabled"], json!(true));
    assert!(
        sqlx::query("UPDATE audit_log SET actor = 'eve'")
            .execute(&store.write)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_change_that_fails_half_way_leaves_nothing_behind() {
    let store = Store::open("memory").await.unwrap();
    sqlx::query("CREATE TRIGGER full BEFORE INSERT ON audit_log BEGIN SELECT RAISE(ABORT, 'full'); END")
        .execute(&store.write)
        .await
        .unwrap();
    let ada = store.as_user(Actor {
        key: UserKey::new("one", "ada"),
        operator: false,
    });
    assert!(ada.change_config(&ConfigChange::default()).await.is_err());
    assert_eq!(ada.config().await.unwrap(), None);
    assert_eq!(scalar(&store, "SELECT user_id FROM users").await, [""; 0]);
}
