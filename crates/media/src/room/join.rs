//! Joining, and coming back to running media.

use std::collections::BTreeMap;
use std::time::Duration;

use auralink_types::ParticipantId;
use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::leave_request::Action;
use proto::signal_response::Message;

use super::departure::{Departure, leave};
use super::lines::notices_streams_once;
use super::offer::IceStart;
use super::{Cx, Room};
use crate::command::{Join, SocketQueue, Topology};
use crate::connection::{Backlog, Connection, Socket};
use crate::participant::{Participant, Pid, Seat, SocketId};
use crate::quality::QualityMeter;
use crate::session::Session;
use crate::subscription::Permissions;
use crate::transport::{Role, Transport};

/// How long media may take to connect after a join.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a participant without signalling is kept for them to come back.
pub(super) const RESUME_WINDOW: Duration = Duration::from_secs(10);

/// Version announced; clients gate features on it (see [`server_info`]).
pub const LIVEKIT_VERSION: &str = "1.13.5";

const PING_INTERVAL_SECONDS: i32 = 5;
const PING_TIMEOUT_SECONDS: i32 = 15;

impl Room {
    /// Lets somebody in, or back in, unless they are refused. [`Self::start`] follows.
    pub fn join(&mut self, cx: &mut Cx<'_>, join: Join) -> Option<(Pid, IceStart)> {
        let same = self.find(join.admission.user.user.as_str());
        if join.request.reconnect {
            return self.resume(cx, join, same);
        }
        if let Some(old) = same {
            let departure = Departure::for_good(DisconnectReason::DuplicateIdentity);
            self.take_out(cx, old, departure);
        }
        if !self.has_place_for(&join.admission) {
            refuse(&join.queue, DisconnectReason::JoinFailure, Action::Disconnect);
            return None;
        }
        let pid = Pid(self.people.next_handle());
        let delays = self.settings().playout_delay.is_some();
        let mut transport = |role| {
            let id = self.transport_id(pid, role);
            Session::new(cx.now, cx.out, id, cx.sessions, delays).map(Transport::new)
        };
        let made = transport(Role::Publisher).and_then(|publisher| match join.topology {
            Topology::One => Ok((publisher, None)),
            Topology::Two => Ok((publisher, Some(transport(Role::Subscriber)?))),
        });
        let (publisher, subscriber) = match made {
            Ok(made) => made,
            Err(error) => {
                tracing::error!(%error, "no session could be made");
                refuse(&join.queue, DisconnectReason::JoinFailure, Action::Disconnect);
                return None;
            }
        };
        let Join {
            admission,
            topology: _,
            request,
            socket,
            queue,
            claim,
            now_ms,
        } = join;
        let settings = request.connection_settings.unwrap_or_default();
        let auto_subscribe = request.connection_settings.is_none() || settings.auto_subscribe;
        let client = request.client_info.as_ref();
        let connection = Connection {
            socket: Some(Socket { id: socket, queue }),
            _claim: claim,
            deadline: Some(cx.now + CONNECT_TIMEOUT),
            streams_once: subscriber.is_some() && client.is_some_and(notices_streams_once),
            publisher,
            subscriber,
            sends: Vec::new(),
            serials: 0,
            routes: Vec::new(),
            subscriptions: BTreeMap::new(),
            auto_subscribe,
            backlog: Backlog::default(),
            rtt: None,
            told_quality: false,
        };
        let transports = connection.transports().count();
        let participant = Participant {
            sid: ParticipantId::new(new_sid("PA_")),
            user: admission.user,
            profile: admission.profile,
            grants: admission.grants,
            kind: admission.kind,
            joined_at_ms: now_ms,
            client_protocol: client.map_or(0, |info| info.client_protocol),
            state: proto::participant_info::State::Joined,
            version: 1,
            tracks: Vec::new(),
            permissions: Permissions::default(),
            quality: QualityMeter::default(),
            seat: Seat::Here(Box::new(connection)),
        };
        tracing::info!(participant = %participant.sid, room = %self.key().name, transports, "participant joined");
        self.people.insert(participant);
        self.empty_since = None;
        self.occupied = true;
        self.came(cx, pid);
        self.greet(pid);
        Some((pid, IceStart::AsItIs))
    }

    /// Starts the media of somebody who has come, with the offer they came with.
    pub fn start(
        &mut self,
        cx: &mut Cx<'_>,
        pid: Pid,
        ice: IceStart,
        offer: Option<proto::SessionDescription>,
    ) {
        if ice == IceStart::AsItIs {
            self.subscribe_to_room(pid);
            self.tell_who_speaks(pid);
        }
        if let Some(offer) = offer.filter(|offer| !offer.sdp.is_empty()) {
            self.handle_offer(cx, pid, &offer);
        }
        self.offer(cx, pid, ice);
        if ice == IceStart::AsItIs {
            self.announce_to_others(pid);
        }
    }

