//! One second of one track, as it is stored.

use serde::{Deserialize, Serialize};

use crate::ids::{CallId, SessionId, TrackId, UserKey};
use crate::reason::Reason;

/// Kind of media.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum Media {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
}

/// Where the "before" of a saving comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum SavingsBasis {
    /// The replaced original's own bytes are known.
    Measured,
    /// The control arm of an experiment.
    Experiment,
    /// What a stock client sends by its preset; only where neither of the others exists.
    Preset,
}

/// How a quality score was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum QualityMetric {
    /// Online estimate on the PESQ-WB scale, from decoding what was coded.
    EstimatedPesqWb,
    /// Mean PESQ-WB of the rung in use on other speech; nothing was measured, because the publisher codes.
    ExpectedPesqWb,
    /// Structural similarity of luma.
    Ssim,
}

/// What the network of a leg is like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum NetworkClass {
    /// Not enough reports yet.
    #[default]
    Unknown,
    /// Under 1 % loss, low jitter.
    Good,
    /// Some loss or jitter.
    Fair,
    /// Loss or delay that people notice.
    Poor,
    /// Hardly usable.
    Bad,
}

/// One second of one published track: all its legs together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricRow {
    /// Owner of the row: the publisher.
    pub owner: UserKey,
    /// The call.
    pub call_id: CallId,
    /// The AIC session.
    pub session_id: SessionId,
    /// The published track.
    pub track_id: TrackId,
    /// End of the second, microseconds since the Unix epoch.
    pub ts_us: i64,
    /// Kind of media.
    pub media: Media,
    /// Whole-wire kbps (IP, UDP, RTP, SRTP and payload) that would have flowed without AIC, publisher leg and
    /// subscriber legs together.
    pub original_bandwidth_kbps: f64,
    /// Whole-wire kbps that did flow, likewise.
    pub compressed_bandwidth_kbps: f64,
    /// Where `original_bandwidth_kbps` comes from.
    pub savings_basis: SavingsBasis,
    /// Median time a frame spent in compression, milliseconds; absent when none was compressed.
    pub inference_latency_ms: Option<f64>,
    /// 99th percentile of the same.
    pub inference_latency_p99_ms: Option<f64>,
    /// Quality score, 0 to 1; absent when nothing was measured.
    pub quality_score: Option<f64>,
    /// How it was made.
    pub quality_metric: QualityMetric,
    /// Peak signal-to-noise ratio; video only.
    pub psnr_db: Option<f64>,
    /// What was predicted for the rung in use before this second was measured; absent when nothing is coded.
    pub prediction: Option<Prediction>,
    /// Rung or model in use, for example `lean-12k-60ms` or `aic-speech-1/6k`.
    pub model_used: String,
    /// 20 ms frames that passed the tap, pauses not counted.
    pub frames: u64,
    /// Whether a fallback began in this second.
    pub fallback_triggered: bool,
    /// Its reason.
    pub fallback_reason: Option<Reason>,
    /// What the network is like.
    pub network_class: NetworkClass,
}

/// What a rung was expected to do.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// Quality score, 0 to 1, at the encoder.
    pub quality_score: f64,
    /// Share of the leg's whole-wire rate saved; negative where the rung costs more than it saves.
    pub compression_ratio: f64,
    /// How far measurements of this track back it, 0 to 1.
    pub confidence: f64,
}

impl MetricRow {
    /// Share saved, 0 to 1; negative when AIC cost more than it saved.
    pub fn compression_ratio(&self) -> f64 {
        if self.original_bandwidth_kbps > 0.0 {
            1.0 - self.compressed_bandwidth_kbps / self.original_bandwidth_kbps
        } else {
            0.0
        }
    }

    /// The same in percent.
    pub fn bandwidth_savings_percent(&self) -> f64 {
        100.0 * self.compression_ratio()
    }
}
