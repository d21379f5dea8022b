//! What comes out of sessions: nobody below calls anybody above, they leave it here.

use std::collections::VecDeque;
use std::time::Instant;

use str0m::net::Transmit;

use crate::participant::SocketId;
use crate::relay::Letters;
use crate::session::SessionEvent;
use crate::transport::TransportId;

/// A change of what the switchboard's tables say of a session.
#[derive(Debug)]
pub enum Entry {
    /// It wants to be called at another time.
    Timer {
        /// As it was told before.
        old: Option<Instant>,
        /// As it holds now; `None` for never.
        new: Option<Instant>,
    },
    /// STUN requests for it come under another name.
    Name {
        /// As it was told before.
        old: String,
        /// As it holds now; `None` for a session that is over.
        new: Option<String>,
    },
}

/// Effects that wait to be carried out.
#[derive(Default)]
pub struct Outbox {
    /// Datagrams to send.
    pub transmits: VecDeque<Transmit>,
    /// Sessions in which packets wait to be flushed.
    pub unsent: Vec<TransportId>,
    /// What sessions say, for the room.
    pub events: VecDeque<(TransportId, SessionEvent)>,
    /// Signalling sockets whose participants are gone.
    pub hung_up: Vec<SocketId>,
    /// What sessions say, for the switchboard.
    pub entries: Vec<(TransportId, Entry)>,
    /// What parts of rooms tell those on other shards.
    pub letters: Letters,
}
