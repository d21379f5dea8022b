//! Who asks in tests, and rows that tell whose they are.

use auralink_store::{
    Actor, Announcement, Exposure, MetricWriter, NewAlert, NewEndpoint, NewExperiment, Scoped, Severity,
    Store,
};
use auralink_types::AlertKind;
use auralink_types::experiment::{Arm, Unit};
use auralink_types::{
    ConfigChange, Event, EventKind, Media, MetricRow, NetworkClass, Objects, Prediction, QualityMetric,
    Reason, SavingsBasis, SessionRef, UserKey,
};
use serde_json::json;

use crate::support::at;

pub fn user(store: &Store, tenant: &str, user: &str) -> Scoped {
    store.as_user(Actor {
        key: UserKey::new(tenant, user),
        operator: false,
    })
}

pub fn operator(store: &Store, tenant: &str) -> Scoped {
    store.as_user(Actor {
        key: UserKey::new(tenant, format!("boss-of-{tenant}")),
        operator: true,
    })
}

pub fn enable() -> ConfigChange {
    ConfigChange {
        enabled: Some(true),
        ..ConfigChange::default()
    }
}

pub fn row(tenant: &str, user: &str, session: &str, ts_us: i64) -> MetricRow {
    MetricRow {
        owner: UserKey::new(tenant, user),
        call_id: "RM_1".into(),
        session_id: session.into(),
        track_id: format!("TR-of-{user}").into(),
        ts_us,
        media: Media::Audio,
        original_bandwidth_kbps: 120.0,
        compressed_bandwidth_kbps: 24.0,
        savings_basis: SavingsBasis::Measured,
        inference_latency_ms: Some(0.4),
        inference_latency_p99_ms: Some(1.5),
        quality_score: Some(0.87),
        quality_metric: QualityMetric::EstimatedPesqWb,
        psnr_db: None,
        prediction: Some(Prediction {
            quality_score: 0.82,
            compression_ratio: 0.79,
            confidence: 0.6,
        }),
        model_used: "lean-12k-60ms".into(),
        frames: 50,
        fallback_triggered: false,
        fallback_reason: None,
        network_class: NetworkClass::Good,
    }
}

/// Writes rows and waits until they are in.
pub async fn write(store: &Store, rows: impl IntoIterator<Item = MetricRow>) {
    let writer = MetricWriter::start(store.clone());
    for row in rows {
        writer.push(row);
    }
    assert!(writer.flush().await);
}

pub fn event(tenant: &str, call: &str, seconds: i64, kind: EventKind) -> Event {
    Event {
        ts_us: at(seconds).as_micros(),
        tenant: tenant.into(),
        call_id: call.into(),
        room: format!("room-{call}").as_str().into(),
        kind,
        objects: Objects::default(),
    }
}

pub fn session(user: &str, id: &str) -> SessionRef {
    SessionRef {
        session_id: id.into(),
        track_id: "TR_1".into(),
        user: user.into(),
        media: Media::Audio,
    }
}

/// Something in every table for this user of this tenant. What is his bears `NAME-of-TENANT`, what is the tenant's
/// `of-TENANT`.
pub async fn live(store: &Store, tenant: &str, name: &str) {
    let mark = format!("{name}-of-{tenant}");
    let key = UserKey::new(tenant, mark.as_str());
    let me = user(store, tenant, &mark);
    me.change_config(&enable()).await.unwrap();
    let (call, id) = (format!("RM-{mark}"), format!("AS-{mark}"));
    let participant = format!("PA-{mark}").as_str().into();
    for kind in [
        EventKind::CallStarted,
        EventKind::ParticipantJoined {
            user: mark.as_str().into(),
            participant,
        },
        EventKind::SessionStarted(session(&mark, &id)),
        EventKind::FallbackTriggered {
            session: session(&mark, &id),
            listener: "somebody".into(),
            reason: Reason::Late,
        },
    ] {
        store.record(&event(tenant, &call, 0, kind)).await.unwrap();
    }
    let rows = (0..5).map(|second| {
        let mut row = row(tenant, &mark, &id, at(second).as_micros());
        row.call_id = call.as_str().into();
        row.model_used = format!("model-of-{tenant}");
        row.fallback_triggered = second == 3;
        row.fallback_reason = row.fallback_triggered.then_some(Reason::Late);
        row
    });
    write(store, rows).await;
    let alert = NewAlert {
        tenant: tenant.into(),
        key: format!("quality:{id}"),
        kind: AlertKind::Quality,
        severity: Severity::Warning,
        user: Some(mark.as_str().into()),
        session: Some(id.as_str().into()),
        message: format!("quality of {mark}"),
        value: 0.5,
        threshold: 0.85,
    };
    let raised = store
        .raise_alert(&alert, std::time::Duration::ZERO, at(5))
        .await
        .unwrap();
    me.acknowledge(&raised.alert.alert_id, at(6)).await.unwrap();
    let announcement = Announcement {
        tenant: tenant.into(),
        user: Some(mark.as_str().into()),
        subject: call.clone(),
        event: "test".into(),
        payload: json!({ "about": mark }),
        at: at(6),
    };
    store.announce(&announcement).await.unwrap();
    me.note("test.note", json!({ "about": mark }), at(6))
        .await
        .unwrap();

    let boss = operator(store, tenant);
    let endpoint = NewEndpoint {
        url: format!("https://example.com/of-{tenant}"),
        signing_key: tenant.into(),
        events: vec![],
        enabled: true,
    };
    boss.create_endpoint(&endpoint, at(7)).await.unwrap();
    store
        .claim_deliveries(at(7), std::time::Duration::ZERO, 1)
        .await
        .unwrap();
    let arm = |name: &str, control| Arm {
        name: name.into(),
        weight: 1,
        control,
        change: ConfigChange::default(),
    };
    let new = NewExperiment {
        name: format!("experiment {name} of-{tenant}"),
        unit: Unit::User,
        arms: vec![arm("a", true), arm("b", false)],
        primary: "saved_percent".into(),
    };
    let experiment = boss.create_experiment(&new, at(7)).await.unwrap();
    let exposure = Exposure {
        tenant: tenant.into(),
        experiment_id: experiment.experiment_id,
        user: key.user.clone(),
        call_id: call.as_str().into(),
        session_id: id.as_str().into(),
        arm: "a".into(),
        at: at(7),
    };
    store.expose(&exposure).await.unwrap();
}
