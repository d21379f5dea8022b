//! What the server says it saved, against the bytes of a real call with AIC off and of the same call with AIC on.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use auralink_aicore::{LocalCore, Workers};
use auralink_client::{AudioSource, Client, ClientOptions, OwnSettings, Stats};
use auralink_engine::PolicyBook;
use auralink_media::{Ai, EVENTS, MediaConfig, MediaServer, ROWS};
use auralink_token::{Claims, KeyRing};
use auralink_types::{AicConfig, ConfigChange, MetricRow, Mode, SavingsBasis, UserKey};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// What is counted: the same twenty seconds of the same speech in every call, when everything has settled.
const FROM: Duration = Duration::from_secs(9);
const UNTIL: Duration = Duration::from_secs(29);

/// Mean whole-wire rates of RTP, as the two clients count their datagrams, and what the server says. What a machine too busy
/// to record all of it left out counts as no time.
#[derive(Debug)]
struct Counted {
    up_kbps: f64,
    down_kbps: f64,
    seconds: f64,
    rows: Vec<MetricRow>,
}

impl Counted {
    fn claimed(&self, of: impl Fn(&MetricRow) -> f64) -> f64 {
        let lasted = |at: usize| {
            let from = self.rows[at.saturating_sub(1)].ts_us;
            if at == 0 {
                1.0
            } else {
                (self.rows[at].ts_us - from) as f64 / 1e6
            }
        };
        let kbit: f64 = self
            .rows
            .iter()
            .enumerate()
            .map(|(at, row)| of(row) * lasted(at))
            .sum();
        kbit / self.seconds
    }
}

struct Speaker {
    kbps: u32,
    red: bool,
    dtx: bool,
    aic: bool,
}

impl Speaker {
    const fn stock(kbps: u32) -> Self {
        Self {
            kbps,
            red: true,
            dtx: false,
            aic: false,
        }
    }
}

/// Ada talks to Ben; both are stock clients, or Ada has an AIC client.
async fn call(speaker: &Speaker, mode: Option<Mode>) -> Counted {
    let keys = Arc::new(KeyRing::new([("devkey", "secret")]));
    let workers = Workers::start(1);
    let book = Arc::new(PolicyBook::new());
    let (row_sender, mut rows) = mpsc::channel(ROWS);
    let (event_sender, _events) = mpsc::channel(EVENTS);
    let ai = Ai {
        core: Arc::new(move |wake| Ok(Box::new(LocalCore::on(&workers, wake)))),
        book: book.clone(),
        rows: row_sender,
        events: event_sender,
    };
    let server = MediaServer::start_with(MediaConfig::loopback(keys.clone()), ai)
        .await
        .unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let routes = server.router();
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    if let Some(mode) = mode {
        let change = ConfigChange {
            enabled: Some(true),
            mode: Some(mode),
            max_latency_ms: Some(100),
            ..ConfigChange::default()
        };
        let config = AicConfig::default().apply(&change).unwrap();
        book.set(UserKey::new("devkey", "ada"), config).unwrap();
    }
    let options = |identity: &str| {
        let claims = Claims::join("room", identity);
        let token = keys
            .mint("devkey", &claims, Duration::from_secs(600), SystemTime::now())
            .unwrap();
        ClientOptions::new(&url, token)
    };
    let ben = Client::join(options("ben")).await.unwrap();
    let ada = Client::join(ClientOptions {
        publish: Some(AudioSource::synthetic()),
        aic: speaker.aic,
        own: OwnSettings {
            bitrate: speaker.kbps * 1_000,
            red: speaker.red,
            dtx: speaker.dtx,
            ..OwnSettings::default()
        },
        ..options("ada")
    })
    .await
    .unwrap();
    let start = Instant::now();
    let mut counted = Vec::new();
    // From one row to another, so that both count the same packets.
    sleep_until(start + FROM).await;
    while rows.try_recv().is_ok() {}
    if mode.is_some() {
        rows.recv().await.unwrap();
    }
    let before = (ada.stats().await.unwrap(), ben.stats().await.unwrap());
    let from = Instant::now();
    sleep_until(start + UNTIL).await;
    while let Ok(row) = rows.try_recv() {
        counted.push(row);
    }
    if mode.is_some() {
        counted.push(rows.recv().await.unwrap());
    }
    let after = (ada.stats().await.unwrap(), ben.stats().await.unwrap());
    let passed = from.elapsed().as_secs_f64();
    ada.leave().await.unwrap();
    ben.leave().await.unwrap();
    drop(server);
    let skipped = |stats: &Stats| stats.publish.as_ref().map_or(0, |publish| publish.skipped_ms);
    let seconds = passed - (skipped(&after.0) - skipped(&before.0)) as f64 / 1e3;
    let kbps = |before: &Stats, after: &Stats, bytes: fn(&Stats) -> u64| {
        (bytes(after) - bytes(before)) as f64 * 8e-3 / seconds
    };
    Counted {
        up_kbps: kbps(&before.0, &after.0, |stats| stats.sent.rtp_wire_bytes),
        down_kbps: kbps(&before.1, &after.1, |stats| stats.received.rtp_wire_bytes),
        seconds,
        rows: counted,
    }
}

