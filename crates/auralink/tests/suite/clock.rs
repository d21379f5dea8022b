//! The wall clock is set while people talk.

use std::env::consts::ARCH;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::call::{
    BINARY, Call, PATIENCE, Process, at, coded, http_client, rows, serve, token, token_for, until,
};

const MINUTES: Duration = Duration::from_secs(300);

/// Waits until the server's clock is off by so many seconds: a token for the minutes around that lets in.
async fn until_it_is(http: &str, step: i64) {
    let url = format!("http://{http}/api/v1/aic/config");
    let from = Instant::now();
    loop {
        let there = SystemTime::UNIX_EPOCH
            + Duration::from_secs(OffsetDateTime::now_utc().unix_timestamp().saturating_add(step) as u64);
        let token = token_for("ada", there - MINUTES, 2 * MINUTES);
        let answer = http_client().get(&url).bearer_auth(token).send().await.unwrap();
        if answer.status().is_success() {
            return;
        }
        assert!(from.elapsed() < PATIENCE, "never off by {step} s");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// A server whose clock the file sets: seconds to add to the time of day. `None` where that cannot be done.
fn faked(offset: &Path) -> Option<Process> {
    // Stands between a program and the time of day.
    let library = format!("/usr/lib/{ARCH}-linux-gnu/faketime/libfaketimeMT.so.1");
    if !Path::new(&library).exists() {
        eprintln!("SKIPPED: no {library} (Debian: faketime)");
        return None;
    }
    Some(Process::run(
        Command::new(BINARY)
            .args(serve("memory"))
            .env("LD_PRELOAD", &library)
            .env("FAKETIME_TIMESTAMP_FILE", offset)
            .env("FAKETIME_CACHE_DURATION", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        "http",
    ))
}

/// Replaced, never half written.
fn set(offset: &Path, seconds: i64) {
    let next = offset.with_extension("next");
    fs::write(&next, format!("{seconds:+}")).unwrap();
    fs::rename(&next, offset).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wall_clock_set_by_an_hour_forth_and_back_costs_a_running_call_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let offset = folder.path().join("offset");
    set(&offset, 0);
    let Some(server) = faked(&offset) else { return };
    let http = &server.address;
    let call = Call::coded(http).await;
    for step in [3600, -3600, 0] {
        set(&offset, step);
        until_it_is(http, step).await;
        let before = rows(http).await.iter().filter(|row| coded(row)).count();
        let from = Instant::now();
        while rows(http).await.iter().filter(|row| coded(row)).count() < before + 3 {
            assert!(from.elapsed() < PATIENCE, "coded no more after {step} s");
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
    call.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_started_before_its_clock_was_set_dates_everything_rightly_from_then_on() {
    const YEARS: i64 = -20 * 365 * 86_400;
    let folder = tempfile::tempdir().unwrap();
    let offset = folder.path().join("offset");
    set(&offset, YEARS);
    let Some(server) = faked(&offset) else { return };
    let http = &server.address;
    until_it_is(http, YEARS).await;
    set(&offset, 0);
    until_it_is(http, 0).await;
    let from = OffsetDateTime::now_utc() - MINUTES;
    let call = Call::coded(http).await;
    for row in rows(http).await {
        assert!(at(&row) > from, "{row}");
    }

    // Set again, and for good, while people talk: dates follow, and the call has not become an hour longer.
    set(&offset, 3600);
    until_it_is(http, 3600).await;
    let later = OffsetDateTime::now_utc() + Duration::from_secs(3300);
    let follows = |rows: &[serde_json::Value]| rows.last().is_some_and(|row| at(row) > later);
    until("rows follow the clock", http, follows).await;
    let url = format!("http://{http}/api/v1/aic/calls");
    let started = async || {
        let answer = http_client()
            .get(&url)
            .bearer_auth(token("ada"))
            .send()
            .await
            .unwrap();
        let page: serde_json::Value = answer.json().await.unwrap();
        let text = page["calls"][0]["started_at"].as_str().unwrap().to_owned();
        OffsetDateTime::parse(&text, &Rfc3339).unwrap()
    };
    let asked = Instant::now();
    while started().await < later {
        assert!(asked.elapsed() < PATIENCE, "the call began an hour ago");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    call.end().await;
}
