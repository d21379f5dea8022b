//! Joining, coming back, leaving.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use auralink_types::{CallId, EventKind, ParticipantId};
use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::leave_request::Action;
use proto::signal_response::Message;
use tokio::sync::mpsc;

use super::offer::IceStart;
use super::{Core, MAX_PARTICIPANTS};
use crate::command::{Join, Topology};
use crate::participant::{Backlog, Participant, Pid, RoomKey, Socket, SocketId};
use crate::quality::QualityMeter;
use crate::room::{Headcount, Room};
use crate::session::Session;
use crate::subscription::Permissions;
use crate::transport::{Transport, TransportId};

/// How long media may take to connect after a join.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a participant without signalling is kept for him to come back.
pub(super) const RESUME_WINDOW: Duration = Duration::from_secs(10);

/// Version announced; clients gate features on it (see [`server_info`]).
pub const LIVEKIT_VERSION: &str = "1.13.5";

const PING_INTERVAL_SECONDS: i32 = 5;
const PING_TIMEOUT_SECONDS: i32 = 15;

impl Core {
    pub(super) fn join(&mut self, now: Instant, join: Join) {
        if self.closing {
            return refuse(&join.queue, DisconnectReason::ServerShutdown, Action::Reconnect);
        }
        if self.people.len() >= MAX_PARTICIPANTS {
            return refuse(&join.queue, DisconnectReason::JoinFailure, Action::Disconnect);
        }
        let key = RoomKey {
            tenant: join.admission.user.tenant.clone(),
            name: join.admission.room.clone(),
        };
        let present = self
            .rooms
            .get(&key)
            .into_iter()
            .flat_map(|room| room.participants.iter().copied());
        let same = present.into_iter().find(|pid| {
            self.people
                .get(pid)
                .is_some_and(|other| other.user == join.admission.user)
        });
        if join.request.reconnect {
            return self.resume(now, join, same);
        }
        if let Some(old) = same {
            self.remove(
                now,
                old,
                DisconnectReason::DuplicateIdentity,
                Some(Action::Disconnect),
            );
        }
        let pid = Pid(self.next_pid);
        self.next_pid += 1;
        let transport = || Session::new(now, &self.sessions).map(Transport::new);
        let made = transport().and_then(|publisher| match join.topology {
            Topology::One => Ok((publisher, None)),
            Topology::Two => Ok((publisher, Some(transport()?))),
        });
        let (publisher, subscriber) = match made {
            Ok(made) => made,
            Err(error) => {
                tracing::error!(%error, "no session could be made");
                return refuse(&join.queue, DisconnectReason::JoinFailure, Action::Disconnect);
            }
        };
        let Join {
            admission,
            topology: _,
            request,
            socket,
            queue,
            now_ms,
        } = join;
        let settings = request.connection_settings.unwrap_or_default();
        let auto_subscribe = request.connection_settings.is_none() || settings.auto_subscribe;
        let participant = Participant {
            sid: ParticipantId::new(new_sid("PA_")),
            user: admission.user,
            room: key.clone(),
            profile: admission.profile,
            grants: admission.grants,
            kind: admission.kind,
            joined_at_ms: now_ms,
            client_protocol: request
                .client_info
                .as_ref()
                .map_or(0, |info| info.client_protocol),
            state: proto::participant_info::State::Joined,
            version: 1,
            socket: Some(Socket { id: socket, queue }),
            deadline: Some(now + CONNECT_TIMEOUT),
            publisher,
            subscriber,
            sends: Vec::new(),
            tracks: Vec::new(),
            permissions: Permissions::default(),
            subscriptions: BTreeMap::new(),
            auto_subscribe,
            backlog: Backlog::default(),
            rtt: None,
            quality: QualityMeter::default(),
            told_quality: false,
        };
        let transports = participant.transports().count();
        tracing::info!(participant = %participant.sid, room = %key.name, transports, "participant joined");
        let ids: Vec<TransportId> = participant
            .transports()
            .map(|(role, _)| TransportId { pid, role })
            .collect();
        self.sockets.insert(socket, pid);
        let fresh = !self.rooms.contains_key(&key);
        let room = self.rooms.entry(key.clone()).or_insert_with(|| Room {
            sid: CallId::new(new_sid("RM_")),
            name: key.name.as_str().into(),
            created_at_ms: now_ms,
            participants: Vec::new(),
            told: Headcount::default(),
            empty_since: None,
        });
        room.empty_since = None;
        room.participants.push(pid);
        self.people.insert(pid, participant);
        if fresh {
            self.happened(now, &key, EventKind::CallStarted);
        }
        self.came(now, pid);
        for id in ids {
            self.register_name(id);
            self.drain(now, id);
        }
        self.greet(pid, &key);
        for add in request.add_track_requests {
            self.add_track(now, pid, add);
        }
        self.subscribe_to_room(pid, &key);
        if let Some(offer) = request.publisher_offer.filter(|offer| !offer.sdp.is_empty()) {
            self.handle_offer(now, pid, offer);
        }
        self.offer(now, pid, IceStart::AsItIs);
        self.announce_to_others(pid);
    }