async fn is_told_as_it_is(speaker: Speaker, mode: Mode, least: f64) {
    let Speaker { kbps, red, dtx, aic } = speaker;
    let name = format!("{kbps} kbps, red {red}, dtx {dtx}, aic {aic}, {mode}");
    let (free, thin) = tokio::join!(call(&speaker, None), call(&speaker, Some(mode)));
    let before = thin.claimed(|row| row.original_bandwidth_kbps);
    let after = thin.claimed(|row| row.compressed_bandwidth_kbps);
    let counted = (free.up_kbps + free.down_kbps, thin.up_kbps + thin.down_kbps);
    let saved = (
        1.0 - thin.up_kbps / free.up_kbps,
        1.0 - thin.down_kbps / free.down_kbps,
    );
    println!(
        "{name}: before {before:.1} of {:.1}, after {after:.1} of {:.1}, up {:.1} to {:.1} ({:.0} %), down {:.1} to {:.1} ({:.0} %)",
        counted.0,
        counted.1,
        free.up_kbps,
        thin.up_kbps,
        100.0 * saved.0,
        free.down_kbps,
        thin.down_kbps,
        100.0 * saved.1,
    );
    assert!(thin.rows.len() >= 10, "{name}: {} rows", thin.rows.len());
    for row in &thin.rows {
        assert_eq!(row.savings_basis, SavingsBasis::Measured, "{name}: {row:?}");
        assert!(!row.model_used.starts_with("lean-0k"), "{name}: {row:?}");
        assert!(
            row.quality_score.is_none_or(|score| score > 0.6),
            "{name}: {row:?}"
        );
    }
    for (claimed, counted) in [(before, counted.0), (after, counted.1)] {
        let part = claimed / counted;
        assert!(
            (0.95..=1.05).contains(&part),
            "{name}: {claimed} kbps of {counted}"
        );
    }
    assert!(saved.0 >= least && saved.1 >= least, "{name}: {saved:?}");
    if aic {
        let timed = |row: &&MetricRow| row.inference_latency_ms.is_some_and(|ms| ms > 0.0 && ms < 20.0);
        assert_eq!(
            thin.rows.iter().filter(timed).count(),
            thin.rows.len(),
            "{name}: the client's own coding is timed"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stock_client_that_sends_little_is_told_how_little_was_saved() {
    let without_red = Speaker {
        red: false,
        ..Speaker::stock(24)
    };
    tokio::join!(
        is_told_as_it_is(without_red, Mode::Adaptive, 0.4),
        is_told_as_it_is(Speaker::stock(24), Mode::Adaptive, 0.6),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stock_client_with_stock_settings_saves_what_is_promised_both_ways() {
    tokio::join!(
        is_told_as_it_is(Speaker::stock(48), Mode::Adaptive, 0.80),
        is_told_as_it_is(Speaker::stock(48), Mode::Aggressive, 0.86),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pauses_and_narrow_voices_are_told_as_they_are() {
    let narrow = Speaker {
        red: false,
        ..Speaker::stock(16)
    };
    let pausing = Speaker {
        dtx: true,
        ..Speaker::stock(32)
    };
    tokio::join!(
        is_told_as_it_is(narrow, Mode::Adaptive, 0.4),
        is_told_as_it_is(pausing, Mode::Adaptive, 0.6),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aic_client_is_told_what_its_own_encoder_would_have_sent() {
    let aic = Speaker {
        aic: true,
        ..Speaker::stock(24)
    };
    is_told_as_it_is(aic, Mode::Adaptive, 0.6).await;
}
