//! `./x bench store`: metric rows into SQLite and PostgreSQL through the batch writer, and answers out of them.
//!
//! Seven days of calls, each day with all tracks at a time for as long as the rows reach, so that a batch holds as many
//! sessions as it may in life. Then the rollups are refreshed up to five minutes ago, the oldest they ever are, and
//! each question is asked again and again about another call, user or tenant.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, bail, ensure};
use auralink_store::cluster::{Cluster, Durability};
use auralink_store::{
    Actor, MetricQuery, MetricWriter, QUEUE_MAX, REFRESH_EVERY, Retention, Scoped, Span, Store, Timestamp,
    WriterStats, without_password,
};
use auralink_types::{
    Media, MetricRow, NetworkClass, Prediction, QualityMetric, Reason, SavingsBasis, UserKey,
};
use indicatif::ProgressBar;
use serde::Serialize;

use crate::cpu;

/// Days over which the rows lie, and over which savings are asked for.
const DAYS: u32 = 7;

/// Publishers of one call.
const CALL: u64 = 4;

/// How often each question is asked.
const ASKED: u32 = 200;

/// What must hold: rows a second, and milliseconds at the 95th percentile.
const ROWS_PER_SECOND: f64 = 20_000.0;
const ANSWER_MS: f64 = 50.0;

/// Rows that may be on their way before more are made: the writer's queue never fills.
const AHEAD: u64 = QUEUE_MAX as u64 / 2;

