//! Configuration that changes in every way at once while people talk.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};

use time::OffsetDateTime;

use crate::call::{Call, Process, at, coded, codes, configure, http_client, rows, token, until};

async fn current(http: &str) -> (Value, String) {
    let url = format!("http://{http}/api/v1/aic/config");
    let answer = http_client().get(url).bearer_auth(token("ada")).send();
    let answer = answer.await.unwrap();
    let tag = answer.headers()["etag"].to_str().unwrap().to_owned();
    (answer.json().await.unwrap(), tag)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_invalid_late_too_fast_or_deleted_costs_a_running_call_nothing() {
    let server = Process::serve("memory");
    let http = &server.address;
    let call = Call::coded(http).await;

    let (before, tag) = current(http).await;
    for wrong in [
        json!({ "quality_floor": 1.5 }),
        json!({ "max_latency_ms": -1 }),
        json!({ "mode": "fastest" }),
        json!({ "nonsense": 1 }),
    ] {
        let answer = configure(http, "ada", wrong).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    }
    assert_eq!(current(http).await, (before, tag.clone()));

    let write = |mode: &'static str| {
        http_client()
            .post(format!("http://{http}/api/v1/aic/config"))
            .bearer_auth(token("ada"))
            .header("if-match", &tag)
            .json(&json!({ "mode": mode }))
            .send()
    };
    let (one, other) = tokio::join!(write("conservative"), write("aggressive"));
    let mut answers = [one.unwrap().status(), other.unwrap().status()];
    answers.sort();
    assert_eq!(answers, [StatusCode::OK, StatusCode::PRECONDITION_FAILED]);

    // As fast as it goes; what is too fast is refused and changes nothing.
    let from = Instant::now();
    let mut last = Value::Null;
    let mut taken = 0;
    for turn in 0.. {
        let mode = ["adaptive", "conservative"][turn % 2];
        let answer = configure(http, "ada", json!({ "mode": mode })).await;
        match answer.status() {
            StatusCode::OK => (last, taken) = (json!(mode), taken + 1),
            status => assert_eq!(status, StatusCode::TOO_MANY_REQUESTS),
        }
        if from.elapsed() > Duration::from_secs(3) {
            break;
        }
    }
    println!("{taken} changes in 3 s");
    assert!(taken > 50, "{taken}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(current(http).await.0["mode"], last);
    until("the core codes on", http, codes).await;

    let url = format!("http://{http}/api/v1/aic/users/ada");
    let answer = http_client()
        .delete(url)
        .bearer_auth(token("ada"))
        .send()
        .await
        .unwrap();
    assert!(answer.status().is_success(), "{answer:?}");
    let left_by = OffsetDateTime::now_utc() + Duration::from_secs(2);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(current(http).await.0["enabled"], false);
    for row in rows(http).await {
        assert!(!coded(&row) || at(&row) < left_by, "coded on: {row}");
    }
    call.end().await;
}