    fn greet(&mut self, pid: Pid) {
        let others = self.infos_of_others(pid);
        let room = self.info();
        let Some(participant) = self.person_mut(pid) else {
            return;
        };
        let two = participant
            .here()
            .is_some_and(|connection| connection.subscriber.is_some());
        #[allow(deprecated)]
        let join = proto::JoinResponse {
            room: Some(room),
            participant: Some(participant.info()),
            other_participants: others,
            server_version: LIVEKIT_VERSION.into(),
            server_info: Some(server_info()),
            ping_interval: PING_INTERVAL_SECONDS,
            ping_timeout: PING_TIMEOUT_SECONDS,
            subscriber_primary: two,
            fast_publish: two && participant.grants.publish,
            enabled_publish_codecs: enabled_codecs(),
            ..Default::default()
        };
        participant.tell(Message::Join(join));
    }

    fn infos_of_others(&self, pid: Pid) -> Vec<proto::ParticipantInfo> {
        let people = self.others(pid).filter_map(|other| self.person(other));
        people
            .filter(|p| !p.grants.hidden)
            .map(Participant::info)
            .collect()
    }

    fn announce_to_others(&mut self, pid: Pid) {
        self.share(pid);
        let Some(participant) = self.person(pid).filter(|p| !p.grants.hidden) else {
            return;
        };
        let participants = vec![participant.info()];
        self.tell_room(
            Some(pid),
            &Message::Update(proto::ParticipantUpdate { participants }),
        );
    }

    /// A client whose signalling broke comes back to its running media.
    fn resume(&mut self, cx: &mut Cx<'_>, join: Join, same: Option<Pid>) -> Option<(Pid, IceStart)> {
        let live = same.filter(|pid| {
            let wanted = join.request.participant_sid.as_str();
            self.person(*pid).is_some_and(|p| p.sid.as_str() == wanted)
        });
        let Some(pid) = live else {
            refuse(&join.queue, DisconnectReason::StateMismatch, Action::Reconnect);
            return None;
        };
        let participant = self.people.get_mut(pid.0)?;
        let connection = participant.here_mut()?;
        let socket = Socket {
            id: join.socket,
            queue: join.queue,
        };
        if let Some(old) = connection.socket.replace(socket) {
            cx.out.hung_up.push(old.id);
        }
        let connected = connection.sending().session.is_connected();
        connection.deadline = (!connected).then_some(cx.now + CONNECT_TIMEOUT);
        connection.told_quality = false;
        // A question or an offer that was under way may never have arrived.
        connection.publisher.asked_to_offer = None;
        participant.tell(Message::Reconnect(proto::ReconnectResponse {
            server_info: Some(server_info()),
            ..Default::default()
        }));
        participant.version += 1;
        let mut participants = vec![participant.info()];
        participants.append(&mut self.infos_of_others(pid));
        self.tell(pid, Message::Update(proto::ParticipantUpdate { participants }));
        let room = Some(self.info());
        self.tell(pid, Message::RoomUpdate(proto::RoomUpdate { room }));
        self.tell_demands(pid);
        self.tell_who_speaks(pid);
        Some((pid, IceStart::Anew))
    }

    /// A socket is gone without a goodbye: its participant may come back.
    pub fn socket_closed(&mut self, cx: &Cx<'_>, pid: Pid, socket: SocketId) {
        if let Some(connection) = self.connection_mut(pid)
            && connection
                .socket
                .as_ref()
                .is_none_or(|current| current.id == socket)
        {
            connection.socket = None;
            connection.deadline = Some(cx.now + RESUME_WINDOW);
        }
    }

    /// The server goes away: everybody is told to look for another.
    pub fn goodbye(&mut self, cx: &mut Cx<'_>) {
        for pid in self.everybody() {
            self.depart(pid, Departure::to_return(DisconnectReason::ServerShutdown));
        }
        self.settle(cx);
    }
}

/// Answers a join that is not let in.
pub fn refuse(queue: &SocketQueue, reason: DisconnectReason, action: Action) {
    // The queue is new and empty; if its socket is gone already, nobody waits for the answer.
    let _ = queue.try_send(Box::new(proto::SignalResponse {
        message: Some(Message::Leave(leave(reason, action))),
    }));
}

/// What clients may send.
pub(super) fn enabled_codecs() -> Vec<proto::Codec> {
    let codec = |mime: &str| proto::Codec {
        mime: mime.into(),
        fmtp_line: String::new(),
    };
    ["video/VP8", "video/H264", "audio/opus", "audio/red"]
        .map(codec)
        .into()
}

/// A fresh id with that prefix.
pub fn new_sid(prefix: &str) -> String {
    use rand::Rng as _;
    use rand::distr::Alphanumeric;
    let random = rand::rng().sample_iter(Alphanumeric).take(12).map(char::from);
    prefix.chars().chain(random).collect()
}

/// 0.15.1 would switch dynacast off in clients, anything above 1.13.6 VP9 and AV1 simulcast on.
fn server_info() -> proto::ServerInfo {
    proto::ServerInfo {
        version: LIVEKIT_VERSION.into(),
        protocol: 16,
        node_id: "auralink".into(),
        ..Default::default()
    }
}
