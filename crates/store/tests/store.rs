//! Configuration, isolation and migrations through the public interface.
#![allow(clippy::unwrap_used)] // a test may panic

use std::time::{SystemTime, UNIX_EPOCH};

use auralink_store::{Actor, MetricQuery, MetricWriter, Scoped, Store, StoreError};
use auralink_types::{
    AicConfig, ConfigChange, Media, MetricRow, Mode, NetworkClass, QualityMetric, SavingsBasis, SessionId,
    UserId, UserKey,
};

fn user(store: &Store, tenant: &str, user: &str) -> Scoped {
    store.as_user(Actor {
        key: UserKey::new(tenant, user),
        operator: false,
    })
}

fn operator(store: &Store, tenant: &str) -> Scoped {
    store.as_user(Actor {
        key: UserKey::new(tenant, "boss"),
        operator: true,
    })
}

fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64
}

fn row(tenant: &str, user: &str, session: &str, ts_us: i64) -> MetricRow {
    MetricRow {
        owner: UserKey::new(tenant, user),
        call_id: "RM_1".into(),
        session_id: session.into(),
        track_id: "TR_1".into(),
        ts_us,
        media: Media::Audio,
        original_bandwidth_kbps: 100.0,
        compressed_bandwidth_kbps: 20.0,
        savings_basis: SavingsBasis::Measured,
        inference_latency_ms: None,
        inference_latency_p99_ms: None,
        quality_score: None,
        quality_metric: QualityMetric::EstimatedPesqWb,
        psnr_db: None,
        model_used: "lean-12k-60ms".into(),
        frames: 50,
        fallback_triggered: false,
        fallback_reason: None,
        network_class: NetworkClass::Unknown,
    }
}

fn enable() -> ConfigChange {
    ConfigChange {
        enabled: Some(true),
        ..ConfigChange::default()
    }
}

fn opt_out(value: bool) -> ConfigChange {
    ConfigChange {
        opt_out: Some(value),
        ..ConfigChange::default()
    }
}

fn page() -> MetricQuery {
    MetricQuery {
        limit: 100,
        ..MetricQuery::default()
    }
}

