//! One participant: who they are, what they may do, and what they publish.

use auralink_types::{
    DECODER_ATTRIBUTE, DECODER_NOLACE, MODELS_ATTRIBUTE, ParticipantId, RoomName, TenantId, UserKey,
};
use livekit_protocol as proto;
use proto::signal_response::Message;
use str0m::media::Mid;
use tokio::sync::mpsc::error::TrySendError;

use crate::arena::Handle;
use crate::connection::Connection;
use crate::directory::ShardId;
use crate::profile::Profile;
use crate::quality::QualityMeter;
use crate::speaking::Speaking;
use crate::subscription::Permissions;
use crate::track::Track;

/// Handle of a room inside its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomId(pub Handle);

/// Handle of a participant inside their room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pid(pub Handle);

/// Handle of a published track inside a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrackKey {
    /// In which room.
    pub room: RoomId,
    /// Whose it is.
    pub pid: Pid,
    /// Its number among theirs.
    pub serial: u32,
}

/// Handle of one signalling socket; a resumed participant has a new one, and messages of the old are void.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketId(pub u64);

/// A room's place: names are unique within a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomKey {
    /// The tenant.
    pub tenant: TenantId,
    /// The name.
    pub name: RoomName,
}

/// What a participant may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grants {
    /// Publish media.
    pub publish: bool,
    /// Receive media.
    pub subscribe: bool,
    /// Send data packets.
    pub publish_data: bool,
    /// Sources that may be published, as LiveKit numbers them; empty for all.
    pub sources: Vec<i32>,
    /// Change own name, metadata and attributes.
    pub update_metadata: bool,
    /// Not shown to others.
    pub hidden: bool,
    /// Records the room.
    pub recorder: bool,
    /// Acts as an agent.
    pub agent: bool,
    /// Receive other participants' metrics.
    pub subscribe_metrics: bool,
}

impl Kind {
    /// Whether they serve others: they keep no room open and take nobody's place.
    pub fn is_dependent(&self, grants: &Grants) -> bool {
        use proto::participant_info::Kind::{Agent, Egress};
        grants.agent || grants.recorder || [Agent as i32, Egress as i32].contains(&self.kind)
    }
}

impl Grants {
    /// Whether tracks of that source may be published.
    pub fn may_publish(&self, source: i32) -> bool {
        self.publish && (self.sources.is_empty() || self.sources.contains(&source))
    }
}

/// Person, agent or gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kind {
    /// Of `ParticipantInfo.Kind`.
    pub kind: i32,
    /// Of `ParticipantInfo.KindDetail`.
    pub details: Vec<i32>,
}

/// Somebody in a room, here or on another shard.
pub struct Participant {
    /// Session id seen by clients.
    pub sid: ParticipantId,
    /// Tenant and identity.
    pub user: UserKey,
    /// Name, metadata and attributes.
    pub profile: Profile,
    /// What they may do.
    pub grants: Grants,
    /// What kind of participant they are, as LiveKit numbers them.
    pub kind: Kind,
    /// When they joined, milliseconds since the Unix epoch.
    pub joined_at_ms: i64,
    /// Client's own protocol level, passed on to others.
    pub client_protocol: i32,
    /// Connection state shown to others.
    pub state: proto::participant_info::State,
    /// Grows with every change shown to others.
    pub version: u32,
    /// Tracks they publish.
    pub tracks: Vec<Track>,
    /// Whom they let have their tracks.
    pub permissions: Permissions,
    /// How good their connection is.
    pub quality: QualityMeter,
    /// Where their connection is.
    pub seat: Seat,
}

/// Where somebody's connection is.
pub enum Seat {
    /// On this shard.
    Here(Box<Connection>),
    /// On another, whose part of the room tells of them: here they are a guest.
    Elsewhere(ShardId),
}

impl Participant {
    /// Puts a message into the socket's queue. On overflow the socket is dropped, which closes it; the client
    /// comes back and gets the full state. Of one that is closed already the room is about to hear.
    ///
    /// A guest is told by their own part of the room.
    pub fn tell(&mut self, message: Message) {
        let Seat::Here(connection) = &mut self.seat else {
            return;
        };
        let response = Box::new(proto::SignalResponse {
            message: Some(message),
        });
        if let Some(socket) = &connection.socket
            && let Err(TrySendError::Full(_)) = socket.queue.try_send(response)
        {
            tracing::warn!(participant = %self.sid, "signalling queue overflowed");
            connection.socket = None;
        }
    }

