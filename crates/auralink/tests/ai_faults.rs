//! Faults of the AI core in a running call: whatever it does, nothing is missing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod call;

use call::{Call, Process, codes, fell_back, until};

async fn inject(http: &str, fault: &str) {
    let url = format!("http://{http}/dev/aic/worker/{fault}");
    let answer = call::http_client().post(url).send().await.unwrap();
    assert!(answer.status().is_success(), "{answer:?}");
}

/// The call is coded, the fault is injected, the fallback is recorded with a reason that fits, nothing is missing.
async fn survives(fault: &str, reasons: &[&str]) {
    let server = Process::serve("memory");
    let http = &server.address;
    let call = Call::start(http).await;
    until("the core codes", http, codes).await;
    inject(http, fault).await;
    let fell = |rows: &[serde_json::Value]| reasons.iter().any(|reason| fell_back(rows, reason));
    until(fault, http, fell).await;
    call.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_core_that_needs_200_ms_a_frame_is_left_and_nothing_is_missing() {
    survives("stall?ms=200", &["late"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_panics_is_left_and_nothing_is_missing() {
    survives("kill?down_ms=500", &["core_unreachable"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_stuck_for_ever_is_left_and_nothing_is_missing() {
    survives("stick", &["late", "core_unreachable"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_core_a_little_slower_than_usual_goes_on_coding() {
    let server = Process::serve("memory");
    let http = &server.address;
    let call = Call::start(http).await;
    until("the core codes", http, codes).await;
    for ms in [5, 10] {
        inject(http, &format!("stall?ms={ms}")).await;
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    }
    until("the core codes on", http, codes).await;
    call.end().await;
}
