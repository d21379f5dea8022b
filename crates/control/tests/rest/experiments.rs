use std::sync::Arc;
use std::time::Duration;

use auralink_control::{AlertRules, Clock, Intake, IntakeConfig};
use auralink_types::{MetricRow, SavingsBasis, UserKey};
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::api::{Api, CONFIG, row};

const EXPERIMENTS: &str = "/api/v1/aic/experiments";
const HALF_OFF: &str = r#"{"name":"aic against none","arms":[
    {"name":"without","control":true,"change":{"enabled":false}},
    {"name":"aggressive","change":{"mode":"aggressive"}}]}"#;

fn intake(api: &Api) -> Intake {
    Intake::start(IntakeConfig {
        store: api.state.store.clone(),
        book: Arc::clone(&api.state.book),
        tenants: vec!["one".into()],
        rules: AlertRules::default(),
        clock: Clock::system(),
    })
}

/// So many users with AIC on.
async fn users(api: &Api, count: usize) -> Vec<UserKey> {
    let boss = api.operator("one");
    for n in 0..count {
        let uri = format!("{CONFIG}?user_id=user-{n}");
        api.post(&boss, &uri, r#"{"enabled":true}"#).await.ok();
    }
    (0..count)
        .map(|n| UserKey::new("one", format!("user-{n}")))
        .collect()
}

#[tokio::test]
async fn a_running_experiment_is_obeyed_and_its_end_as_well() {
    let api = Api::new().await;
    let boss = api.operator("one");
    let users = users(&api, 30).await;
    let made = api.post(&boss, EXPERIMENTS, HALF_OFF).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    assert_eq!(made.body["state"], json!("running"));
    let policies: Vec<_> = users.iter().map(|user| api.state.book.get(user)).collect();
    let treated = policies.iter().filter(|policy| policy.active).count();
    assert!((5..26).contains(&treated), "{treated} of 30");
    assert!(
        policies
            .iter()
            .filter(|policy| policy.active)
            .all(|policy| policy.target == 0.9)
    );

    let again = api.post(&boss, EXPERIMENTS, HALF_OFF).await;
    assert_eq!(
        again.body["experiment_id"], made.body["experiment_id"],
        "the same request makes nothing new"
    );
    let other = HALF_OFF.replace("aggressive\"}}", "conservative\"}}");
    api.post(&boss, EXPERIMENTS, other)
        .await
        .refused(StatusCode::CONFLICT, Some("name"));

    // The user's own veto is above any arm, within the same answer.
    let name = users.iter().find(|user| api.state.book.get(user).active).unwrap();
    let ada = api.token("one", name.user.as_str());
    api.post(&ada, CONFIG, r#"{"opt_out":true}"#).await.ok();
    let policy = api.state.book.get(name);
    assert!(policy.opt_out && !policy.active && !policy.observed);

    let end = format!(
        "{EXPERIMENTS}/{}/end",
        made.body["experiment_id"].as_str().unwrap()
    );
    let ended = api.post(&boss, &end, "").await.ok();
    assert_eq!(ended["state"], json!("ended"));
    assert_eq!(
        api.post(&boss, &end, "").await.ok()["ended_at"],
        ended["ended_at"]
    );
    let active = users
        .iter()
        .filter(|user| api.state.book.get(user).active)
        .count();
    assert_eq!(active, 29, "all but the one who opted out");
}

#[tokio::test]
async fn exposures_lead_to_an_outcome_with_differences_intervals_and_a_baseline() {
    let api = Api::new().await;
    let boss = api.operator("one");
    let users = users(&api, 90).await;
    let made = api.post(&boss, EXPERIMENTS, HALF_OFF).await.body;
    let id = made["experiment_id"].as_str().unwrap();
    let outcome = async || api.get(&boss, &format!("{EXPERIMENTS}/{id}")).await.ok();
    assert!(
        !outcome().await["warnings"].as_array().unwrap().is_empty(),
        "nobody has met an arm yet"
    );

    let intake = intake(&api);
    let mut rows = Vec::new();
    for (n, user) in users.iter().enumerate() {
        let treated = api.state.book.get(user).active;
        let noise = (n % 7) as f64;
        for second in 0..3 {
            rows.push(MetricRow {
                original_bandwidth_kbps: 120.0 + noise,
                compressed_bandwidth_kbps: if treated {
                    24.0 + noise / 2.0
                } else {
                    120.0 + noise
                },
                quality_score: Some(if treated { 0.86 } else { 0.99 } - noise / 1000.0),
                fallback_triggered: false,
                fallback_reason: None,
                ..row("one", user.user.as_str(), &format!("AS_{n}"), second)
            });
        }
    }
    rows.iter().for_each(|row| intake.row(row));
    api.write(rows).await;
    let mut found = Value::Null;
    for _ in 0..200 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        found = outcome().await;
        let exposures = found["outcomes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|arm| arm["exposures"].as_u64().unwrap());
        if exposures.sum::<u64>() == 90 {
            break;
        }
    }
    let arm = |name: &str| {
        let outcomes = found["outcomes"].as_array().unwrap();
        outcomes
            .iter()
            .find(|arm| arm["arm"] == name)
            .unwrap_or_else(|| panic!("{found}"))
            .clone()
    };
    let (without, aggressive) = (arm("without"), arm("aggressive"));
    assert_eq!(
        without["units"].as_u64().unwrap() + aggressive["units"].as_u64().unwrap(),
        90
    );
    assert_eq!(
        (&without["control"], &without["savings"]),
        (&json!(true), &Value::Null)
    );
    assert_eq!(without["wire_kbps"]["versus_control"], Value::Null);

    let wire = &aggressive["wire_kbps"]["versus_control"];
    let (low, high) = (wire["low"].as_f64().unwrap(), wire["high"].as_f64().unwrap());
    // -97.5 on average; who is in which arm, and so the noise in it, is another every time.
    assert!(
        -100.0 < low && high < -95.0 && high - low < 4.0 && wire["significant"] == true,
        "{wire}"
    );
    let savings = &aggressive["savings"];
    assert_eq!(savings["savings_basis"], json!("experiment"));
    let saved = savings["saved_percent"].as_f64().unwrap();
    assert!((78.0..81.0).contains(&saved), "{savings}");
    assert!(aggressive["quality"]["versus_control"]["high"].as_f64().unwrap() < 0.0);
}

#[tokio::test]
async fn few_units_are_warned_about() {
    let api = Api::new().await;
    let boss = api.operator("one");
    users(&api, 4).await;
    let made = api.post(&boss, EXPERIMENTS, HALF_OFF).await.body;
    let intake = intake(&api);
    let rows: Vec<_> = (0..4)
        .map(|n| row("one", &format!("user-{n}"), &format!("AS_{n}"), 0))
        .collect();
    rows.iter().for_each(|row| intake.row(row));
    api.write(rows).await;
    let uri = format!("{EXPERIMENTS}/{}", made["experiment_id"].as_str().unwrap());
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if api.get(&boss, &uri).await.text.contains("too few") {
            return;
        }
    }
    panic!("no warning in {}", api.get(&boss, &uri).await.text);
}

#[tokio::test]
async fn a_row_that_knows_only_a_preset_counts_from_the_control_arm_once_that_is_believable() {
    let api = Api::new().await;
    let boss = api.operator("one");
    let users = users(&api, 90).await;
    let made = api.post(&boss, EXPERIMENTS, HALF_OFF).await.body;
    let (without, treated): (Vec<_>, Vec<_>) =
        users.iter().partition(|user| !api.state.book.get(user).active);
    let preset = |user: &UserKey| MetricRow {
        original_bandwidth_kbps: 126.0,
        savings_basis: SavingsBasis::Preset,
        ..row("one", user.user.as_str(), &format!("AS_{}", user.user), 0)
    };
    let first = intake(&api);
    for user in &without {
        let sent = MetricRow {
            compressed_bandwidth_kbps: 90.0,
            ..preset(user)
        };
        // In this order: an exposure hangs on the session, which the row makes.
        api.write(vec![sent.clone()]).await;
        first.row(&sent);
    }
    let url = format!("{EXPERIMENTS}/{}", made["experiment_id"].as_str().unwrap());
    let mut exposed = 0;
    for _ in 0..200 {
        exposed = api.get(&boss, &url).await.ok()["outcomes"][0]["exposures"]
            .as_u64()
            .unwrap_or(0);
        if exposed == without.len() as u64 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(exposed, without.len() as u64);
    assert!(exposed >= 30, "{exposed} units are too few to believe");

    // Another server starts, and sums the arm.
    let second = intake(&api);
    let mut counted = preset(treated[0]);
    for _ in 0..200 {
        second.rebase(&mut counted);
        if counted.savings_basis == SavingsBasis::Experiment {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(
        (counted.savings_basis, counted.original_bandwidth_kbps),
        (SavingsBasis::Experiment, 90.0)
    );
    let measured = row("one", treated[0].user.as_str(), "AS_1", 0);
    for stays in [preset(without[0]), measured] {
        let mut same = stays.clone();
        second.rebase(&mut same);
        assert_eq!(same, stays, "measured rows, and those of the control arm, stay");
    }
}
