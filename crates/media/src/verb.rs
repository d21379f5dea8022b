//! What a tenant's own servers ask of a room, and what it answers: values, which may travel to wherever the room is.

use std::time::Duration;

use auralink_types::{RoomName, TenantId, TrackId, UserId};
use livekit_protocol as proto;
use tokio::sync::oneshot;

use crate::data::{Channel, Outgoing};
use crate::directory::Claim;
use crate::participant::{Grants, RoomKey};
use crate::profile::{ProfileChange, ProfileError};
use crate::settings::Settings;

/// Something to be done in a room.
#[derive(Clone, Debug)]
pub enum Verb {
    /// Begin it with these settings; one that is there stays as it is.
    Open(Settings),
    /// Send everybody away and end it.
    Delete,
    /// Change its metadata.
    Describe(String),
    /// Tell who is in it.
    People,
    /// Send data that comes from nobody in it.
    Send(Channel, Outgoing),
    /// Do something that is about one participant.
    To(UserId, Deed),
}

/// Something to be done to one participant.
#[derive(Clone, Debug)]
pub enum Deed {
    /// Tell how they are seen.
    Tell,
    /// Take them out.
    Remove,
    /// Mute one of their tracks, or end that.
    Mute {
        /// Which.
        track: TrackId,
        /// Whether it is to be silent.
        muted: bool,
    },
    /// Change what they show and what they may do.
    Change {
        /// What they show.
        profile: ProfileChange,
        /// What they may do from now on; as before without it.
        grants: Option<Grants>,
    },
    /// Subscribe them to tracks, or end that.
    Subscribe {
        /// Which.
        tracks: Vec<TrackId>,
        /// Whether they are to have them.
        wanted: bool,
    },
    /// Call a method of their client's.
    Call(Call),
    /// Give them another token.
    Renew {
        /// The token.
        token: String,
        /// Whether they are to come back with it at once.
        leave: bool,
    },
}

/// A call of a method that a client has registered.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its name.
    pub method: String,
    /// What is handed over.
    pub payload: String,
    /// How long the answer may take.
    pub patience: Duration,
}

/// What a room answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// It is done.
    Done,
    /// How the room is seen.
    Room(Box<proto::Room>),
    /// How those in it are seen.
    People(Vec<proto::ParticipantInfo>),
    /// How somebody is seen.
    Person(Box<proto::ParticipantInfo>),
    /// How a track is seen.
    Track(Box<proto::TrackInfo>),
    /// What a client answered to a call.
    Payload(String),
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// There is no such room.
    #[error("requested room does not exist")]
    NoRoom,
    /// Nobody in the room has that identity.
    #[error("participant does not exist")]
    NoParticipant,
    /// They have no such track.
    #[error("track is not found")]
    NoTrack,
    /// What they are to show is out of bounds.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// A bound of this server.
    #[error("there are too many {0} already")]
    TooMany(&'static str),
    /// The server goes away.
    #[error("the server is shutting down")]
    Closing,
    /// A call that failed.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// Why a call of a client's method failed, in the numbers that LiveKit's clients know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("RpcError {code}: {message}")]
pub struct CallError {
    /// The number.
    pub code: u32,
    /// What it means.
    pub message: String,
}

impl CallError {
    /// The client did not confirm in time that the call has come.
    pub const NOT_CONFIRMED: u32 = 1501;
    /// The client did not answer in time.
    pub const NO_ANSWER: u32 = 1502;
    /// The client is gone.
    pub const GONE: u32 = 1503;
    /// The client has no such method.
    pub const UNKNOWN_METHOD: u32 = 1400;
    /// More is handed over than a call may carry.
    pub const TOO_LONG: u32 = 1402;

    /// An error of one of the numbers above.
    pub fn new(code: u32) -> Self {
        let message = match code {
            Self::NOT_CONFIRMED => "Connection timeout",
            Self::NO_ANSWER => "Response timeout",
            Self::GONE => "Recipient disconnected",
            Self::TOO_LONG => "Request payload too large",
            _ => "Method not supported at destination",
        };
        Self {
            code,
            message: message.into(),
        }
    }
}

/// Where an answer is awaited.
pub type Reply = oneshot::Sender<Result<Answer, Trouble>>;

/// Something asked of one room.
#[derive(Debug)]
pub struct Asked {
    /// Which.
    pub room: RoomKey,
    /// A place in it, where it may have to begin.
    pub place: Option<Claim>,
    /// What is to be done.
    pub verb: Verb,
    /// Milliseconds since the Unix epoch.
    pub now_ms: i64,
    /// Where the answer is awaited.
    pub reply: Reply,
}

/// A question about all rooms of a tenant.
#[derive(Debug)]
pub struct Listed {
    /// Whose.
    pub tenant: TenantId,
    /// Only these; all of them without any.
    pub names: Vec<RoomName>,
    /// Where the answer is awaited.
    pub reply: oneshot::Sender<Vec<proto::Room>>,
}
