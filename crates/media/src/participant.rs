//! One participant: who he is, what he may do, his signalling socket and his transports.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use auralink_types::{
    DECODER_ATTRIBUTE, DECODER_NOLACE, MODELS_ATTRIBUTE, ParticipantId, RoomName, TenantId, TrackId, UserKey,
};
use livekit_protocol as proto;
use proto::signal_response::Message;
use str0m::format::PayloadParams;
use str0m::media::{Mid, Pt};
use str0m::rtp::{RtpHeader, Ssrc};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::arena::Handle;
use crate::directory::Claim;
use crate::profile::Profile;
use crate::quality::QualityMeter;
use crate::sdp::OfferedLine;
use crate::speaking::Speaking;
use crate::subscription::{Permissions, Subscription};
use crate::track::Track;
use crate::transport::{Role, Transport};

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

/// Person, agent or gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kind {
    /// Of `ParticipantInfo.Kind`.
    pub kind: i32,
    /// Of `ParticipantInfo.KindDetail`.
    pub details: Vec<i32>,
}

/// Messages of one socket on their way out. Bounded: a client that doesn't read is cut off and resumes.
#[derive(Debug)]
pub struct Socket {
    /// Which socket.
    pub id: SocketId,
    /// Its queue.
    pub queue: mpsc::Sender<proto::SignalResponse>,
}

/// Most streams and formats remembered of one publisher; beyond it they are found anew.
const MAX_ROUTES: usize = 64;

/// Where packets of one stream and format belong.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    ssrc: Ssrc,
    pt: Pt,
    /// Which of the publisher's tracks.
    pub track: usize,
    /// Which of its layers.
    pub layer: usize,
    /// What the payload type stands for.
    pub params: PayloadParams,
    /// Whether it is RED around that.
    pub red: bool,
}

/// Reliable messages that wait for room in the channel.
#[derive(Debug, Default)]
pub struct Backlog {
    /// Messages, oldest first.
    pub messages: VecDeque<Vec<u8>>,
    /// Their bytes.
    pub bytes: usize,
}

/// Everything about one participant.
pub struct Participant {
    /// Session id seen by clients.
    pub sid: ParticipantId,
    /// Tenant and identity.
    pub user: UserKey,
    /// Name, metadata and attributes.
    pub profile: Profile,
    /// What he may do.
    pub grants: Grants,
    /// What kind of participant he is, as LiveKit numbers them.
    pub kind: Kind,
    /// When he joined, milliseconds since the Unix epoch.
    pub joined_at_ms: i64,
    /// Client's own protocol level, passed on to others.
    pub client_protocol: i32,
    /// Connection state shown to others.
    pub state: proto::participant_info::State,
    /// Grows with every change shown to others.
    pub version: u32,
    /// Signalling; absent while the client is away.
    pub socket: Option<Socket>,
    /// Keeps the room's place, and counts as one more on its shard.
    pub _claim: Claim,
    /// When he is given up unless something happens.
    pub deadline: Option<Instant>,
    /// Where what he publishes arrives; with one transport for all, also where what he hears leaves.
    pub publisher: Transport,
    /// Where what he hears leaves, for a client with two.
    pub subscriber: Option<Transport>,
    /// Lines of the last offer on which he sends: which tracks they carry may be announced later.
    pub sends: Vec<OfferedLine>,
    /// Tracks he publishes.
    pub tracks: Vec<Track>,
    /// Tracks he has published so far.
    pub serials: u32,
    /// Where packets belong that arrive under an SSRC with a payload type; gathered as they come.
    pub routes: Vec<Route>,
    /// Whom he lets have his tracks.
    pub permissions: Permissions,
    /// Tracks of others that he may ask for.
    pub subscriptions: BTreeMap<TrackId, Subscription>,
    /// Whether the client notices a media stream once for each of its lines and no second time.
    pub streams_once: bool,
    /// Whether new tracks are subscribed to by themselves.
    pub auto_subscribe: bool,
    /// Reliable data that waits.
    pub backlog: Backlog,
    /// Round trip to him, as last reported on anything.
    pub rtt: Option<Duration>,
    /// How good his connection is.
    pub quality: QualityMeter,
    /// Whether he was told how good the others' connections are.
    pub told_quality: bool,
}

