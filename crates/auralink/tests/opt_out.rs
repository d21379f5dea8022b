//! A user's word against AIC, said over REST in a running call.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod call;

use std::time::Duration;

use call::{Call, Process, codes, http_client, rows, token, until};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Time in which an opt-out has to hold.
const PROMISE: Duration = Duration::from_secs(1);
/// Length of what a row tells about.
const ROW: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_opt_out_over_rest_ends_the_coding_within_a_second_and_the_call_goes_on() {
    let server = Process::serve("memory");
    let http = &server.address;
    let call = Call::start(http).await;
    until("the core codes", http, codes).await;

    let answer = http_client()
        .post(format!("http://{http}/api/v1/aic/config"))
        .bearer_auth(token("ada"))
        .json(&serde_json::json!({ "opt_out": true }))
        .send()
        .await
        .unwrap();
    assert!(answer.status().is_success(), "{answer:?}");
    let over = OffsetDateTime::now_utc() + PROMISE;

    tokio::time::sleep(Duration::from_secs(5)).await;
    for row in rows(http).await {
        let end = OffsetDateTime::parse(row["ts"].as_str().unwrap(), &Rfc3339).unwrap();
        let coded = row["inference_latency_ms"].is_number();
        assert!(!coded || end - ROW <= over, "coded on: {row}");
    }
    call.end().await;
}