    fn greet(&mut self, pid: Pid, key: &RoomKey) {
        let others = self.others(pid, key);
        let room = self.room_info(key);
        let Some(participant) = self.people.get_mut(&pid) else {
            return;
        };
        let codec = |mime: &str| proto::Codec {
            mime: mime.into(),
            fmtp_line: String::new(),
        };
        #[allow(deprecated)]
        let join = proto::JoinResponse {
            room,
            participant: Some(participant.info()),
            other_participants: others,
            server_version: LIVEKIT_VERSION.into(),
            server_info: Some(server_info()),
            ping_interval: PING_INTERVAL_SECONDS,
            ping_timeout: PING_TIMEOUT_SECONDS,
            subscriber_primary: participant.subscriber.is_some(),
            fast_publish: participant.subscriber.is_some() && participant.grants.publish,
            enabled_publish_codecs: ["video/VP8", "video/H264", "audio/opus", "audio/red"]
                .map(codec)
                .into(),
            ..Default::default()
        };
        participant.tell(Message::Join(join));
    }

    fn others(&self, pid: Pid, key: &RoomKey) -> Vec<proto::ParticipantInfo> {
        let Some(room) = self.rooms.get(key) else {
            return Vec::new();
        };
        let people = room
            .participants
            .iter()
            .filter(|other| **other != pid)
            .filter_map(|p| self.people.get(p));
        people
            .filter(|p| !p.grants.hidden)
            .map(Participant::info)
            .collect()
    }

    fn announce_to_others(&mut self, pid: Pid) {
        let Some(participant) = self.people.get(&pid) else {
            return;
        };
        if participant.grants.hidden {
            return;
        }
        let (room, info) = (participant.room.clone(), participant.info());
        self.tell_room(
            &room,
            Some(pid),
            Message::Update(proto::ParticipantUpdate {
                participants: vec![info],
            }),
        );
    }

    /// A client whose signalling broke comes back to his running media.
    fn resume(&mut self, now: Instant, join: Join, same: Option<Pid>) {
        let live = same.filter(|pid| {
            let wanted = join.request.participant_sid.as_str();
            self.people.get(pid).is_some_and(|p| p.sid.as_str() == wanted)
        });
        let Some(pid) = live else {
            return refuse(&join.queue, DisconnectReason::StateMismatch, Action::Reconnect);
        };
        let Some(participant) = self.people.get_mut(&pid) else {
            return;
        };
        if let Some(old) = participant.socket.replace(Socket {
            id: join.socket,
            queue: join.queue,
        }) {
            self.sockets.remove(&old.id);
        }
        self.sockets.insert(join.socket, pid);
        if participant.sending().session.is_connected() {
            participant.deadline = None;
        } else {
            participant.deadline = Some(now + CONNECT_TIMEOUT);
        }
        participant.told_quality = false;
        // A question or an offer that was under way may never have arrived.
        participant.publisher.asked_to_offer = None;
        let key = participant.room.clone();
        participant.tell(Message::Reconnect(proto::ReconnectResponse {
            server_info: Some(server_info()),
            ..Default::default()
        }));
        participant.version += 1;
        let myself = participant.info();
        let mut everyone = self.others(pid, &key);
        everyone.push(myself);
        let room = self.room_info(&key);
        if let Some(participant) = self.people.get_mut(&pid) {
            participant.tell(Message::Update(proto::ParticipantUpdate {
                participants: everyone,
            }));
            participant.tell(Message::RoomUpdate(proto::RoomUpdate { room }));
        }
        if let Some(offer) = join.request.publisher_offer.filter(|offer| !offer.sdp.is_empty()) {
            self.handle_offer(now, pid, offer);
        }
        self.offer(now, pid, IceStart::Anew);
    }

    /// A socket is gone without a goodbye: the participant may come back.
    pub(super) fn socket_closed(&mut self, now: Instant, socket: SocketId) {
        let Some(pid) = self.sockets.remove(&socket) else {
            return;
        };
        let Some(participant) = self.people.get_mut(&pid) else {
            return;
        };
        if participant
            .socket
            .as_ref()
            .is_some_and(|current| current.id == socket)
        {
            participant.socket = None;
            participant.deadline = Some(now + RESUME_WINDOW);
        }
    }

    /// The server goes away: everybody is told to look for another.
    pub(super) fn goodbye(&mut self, now: Instant) {
        self.closing = true;
        let everybody: Vec<Pid> = self.people.keys().copied().collect();
        for pid in everybody {
            self.remove(
                now,
                pid,
                DisconnectReason::ServerShutdown,
                Some(Action::Reconnect),
            );
        }
        self.end_calls(now, true);
    }
}

fn refuse(queue: &mpsc::Sender<proto::SignalResponse>, reason: DisconnectReason, action: Action) {
    let leave = proto::LeaveRequest {
        reason: reason as i32,
        action: action as i32,
        can_reconnect: action != Action::Disconnect,
        ..Default::default()
    };
    // The queue is new and empty; if its socket is gone already, nobody waits for the answer.
    let _ = queue.try_send(proto::SignalResponse {
        message: Some(Message::Leave(leave)),
    });
}

/// A fresh id with that prefix.
pub(super) fn new_sid(prefix: &str) -> String {
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
