//! Configurations: versions, bounds, vetoes, what a change leaves behind.

use auralink_store::{NewEndpoint, StoreError};
use auralink_types::{AicConfig, ConfigChange, Mode, UserId};
use serde_json::{Value, json};

use crate::people::{enable, operator, user};
use crate::support::{Db, at, both};

both! {
    a_configuration_keeps_its_id_and_counts_its_versions,
    what_is_out_of_bounds_changes_nothing,
    concurrent_changes_of_different_fields_all_survive,
    of_two_writers_who_expect_the_same_version_one_is_told_the_other_came_first,
    an_operator_sets_a_users_configuration_but_cannot_lift_his_veto,
    a_change_leaves_an_audit_entry_and_an_event,
    a_change_that_fails_half_way_leaves_nothing_behind,
    what_the_media_path_must_know_at_start_is_those_enabled_and_every_veto,
}

fn opt_out(value: bool) -> ConfigChange {
    ConfigChange {
        opt_out: Some(value),
        ..ConfigChange::default()
    }
}

async fn a_configuration_keeps_its_id_and_counts_its_versions(db: Db) {
    let ada = user(&db.store, "devkey", "ada");
    assert_eq!(ada.config().await.unwrap(), None);
    let first = ada.change_config(&enable()).await.unwrap();
    let config = AicConfig {
        mode: Mode::Aggressive,
        floor_override: Some(0.5),
        max_latency_ms: 7,
        ..AicConfig::default()
    };
    let second = ada.put_config(&config).await.unwrap();
    assert_eq!(second.config, config);
    assert_eq!((first.version, second.version), (1, 2));
    assert_eq!(first.config_id, second.config_id);
    assert_eq!(first.created_at, second.created_at);
    assert_eq!(ada.config().await.unwrap(), Some(second));
}

async fn what_is_out_of_bounds_changes_nothing(db: Db) {
    let ada = user(&db.store, "devkey", "ada");
    let before = ada.change_config(&enable()).await.unwrap();
    let config = AicConfig {
        target_override: Some(f64::NAN),
        ..AicConfig::default()
    };
    let Err(StoreError::Invalid(error)) = ada.put_config(&config).await else {
        panic!("NaN was stored");
    };
    assert_eq!(error.field, "target_compression_ratio");
    let nobody = user(&db.store, "devkey", "");
    assert!(matches!(
        nobody.change_config(&enable()).await,
        Err(StoreError::Invalid(_))
    ));
    assert_eq!(ada.config().await.unwrap(), Some(before));
}

async fn concurrent_changes_of_different_fields_all_survive(db: Db) {
    let ada = user(&db.store, "devkey", "ada");
    let faster = ConfigChange {
        max_latency_ms: Some(5),
        ..ConfigChange::default()
    };
    let (on, out) = (enable(), opt_out(true));
    let (a, b, c) = tokio::join!(
        ada.change_config(&on),
        ada.change_config(&out),
        ada.change_config(&faster)
    );
    for stored in [a, b, c] {
        stored.unwrap();
    }
    let stored = ada.config().await.unwrap().unwrap();
    assert!(stored.config.enabled && stored.config.opt_out);
    assert_eq!((stored.config.max_latency_ms, stored.version), (5, 3));
}

async fn of_two_writers_who_expect_the_same_version_one_is_told_the_other_came_first(db: Db) {
    let ada = user(&db.store, "devkey", "ada");
    let change = enable();
    let (a, b) = tokio::join!(
        ada.change_config_if(&change, Some(0)),
        ada.change_config_if(&change, Some(0))
    );
    let stale = [&a, &b]
        .into_iter()
        .filter(|answer| matches!(answer, Err(StoreError::Stale { current: 1 })));
    assert_eq!(stale.count(), 1, "{a:?} {b:?}");
    let same = ada.change_config_if(&change, Some(1)).await.unwrap();
    assert_eq!(same.version, 1, "what changes nothing makes no version");
    assert_eq!(
        ada.change_config_if(&opt_out(true), Some(1))
            .await
            .unwrap()
            .version,
        2
    );
    assert_eq!(
        ada.change_config_if(&opt_out(false), None).await.unwrap().version,
        3
    );
}

