//! A user's word against AIC, said over REST in a running call.

use std::time::Duration;

use time::OffsetDateTime;

use crate::call::{Call, Process, at, coded, configure, rows};

/// Time in which an opt-out has to hold.
const PROMISE: Duration = Duration::from_secs(1);
/// Length of what a row tells about.
const ROW: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_opt_out_over_rest_ends_the_coding_within_a_second_and_the_call_goes_on() {
    let server = Process::serve("memory");
    let http = &server.address;
    let call = Call::coded(http).await;

    let answer = configure(http, "ada", serde_json::json!({ "opt_out": true })).await;
    assert!(answer.status().is_success(), "{answer:?}");
    let over = OffsetDateTime::now_utc() + PROMISE;

    tokio::time::sleep(Duration::from_secs(5)).await;
    for row in rows(http).await {
        assert!(!coded(&row) || at(&row) - ROW <= over, "coded on: {row}");
    }
    call.end().await;
}
