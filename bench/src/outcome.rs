//! What a demo found: one value, from which table, JSON and report are made.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

/// A stretch of silence that nobody meant, longer than this, is heard as a gap.
pub const AUDIBLE_GAP_MS: f64 = 60.0;

/// Everything found.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// What was said, and where it came from.
    pub source: String,
    /// Length of each run in seconds.
    pub seconds: f64,
    /// What "before" is: a stock client without AIC.
    pub baseline: Baseline,
    /// The runs with AIC, in the order they were made.
    pub runs: Vec<Run>,
    /// Recordings.
    pub wavs: Vec<PathBuf>,
    /// The report for people.
    pub report: Option<PathBuf>,
    /// Audible gaps that AIC is to blame for, all runs together.
    pub aic_gaps: usize,
    /// What could not be measured, and why.
    pub missing: Vec<String>,
}

impl Outcome {
    /// Whether no call had an audible gap because of AIC.
    pub fn is_clean(&self) -> bool {
        self.aic_gaps == 0
    }

    /// The baseline's run and all others, in the order they were made.
    pub fn all_runs(&self) -> impl Iterator<Item = &Run> {
        std::iter::once(&self.baseline.run).chain(&self.runs)
    }
}

/// The run without AIC; its fields lie beside the two that every saving is counted from.
#[derive(Clone, Debug, Serialize)]
pub struct Baseline {
    /// The run itself.
    #[serde(flatten)]
    pub run: Run,
}

/// One call.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Run {
    /// Which run: a mode's name, or `neural`, or `worker_killed`.
    pub mode: String,
    /// One sentence about it.
    pub about: String,
    /// Rung that the listener received for most of the time.
    pub rung: String,
    /// The same with rate and packet time.
    pub rung_detail: String,
    /// Mean of both clients, each as seen on its UDP socket, with 28 bytes of IP and UDP per datagram.
    pub wire_kbps_up: f64,
    /// Likewise, server to client.
    pub wire_kbps_down: f64,
    /// Audio payload without any header.
    pub payload_kbps_up: f64,
    /// Likewise, server to client.
    pub payload_kbps_down: f64,
    /// Audio packets sent.
    pub packets_per_s_up: f64,
    /// Audio packets received.
    pub packets_per_s_down: f64,
    /// Both ways together against the baseline.
    pub saved_percent: f64,
    /// Quality score as the server estimates it.
    pub quality_score: Option<f64>,
    /// How it was made: `estimated_pesq_wb` from decoding what was coded, `expected_pesq_wb` from other speech.
    pub quality_metric: Option<String>,
    /// Quality of the recording against what was spoken.
    pub pesq_wb: Option<f64>,
    /// Intelligibility, likewise.
    pub stoi: Option<f64>,
    /// Time one frame spends in compression.
    pub compress_ms_p50: Option<f64>,
    /// Likewise.
    pub compress_ms_p99: Option<f64>,
    /// Mouth to ear.
    pub delay_ms: Option<f64>,
    /// The same, less the baseline's.
    pub added_delay_ms: Option<f64>,
    /// Fallbacks by reason.
    pub fallbacks: BTreeMap<String, u64>,
    /// Longest stretch that had to be concealed.
    pub longest_gap_ms: f64,
    /// Every stretch that had to be concealed.
    pub gaps: Vec<Gap>,
    /// The same figures as the server's own interface gives them.
    pub rest: RestFigures,
    /// Bytes over time.
    pub timeline: Timeline,
    /// What happened in it, for the plot.
    pub events: Vec<Event>,
    /// Recordings.
    pub wavs: Vec<PathBuf>,
}

/// A stretch that had to be concealed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Gap {
    /// Who heard it.
    pub listener: String,
    /// Seconds since the listener began to listen.
    pub at_s: f64,
    /// Length.
    pub ms: f64,
    /// Who is to blame, when it is audible.
    pub blame: Blame,
}

/// Who is to blame for a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Blame {
    /// Too short to be heard.
    Nobody,
    /// The machine stood still at that moment, or AIC was off.
    Machine,
    /// AIC: every audible gap that is not shown to be another's fault.
    Aic,
}

/// What REST says about a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RestFigures {
    /// Rows of metrics found.
    pub rows: usize,
    /// Mean of `original_bandwidth_kbps`.
    pub original_kbps: Option<f64>,
    /// Mean of `compressed_bandwidth_kbps`.
    pub compressed_kbps: Option<f64>,
    /// From these two.
    pub saved_percent: Option<f64>,
    /// `avg_savings_percent` of the savings answer.
    pub avg_savings_percent: Option<f64>,
    /// `total_saved_mb` of the savings answer.
    pub total_saved_mb: Option<f64>,
    /// `total_frames` of the savings answer.
    pub total_frames: Option<u64>,
    /// What `savings_basis` says in most rows.
    pub basis: Option<String>,
}

/// Rates over time, mean of both clients.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Timeline {
    /// Width of one step in seconds.
    pub step_s: f64,
    /// Client to server, kbps on the wire.
    pub up_kbps: Vec<f64>,
    /// Server to client, likewise.
    pub down_kbps: Vec<f64>,
}

/// Something that happened in a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// Seconds since the beginning of the run.
    pub at_s: f64,
    /// What.
    pub what: String,
}
