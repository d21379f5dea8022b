//! What the parts of a room on several shards tell each other, as values: each track crosses once to each part in which
//! somebody wants it, and whoever is in one part is a guest in all others.
//!
//! Parts are equal. Each has connections of its own, and what depends on a listener (layers, AIC, lines) is decided where
//! they are.

use std::sync::Arc;

use auralink_types::{ParticipantId, SourceCodec, TrackId, UserKey};
use livekit_protocol as proto;
use proto::DisconnectReason;
use str0m::rtp::RtpPacket;

use crate::arrival::Numbers;
use crate::connection::Route;
use crate::data::{self, Channel};
use crate::directory::ShardId;
use crate::participant::{Grants, Kind, RoomKey};
use crate::profile::Profile;
use crate::subscription::Permissions;
use crate::video::Wanted;

/// A note for the same room on another shard.
pub struct Letter {
    /// Which room.
    pub room: RoomKey,
    /// What it says.
    pub note: Note,
}

/// What one part of a room tells another.
#[derive(Clone)]
pub enum Note {
    /// I am here, with these people; if I ask who is there I have begun anew, and what you know of me is void.
    Hello {
        /// Whether the same is to be told back.
        asks: bool,
        /// Everybody here.
        people: Arc<[Guest]>,
    },
    /// I am over.
    Bye,
    /// Somebody here, as they are now.
    Person(Arc<Guest>),
    /// Somebody here has left.
    Gone(ParticipantId, DisconnectReason),
    /// People here speak, or have stopped.
    Speakers(Arc<[proto::SpeakerInfo]>),
    /// Connections here have become better or worse.
    Quality(Arc<[proto::ConnectionQualityInfo]>),
    /// Somebody here has sent data.
    Data(Channel, Arc<data::Outgoing>),
    /// The room's metadata was changed here.
    Described(String),
    /// A packet of a track of mine that you want.
    Packet(Relayed),
    /// How much of that track of yours is wanted here.
    Want(TrackId, Wanted),
    /// What your track should be coded as for my listeners.
    Wish(TrackId, SourceCodec),
    /// That layer of your track must start afresh.
    Keyframe(TrackId, usize),
}

impl Note {
    /// Whether the next one makes up for its loss.
    pub fn may_be_lost(&self) -> bool {
        matches!(self, Self::Packet(_) | Self::Data(Channel::Lossy, _))
    }
}

/// A packet on its way to another part.
#[derive(Clone)]
pub struct Relayed {
    /// Of which track.
    pub track: TrackId,
    /// Where it belongs, but for the place of its track.
    pub route: Route,
    /// Its numbers on the layer's timeline.
    pub numbers: Numbers,
    /// The packet as it came.
    pub packet: Arc<RtpPacket>,
}

/// Somebody of another part, as far as it concerns others.
pub struct Guest {
    /// Session id seen by clients.
    pub sid: ParticipantId,
    /// Tenant and identity.
    pub user: UserKey,
    /// Name, metadata and attributes.
    pub profile: Profile,
    /// What they may do.
    pub grants: Grants,
    /// What kind of participant they are.
    pub kind: Kind,
    /// When they joined, milliseconds since the Unix epoch.
    pub joined_at_ms: i64,
    /// Client's own protocol level.
    pub client_protocol: i32,
    /// Connection state shown to others.
    pub state: proto::participant_info::State,
    /// Grows with every change shown to others.
    pub version: u32,
    /// Whom they let have their tracks.
    pub permissions: Permissions,
    /// How loud they speak.
    pub speaks: f32,
    /// How good their connection is, if it is known.
    pub quality: Option<proto::ConnectionQualityInfo>,
    /// Their live tracks.
    pub tracks: Vec<Published>,
}

/// A live track of theirs.
pub struct Published {
    /// Its id.
    pub id: TrackId,
    /// Its number among theirs.
    pub serial: u32,
    /// What others see.
    pub info: proto::TrackInfo,
    /// Its simulcast layers.
    pub rids: Vec<String>,
    /// Whether AIC spares its header extensions.
    pub bare: bool,
    /// Whether it may come as RED.
    pub red: bool,
}

/// The way of a track between the parts of its room.
#[derive(Clone, Debug, PartialEq)]
pub enum Relay {
    /// It comes from here, and these want it, or have.
    To(Vec<Way>),
    /// It is a guest's.
    From {
        /// Where it comes from.
        shard: ShardId,
        /// What that was told of how much is wanted here.
        wanted: Wanted,
    },
}

/// The way of a track to one other part: its relay leg.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Way {
    /// Where it goes.
    pub to: ShardId,
    /// How much of it is wanted there.
    pub wanted: Wanted,
    /// What it should be coded as for those.
    pub wish: Option<SourceCodec>,
}

impl Relay {
    /// The way to that part, made if need be; none for a guest's track.
    pub fn way(&mut self, to: ShardId) -> Option<&mut Way> {
        let Self::To(ways) = self else { return None };
        let at = match ways.iter().position(|way| way.to == to) {
            Some(at) => at,
            None => {
                ways.push(Way {
                    to,
                    wanted: None,
                    wish: None,
                });
                ways.len() - 1
            }
        };
        ways.get_mut(at)
    }

    /// Forgets the way to a part that is over.
    pub fn forget(&mut self, to: ShardId) {
        if let Self::To(ways) = self {
            ways.retain(|way| way.to != to);
        }
    }

    /// The ways to other parts.
    pub fn ways(&self) -> &[Way] {
        match self {
            Self::To(ways) => ways,
            Self::From { .. } => &[],
        }
    }

    /// Where it is wanted.
    pub fn wanted(&self) -> impl Iterator<Item = &Way> {
        self.ways().iter().filter(|way| way.wanted.is_some())
    }
}

/// Letters of one turn on their way to other shards.
pub type Letters = Vec<(ShardId, Letter)>;
