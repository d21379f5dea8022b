//! The AIC tap of one published audio track: packets in, packets for every leg out, on each leg's own timeline.
//!
//! A leg on the original rung gets every packet at once and byte for byte. A leg on a coded rung waits for the core's
//! packet and keeps the originals that it replaces: when the core is late or dies they go out instead, so no audio is
//! ever missing, sent twice or out of order because of AIC. Without an active policy the core is never touched.

mod decide;
mod feed;
mod leg;
mod original;
mod outlet;
mod own;
mod shelf;
mod source;
mod stats;
mod steer;
#[cfg(test)]
mod tests;
mod track;

use std::sync::Arc;
use std::time::Instant;

use auralink_types::{PublisherHint, Reason, Rung};

pub use stats::{LegSnapshot, TapSnapshot};
pub use track::AudioTap;

/// What the payload type of an audio packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadKind {
    /// Opus; AIC payloads come under the same payload type and mark themselves.
    Opus,
    /// RED (RFC 2198) around Opus.
    Red,
}

/// One packet of the publisher.
#[derive(Clone, Debug)]
pub struct AudioPacket {
    /// What the payload type says.
    pub kind: PayloadKind,
    /// Sequence number extended past its wraps.
    pub seq: u64,
    /// RTP timestamp, 48 kHz.
    pub timestamp: u32,
    /// RTP marker: a talk spurt begins.
    pub marker: bool,
    /// Bytes of its RTP header beyond the twelve that each has.
    pub extensions: usize,
    /// RTP payload; empty for padding.
    pub payload: Arc<[u8]>,
    /// When it arrived.
    pub received: Instant,
}

/// One subscriber of the track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LegId(pub u64);

/// What a subscriber can take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LegCaps {
    /// Models it decodes; empty for a stock client.
    pub models: Vec<u16>,
    /// Its Opus decoder enhances what it decodes (NoLACE).
    pub enhances: bool,
    /// RED was negotiated with it.
    pub red: bool,
    /// Its user vetoed AIC: the sender's packets as they are.
    pub opted_out: bool,
}

/// What a publisher can do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublisherCaps {
    /// Models it codes with; empty for a stock client.
    pub models: Vec<u16>,
    /// It obeys hints: an AIC client, or a stock client through the answer.
    pub steerable: bool,
    /// By itself it sends RED.
    pub red: bool,
    /// It says that it sends two channels.
    pub stereo: bool,
}

/// A packet for one leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutPacket {
    /// Payload type to use.
    pub kind: PayloadKind,
    /// Sequence number on this leg's timeline, extended; starts below 65536.
    pub seq: u64,
    /// RTP timestamp, 48 kHz, on the publisher's timeline.
    pub timestamp: u32,
    /// RTP marker.
    pub marker: bool,
    /// RTP payload.
    pub payload: Arc<[u8]>,
}

/// What the owner of a tap has to do.
#[derive(Clone, Debug, PartialEq)]
pub enum TapOutput {
    /// Send this.
    Send {
        /// To this leg.
        leg: LegId,
        /// The packet.
        packet: OutPacket,
    },
    /// Ask this of the publisher.
    Hint {
        /// What.
        hint: PublisherHint,
        /// All but the rate: the publisher's own is still being heard, because savings are counted from it.
        keep_rate: bool,
    },
    /// Tell this to whoever listens.
    Event(TapEvent),
}

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TapEvent {
    /// The first packet passed under an active policy.
    SessionStarted,
    /// The policy is no longer active.
    SessionEnded,
    /// A leg goes on with another rung. Its packets grow to the rung's length step by step.
    RungChanged {
        /// The leg.
        leg: LegId,
        /// What went out before.
        from: Rung,
        /// What goes out now.
        to: Rung,
        /// Why it is not what the policy would like, if it is not.
        reason: Option<Reason>,
    },
    /// A leg fell back to the original.
    Fallback {
        /// The leg.
        leg: LegId,
        /// Why.
        reason: Reason,
    },
    /// A leg passed probation.
    Recovered {
        /// The leg.
        leg: LegId,
    },
}
