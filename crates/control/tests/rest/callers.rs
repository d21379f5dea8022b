//! Who may ask, and how often.

use std::time::{Duration, SystemTime};

use auralink_control::RateLimit;
use auralink_token::{Claims, KeyRing};
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::json;

use crate::api::{Api, CONFIG};

#[tokio::test]
async fn without_a_valid_token_nothing_is_answered() {
    let api = Api::new().await;
    let day = Duration::from_secs(86_400);
    let claims = Claims::join("lobby", "ada");
    let past = SystemTime::now() - day;
    let expired = api
        .state
        .keys
        .mint("one", &claims, Duration::from_secs(60), past)
        .unwrap();
    let others = KeyRing::new([("one", "another secret"), ("three", "s")]);
    let forged = others.mint("one", &claims, day, SystemTime::now()).unwrap();
    let unknown = others.mint("three", &claims, day, SystemTime::now()).unwrap();
    let good = api.token("one", "ada");
    let headers = [
        None,
        Some("Bearer".to_owned()),
        Some("Bearer x.y.z".to_owned()),
        Some(format!("Basic {good}")),
        Some(format!("Bearer {expired}")),
        Some(format!("Bearer {forged}")),
        Some(format!("Bearer {unknown}")),
    ];
    for value in headers {
        for (method, path) in [
            ("GET", "config"),
            ("POST", "config"),
            ("GET", "metrics"),
            ("GET", "sessions/AS_1"),
            ("GET", "stats/bandwidth-savings"),
            ("GET", "models"),
        ] {
            let mut request = Request::builder()
                .method(method)
                .uri(format!("/api/v1/aic/{path}"))
                .header(header::CONTENT_TYPE, "application/json");
            if let Some(value) = &value {
                request = request.header(header::AUTHORIZATION, value);
            }
            let got = api
                .send(request.body(Body::from(r#"{"enabled":true}"#)).unwrap())
                .await;
            got.refused(StatusCode::UNAUTHORIZED, None);
            let challenge = got.headers[header::WWW_AUTHENTICATE].to_str().unwrap();
            assert!(challenge.starts_with("Bearer"));
        }
    }
    assert_eq!(api.get(&good, CONFIG).await.body["enabled"], json!(false));
    let nobody = api.token("one", "");
    api.get(&nobody, CONFIG)
        .await
        .refused(StatusCode::FORBIDDEN, None);
}

#[tokio::test]
async fn a_token_with_a_name_that_nothing_can_have_is_refused_by_its_claim() {
    let api = Api::new().await;
    for bad in ["a\0", "a\nINFO forged", "\u{1b}[31mred", &"x".repeat(10_000)] {
        let token = api.token("one", bad);
        let got = api.post(&token, CONFIG, r#"{"enabled":true}"#).await;
        got.refused(StatusCode::BAD_REQUEST, Some("sub"));
        let mut claims = Claims::join(bad, "ada");
        api.get(&api.mint("one", &claims), CONFIG)
            .await
            .refused(StatusCode::BAD_REQUEST, Some("video.room"));
        (claims.video.room, claims.name) = ("lobby".into(), bad.into());
        api.get(&api.mint("one", &claims), CONFIG)
            .await
            .refused(StatusCode::BAD_REQUEST, Some("name"));
        // The same name in the other doors.
        let name: String = bad.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let got = api
            .get(&api.operator("one"), &format!("{CONFIG}?user_id={name}"))
            .await;
        got.refused(StatusCode::BAD_REQUEST, Some("user_id"));
    }
    assert_eq!(api.state.book.version(), 0);
    let longest = "名".repeat(256);
    api.get(&api.token("one", &longest), CONFIG).await.ok();
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_back_and_nobody_else_waits() {
    let api = Api::with_rate(RateLimit {
        per_second: 1,
        burst: 5,
    })
    .await;
    let (ada, bob) = (api.token("one", "ada"), api.token("one", "bob"));
    for _ in 0..5 {
        api.get(&ada, CONFIG).await.ok();
    }
    let refused = api.get(&ada, CONFIG).await;
    refused.refused(StatusCode::TOO_MANY_REQUESTS, None);
    let wait: u64 = refused.headers[header::RETRY_AFTER]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=2).contains(&wait), "{wait}");
    // A new token of the same user is still the same user.
    api.get(&api.token("one", "ada"), CONFIG)
        .await
        .refused(StatusCode::TOO_MANY_REQUESTS, None);
    api.get(&bob, CONFIG).await.ok();
    api.get(&api.token("two", "ada"), CONFIG).await.ok();
}

#[tokio::test]
async fn a_wall_clock_that_is_set_moves_the_life_of_tokens_and_nothing_else() {
    let api = Api::new().await;
    let ada = api.token("one", "ada");
    for step in [3500, -50] {
        *api.step.lock().unwrap() = step;
        api.post(&ada, CONFIG, r#"{"enabled":true}"#).await.ok();
    }
    for (step, detail) in [(3700, "expired"), (-3600, "not valid yet")] {
        *api.step.lock().unwrap() = step;
        let got = api.get(&ada, CONFIG).await;
        got.refused(StatusCode::UNAUTHORIZED, None);
        assert!(
            got.body["detail"].as_str().unwrap().contains(detail),
            "{}",
            got.text
        );
    }
    // The same step in the middle of a burst leaves the rate as it was.
    let limited = Api::with_rate(RateLimit {
        per_second: 1,
        burst: 2,
    })
    .await;
    let ada = limited.token("one", "ada");
    limited.get(&ada, CONFIG).await.ok();
    limited.get(&ada, CONFIG).await.ok();
    *limited.step.lock().unwrap() = 1800;
    limited
        .get(&ada, CONFIG)
        .await
        .refused(StatusCode::TOO_MANY_REQUESTS, None);
}
