//! What the media path obeys: a configuration boiled down.

use std::time::Duration;

use crate::mode::Mode;
use crate::units::QualityScore;

/// One coherent snapshot of a user's wishes for their media.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Whether AIC may touch the user's media at all.
    pub active: bool,
    /// Whether the user vetoed AIC themselves; media sent to them stays untouched as well.
    pub opt_out: bool,
    /// The preset it came from.
    pub mode: Mode,
    /// Share of the reference bandwidth to save, 0 to 1.
    pub target: f64,
    /// The same where the user set it: once so much is saved, what is left goes into quality.
    pub explicit_target: Option<f64>,
    /// Quality floor.
    pub floor: QualityScore,
    /// Longest time one frame may spend in compression.
    pub max_latency: Duration,
    /// Act on predictions before a problem.
    pub predictive: bool,
    /// Spend bits where people notice.
    pub perceptual: bool,
    /// Whether an experiment wants rows of the user's media although AIC may be off: they are the baseline.
    pub observed: bool,
}
