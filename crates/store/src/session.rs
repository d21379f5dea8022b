//! AIC sessions with their totals.

use auralink_types::{CallId, Media, SessionId, TrackId, UserKey};

use crate::savings::Traffic;
use crate::timestamp::Timestamp;

/// One published track under AIC in one call, with totals that outlive its metric rows.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredSession {
    /// Its id.
    pub session_id: SessionId,
    /// The publisher.
    pub owner: UserKey,
    /// The call.
    pub call_id: CallId,
    /// The published track.
    pub track_id: TrackId,
    /// Kind of media.
    pub media: Media,
    /// First frame.
    pub started_at: Timestamp,
    /// Last frame; absent while it lives.
    pub ended_at: Option<Timestamp>,
    /// Traffic over all its seconds.
    pub traffic: Traffic,
    /// Mean quality score over the seconds that have one.
    pub quality_score: Option<f64>,
    /// Fallbacks begun.
    pub fallbacks: u64,
    /// Newest metric row.
    pub last_metric_at: Option<Timestamp>,
}