/// Options of the benchmark.
#[derive(clap::Args)]
pub struct StoreOptions {
    /// Rows written into each database.
    #[arg(long, value_name = "N", default_value_t = 400_000)]
    rows: u64,
    /// Tracks at a time.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    tracks: u64,
    /// Tenants who share them.
    #[arg(long, value_name = "N", default_value_t = 10)]
    tenants: u64,
    /// `sqlite` or `postgres` for a fresh one of its own, or the URL of an empty one; both when not given.
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Where to write what is printed, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What was found about one database.
#[derive(Serialize)]
struct Found {
    database: String,
    rows: u64,
    tracks: u64,
    tenants: u64,
    rows_per_second: f64,
    /// Over stretches of five seconds.
    slowest_rows_per_second: f64,
    /// Of one processor core, this program and the database together: what a busy machine's clock doesn't tell.
    rows_per_cpu_second: f64,
    dropped: u64,
    refused: u64,
    refresh_seconds: f64,
    /// Rows that no refresh has seen, over all tenants.
    rows_since_refresh: u64,
    answers: Vec<Answer>,
}

/// How long one question takes.
#[derive(Serialize)]
struct Answer {
    question: &'static str,
    p50_ms: f64,
    p95_ms: f64,
    /// Processor time, this program and the database together.
    mean_cpu_ms: f64,
}

/// Measures; `true` when all is as fast as it must be.
pub async fn run(options: StoreOptions) -> Result<bool> {
    ensure!(
        (1..=100_000).contains(&options.tracks) && (1..=options.tracks).contains(&options.tenants),
        "--tracks must be 1 to 100000 and --tenants no more than that"
    );
    ensure!(
        options.rows >= options.tracks * u64::from(DAYS),
        "--rows must be at least {} for {} tracks",
        options.tracks * u64::from(DAYS),
        options.tracks
    );
    let wanted = match options.database.as_deref() {
        None => vec!["sqlite", "postgres"],
        Some(one) => vec![one],
    };
    let mut all = Vec::new();
    for database in wanted {
        let found = match database {
            "sqlite" => {
                let folder = tempfile::tempdir()?;
                let path = folder.path().join("bench.db");
                measure("sqlite", &path.display().to_string(), &options).await?
            }
            "postgres" => {
                let cluster = Cluster::start(Durability::Full).context("PostgreSQL")?;
                let url = cluster.fresh_database().await?;
                measure("postgres", &url, &options).await?
            }
            url => measure(&without_password(url), url, &options).await?,
        };
        print(&found);
        all.push(found);
    }
    if let Some(path) = &options.json {
        fs::write(path, serde_json::to_string_pretty(&all)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(all.iter().all(Found::is_fast))
}

impl Found {
    fn is_fast(&self) -> bool {
        self.rows_per_second >= ROWS_PER_SECOND
            && self.dropped + self.refused == 0
            && self.answers.iter().all(|answer| answer.p95_ms <= ANSWER_MS)
    }
}

async fn measure(name: &str, url: &str, options: &StoreOptions) -> Result<Found> {
    let store = Store::open(url).await?;
    let now = Timestamp::from(SystemTime::now());
    let day = Duration::from_secs(86_400);
    // A partition for each day, as a server that has run all week would have made.
    let keep = Retention {
        metrics_days: 36_500,
        ..Retention::default()
    };
    for back in (0..=DAYS).rev() {
        store.retain(&keep, now.minus(day * back)).await?;
    }
    let calls = Calls {
        tracks: options.tracks,
        tenants: options.tenants,
        seconds: options.rows / options.tracks / u64::from(DAYS),
        now,
    };
    let written = write(&store, &calls).await?;
    let refreshed = now.minus(REFRESH_EVERY);
    let started = Instant::now();
    store.refresh_rollups(refreshed).await?;
    let refresh_seconds = started.elapsed().as_secs_f64();
    let answers = ask(&store, &calls).await?;
    let rows_since_refresh = since(&store, &calls, refreshed).await?;
    store.close().await;
    Ok(Found {
        database: name.to_owned(),
        rows: written.stats.written,
        tracks: calls.tracks,
        tenants: calls.tenants,
        rows_per_second: written.rate,
        slowest_rows_per_second: written.slowest,
        rows_per_cpu_second: written.stats.written as f64 / written.cpu.as_secs_f64().max(0.01),
        dropped: written.stats.dropped,
        refused: written.stats.refused,
        refresh_seconds,
        rows_since_refresh,
        answers,
    })
}

/// Who talks when.
struct Calls {
    tracks: u64,
    tenants: u64,
    seconds: u64,
    now: Timestamp,
}

impl Calls {
    fn tenant(&self, track: u64) -> String {
        format!("tenant-{}", track % self.tenants)
    }

    fn call(&self, day: u64, track: u64) -> String {
        // Those of one call are of one tenant.
        format!(
            "RM_{day}_{}_{}",
            track % self.tenants,
            track / self.tenants / CALL
        )
    }

    fn row(&self, day: u64, second: u64, track: u64) -> MetricRow {
        let back = Duration::from_secs((u64::from(DAYS) - 1 - day) * 86_400 + (self.seconds - second));
        let fallback = (second * 31 + track).is_multiple_of(211);
        MetricRow {
            owner: UserKey::new(self.tenant(track), format!("user-{track}")),
            call_id: self.call(day, track).into(),
            session_id: format!("AS_{day}_{track}").into(),
            track_id: format!("TR_{track}").into(),
            ts_us: self.now.minus(back).as_micros(),
            media: Media::Audio,
            original_bandwidth_kbps: 120.0,
            compressed_bandwidth_kbps: 20.0 + (track % 8) as f64,
            savings_basis: SavingsBasis::Measured,
            inference_latency_ms: Some(0.3 + (second % 7) as f64 * 0.1),
            inference_latency_p99_ms: Some(1.0 + (second % 13) as f64 * 0.5),
            quality_score: Some(0.8 + (second % 20) as f64 * 0.01),
            quality_metric: QualityMetric::EstimatedPesqWb,
            psnr_db: None,
            prediction: Some(Prediction {
                quality_score: 0.8,
                compression_ratio: 0.78,
                confidence: 0.5,
            }),
            model_used: ["lean-12k-60ms", "lean-16k-60ms", "neural-6k-80ms"][(track % 3) as usize].into(),
            frames: 50,
            fallback_triggered: fallback,
            fallback_reason: fallback.then_some(Reason::Late),
            network_class: NetworkClass::Good,
        }
    }
}

struct Written {
    stats: WriterStats,
    rate: f64,
    slowest: f64,
    cpu: Duration,
}

async fn write(store: &Store, calls: &Calls) -> Result<Written> {
    let writer = MetricWriter::start(store.clone());
    let total = calls.tracks * calls.seconds * u64::from(DAYS);
    let bar = ProgressBar::new(total);
    let window = Duration::from_secs(5);
    let (started, before) = (Instant::now(), cpu::spent());
    let (mut slowest, mut since, mut at) = (f64::INFINITY, 0, started);
    let mut made = 0;
    for day in 0..u64::from(DAYS) {
        for second in 0..calls.seconds {
            for track in 0..calls.tracks {
                writer.push(calls.row(day, second, track));
                made += 1;
            }
            let done = loop {
                let stats = writer.stats();
                let done = stats.written + stats.dropped + stats.refused;
                if made - done <= AHEAD {
                    break done;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            };
            bar.set_position(done);
            if at.elapsed() >= window {
                slowest = slowest.min((done - since) as f64 / at.elapsed().as_secs_f64());
                (since, at) = (done, Instant::now());
            }
        }
    }
    if !writer.flush().await {
        bail!("the database would not take the last rows");
    }
    let rate = made as f64 / started.elapsed().as_secs_f64();
    bar.finish_and_clear();
    Ok(Written {
        stats: writer.stats(),
        rate,
        slowest: slowest.min(rate),
        cpu: cpu::spent().saturating_sub(before),
    })
}

fn person(store: &Store, calls: &Calls, track: u64, operator: bool) -> Scoped {
    // An operator who asks about himself leaves no trace in the audit log; the trace of the others is there by the
    // second time they ask.
    store.as_user(Actor {
        key: UserKey::new(calls.tenant(track), format!("user-{track}")),
        operator,
    })
}

async fn ask(store: &Store, calls: &Calls) -> Result<Vec<Answer>> {
    let mut answers = Vec::new();
    for (question, operator, what) in [
        ("metrics of one call, 100 rows, operator", true, What::Call(100)),
        ("metrics of one call, 1000 rows, operator", true, What::Call(1000)),
        ("metrics of one call, 100 rows, user", false, What::Call(100)),
        ("7-day savings of a tenant", true, What::Savings),
        ("7-day savings of a user", false, What::Savings),
        ("7-day summary of a tenant", true, What::Summary),
    ] {
        let mut times = Vec::new();
        let before = cpu::spent();
        for number in 0..ASKED {
            // Another each time, in no order that a cache would like.
            let track = u64::from(number) * 7919 % calls.tracks;
            let day = u64::from(number % DAYS);
            let scope = person(store, calls, track, operator);
            let started = Instant::now();
            match what {
                What::Call(limit) => {
                    let query = MetricQuery {
                        call_id: Some(calls.call(day, track).into()),
                        limit,
                        ..MetricQuery::default()
                    };
                    ensure!(!scope.metrics(&query).await?.rows.is_empty(), "no rows of a call");
                }
                What::Savings => {
                    let savings = scope.bandwidth_savings(DAYS, 0.09).await?;
                    ensure!(savings.total_saved_mb > 0.0, "nothing saved");
                }
                What::Summary => {
                    let length = Duration::from_secs(u64::from(DAYS) * 86_400);
                    let span = Span::since(calls.now.minus(length));
                    ensure!(
                        scope.performance_summary(&span).await?.sessions > 0,
                        "no sessions"
                    );
                }
            }
            times.push(started.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        let rank =
            |share: f64| times[((times.len() as f64 * share).ceil() as usize).clamp(1, times.len()) - 1];
        answers.push(Answer {
            question,
            p50_ms: rank(0.50),
            p95_ms: rank(0.95),
            mean_cpu_ms: cpu::spent().saturating_sub(before).as_secs_f64() * 1e3 / f64::from(ASKED),
        });
    }
    Ok(answers)
}

#[derive(Clone, Copy)]
enum What {
    Call(u32),
    Savings,
    Summary,
}

async fn since(store: &Store, calls: &Calls, from: Timestamp) -> Result<u64> {
    let mut rows = 0;
    for health in store.tenant_health(from).await? {
        rows += health.seconds;
    }
    ensure!(rows <= calls.tracks * calls.seconds, "rows from nowhere");
    Ok(rows)
}

fn print(found: &Found) {
    println!(
        "{}: {} rows of {} tracks and {} tenants",
        found.database, found.rows, found.tracks, found.tenants
    );
    println!(
        "  written  {:.0} rows/s (slowest 5 s: {:.0}), must be {ROWS_PER_SECOND:.0}; {:.0} per second of one core; {} \
         dropped, {} refused",
        found.rows_per_second,
        found.slowest_rows_per_second,
        found.rows_per_cpu_second,
        found.dropped,
        found.refused
    );
    println!(
        "  rollups refreshed in {:.1} s, {} rows since",
        found.refresh_seconds, found.rows_since_refresh
    );
    for answer in &found.answers {
        println!(
            "  {:<42} p50 {:>7.2} ms   p95 {:>7.2} ms, must be {ANSWER_MS:.0}   cpu {:>6.2} ms",
            answer.question, answer.p50_ms, answer.p95_ms, answer.mean_cpu_ms
        );
    }
}