impl Participant {
    /// Puts a message into the socket's queue. On overflow the socket is dropped, which closes it; the client
    /// comes back and gets the full state. Of one that is closed already the room is about to hear.
    pub fn tell(&mut self, message: Message) {
        let response = proto::SignalResponse {
            message: Some(message),
        };
        if let Some(socket) = &self.socket
            && let Err(TrySendError::Full(_)) = socket.queue.try_send(response)
        {
            tracing::warn!(participant = %self.sid, "signalling queue overflowed");
            self.socket = None;
        }
    }

    /// How loud they were told to be: as loud as their loudest microphone.
    pub fn speaks(&self) -> proto::SpeakerInfo {
        let microphones = self.tracks.iter().filter(|track| !track.is_video());
        let level = microphones.map(|track| track.speaking.told()).fold(0.0, f32::max);
        Speaking::info(self.sid.as_str(), level)
    }

    /// How others and he himself see him.
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

    /// Whether others may have something of him.
    pub fn publishes(&self) -> bool {
        self.tracks.iter().any(Track::is_live)
    }

    /// Whether he speaks for others.
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

    /// Whether his Opus decoder enhances what it decodes.
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

    /// Which transport sends to him.
    pub const fn sending_role(&self) -> Role {
        if self.subscriber.is_some() {
            Role::Subscriber
        } else {
            Role::Publisher
        }
    }

    /// The transport that sends to him.
    pub fn sending(&self) -> &Transport {
        self.subscriber.as_ref().unwrap_or(&self.publisher)
    }

    /// The transport that sends to him.
    pub fn sending_mut(&mut self) -> &mut Transport {
        self.subscriber.as_mut().unwrap_or(&mut self.publisher)
    }

    /// The transport of that role, if he has it.
    pub fn transport_mut(&mut self, role: Role) -> Option<&mut Transport> {
        match role {
            Role::Publisher => Some(&mut self.publisher),
            Role::Subscriber => self.subscriber.as_mut(),
        }
    }

    /// His transports by role.
    pub fn transports(&self) -> impl Iterator<Item = (Role, &Transport)> {
        let subscriber = self
            .subscriber
            .iter()
            .map(|transport| (Role::Subscriber, transport));
        std::iter::once((Role::Publisher, &self.publisher)).chain(subscriber)
    }

    /// The published track of that number.
    pub fn track_of(&mut self, serial: u32) -> Option<&mut Track> {
        self.tracks.iter_mut().find(|track| track.serial == serial)
    }

    /// Where a packet that arrives belongs; resolved once for each stream and format.
    pub fn route(&mut self, header: &RtpHeader) -> Option<Route> {
        let (ssrc, pt) = (header.ssrc, header.payload_type);
        let known = self
            .routes
            .iter()
            .find(|route| route.ssrc == ssrc && route.pt == pt);
        if let Some(route) = known {
            return Some(*route);
        }
        let (params, red) = self.publisher.session.format_of(pt)?;
        let stream = self.publisher.session.stream_of(ssrc);
        let mid = header.ext_vals.mid.or(stream.map(|(mid, _)| mid))?;
        let track = self.tracks.iter().position(|track| track.mid == Some(mid))?;
        let layers = &self.tracks[track].layers;
        let layer = stream
            .and_then(|(_, rid)| rid)
            .and_then(|rid| {
                layers
                    .iter()
                    .position(|layer| layer.rid.as_deref() == Some(&*rid))
            })
            .unwrap_or(0);
        let route = Route {
            ssrc,
            pt,
            track,
            layer,
            params,
            red,
        };
        if self.routes.len() == MAX_ROUTES {
            self.routes.clear();
        }
        self.routes.push(route);
        Some(route)
    }
}
