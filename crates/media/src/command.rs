//! What signalling asks of a shard.

use auralink_types::{RoomName, UserKey};
use livekit_protocol as proto;
use tokio::sync::{mpsc, oneshot};

use crate::directory::Claim;
use crate::metrics::Stats;
use crate::participant::{Grants, Kind, RoomKey, SocketId};
use crate::profile::Profile;
use crate::verb::{Asked, Listed};

/// A participant whose token was good.
#[derive(Debug)]
pub struct Admission {
    /// Tenant and identity.
    pub user: UserKey,
    /// The room.
    pub room: RoomName,
    /// Name, metadata and attributes.
    pub profile: Profile,
    /// What he may do.
    pub grants: Grants,
    /// What kind of participant he is.
    pub kind: Kind,
}

impl Admission {
    /// The room's place.
    pub fn place(&self) -> RoomKey {
        RoomKey {
            tenant: self.user.tenant.clone(),
            name: self.room.clone(),
        }
    }
}

/// How many transports a client has; the path on which it joins says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// One for both directions (signalling v1).
    One,
    /// One for each direction (signalling v0).
    Two,
}

/// Messages for one signalling socket. Boxed: a queue keeps its places, 32 at a time, and a message has 900 bytes.
pub type SocketQueue = mpsc::Sender<Box<proto::SignalResponse>>;

/// A join in full.
#[derive(Debug)]
pub struct Join {
    /// Who.
    pub admission: Admission,
    /// How many transports it has.
    pub topology: Topology,
    /// What the client said.
    pub request: proto::JoinRequest,
    /// Its socket.
    pub socket: SocketId,
    /// The socket's queue.
    pub queue: SocketQueue,
    /// Where the room is.
    pub claim: Claim,
    /// Milliseconds since the Unix epoch.
    pub now_ms: i64,
}

/// One message to a shard.
#[derive(Debug)]
pub enum Command {
    /// Somebody joins or comes back.
    Join(Box<Join>),
    /// A message on a socket, with the wall clock in milliseconds.
    Request(SocketId, Box<proto::signal_request::Message>, i64),
    /// A socket is gone.
    Closed(SocketId),
    /// A tenant's server asks something of a room.
    Asked(Box<Asked>),
    /// A tenant's server asks which rooms there are.
    Listed(Listed),
    /// Say goodbye to everybody.
    Goodbye(oneshot::Sender<()>),
    /// Figures, please.
    Stats(oneshot::Sender<Stats>),
    /// Fault injection: panic.
    Die,
}
