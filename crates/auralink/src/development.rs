//! Routes of `--dev`: fault injection and figures. Never in production: they ask for no token.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use auralink_aicore::CoreFaults;
use auralink_media::{MediaServer, Stats};
use axum::extract::Query;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kill {
    /// Milliseconds before the workers are started again.
    #[serde(default = "Kill::default_down")]
    down_ms: u64,
}

impl Kill {
    const fn default_down() -> u64 {
        2_000
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stall {
    /// Milliseconds that a frame takes longer; zero heals.
    ms: u64,
    /// One frame in so many.
    #[serde(default = "Stall::default_every")]
    every: NonZeroU32,
}

impl Stall {
    const fn default_every() -> NonZeroU32 {
        NonZeroU32::MIN
    }
}

/// Which shard of the media server.
#[derive(Deserialize)]
struct Shard {
    /// Its number, from 0.
    number: usize,
}

/// What the forwarding benchmark reads.
#[derive(Serialize)]
struct ForwardStats {
    legs: usize,
    longest_turn_us: Option<f64>,
    packets_in: u64,
    packets_out: u64,
    forward_p50_us: Option<f64>,
    forward_p99_us: Option<f64>,
}

impl From<Stats> for ForwardStats {
    fn from(stats: Stats) -> Self {
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        Self {
            legs: stats.legs,
            longest_turn_us: stats.turns.quantile(1.0).map(micros),
            packets_in: stats.counters.packets_in,
            packets_out: stats.counters.packets_out,
            forward_p50_us: stats.delays.quantile(0.5).map(micros),
            forward_p99_us: stats.delays.quantile(0.99).map(micros),
        }
    }
}

/// All of them.
pub fn routes(faults: CoreFaults, media: Arc<MediaServer>) -> Router {
    let (stalling, sticking) = (faults.clone(), faults.clone());
    let kill = move |Query(kill): Query<Kill>| async move {
        faults.kill_workers(Duration::from_millis(kill.down_ms.min(60_000)));
        "killed\n"
    };
    let stall = move |Query(stall): Query<Stall>| async move {
        stalling.stall(Duration::from_millis(stall.ms.min(60_000)), stall.every);
        "stalled\n"
    };
    let stick = move || async move {
        sticking.stick_workers();
        "stuck\n"
    };
    let shards = media.clone();
    let kill_shard = move |Query(shard): Query<Shard>| async move {
        shards.kill_shard(shard.number).await;
        "killed\n"
    };
    let stats = move || async move { Json(media.stats().await.map(ForwardStats::from)) };
    Router::new()
        .route("/dev/aic/worker/kill", post(kill))
        .route("/dev/aic/worker/stall", post(stall))
        .route("/dev/aic/worker/stick", post(stick))
        .route("/dev/media/shard/kill", post(kill_shard))
        .route("/dev/media/stats", get(stats))
}
