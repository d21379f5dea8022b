//! The JSON that comes back, names as the product has them.

use auralink_store::{BandwidthSavings, MetricPage, StoredConfig, StoredMetric, StoredSession, Timestamp};
use auralink_types::{AicConfig, Media, Mode, NetworkClass, QualityMetric, Reason, SavingsBasis, UserId};
use serde::Serialize;
use uuid::Uuid;

/// Bytes of one kilobit.
const BYTES_PER_KBIT: f64 = 125.0;

#[derive(Serialize)]
pub(crate) struct ConfigAnswer {
    config_id: Option<Uuid>,
    user_id: UserId,
    enabled: bool,
    mode: Mode,
    target_compression_ratio: f64,
    max_latency_ms: u32,
    model_type: String,
    min_quality_score: f64,
    enable_predictive_compression: bool,
    enable_perceptual_optimization: bool,
    opt_out: bool,
    model_version: String,
    created_at: Option<String>,
    updated_at: Option<String>,
}

impl ConfigAnswer {
    /// A user who never set anything has the defaults, and no id.
    pub(crate) fn new(user: UserId, stored: Option<StoredConfig>, model_version: &str) -> Self {
        let time =
            |pick: fn(&StoredConfig) -> Timestamp| stored.as_ref().map(|stored| pick(stored).rfc3339());
        let default = AicConfig::default();
        let config = stored.as_ref().map_or(&default, |stored| &stored.config);
        Self {
            config_id: stored.as_ref().map(|stored| stored.config_id),
            user_id: user,
            enabled: config.enabled,
            mode: config.mode,
            target_compression_ratio: config.target_compression_ratio(),
            max_latency_ms: config.max_latency_ms,
            model_type: config.model_type.clone(),
            min_quality_score: config.min_quality_score(),
            enable_predictive_compression: config.enable_predictive_compression,
            enable_perceptual_optimization: config.enable_perceptual_optimization,
            opt_out: config.opt_out,
            model_version: model_version.to_owned(),
            created_at: time(|stored| stored.created_at),
            updated_at: time(|stored| stored.updated_at),
        }
    }
}

#[derive(Serialize)]
pub(crate) struct MetricsAnswer {
    metrics: Vec<MetricAnswer>,
    next_cursor: Option<String>,
}

impl From<MetricPage> for MetricsAnswer {
    fn from(page: MetricPage) -> Self {
        Self {
            metrics: page.rows.into_iter().map(MetricAnswer::from).collect(),
            next_cursor: page.next.map(|cursor| cursor.to_string()),
        }
    }
}

#[derive(Serialize)]
struct MetricAnswer {
    metric_id: i64,
    call_id: String,
    session_id: String,
    track_id: String,
    user_id: String,
    ts: String,
    media: Media,
    original_bandwidth_kbps: f64,
    compressed_bandwidth_kbps: f64,
    compression_ratio: f64,
    bandwidth_savings_percent: f64,
    savings_basis: SavingsBasis,
    inference_latency_ms: Option<f64>,
    inference_latency_p99_ms: Option<f64>,
    quality_score: Option<f64>,
    quality_metric: QualityMetric,
    psnr_db: Option<f64>,
    model_used: String,
    frames: u64,
    fallback_triggered: bool,
    fallback_reason: Option<Reason>,
    network_class: NetworkClass,
}

impl From<StoredMetric> for MetricAnswer {
    fn from(StoredMetric { metric_id, row }: StoredMetric) -> Self {
        Self {
            metric_id,
            compression_ratio: row.compression_ratio(),
            bandwidth_savings_percent: row.bandwidth_savings_percent(),
            call_id: row.call_id.to_string(),
            session_id: row.session_id.to_string(),
            track_id: row.track_id.to_string(),
            user_id: row.owner.user.to_string(),
            ts: Timestamp::from_micros(row.ts_us).rfc3339(),
            media: row.media,
            original_bandwidth_kbps: row.original_bandwidth_kbps,
            compressed_bandwidth_kbps: row.compressed_bandwidth_kbps,
            savings_basis: row.savings_basis,
            inference_latency_ms: row.inference_latency_ms,
            inference_latency_p99_ms: row.inference_latency_p99_ms,
            quality_score: row.quality_score,
            quality_metric: row.quality_metric,
            psnr_db: row.psnr_db,
            model_used: row.model_used,
            frames: row.frames,
            fallback_triggered: row.fallback_triggered,
            fallback_reason: row.fallback_reason,
            network_class: row.network_class,
        }
    }
}

#[derive(Serialize)]
pub(crate) struct SessionAnswer {
    session_id: String,
    call_id: String,
    track_id: String,
    user_id: String,
    media: Media,
    started_at: String,
    ended_at: Option<String>,
    frames: u64,
    original_bytes: u64,
    compressed_bytes: u64,
    bandwidth_savings_percent: f64,
    quality_score: Option<f64>,
    fallbacks: u64,
}

impl From<StoredSession> for SessionAnswer {
    fn from(session: StoredSession) -> Self {
        let bytes = |kbit: f64| (kbit * BYTES_PER_KBIT).round() as u64;
        Self {
            session_id: session.session_id.to_string(),
            call_id: session.call_id.to_string(),
            track_id: session.track_id.to_string(),
            user_id: session.owner.user.to_string(),
            media: session.media,
            started_at: session.started_at.rfc3339(),
            ended_at: session.ended_at.map(Timestamp::rfc3339),
            frames: session.traffic.frames,
            original_bytes: bytes(session.traffic.original_kbit),
            compressed_bytes: bytes(session.traffic.compressed_kbit),
            bandwidth_savings_percent: session.traffic.saved_percent(),
            quality_score: session.quality_score,
            fallbacks: session.fallbacks,
        }
    }
}

#[derive(Serialize)]
pub(crate) struct SavingsAnswer {
    total_saved_mb: f64,
    total_saved_gb: f64,
    avg_savings_percent: f64,
    total_frames: u64,
    estimated_cost_savings_usd: f64,
    price_per_gb: f64,
    period_days: u32,
}

impl From<BandwidthSavings> for SavingsAnswer {
    fn from(savings: BandwidthSavings) -> Self {
        Self {
            total_saved_mb: savings.total_saved_mb,
            total_saved_gb: savings.total_saved_gb,
            avg_savings_percent: savings.avg_savings_percent,
            total_frames: savings.total_frames,
            estimated_cost_savings_usd: savings.estimated_cost_savings_usd,
            price_per_gb: savings.price_per_gb,
            period_days: savings.period_days,
        }
    }
}

#[derive(Serialize)]
pub(crate) struct ModelsAnswer {
    pub(crate) models: Vec<ModelAnswer>,
}

#[derive(Serialize)]
pub(crate) struct ModelAnswer {
    pub(crate) model_type: String,
    pub(crate) model_version: String,
    pub(crate) media: Media,
}
