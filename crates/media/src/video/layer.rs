//! The simulcast layers of a published video.

use std::time::{Duration, Instant};

use super::cadence::Cadence;
use crate::arrival::Arrival;

/// A layer without a packet for so long counts as gone.
pub(super) const LAYER_GONE: Duration = Duration::from_millis(1_000);

/// One simulcast layer of a published track, or its only stream.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    /// Restriction id; `None` when the track has one stream.
    pub rid: Option<String>,
    /// Last packet seen.
    pub seen: Option<Instant>,
    /// Last keyframe request sent.
    pub asked: Option<Instant>,
    /// The stream in progress.
    pub arrival: Arrival,
    /// How many pictures come.
    pub cadence: Cadence,
}

impl Layer {
    /// Whether it flows.
    pub(super) fn alive(&self, now: Instant) -> bool {
        self.seen
            .is_some_and(|seen| now.saturating_duration_since(seen) < LAYER_GONE)
    }
}

/// Layers of those rids, smallest picture first. LiveKit names them `q`, `h`, `f`; other names keep their order.
pub fn layers_of(rids: &[String]) -> Vec<Layer> {
    if rids.is_empty() {
        return vec![Layer::default()];
    }
    let mut rids = rids.to_vec();
    rids.sort_by_key(|rid| match rid.as_str() {
        "q" => 0,
        "h" => 1,
        "f" => 2,
        _ => 3,
    });
    rids.into_iter()
        .map(|rid| Layer {
            rid: Some(rid),
            ..Layer::default()
        })
        .collect()
}
