//! The wall clock is set while people talk.

use std::env::consts::ARCH;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use time::OffsetDateTime;

use crate::call::{BINARY, Call, PATIENCE, Process, coded, http_client, rows, serve, token_for};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wall_clock_set_by_an_hour_forth_and_back_costs_a_running_call_nothing() {
    // Stands between a program and the time of day.
    let library = format!("/usr/lib/{ARCH}-linux-gnu/faketime/libfaketimeMT.so.1");
    if !Path::new(&library).exists() {
        return eprintln!("SKIPPED: no {library} (Debian: faketime)");
    }
    let folder = tempfile::tempdir().unwrap();
    let offset = folder.path().join("offset");
    fs::write(&offset, "+0").unwrap();
    let server = Process::run(
        Command::new(BINARY)
            .args(serve("memory"))
            .env("LD_PRELOAD", &library)
            .env("FAKETIME_TIMESTAMP_FILE", &offset)
            .env("FAKETIME_CACHE_DURATION", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        "http",
    );
    let http = &server.address;
    let call = Call::coded(http).await;
    for step in [3600, -3600, 0] {
        // Replaced, never half written.
        let next = folder.path().join("next");
        fs::write(&next, format!("{step:+}")).unwrap();
        fs::rename(&next, &offset).unwrap();
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
