//! All rooms, participants and sessions of one media task, without sockets and clocks.
//!
//! In: datagrams, commands and the passing of time. Out: datagrams to send ([`Core::pop_transmit`]), the next
//! deadline ([`Core::poll_timeout`]) and messages in each participant's bounded signalling queue.

mod audio;
mod events;
mod join;
mod lines;
mod negotiate;
mod network;
mod offer;
mod publish;
mod relay;
mod requests;
mod route;
mod rows;
mod steer;
mod subscribe;
mod tick;
mod transports;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::signal_response::Message;
use str0m::net::Transmit;

pub(crate) use audio::Tapped;

use crate::ai::{Ai, AiState};
use crate::command::Command;
use crate::line::Use;
use crate::metrics::{Counters, DelayHistogram, Stats};
use crate::participant::{Participant, Pid, RoomKey, SocketId};
use crate::room::Room;
use crate::session::{SessionConfig, SessionEvent};
use crate::transport::{Role, TransportId};

/// How often policies, deadlines and layers are looked at.
const TICK: Duration = Duration::from_millis(100);

/// Most participants of one media task.
const MAX_PARTICIPANTS: usize = 5_000;

/// All state of one media task.
pub struct Core {
    sessions: SessionConfig,
    rooms: HashMap<RoomKey, Room>,
    people: HashMap<Pid, Participant>,
    sockets: HashMap<SocketId, Pid>,
    ufrags: HashMap<String, TransportId>,
    addresses: HashMap<SocketAddr, TransportId>,
    timers: BTreeSet<(Instant, TransportId)>,
    transmits: VecDeque<Transmit>,
    events: VecDeque<(TransportId, SessionEvent)>,
    next_pid: u64,
    next_tick: Instant,
    next_quality: Instant,
    closing: bool,
    ai: AiState,
    /// Counters of everything.
    pub counters: Counters,
    /// Delay of forwarded media; the driver records it.
    pub delays: DelayHistogram,
}

