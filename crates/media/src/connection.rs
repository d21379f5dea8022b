//! The connection of somebody who is on this shard: their signalling socket, their transports, and what they are sent.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use auralink_types::TrackId;
use str0m::format::PayloadParams;
use str0m::media::Pt;
use str0m::rtp::{RtpHeader, Ssrc};

use crate::command::SocketQueue;
use crate::directory::Claim;
use crate::line::Use;
use crate::outbox::Outbox;
use crate::participant::{Pid, SocketId};
use crate::sdp::OfferedLine;
use crate::subscription::Subscription;
use crate::track::Track;
use crate::transport::{Role, Transport};

/// Messages of one socket on their way out. Bounded: a client that doesn't read is cut off and resumes.
#[derive(Debug)]
pub struct Socket {
    /// Which socket.
    pub id: SocketId,
    /// Its queue.
    pub queue: SocketQueue,
}

/// Most streams and formats remembered of one publisher; beyond it they are found anew.
const MAX_ROUTES: usize = 64;

/// Where packets of one stream and format belong.
#[derive(Clone, Copy, Debug)]
pub struct Route {
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

/// Somebody's connection.
pub struct Connection {
    /// Signalling; absent while the client is away.
    pub socket: Option<Socket>,
    /// Keeps the room's place, and counts as one more on its shard.
    pub _claim: Claim,
    /// When they are given up unless something happens.
    pub deadline: Option<Instant>,
    /// Where what they publish arrives; with one transport for all, also where what they hear leaves.
    pub publisher: Transport,
    /// Where what they hear leaves, for a client with two.
    pub subscriber: Option<Transport>,
    /// Lines of the last offer on which they send: which tracks they carry may be announced later.
    pub sends: Vec<OfferedLine>,
    /// Tracks they have published so far.
    pub serials: u32,
    /// Where packets belong that arrive under an SSRC with a payload type; gathered as they come.
    pub routes: Vec<(Ssrc, Pt, Route)>,
    /// Tracks of others that they may ask for.
    pub subscriptions: BTreeMap<TrackId, Subscription>,
    /// Whether the client notices a media stream once for each of its lines and no second time.
    pub streams_once: bool,
    /// Whether new tracks are subscribed to by themselves.
    pub auto_subscribe: bool,
    /// Reliable data that waits.
    pub backlog: Backlog,
    /// Round trip to them, as last reported on anything.
    pub rtt: Option<Duration>,
    /// Whether they were told how good the others' connections are.
    pub told_quality: bool,
}

impl Connection {
    /// Ends it.
    pub fn close(&mut self, out: &mut Outbox) {
        if let Some(socket) = self.socket.take() {
            out.hung_up.push(socket.id);
        }
        self.publisher.session.close(out);
        if let Some(subscriber) = &mut self.subscriber {
            subscriber.session.close(out);
        }
    }

    /// Whether they have subscribed to anything of somebody's.
    pub fn is_subscribed_to(&self, publisher: Pid) -> bool {
        let mut subscriptions = self.subscriptions.values();
        subscriptions.any(|subscription| subscription.publisher == publisher && subscription.is_wanted())
    }

    /// Tracks that leave on its lines, and whose they are.
    pub fn hears(&self) -> Vec<(Pid, TrackId)> {
        let heard = self.sending().lines.iter().filter_map(|line| match &line.usage {
            Use::Send(track) => Some((self.subscriptions.get(track)?.publisher, track.clone())),
            _ => None,
        });
        heard.collect()
    }

    /// Which transport sends to them.
    pub const fn sending_role(&self) -> Role {
        if self.subscriber.is_some() {
            Role::Subscriber
        } else {
            Role::Publisher
        }
    }

    /// The transport that sends to them.
    pub fn sending(&self) -> &Transport {
        self.subscriber.as_ref().unwrap_or(&self.publisher)
    }

    /// The transport that sends to them.
    pub fn sending_mut(&mut self) -> &mut Transport {
        self.subscriber.as_mut().unwrap_or(&mut self.publisher)
    }

    /// The transport of that role, if they have it.
    pub fn transport_mut(&mut self, role: Role) -> Option<&mut Transport> {
        match role {
            Role::Publisher => Some(&mut self.publisher),
            Role::Subscriber => self.subscriber.as_mut(),
        }
    }

    /// Their transports by role.
    pub fn transports(&self) -> impl Iterator<Item = (Role, &Transport)> {
        let subscriber = self
            .subscriber
            .iter()
            .map(|transport| (Role::Subscriber, transport));
        std::iter::once((Role::Publisher, &self.publisher)).chain(subscriber)
    }

    /// Where a packet that arrives belongs among their tracks; resolved once for each stream and format.
    pub fn route(&mut self, tracks: &[Track], header: &RtpHeader) -> Option<Route> {
        let (ssrc, pt) = (header.ssrc, header.payload_type);
        let known = self.routes.iter().find(|known| (known.0, known.1) == (ssrc, pt));
        if let Some((_, _, route)) = known {
            return Some(*route);
        }
        let (params, red) = self.publisher.session.format_of(pt)?;
        let stream = self.publisher.session.stream_of(ssrc);
        let mid = header.ext_vals.mid.or(stream.map(|(mid, _)| mid))?;
        let track = tracks.iter().position(|track| track.mid == Some(mid))?;
        let layers = &tracks[track].layers;
        let layer = stream
            .and_then(|(_, rid)| rid)
            .and_then(|rid| {
                layers
                    .iter()
                    .position(|layer| layer.rid.as_deref() == Some(&*rid))
            })
            .unwrap_or(0);
        let route = Route {
            track,
            layer,
            params,
            red,
        };
        if self.routes.len() == MAX_ROUTES {
            self.routes.clear();
        }
        self.routes.push((ssrc, pt, route));
        Some(route)
    }
}