#[tokio::test]
async fn a_configuration_keeps_its_id_and_counts_its_versions() {
    let store = Store::open("memory").await.unwrap();
    let ada = user(&store, "devkey", "ada");
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

#[tokio::test]
async fn what_is_out_of_bounds_changes_nothing() {
    let store = Store::open("memory").await.unwrap();
    let ada = user(&store, "devkey", "ada");
    let before = ada.change_config(&enable()).await.unwrap();
    let config = AicConfig {
        target_override: Some(f64::NAN),
        ..AicConfig::default()
    };
    let Err(StoreError::Invalid(error)) = ada.put_config(&config).await else {
        panic!("NaN was stored");
    };
    assert_eq!(error.field, "target_compression_ratio");
    let nobody = user(&store, "devkey", "");
    assert!(matches!(
        nobody.change_config(&enable()).await,
        Err(StoreError::Invalid(_))
    ));
    assert_eq!(ada.config().await.unwrap(), Some(before));
}

#[tokio::test]
async fn concurrent_changes_of_different_fields_all_survive() {
    let store = Store::open("memory").await.unwrap();
    let ada = user(&store, "devkey", "ada");
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
    let config = ada.config().await.unwrap().unwrap().config;
    assert!(config.enabled && config.opt_out);
    assert_eq!(config.max_latency_ms, 5);
}

#[tokio::test]
async fn an_operator_sets_a_users_configuration_but_cannot_lift_his_veto() {
    let store = Store::open("memory").await.unwrap();
    let boss = operator(&store, "devkey").about(UserId::from("ada")).unwrap();
    boss.change_config(&enable()).await.unwrap();
    let ada = user(&store, "devkey", "ada");
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

#[tokio::test]
async fn a_user_sees_his_own_rows_and_an_operator_his_tenants_alone() {
    let store = Store::open("memory").await.unwrap();
    let writer = MetricWriter::start(store.clone());
    let now = now_us();
    // The same call and session ids in two tenants.
    for (tenant, name, session) in [
        ("one", "ada", "AS_1"),
        ("one", "bob", "AS_2"),
        ("two", "ada", "AS_1"),
    ] {
        writer.push(row(tenant, name, session, now));
        user(&store, tenant, name).change_config(&enable()).await.unwrap();
    }
    assert!(writer.flush().await);

    let seen = async |scope: &Scoped| {
        let page = scope.metrics(&page()).await.unwrap();
        let mut owners: Vec<_> = page.rows.into_iter().map(|row| row.row.owner).collect();
        owners.sort();
        let savings = scope.bandwidth_savings(1, 0.1).await.unwrap();
        assert_eq!(savings.total_frames, 50 * owners.len() as u64);
        owners
    };
    let ada = UserKey::new("one", "ada");
    let bob = UserKey::new("one", "bob");
    assert_eq!(
        seen(&user(&store, "one", "ada")).await,
        std::slice::from_ref(&ada)
    );
    assert_eq!(
        seen(&user(&store, "two", "ada")).await,
        [UserKey::new("two", "ada")]
    );
    assert_eq!(seen(&operator(&store, "one")).await, [ada, bob.clone()]);
    let about_bob = operator(&store, "one").about("bob".into()).unwrap();
    assert_eq!(seen(&about_bob).await, [bob]);
    for stranger in [
        user(&store, "one", "eve"),
        user(&store, "one", ""),
        operator(&store, "three"),
    ] {
        assert_eq!(seen(&stranger).await, []);
    }

    let theirs = SessionId::from("AS_2");
    assert!(
        user(&store, "one", "ada")
            .session(&theirs)
            .await
            .unwrap()
            .is_none()
    );
    assert!(operator(&store, "two").session(&theirs).await.unwrap().is_none());
    assert!(operator(&store, "one").session(&theirs).await.unwrap().is_some());
    assert!(matches!(
        user(&store, "one", "ada").about("bob".into()),
        Err(StoreError::Forbidden { .. })
    ));
    let across = operator(&store, "three").about("ada".into()).unwrap();
    assert_eq!(across.config().await.unwrap(), None);
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_repeat() {
    let store = Store::open("memory").await.unwrap();
    let writer = MetricWriter::start(store.clone());
    for number in 0..25 {
        // Several rows share a second.
        writer.push(row("one", "ada", &format!("AS_{number}"), number / 4));
    }
    assert!(writer.flush().await);
    let ada = user(&store, "one", "ada");
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
}

#[tokio::test]
async fn a_file_is_migrated_once_and_keeps_its_rows_when_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("aura.db");
    let url = format!("sqlite://{}?mode=rwc", path.display());
    let store = Store::open(&url).await.unwrap();
    let stored = user(&store, "devkey", "ada")
        .change_config(&enable())
        .await
        .unwrap();
    user(&store, "devkey", "bob")
        .change_config(&opt_out(true))
        .await
        .unwrap();
    user(&store, "devkey", "eve")
        .change_config(&ConfigChange::default())
        .await
        .unwrap();
    store.close().await;

    let store = Store::open(path.to_str().unwrap()).await.unwrap();
    let again = user(&store, "devkey", "ada").config().await.unwrap();
    assert_eq!(again, Some(stored));
    let mut known = store.enabled_configs().await.unwrap();
    known.sort_by(|a, b| a.0.cmp(&b.0));
    let names: Vec<_> = known.iter().map(|(key, _)| key.user.as_str()).collect();
    assert_eq!(names, ["ada", "bob"]);
    assert!(known[1].1.opt_out);
    store.ping().await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_database_is_an_error_not_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("aura.db");
    std::fs::write(&path, "a poem, and not a short one".repeat(100)).unwrap();
    assert!(Store::open(path.to_str().unwrap()).await.is_err());
    assert!(Store::open("/nowhere/at/all/aura.db").await.is_err());
}