impl Core {
    /// A server with nobody in it.
    pub fn new(now: Instant, wall: SystemTime, sessions: SessionConfig, ai: Ai) -> Self {
        Self {
            sessions,
            rooms: HashMap::new(),
            people: HashMap::new(),
            sockets: HashMap::new(),
            ufrags: HashMap::new(),
            addresses: HashMap::new(),
            timers: BTreeSet::new(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            next_pid: 0,
            next_tick: now + TICK,
            next_quality: now + network::QUALITY_EVERY,
            closing: false,
            ai: AiState::new(now, wall, ai),
            counters: Counters::default(),
            delays: DelayHistogram::default(),
        }
    }

    /// A datagram from the network.
    pub fn handle_datagram(&mut self, now: Instant, source: SocketAddr, datagram: &[u8]) {
        self.counters.datagrams_in += 1;
        let Some(id) = self.owner_of(source, datagram) else {
            self.counters.stray += 1;
            return;
        };
        let destination = self.local_address(source);
        let Some(transport) = self.transport_mut(id) else {
            return;
        };
        let received = transport.session.receive(now, source, destination, datagram);
        if let Err(error) = received {
            self.fail(now, id.pid, &error);
        } else {
            self.drain(now, id);
        }
        self.settle(now);
    }

    /// A message from signalling.
    pub fn handle_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Join(join) => self.join(now, *join),
            Command::Request(socket, message, now_ms) => {
                if let Some(pid) = self.sockets.get(&socket).copied() {
                    self.handle_request(now, pid, *message, now_ms);
                }
            }
            Command::Closed(socket) => self.socket_closed(now, socket),
            Command::Goodbye(done) => {
                self.goodbye(now);
                // Whoever asked may be gone.
                let _ = done.send(());
            }
            Command::Stats(reply) => {
                let _ = reply.send(self.stats());
            }
        }
        self.settle(now);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((due, id)) = self.timers.first().copied() {
            if due > now {
                break;
            }
            self.timers.pop_first();
            let Some(transport) = self.transport_mut(id) else {
                continue;
            };
            transport.timer = None;
            let advanced = transport.session.advance(now);
            if let Err(error) = advanced {
                self.fail(now, id.pid, &error);
            } else {
                self.drain(now, id);
            }
        }
        self.tap_timeouts(now);
        if now >= self.next_tick {
            self.next_tick = now + TICK;
            self.tick(now);
        }
        self.settle(now);
    }

    /// When [`Core::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Instant {
        let sessions = self.timers.first().map(|(due, _)| *due);
        let taps = self.ai.timers.first().map(|(due, _, _)| *due);
        [sessions, taps]
            .into_iter()
            .flatten()
            .fold(self.next_tick, Instant::min)
    }

    /// The next datagram to send.
    pub fn pop_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// One coherent snapshot.
    pub fn stats(&self) -> Stats {
        Stats {
            participants: self.people.len(),
            rooms: self.rooms.len(),
            tracks: self.people.values().map(|p| p.tracks.len()).sum(),
            counters: self.counters.clone(),
            forward_p50: self.delays.quantile(0.50),
            forward_p99: self.delays.quantile(0.99),
        }
    }

    /// Works off what the sessions said.
    fn settle(&mut self, now: Instant) {
        while let Some((id, event)) = self.events.pop_front() {
            self.handle_event(now, id, event);
        }
    }

    fn fail(&mut self, now: Instant, pid: Pid, error: &dyn std::error::Error) {
        self.counters.failed_sessions += 1;
        if let Some(participant) = self.people.get(&pid) {
            tracing::warn!(participant = %participant.sid, %error, "session failed");
        }
        self.remove(
            now,
            pid,
            DisconnectReason::MediaFailure,
            Some(proto::leave_request::Action::Reconnect),
        );
    }

    /// Takes a participant out: goodbye if `farewell`, tracks away, others told.
    fn remove(
        &mut self,
        now: Instant,
        pid: Pid,
        reason: DisconnectReason,
        farewell: Option<proto::leave_request::Action>,
    ) {
        let Some(mut gone) = self.people.remove(&pid) else {
            return;
        };
        if let Some(action) = farewell {
            let leave = proto::LeaveRequest {
                reason: reason as i32,
                action: action as i32,
                can_reconnect: action != proto::leave_request::Action::Disconnect,
                ..Default::default()
            };
            gone.tell(Message::Leave(leave));
        }
        if let Some(socket) = gone.socket.take() {
            self.sockets.remove(&socket.id);
        }
        self.close_transport(pid, Role::Publisher, &mut gone.publisher);
        if let Some(subscriber) = &mut gone.subscriber {
            self.close_transport(pid, Role::Subscriber, subscriber);
        }
        tracing::info!(participant = %gone.sid, ?reason, "participant left");
        for mut track in std::mem::take(&mut gone.tracks) {
            self.close_tap(now, &gone.room, &gone.user, &mut track);
            self.forget_track(now, &gone.room, &track);
        }
        for line in &gone.sending().lines {
            if let Use::Send(track) = &line.usage
                && let Some(subscription) = gone.subscriptions.get(track)
                && let Some(publisher) = self.people.get_mut(&subscription.publisher)
                && let Some(track) = publisher.tracks.iter_mut().find(|t| t.id == *track)
            {
                track.legs.retain(|leg| leg.pid != pid);
            }
        }
        self.left(now, &gone);
        let Some(room) = self.rooms.get_mut(&gone.room) else {
            return;
        };
        room.participants.retain(|other| *other != pid);
        if room.participants.is_empty() {
            room.empty_since = Some(now);
        }
        gone.state = proto::participant_info::State::Disconnected;
        gone.version += 1;
        let mut info = gone.info();
        info.disconnect_reason = reason as i32;
        if !gone.grants.hidden {
            self.tell_room(
                &gone.room,
                None,
                Message::Update(proto::ParticipantUpdate {
                    participants: vec![info],
                }),
            );
        }
    }

    /// A message to everybody in a room but one.
    fn tell_room(&mut self, room: &RoomKey, but: Option<Pid>, message: Message) {
        let Some(room) = self.rooms.get(room) else { return };
        for pid in room.participants.iter().filter(|pid| Some(**pid) != but) {
            if let Some(participant) = self.people.get_mut(pid) {
                participant.tell(message.clone());
            }
        }
    }

    /// Tells the room, and himself, what has changed about a participant.
    fn announce(&mut self, pid: Pid) {
        let Some(participant) = self.people.get_mut(&pid) else {
            return;
        };
        participant.version += 1;
        let update = Message::Update(proto::ParticipantUpdate {
            participants: vec![participant.info()],
        });
        if participant.grants.hidden {
            participant.tell(update);
        } else {
            let room = participant.room.clone();
            self.tell_room(&room, None, update);
        }
    }
}