    /// Their connection, if it is here.
    pub fn here(&self) -> Option<&Connection> {
        match &self.seat {
            Seat::Here(connection) => Some(connection),
            Seat::Elsewhere(_) => None,
        }
    }

    /// Their connection, if it is here.
    pub fn here_mut(&mut self) -> Option<&mut Connection> {
        match &mut self.seat {
            Seat::Here(connection) => Some(connection),
            Seat::Elsewhere(_) => None,
        }
    }

    /// The shard where they are, for a guest.
    pub fn elsewhere(&self) -> Option<ShardId> {
        match &self.seat {
            Seat::Here(_) => None,
            Seat::Elsewhere(shard) => Some(*shard),
        }
    }

    /// How loud they were told to be: as loud as their loudest microphone.
    pub fn speaks(&self) -> proto::SpeakerInfo {
        let microphones = self.tracks.iter().filter(|track| !track.is_video());
        let level = microphones.map(|track| track.speaking.told()).fold(0.0, f32::max);
        Speaking::info(self.sid.as_str(), level)
    }

    /// How others and they themselves see them.
    pub fn info(&self) -> proto::ParticipantInfo {
        proto::ParticipantInfo {
            sid: self.sid.as_str().into(),
            identity: self.user.user.as_str().into(),
            state: self.state as i32,
            tracks: self
                .tracks
                .iter()
                .filter(|t| t.is_live())
                .map(|t| t.info.clone())
                .collect(),
            metadata: self.profile.metadata.clone(),
            joined_at: self.joined_at_ms / 1000,
            joined_at_ms: self.joined_at_ms,
            name: self.profile.name.clone(),
            version: self.version,
            permission: Some(self.permission()),
            is_publisher: self.publishes(),
            attributes: self.profile.attributes.clone().into_iter().collect(),
            kind: self.kind.kind,
            kind_details: self.kind.details.clone(),
            client_protocol: self.client_protocol,
            ..Default::default()
        }
    }

    #[allow(deprecated)]
    fn permission(&self) -> proto::ParticipantPermission {
        proto::ParticipantPermission {
            can_subscribe: self.grants.subscribe,
            can_publish: self.grants.publish,
            can_publish_data: self.grants.publish_data,
            can_publish_sources: self.grants.sources.clone(),
            hidden: self.grants.hidden,
            recorder: self.grants.recorder,
            agent: self.grants.agent,
            can_subscribe_metrics: self.grants.subscribe_metrics,
            can_update_metadata: self.grants.update_metadata,
            ..Default::default()
        }
    }

    /// Whether others may have something of theirs.
    pub fn publishes(&self) -> bool {
        self.tracks.iter().any(Track::is_live)
    }

    /// Whether they speak for others.
    pub fn is_agent(&self) -> bool {
        self.grants.agent || self.kind.kind == proto::participant_info::Kind::Agent as i32
    }

    /// Model ids of an AIC client; empty for a stock client.
    pub fn models(&self) -> Vec<u16> {
        let list = self
            .profile
            .attributes
            .get(MODELS_ATTRIBUTE)
            .map(String::as_str)
            .unwrap_or_default();
        list.split(',')
            .filter_map(|id| u16::from_str_radix(id.trim(), 16).ok())
            .collect()
    }

    /// Whether their Opus decoder enhances what it decodes.
    pub fn enhances(&self) -> bool {
        self.profile
            .attributes
            .get(DECODER_ATTRIBUTE)
            .is_some_and(|decoder| decoder == DECODER_NOLACE)
    }

    /// The published track that arrives on a line.
    pub fn track_on(&mut self, mid: Mid) -> Option<&mut Track> {
        self.tracks.iter_mut().find(|track| track.mid == Some(mid))
    }

    /// The published track of that number.
    pub fn track_of(&mut self, serial: u32) -> Option<&mut Track> {
        self.tracks.iter_mut().find(|track| track.serial == serial)
    }
}