async fn an_operator_sets_a_users_configuration_but_cannot_lift_his_veto(db: Db) {
    let boss = operator(&db.store, "devkey").about(UserId::from("ada")).unwrap();
    boss.change_config(&enable()).await.unwrap();
    let ada = user(&db.store, "devkey", "ada");
    assert!(ada.config().await.unwrap().unwrap().config.enabled);
    ada.change_config(&opt_out(true)).await.unwrap();
    assert!(matches!(
        boss.change_config(&opt_out(false)).await,
        Err(StoreError::Veto)
    ));
    assert!(matches!(
        boss.put_config(&AicConfig::default()).await,
        Err(StoreError::Veto)
    ));
    assert!(ada.config().await.unwrap().unwrap().config.opt_out);
    assert!(!ada.change_config(&opt_out(false)).await.unwrap().config.opt_out);
}

async fn a_change_leaves_an_audit_entry_and_an_event(db: Db) {
    let boss = operator(&db.store, "one");
    for (url, events) in [("all", vec![]), ("alerts", vec!["aic.alert.*".to_owned()])] {
        let new = NewEndpoint {
            url: url.into(),
            signing_key: "one".into(),
            events,
            enabled: true,
        };
        boss.create_endpoint(&new, at(0)).await.unwrap();
    }
    let about = boss.about("ada".into()).unwrap();
    about.change_config(&enable()).await.unwrap();

    let now = std::time::SystemTime::now().into();
    let lease = std::time::Duration::from_secs(10);
    let sent = db.store.claim_deliveries(now, lease, 10).await.unwrap();
    let urls: Vec<_> = sent.iter().map(|delivery| delivery.url.as_str()).collect();
    assert_eq!(urls, ["all"]);
    let payload: Value = serde_json::from_str(&sent[0].payload).unwrap();
    assert_eq!(
        (&payload["user_id"], &payload["enabled"]),
        (&json!("ada"), &json!(true))
    );

    let entries = about
        .audit(&auralink_store::AuditQuery {
            limit: 10,
            ..Default::default()
        })
        .await
        .unwrap();
    let entry = entries
        .rows
        .iter()
        .find(|entry| entry.action == "config.write")
        .unwrap();
    assert_eq!(
        (entry.actor.as_str(), entry.actor_role.as_str()),
        ("boss-of-one", "operator")
    );
    assert_eq!(entry.detail["before"], Value::Null);
    assert_eq!(entry.detail["after"]["enabled"], json!(true));
    assert!(db.run("UPDATE audit_log SET action = 'nothing'").await.is_err());
    assert!(db.run("UPDATE audit_log SET actor = 'eve'").await.is_err());
}

async fn a_change_that_fails_half_way_leaves_nothing_behind(db: Db) {
    db.run(if db.is_postgres() {
        "ALTER TABLE audit_log ADD CONSTRAINT never CHECK (action <> 'config.write')"
    } else {
        "CREATE TRIGGER never BEFORE INSERT ON audit_log BEGIN SELECT RAISE(ABORT, 'full'); END"
    })
    .await
    .unwrap();
    let ada = user(&db.store, "one", "ada");
    assert!(matches!(
        ada.change_config(&ConfigChange::default()).await,
        Err(StoreError::Refused(_))
    ));
    assert_eq!(ada.config().await.unwrap(), None);
    assert_eq!(db.number("SELECT count(*) FROM users").await, 0);
    assert_eq!(db.number("SELECT count(*) FROM webhook_events").await, 0);
}

async fn what_the_media_path_must_know_at_start_is_those_enabled_and_every_veto(db: Db) {
    for (name, change) in [
        ("ada", enable()),
        ("bob", opt_out(true)),
        ("eve", ConfigChange::default()),
    ] {
        user(&db.store, "devkey", name)
            .change_config(&change)
            .await
            .unwrap();
    }
    let again = auralink_store::Store::open(&db.url).await.unwrap();
    let mut known = again.enabled_configs().await.unwrap();
    known.sort_by(|a, b| a.0.cmp(&b.0));
    let names: Vec<_> = known.iter().map(|(key, _)| key.user.as_str()).collect();
    assert_eq!(names, ["ada", "bob"]);
    assert!(known[1].1.opt_out);
    again.ping().await.unwrap();
}
