//! One peer connection of a participant: its session, its lines and its place in the server's tables.
//!
//! A client of signalling v1 has one, on which it offers and both sides send. A client of v0 has two: it offers on the
//! publisher's, the server on the subscriber's. Everything else asks a participant for the transport that receives or
//! the one that sends, and need not know whether they are the same.

use std::collections::HashMap;
use std::time::Instant;

use livekit_protocol as proto;
use str0m::channel::ChannelId;

use crate::data::Channel;
use crate::line::Line;
use crate::participant::{Pid, RoomId};
use crate::sdp::Answered;
use crate::session::{PendingOffer, Session};

/// Which of a participant's transports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// The client offers: what it publishes arrives here, and with one transport for all what it hears leaves here.
    Publisher,
    /// The server offers: what the client hears leaves here.
    Subscriber,
}

impl Role {
    /// As signalling numbers it.
    pub fn from_target(target: i32) -> Self {
        if target == proto::SignalTarget::Subscriber as i32 {
            Self::Subscriber
        } else {
            Self::Publisher
        }
    }
}

/// Handle of one transport inside a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransportId {
    /// In which room.
    pub room: RoomId,
    /// Whose it is.
    pub pid: Pid,
    /// Which of theirs.
    pub role: Role,
}

/// An offer of the server's that the client hasn't answered yet.
pub struct Unanswered {
    /// Its number.
    pub id: u32,
    /// What the answer completes.
    pub pending: PendingOffer,
}

/// One peer connection with what surrounds it.
pub struct Transport {
    /// The peer connection.
    pub session: Session,
    /// Media lines of the last offer.
    pub lines: Vec<Line>,
    /// Open data channels by kind.
    pub channels: HashMap<Channel, ChannelId>,
    /// Whether ICE was lost and has not come back.
    pub lost: bool,
    /// Whether the last description no longer says what should be.
    pub stale: bool,
    /// When the client was last asked to offer.
    pub asked_to_offer: Option<Instant>,
    /// When its last offer was answered.
    pub answered_at: Option<Instant>,
    /// What that was, and the answer before it was rewritten.
    pub last_answer: Option<Answered>,
    /// The server's offer that is under way. One at a time: what changes meanwhile goes into the next.
    pub unanswered: Option<Unanswered>,
    /// Number of the server's last offer.
    pub offers: u32,
    /// Whether the client ever answered one.
    pub answered: bool,
}

impl Transport {
    /// A transport before its first offer.
    pub fn new(session: Session) -> Self {
        Self {
            session,
            lines: Vec::new(),
            channels: HashMap::new(),
            lost: false,
            stale: false,
            asked_to_offer: None,
            answered_at: None,
            last_answer: None,
            unanswered: None,
            offers: 0,
            answered: false,
        }
    }
}
