//! One media line of a peer connection and what the last answer said about it.

use auralink_types::TrackId;
use str0m::media::Mid;

use crate::outbox::Outbox;
use crate::sdp::{LineKind, Ssrcs};
use crate::session::Session;

/// What a line is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Use {
    /// Nothing; may be taken.
    Idle,
    /// Was taken until now. It must be answered `inactive` once before the next track, or browsers keep the old
    /// one mapped to it.
    Cooling,
    /// The server sends a track.
    Send(TrackId),
    /// The client sends.
    Receive,
}

/// One media line.
#[derive(Debug)]
pub struct Line {
    /// Its name.
    pub mid: Mid,
    /// What it carries.
    pub kind: LineKind,
    /// What it is for.
    pub usage: Use,
    /// Whether the client is ready to receive on it: an answer may not promise more than the offer does (RFC 3264,
    /// section 6.1).
    pub open: bool,
    /// The stream that leaves on it, once both sides know the line.
    pub stream: Option<Ssrcs>,
    /// The track it was described with first: native clients call what arrives on it by that name ever after.
    pub made_for: Option<TrackId>,
    /// How often a track was put on it.
    pub uses: u32,
}

impl Line {
    /// A new line on which the client receives.
    pub fn new(mid: Mid, kind: LineKind) -> Self {
        Self {
            mid,
            kind,
            usage: Use::Idle,
            open: true,
            stream: None,
            made_for: None,
            uses: 0,
        }
    }

    /// A new line that the server offers for a track.
    pub fn offered_for(mid: Mid, kind: LineKind, track: TrackId) -> Self {
        let mut line = Self::new(mid, kind);
        line.take(track);
        line
    }

    /// Whether a track may be put on it.
    pub fn is_free(&self) -> bool {
        self.open && self.usage == Use::Idle
    }

    /// Puts a track on it, as a stream that its receiver has never seen: browsers decode what comes under an SSRC
    /// announced before and show it to nobody.
    pub fn carry(&mut self, track: TrackId, session: &mut Session, out: &mut Outbox) {
        self.stream = session.renew_stream(out, self.mid);
        self.take(track);
    }

    fn take(&mut self, track: TrackId) {
        self.made_for.get_or_insert_with(|| track.clone());
        self.uses += 1;
        self.usage = Use::Send(track);
    }

    /// Media stream id for a track on it. A client that would not notice the same one again gets another for each use, where
    /// it knows the track by the line's own name.
    pub fn stream_id(&self, owner: &str, track: &TrackId, once: bool) -> String {
        if once && self.uses > 1 && self.made_for.as_ref() == Some(track) {
            format!("{owner}|{}", self.uses)
        } else {
            format!("{owner}|{track}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_track_that_is_back_on_the_line_made_for_it_has_a_new_stream_where_the_old_one_would_not_be_noticed()
    {
        let (own, other) = (TrackId::new("TR_own"), TrackId::new("TR_other"));
        let mut line = Line::offered_for("1".into(), LineKind::Audio, own.clone());
        let mut ids = vec![line.stream_id("PA", &own, true)];
        for track in [&own, &other, &own] {
            line.take(track.clone());
            ids.push(line.stream_id("PA", track, true));
            assert_eq!(line.stream_id("PA", track, false), format!("PA|{track}"));
        }
        assert_eq!(ids, ["PA|TR_own", "PA|2", "PA|TR_other", "PA|4"]);
    }
}
