//! Faults of the AI core in a running call: whatever it does, nothing is missing.

use std::time::{Duration, Instant};

use time::OffsetDateTime;

use crate::call::{Call, PATIENCE, Process, at, coded, codes, fell_back, http_client, rows, until};

async fn inject(http: &str, fault: &str) {
    let url = format!("http://{http}/dev/aic/worker/{fault}");
    let answer = http_client().post(url).send().await.unwrap();
    assert!(answer.status().is_success(), "{answer:?}");
}

/// The call is coded, the fault is injected, the fallback is recorded with a reason that fits, nothing is missing.
async fn survives(fault: &str, reasons: &[&str]) {
    let server = Process::serve("memory");
    let http = &server.address;
    let call = Call::coded(http).await;
    let (from, mut injected) = (Instant::now(), None);
    loop {
        let mut rows = rows(http).await;
        // Once more where the leg had just left the core for a reason of its own, on a busy machine.
        if codes(&rows) {
            injected = injected.or_else(|| Some(OffsetDateTime::now_utc()));
            inject(http, fault).await;
        }
        // What happened before is not the fault's doing.
        rows.retain(|row| injected.is_some_and(|injected| at(row) > injected));
        if reasons.iter().any(|reason| fell_back(&rows, reason)) {
            break;
        }
        assert!(from.elapsed() < PATIENCE, "{fault}: never; {:?}", rows.last());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
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
async fn a_core_that_dies_again_and_again_costs_one_switch_in_ten_seconds_and_nothing_is_missing() {
    let server = Process::serve("memory");
    let http = &server.address;
    let call = Call::coded(http).await;
    for _ in 0..10 {
        inject(http, "kill?down_ms=300").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let returns = rows(http)
        .await
        .windows(2)
        .filter(|pair| !coded(&pair[0]) && coded(&pair[1]))
        .count();
    // Into the core at the start; a stay in bypass is 10 s at least.
    assert!(returns <= 2, "{returns} times into the core");
    call.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_core_a_little_slower_than_usual_or_late_now_and_then_goes_on_coding() {
    let server = Process::serve("memory");
    let http = &server.address;
    let call = Call::coded(http).await;
    for fault in ["stall?ms=5", "stall?ms=10", "stall?ms=80&every=10"] {
        inject(http, fault).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    until("the core codes on", http, codes).await;
    call.end().await;
}
