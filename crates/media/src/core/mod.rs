//! All rooms, participants and sessions of one media task, without sockets and clocks.
//!
//! In: datagrams, commands and the passing of time. Out: datagrams to send ([`Core::pop_transmit`]), the next
//! deadline ([`Core::poll_timeout`]) and messages in each participant's bounded signalling queue.

mod audio;
mod join;
mod negotiate;
mod publish;
mod relay;
mod requests;
mod route;
mod rows;
mod steer;
mod tick;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::signal_response::Message;
use str0m::ice::StunMessage;
use str0m::net::Transmit;

pub(crate) use audio::Tapped;

use crate::ai::{Ai, AiState};
use crate::command::Command;
use crate::line::Use;
use crate::metrics::{Counters, DelayHistogram, Stats};
use crate::participant::{Participant, Pid, RoomKey, SocketId};
use crate::room::Room;
use crate::session::{SessionConfig, SessionEvent};

/// How often policies, deadlines and layers are looked at.
const TICK: Duration = Duration::from_millis(100);

/// Most addresses remembered per session; an old one falls out.
const MAX_ADDRESSES: usize = 16;

/// Most participants of one media task.
const MAX_PARTICIPANTS: usize = 5_000;

/// All state of one media task.
pub struct Core {
    sessions: SessionConfig,
    rooms: HashMap<RoomKey, Room>,
    people: HashMap<Pid, Participant>,
    sockets: HashMap<SocketId, Pid>,
    ufrags: HashMap<String, Pid>,
    addresses: HashMap<SocketAddr, Pid>,
    timers: BTreeSet<(Instant, Pid)>,
    transmits: VecDeque<Transmit>,
    events: VecDeque<(Pid, SessionEvent)>,
    next_pid: u64,
    next_tick: Instant,
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
            closing: false,
            ai: AiState::new(now, wall, ai),
            counters: Counters::default(),
            delays: DelayHistogram::default(),
        }
    }

    /// A datagram from the network.
    pub fn handle_datagram(&mut self, now: Instant, source: SocketAddr, datagram: &[u8]) {
        self.counters.datagrams_in += 1;
        let Some(pid) = self.owner_of(source, datagram) else {
            self.counters.stray += 1;
            return;
        };
        let destination = self.local_address(source);
        let Some(participant) = self.people.get_mut(&pid) else {
            return;
        };
        let received = participant.session.receive(now, source, destination, datagram);
        if let Err(error) = received {
            self.fail(now, pid, &error);
        } else {
            self.drain(now, pid);
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
        while let Some((due, pid)) = self.timers.first().copied() {
            if due > now {
                break;
            }
            self.timers.pop_first();
            let Some(participant) = self.people.get_mut(&pid) else {
                continue;
            };
            participant.timer = None;
            let advanced = participant.session.advance(now);
            if let Err(error) = advanced {
                self.fail(now, pid, &error);
            } else {
                self.drain(now, pid);
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

    /// STUN requests carry the session's name; everything else is known by its address.
    fn owner_of(&mut self, source: SocketAddr, datagram: &[u8]) -> Option<Pid> {
        const STUN_FIRST_BYTE_MAX: u8 = 3;
        if datagram
            .first()
            .is_some_and(|first| *first <= STUN_FIRST_BYTE_MAX)
        {
            let message = StunMessage::parse(datagram).ok()?;
            if let Some((local, _)) = message.split_username() {
                let pid = *self.ufrags.get(local)?;
                self.remember_address(pid, source);
                return Some(pid);
            }
        }
        self.addresses.get(&source).copied()
    }

    fn remember_address(&mut self, pid: Pid, source: SocketAddr) {
        if self.addresses.get(&source) == Some(&pid) {
            return;
        }
        let Some(participant) = self.people.get_mut(&pid) else {
            return;
        };
        if participant.addresses.len() == MAX_ADDRESSES {
            let oldest = participant.addresses.remove(0);
            if self.addresses.get(&oldest) == Some(&pid) {
                self.addresses.remove(&oldest);
            }
        }
        participant.addresses.push(source);
        self.addresses.insert(source, pid);
    }

    /// The candidate a peer must have sent to: one socket serves them all and doesn't say which.
    fn local_address(&self, source: SocketAddr) -> SocketAddr {
        let candidates = &self.sessions.candidates;
        let family = || candidates.iter().filter(|c| c.is_ipv4() == source.is_ipv4());
        let near = family().find(|c| c.ip() == source.ip());
        let same_scope = || family().find(|c| c.ip().is_loopback() == source.ip().is_loopback());
        let best = near.or_else(same_scope).or_else(|| candidates.first());
        // A server has at least one candidate: its constructor sees to it.
        *best.unwrap_or(&source)
    }

    /// Takes everything a session has to say.
    fn drain(&mut self, now: Instant, pid: Pid) {
        let Some(participant) = self.people.get_mut(&pid) else {
            return;
        };
        let events = &mut self.events;
        let drained = participant
            .session
            .drain(&mut self.transmits, |event| events.push_back((pid, event)));
        let due = participant.session.due();
        if participant.timer != Some(due) {
            if let Some(old) = participant.timer.replace(due) {
                self.timers.remove(&(old, pid));
            }
            self.timers.insert((due, pid));
        }
        if let Err(error) = drained {
            self.fail(now, pid, &error);
        }
    }

    /// Works off what the sessions said.
    fn settle(&mut self, now: Instant) {
        while let Some((pid, event)) = self.events.pop_front() {
            self.handle_event(now, pid, event);
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
        gone.session.close();
        // Its last words; what else it says concerns nobody any more.
        let _ = gone.session.drain(&mut self.transmits, |_| {});
        if let Some(due) = gone.timer {
            self.timers.remove(&(due, pid));
        }
        self.ufrags.remove(&gone.ufrag);
        for address in &gone.addresses {
            if self.addresses.get(address) == Some(&pid) {
                self.addresses.remove(address);
            }
        }
        tracing::info!(participant = %gone.sid, ?reason, "participant left");
        for mut track in std::mem::take(&mut gone.tracks) {
            self.close_tap(&mut track);
            self.forget_track(now, &gone.room, &track);
        }
        for line in &gone.lines {
            if let Use::Send(track) = &line.usage
                && let Some(subscription) = gone.subscriptions.get(track)
                && let Some(publisher) = self.people.get_mut(&subscription.publisher)
                && let Some(track) = publisher.tracks.iter_mut().find(|t| t.id == *track)
            {
                track.legs.retain(|leg| leg.pid != pid);
            }
        }
        let Some(room) = self.rooms.get_mut(&gone.room) else {
            return;
        };
        room.participants.retain(|other| *other != pid);
        if room.participants.is_empty() {
            room.empty_until = Some(now + tick::EMPTY_ROOM);
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
