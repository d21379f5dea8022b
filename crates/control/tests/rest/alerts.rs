use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use auralink_control::{AlertRules, Clock, Intake, IntakeConfig, Now};
use auralink_types::MetricRow;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::api::{Api, row};

const ALERTS: &str = "/api/v1/aic/alerts";

/// An intake of the API's own store, whose clock goes when it is told to.
struct Watch {
    intake: Intake,
    ahead: Arc<Mutex<Duration>>,
}

impl Watch {
    fn start(api: &Api, ahead: Duration) -> Self {
        let ahead = Arc::new(Mutex::new(ahead));
        let (begun, wall, told) = (Instant::now(), SystemTime::now(), Arc::clone(&ahead));
        let intake = Intake::start(IntakeConfig {
            store: api.state.store.clone(),
            book: Arc::clone(&api.state.book),
            tenants: vec!["one".into(), "two".into()],
            rules: AlertRules::default(),
            clock: Clock::from_fn(move || {
                let ahead = *told.lock().unwrap();
                Now {
                    wall: wall + ahead,
                    steady: begun + ahead,
                }
            }),
        });
        Self { intake, ahead }
    }

    /// Ten seconds with one row each, and time for the check after them.
    async fn run(&self, row_of: fn() -> MetricRow) {
        (0..10).for_each(|_| self.intake.row(&row_of()));
        // The rows are taken in before the clock goes on.
        tokio::time::sleep(Duration::from_millis(50)).await;
        *self.ahead.lock().unwrap() += Duration::from_secs(10);
        tokio::time::sleep(Duration::from_millis(150)).await;
    }

    /// Runs until the answer is as wanted; ends in any case.
    async fn until(&self, row_of: fn() -> MetricRow, mut wanted: impl AsyncFnMut() -> bool) {
        for _ in 0..60 {
            self.run(row_of).await;
            if wanted().await {
                return;
            }
        }
        panic!("ten minutes of the watch's clock were not enough");
    }
}

async fn list(api: &Api, token: &str, query: &str) -> Vec<(String, Value)> {
    let page = api.get(token, &format!("{ALERTS}{query}")).await.ok();
    let alerts = page["alerts"].as_array().unwrap();
    alerts
        .iter()
        .map(|alert| (alert["kind"].as_str().unwrap().to_owned(), alert.clone()))
        .collect()
}

fn blurred() -> MetricRow {
    MetricRow {
        quality_score: Some(0.4),
        fallback_triggered: false,
        fallback_reason: None,
        ..row("one", "ada", "AS_1", 0)
    }
}

fn clean() -> MetricRow {
    MetricRow {
        quality_score: Some(0.9),
        ..blurred()
    }
}

#[tokio::test]
async fn trouble_in_rows_becomes_an_alert_that_is_acknowledged_and_clears() {
    let api = Api::new().await;
    api.write(vec![row("one", "ada", "AS_1", 60)]).await;
    let (ada, boss) = (api.token("one", "ada"), api.operator_named("one", "boss"));
    let watch = Watch::start(&api, Duration::ZERO);
    watch
        .until(blurred, async || {
            list(&api, &boss, "?state=open").await.len() >= 2
        })
        .await;

    let raised = list(&api, &boss, "?state=open").await;
    let kinds: Vec<_> = raised
        .iter()
        .map(|(kind, alert)| (kind.as_str(), alert["session_id"].as_str()))
        .collect();
    assert!(
        kinds.contains(&("quality", None)) && kinds.contains(&("quality", Some("AS_1"))),
        "{kinds:?}"
    );
    // A user sees what is about himself, not what is about the tenant.
    let own = list(&api, &ada, "").await;
    assert!(
        !own.is_empty() && own.iter().all(|(_, alert)| alert["user_id"] == "ada"),
        "{own:?}"
    );
    assert_eq!(list(&api, &api.token("one", "bob"), "").await, []);
    assert_eq!(list(&api, &api.operator("two"), "").await, []);

    let id = raised[0].1["alert_id"].as_str().unwrap();
    let ack = format!("{ALERTS}/{id}/ack");
    let first = api.post(&boss, &ack, "").await.ok();
    assert_eq!(first["acked_by"], json!("boss"));
    let again = api.post(&api.operator_named("one", "other"), &ack, "").await.ok();
    assert_eq!(again["acked_by"], json!("boss"), "the first to acknowledge stays");
    api.post(&api.operator("two"), &ack, "")
        .await
        .refused(StatusCode::NOT_FOUND, None);
    assert!(
        list(&api, &boss, "?unacked=true")
            .await
            .iter()
            .all(|(_, alert)| alert["alert_id"] != id)
    );

    watch
        .until(clean, async || list(&api, &boss, "?state=open").await.is_empty())
        .await;
    let cleared = list(&api, &boss, "?state=cleared&kind=quality").await;
    assert!(!cleared.is_empty() && cleared.iter().all(|(_, alert)| alert["cleared_at"].is_string()));
}

#[tokio::test]
async fn an_alert_survives_a_restart_and_clears_after_it() {
    let api = Api::new().await;
    api.write(vec![row("one", "ada", "AS_1", 60)]).await;
    let boss = api.operator("one");
    let before = Watch::start(&api, Duration::ZERO);
    before
        .until(blurred, async || {
            !list(&api, &boss, "?state=open").await.is_empty()
        })
        .await;
    let ahead = *before.ahead.lock().unwrap();
    drop(before);
    let after = Watch::start(&api, ahead);
    after
        .until(clean, async || list(&api, &boss, "?state=open").await.is_empty())
        .await;
    assert!(!list(&api, &boss, "?state=cleared").await.is_empty());
}

#[tokio::test]
async fn a_healthy_call_raises_nothing() {
    let api = Api::new().await;
    let watch = Watch::start(&api, Duration::ZERO);
    for _ in 0..12 {
        watch.run(clean).await;
    }
    assert_eq!(list(&api, &api.operator("one"), "").await, []);
}

#[tokio::test]
async fn work_that_does_not_fit_raises_the_capacity_alert_of_its_tenant_alone() {
    let api = Api::new().await;
    let watch = Watch::start(&api, Duration::ZERO);
    let (one, two) = (api.operator("one"), api.operator("two"));
    watch
        .until(clean, async || {
            (0..2).for_each(|_| watch.intake.turned_away(&"one".into()));
            !list(&api, &one, "?state=open").await.is_empty()
        })
        .await;
    let raised = list(&api, &one, "?state=open").await;
    assert_eq!(raised.len(), 1, "{raised:?}");
    assert_eq!(raised[0].0, "capacity");
    assert!(raised[0].1["value"].as_f64().unwrap() > 0.01, "{raised:?}");
    assert_eq!(list(&api, &two, "").await, []);
}
