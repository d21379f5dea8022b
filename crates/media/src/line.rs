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
        }
    }

    /// Whether a track may be put on it.
    pub fn is_free(&self) -> bool {
        self.open && self.usage == Use::Idle
    }

    /// Puts a track on it, as a stream that its receiver has never seen: browsers decode what comes under an SSRC
    /// announced before and show it to nobody.
    pub fn carry(&mut self, track: TrackId, session: &mut Session, out: &mut Outbox) {
        self.stream = session.renew_stream(out, self.mid);
        self.usage = Use::Send(track);
    }
}
