//! Alerts: one open row for each key, quiet around the threshold, acknowledged once.

use std::time::Duration;

use auralink_store::{AlertQuery, AlertState, NewAlert, Severity, StoreError};
use auralink_types::AlertKind;
use auralink_types::TenantId;

use crate::people::{operator, row, user, write};
use crate::support::{Db, at, both};

both! {
    one_key_has_one_open_alert_which_counts,
    an_alert_that_comes_back_within_its_quiet_time_is_opened_again_without_an_event,
    two_servers_that_raise_the_same_alert_at_once_make_one,
    an_alert_is_acknowledged_once_and_only_by_those_who_see_it,
    alerts_are_listed_in_pages_and_by_state,
    a_tenants_health_is_that_of_its_last_rows,
}

const QUIET: Duration = Duration::from_secs(60);

fn alert(key: &str) -> NewAlert {
    NewAlert {
        tenant: "one".into(),
        key: key.into(),
        kind: AlertKind::Quality,
        severity: Severity::Warning,
        user: Some("ada".into()),
        session: Some("AS_unknown".into()),
        message: "quality is under the floor".into(),
        value: 0.7,
        threshold: 0.85,
    }
}

fn all() -> AlertQuery {
    AlertQuery {
        limit: 100,
        ..AlertQuery::default()
    }
}

async fn events(db: &Db) -> Vec<String> {
    db.texts("SELECT event FROM webhook_events ORDER BY event_id")
        .await
}

async fn one_key_has_one_open_alert_which_counts(db: Db) {
    let tenant = TenantId::from("one");
    let first = db.store.raise_alert(&alert("k"), QUIET, at(0)).await.unwrap();
    let worse = NewAlert {
        severity: Severity::Critical,
        value: 0.1,
        ..alert("k")
    };
    let again = db.store.raise_alert(&worse, QUIET, at(5)).await.unwrap();
    assert!(first.fresh && !again.fresh);
    assert_eq!(first.alert.alert_id, again.alert.alert_id);
    assert_eq!((again.alert.count, again.alert.value), (2, 0.1));
    assert_eq!(again.alert.severity, Severity::Critical);
    assert_eq!((again.alert.raised_at, again.alert.last_seen_at), (at(0), at(5)));
    assert_eq!(again.alert.session_id, None, "it isn't stored");
    let other = db.store.raise_alert(&alert("other"), QUIET, at(6)).await.unwrap();
    assert!(other.fresh);
    let open = db.store.open_alerts(&tenant).await.unwrap();
    assert_eq!(open.len(), 2);

    let resolved = db
        .store
        .resolve_alert(&tenant, "k", at(9))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(resolved.resolved_at, Some(at(9)));
    assert_eq!(db.store.resolve_alert(&tenant, "k", at(10)).await.unwrap(), None);
    assert_eq!(
        events(&db).await,
        ["aic.alert.raised", "aic.alert.raised", "aic.alert.resolved"]
    );
}

async fn an_alert_that_comes_back_within_its_quiet_time_is_opened_again_without_an_event(db: Db) {
    let tenant = TenantId::from("one");
    let first = db.store.raise_alert(&alert("k"), QUIET, at(0)).await.unwrap();
    db.store.resolve_alert(&tenant, "k", at(10)).await.unwrap();
    let soon = db.store.raise_alert(&alert("k"), QUIET, at(69)).await.unwrap();
    assert!(!soon.fresh);
    assert_eq!(soon.alert.alert_id, first.alert.alert_id);
    assert_eq!(soon.alert.resolved_at, None);
    db.store.resolve_alert(&tenant, "k", at(70)).await.unwrap();
    let late = db.store.raise_alert(&alert("k"), QUIET, at(131)).await.unwrap();
    assert!(late.fresh);
    assert_ne!(late.alert.alert_id, first.alert.alert_id);
    let raised = events(&db).await;
    assert_eq!(
        raised.iter().filter(|event| *event == "aic.alert.raised").count(),
        2
    );
}

