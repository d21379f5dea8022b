//! Our own processes, and a call through them.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use auralink_client::{AudioSource, Client, ClientOptions, Stats};
use auralink_link::{StallWatch, explains};
use auralink_token::{Claims, KeyRing};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// How long the test waits for anything; a stay in bypass is 10 s, and the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The longest stretch that may be missing because of AIC.
pub const GAP_MAX_MS: f64 = 60.0;

pub const BINARY: &str = env!("CARGO_BIN_EXE_auralink");

/// Arguments of a development server.
pub fn serve(database: &str) -> [&str; 6] {
    [
        "serve",
        "--dev",
        "--listen",
        "127.0.0.1:0",
        "--database",
        database,
    ]
}

/// One of our own processes; dropping it kills it as `kill -9` would.
pub struct Process {
    child: Child,
    pub address: String,
}

impl Process {
    pub fn start(arguments: &[&str], label: &str) -> Self {
        Self::run(Command::new(BINARY).args(arguments), label)
    }

    /// Runs a command that becomes one of ours, and waits for the line that begins with the label.
    pub fn run(command: &mut Command, label: &str) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("it names its address").unwrap();
            if let Some(rest) = line.trim_start().strip_prefix(label) {
                let address = rest.split_whitespace().next().unwrap();
                break address.trim_start_matches("http://").to_owned();
            }
        };
        // Somebody has to read on, or the child blocks when the pipe is full.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }

    pub fn serve(database: &str) -> Self {
        Self::start(&serve(database), "http")
    }

    pub fn core(listen: &str) -> Self {
        // A busy test machine must not make the core refuse the streams this is about.
        let arguments = [
            "core",
            "--dev",
            "--listen",
            listen,
            "--workers",
            "1",
            "--load",
            "1",
        ];
        Self::start(&arguments, "grpc")
    }
}

impl Process {
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn token(identity: &str) -> String {
    // Valid some hours before and after, for the test that sets the server's clock.
    let hours = |count: u64| Duration::from_secs(3600 * count);
    token_for(identity, SystemTime::now() - hours(2), hours(4))
}

/// A token that is valid from then on, for so long.
pub fn token_for(identity: &str, from: SystemTime, time: Duration) -> String {
    let keys = KeyRing::new([("devkey", "secret")]);
    let claims = Claims::join("room", identity);
    keys.mint("devkey", &claims, time, from).unwrap()
}

/// A client of the server's HTTP; its TLS wants a provider, used or not.
pub fn http_client() -> reqwest::Client {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::new()
}

/// Changes a user's own configuration.
pub async fn configure(http: &str, identity: &str, change: Value) -> reqwest::Response {
    http_client()
        .post(format!("http://{http}/api/v1/aic/config"))
        .bearer_auth(token(identity))
        .json(&change)
        .send()
        .await
        .unwrap()
}

pub async fn switch_on(http: &str, identity: &str) {
    let change = serde_json::json!({ "enabled": true, "mode": "adaptive", "max_latency_ms": 20 });
    let answer = configure(http, identity, change).await;
    assert!(answer.status().is_success(), "{answer:?}");
}

/// The speaker's rows so far, oldest first; none while the database is away.
pub async fn rows(http: &str) -> Vec<Value> {
    let url = format!("http://{http}/api/v1/aic/metrics?limit=1000");
    let answer = http_client()
        .get(url)
        .bearer_auth(token("ada"))
        .send()
        .await
        .unwrap();
    if answer.status() == reqwest::StatusCode::SERVICE_UNAVAILABLE {
        return Vec::new();
    }
    let mut page: Value = answer.json().await.unwrap();
    let Value::Array(mut rows) = page["metrics"].take() else {
        panic!("no rows in {page}");
    };
    rows.sort_by_key(|row| row["ts"].as_str().map(str::to_owned));
    rows
}

pub async fn until(what: &str, http: &str, reached: impl Fn(&[Value]) -> bool) {
    let from = Instant::now();
    loop {
        let rows = rows(http).await;
        if reached(&rows) {
            return;
        }
        assert!(from.elapsed() < PATIENCE, "{what}: never; {:?}", rows.last());
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// The core has coded frames in each of the last three seconds: longer than a trial takes.
pub fn codes(rows: &[Value]) -> bool {
    rows.len() >= 3 && rows[rows.len() - 3..].iter().all(coded)
}

/// Whether the core has coded frames in that second.
pub fn coded(row: &Value) -> bool {
    row["inference_latency_ms"].is_number()
}

/// The end of the second that a row tells about.
pub fn at(row: &Value) -> OffsetDateTime {
    OffsetDateTime::parse(row["ts"].as_str().unwrap(), &Rfc3339).unwrap()
}

/// Whether a row tells of a fallback for that reason.
pub fn fell_back(rows: &[Value], reason: &str) -> bool {
    rows.iter().any(|row| row["fallback_reason"] == reason)
}

/// Who says that.
pub fn options(http: &str, identity: &str, source: AudioSource) -> ClientOptions {
    ClientOptions {
        publish: Some(source),
        ..ClientOptions::new(format!("ws://{http}"), token(identity))
    }
}

/// Ben, who says nothing.
pub fn listening(http: &str) -> ClientOptions {
    ClientOptions::new(format!("ws://{http}"), token("ben"))
}

/// Ada talks, Ben listens, AIC is on for her.
pub struct Call {
    speaker: Client,
    listener: Client,
    from: Instant,
    watch: StallWatch,
}

impl Call {
    /// Begins it with stock clients, and waits until the core codes.
    pub async fn coded(http: &str) -> Self {
        switch_on(http, "ada").await;
        let mut speaker = options(http, "ada", AudioSource::synthetic());
        // One who obeyed a cap on the rate would be forwarded untouched.
        speaker.own.obeys_cap = false;
        let call = Self::between(speaker, listening(http)).await;
        until("the core codes", http, codes).await;
        call
    }

    pub async fn between(speaker: ClientOptions, listener: ClientOptions) -> Self {
        let (watch, from) = (StallWatch::start(), Instant::now());
        let listener = Client::join(listener).await.unwrap();
        let speaker = Client::join(speaker).await.unwrap();
        Self {
            speaker,
            listener,
            from,
            watch,
        }
    }

    /// Ends it; nothing may have been missing for longer than the promise, but while the machine itself stood still.
    pub async fn end(self) -> (Stats, Stats) {
        let spoke = self.speaker.leave().await.unwrap();
        let report = self.listener.leave().await.unwrap();
        let track = &report.stats.tracks[0];
        let heard = &track.stats;
        println!("{heard:?}");
        assert_eq!(heard.packets_lost, 0, "loopback loses nothing");
        let stalls = self.watch.stalls();
        for gap in &heard.gaps {
            let at = self.from + Duration::from_secs_f64((track.from_ms + gap.at_ms).max(0.0) / 1000.0);
            let excused = explains(&stalls, at, Duration::from_secs_f64(gap.ms / 1000.0));
            assert!(
                gap.ms <= GAP_MAX_MS || excused,
                "{gap:?} without a stall; {heard:?}"
            );
        }
        (spoke.stats, report.stats)
    }
}