async fn two_servers_that_raise_the_same_alert_at_once_make_one(db: Db) {
    let new = alert("k");
    let raise = || db.store.raise_alert(&new, QUIET, at(0));
    let (a, b, c) = tokio::join!(raise(), raise(), raise());
    let fresh = [a, b, c]
        .into_iter()
        .filter(|raised| raised.as_ref().unwrap().fresh);
    assert_eq!(fresh.count(), 1);
    assert_eq!(db.number("SELECT max(count) FROM aic_alerts").await, 3);
}

async fn an_alert_is_acknowledged_once_and_only_by_those_who_see_it(db: Db) {
    let raised = db.store.raise_alert(&alert("k"), QUIET, at(0)).await.unwrap();
    let id = raised.alert.alert_id.as_str();
    for stranger in [
        user(&db.store, "one", "bob"),
        user(&db.store, "two", "ada"),
        operator(&db.store, "two"),
    ] {
        assert!(matches!(
            stranger.acknowledge(id, at(1)).await,
            Err(StoreError::Missing { what: "alert" })
        ));
    }
    let ada = user(&db.store, "one", "ada");
    assert_eq!(ada.acknowledge(id, at(2)).await.unwrap().acked_at, Some(at(2)));
    let again = operator(&db.store, "one").acknowledge(id, at(3)).await.unwrap();
    assert_eq!(
        (again.acked_at, again.acked_by),
        (Some(at(2)), Some("ada".into()))
    );
}

async fn alerts_are_listed_in_pages_and_by_state(db: Db) {
    for number in 0..5 {
        // Two at a time share a moment.
        let new = alert(&format!("k{number}"));
        db.store.raise_alert(&new, QUIET, at(number / 2)).await.unwrap();
    }
    db.store.resolve_alert(&"one".into(), "k0", at(9)).await.unwrap();
    let boss = operator(&db.store, "one");
    let mut query = AlertQuery {
        limit: 2,
        ..AlertQuery::default()
    };
    let mut keys = Vec::new();
    loop {
        let page = boss.alerts(&query).await.unwrap();
        keys.extend(page.rows.into_iter().map(|alert| alert.key));
        let Some(next) = page.next else { break };
        query.cursor = Some(next);
    }
    keys.sort();
    assert_eq!(keys, ["k0", "k1", "k2", "k3", "k4"]);
    for (state, count) in [(AlertState::Open, 4), (AlertState::Resolved, 1)] {
        let query = AlertQuery {
            state: Some(state),
            unacked: true,
            kind: Some(AlertKind::Quality),
            ..all()
        };
        assert_eq!(boss.alerts(&query).await.unwrap().rows.len(), count);
    }
    let none = AlertQuery {
        kind: Some(AlertKind::Capacity),
        ..all()
    };
    assert_eq!(boss.alerts(&none).await.unwrap().rows, []);
}

async fn a_tenants_health_is_that_of_its_last_rows(db: Db) {
    let rows = (0..100).map(|second| {
        let mut row = row("one", "ada", "AS_1", at(second).as_micros());
        row.inference_latency_p99_ms = (second >= 50).then_some(second as f64);
        row.quality_score = Some(if second < 50 { 0.1 } else { 0.9 });
        row.fallback_triggered = second % 10 == 0;
        row.fallback_reason = row.fallback_triggered.then_some(auralink_types::Reason::Late);
        row
    });
    write(&db.store, rows).await;
    write(&db.store, [row("two", "ada", "AS_1", at(99).as_micros())]).await;
    let health = db.store.tenant_health(at(50)).await.unwrap();
    assert_eq!(health.len(), 2);
    let one = &health[0];
    assert_eq!((one.tenant.as_str(), one.seconds, one.fallbacks), ("one", 50, 5));
    assert!((one.quality_mean.unwrap() - 0.9).abs() < 1e-9);
    assert_eq!(one.latency_p99_ms, Some(99.0));
    assert_eq!(one.by_reason, [(auralink_types::Reason::Late, 5)]);
    assert_eq!(health[1].fallbacks, 0);
}
