//! The switchboard of a shard: which room and whose transport a datagram, a timer or a message is for.
//!
//! In: datagrams, commands, outcomes of the AI core and the passing of time. Out: datagrams to send
//! ([`Switchboard::transmits`]) and the next deadline ([`Switchboard::poll_timeout`]). It holds tables and dispatches;
//! what happens is the rooms' own.

mod asked;
mod rooms;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant, SystemTime};

use auralink_types::EventKind;
use livekit_protocol as proto;
use proto::DisconnectReason;
use str0m::net::Transmit;

use crate::ai::AiState;
use crate::arena::Arena;
use crate::command::Command;
use crate::held::Held;
use crate::metrics::{Counters, DelayHistogram, Stats};
use crate::outbox::{Entry, Outbox};
use crate::participant::{Pid, RoomId, RoomKey, SocketId};
use crate::relay::Letters;
use crate::room::{Cx, Departure, Room};
use crate::session::SessionConfig;
use crate::signal;
use crate::transport::TransportId;
use crate::whereabouts::{Whereabouts, Whose};

/// How often deadlines, policies and layers are looked at.
const TICK: Duration = Duration::from_millis(100);

/// How often a track's row is written.
const ROW_EVERY: Duration = Duration::from_secs(1);

/// How often participants are told of each other's connections.
const QUALITY_EVERY: Duration = Duration::from_secs(5);

/// Most participants of one shard.
const MAX_PARTICIPANTS: usize = 5_000;

/// How often what is known of other shards' people is aged.
const AGE_EVERY: Duration = Duration::from_secs(60);

/// All rooms of one shard, and who is to be found where.
pub struct Switchboard {
    sessions: SessionConfig,
    rooms: Arena<Room>,
    names: HashMap<RoomKey, RoomId>,
    sockets: HashMap<SocketId, (RoomId, Pid)>,
    whereabouts: Whereabouts,
    held: Held,
    timers: BTreeSet<(Instant, TransportId)>,
    next_tick: Instant,
    next_rows: Instant,
    next_quality: Instant,
    next_ageing: Instant,
    closing: bool,
    out: Outbox,
    ai: AiState,
    /// Counters of everything.
    pub counters: Counters,
    /// Delay of forwarded media; the shard records it.
    pub delays: DelayHistogram,
    /// Length of its turns; the shard records it.
    pub turns: DelayHistogram,
}

impl Switchboard {
    /// A switchboard without rooms.
    pub fn new(now: Instant, whereabouts: Whereabouts, sessions: SessionConfig, ai: AiState) -> Self {
        Self {
            sessions,
            rooms: Arena::default(),
            names: HashMap::new(),
            sockets: HashMap::new(),
            whereabouts,
            held: Held::default(),
            timers: BTreeSet::new(),
            next_tick: now + TICK,
            next_rows: now,
            next_quality: now + QUALITY_EVERY,
            next_ageing: now + AGE_EVERY,
            closing: false,
            out: Outbox::default(),
            ai,
            counters: Counters::default(),
            delays: DelayHistogram::default(),
            turns: DelayHistogram::default(),
        }
    }

    /// Whose a datagram is that came from the network.
    pub fn whose(&mut self, source: SocketAddr, datagram: &[u8]) -> Whose {
        self.whereabouts.whose(source, datagram)
    }

    /// A datagram for that transport.
    pub fn handle_datagram(&mut self, now: Instant, id: TransportId, source: SocketAddr, datagram: &[u8]) {
        let destination = self.local_address(source);
        self.in_room(now, id.room, Some(id.pid), |room, cx| {
            room.handle_datagram(cx, id, (source, destination), datagram);
        });
    }

    /// A message from signalling.
    pub fn handle_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Join(join) => self.join(now, *join),
            Command::Request(socket, ..) | Command::Closed(socket) if self.held.waits(socket) => {
                self.held.push(socket, command);
            }
            Command::Request(socket, message, now_ms) => {
                if let Some((room, pid)) = self.sockets.get(&socket).copied() {
                    self.in_room(now, room, Some(pid), |room, cx| {
                        signal::obey(room, cx, pid, *message, now_ms);
                        room.settle(cx);
                    });
                }
            }
            Command::Closed(socket) => {
                if let Some((room, pid)) = self.sockets.remove(&socket) {
                    self.in_room(now, room, Some(pid), |room, cx| {
                        room.socket_closed(cx, pid, socket)
                    });
                }
            }
            Command::Asked(asked) => self.asked(now, *asked),
            Command::Listed(listed) => self.list(listed),
            Command::Goodbye(done) => {
                self.closing = true;
                self.give_up(now);
                // Whoever asked may be gone.
                let _ = done.send(());
            }
            Command::Stats(reply) => {
                let _ = reply.send(self.stats());
            }
            // Without the hook for panics, which may take seconds over a backtrace.
            Command::Die => std::panic::resume_unwind(Box::new("shard killed by fault injection")),
        }
    }

    /// Asks everybody to look for another place, and ends their calls.
    pub fn give_up(&mut self, now: Instant) {
        self.in_every_room(now, Room::goodbye);
        self.end_calls(now, true);
    }

    /// Letters that are to leave; whoever sends them clears them.
    pub fn letters(&mut self) -> &mut Letters {
        &mut self.out.letters
    }

    /// The AI core has something to say.
    pub fn handle_outcomes(&mut self, now: Instant) {
        while let Some(outcome) = self.ai.processor.poll() {
            let Some(key) = self.ai.streams.get(&outcome.stream()).copied() else {
                continue;
            };
            self.in_room(now, key.room, Some(key.pid), |room, cx| {
                room.handle_outcome(cx, key, &outcome);
            });
        }
    }

    /// What the system's wall clock says; to be told before time passes.
    pub fn handle_clock(&mut self, now: Instant, wall: SystemTime) {
        let calls = !self.rooms.is_empty();
        let Some(by_us) = self.ai.wall.read(now, wall, calls) else {
            return;
        };
        let seconds = by_us / 1_000_000;
        tracing::warn!(
            seconds,
            "the clock was set; what is told from now on is dated by it"
        );
        self.in_every_room(now, |room, cx| {
            room.happened(cx, now, EventKind::Redated { by_us });
        });
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((due, id)) = self.timers.first().copied().filter(|(due, _)| *due <= now) {
            self.timers.remove(&(due, id));
            self.in_room(now, id.room, Some(id.pid), |room, cx| room.handle_timeout(cx, id));
        }
        while let Some((due, key)) = self.ai.timers.first().copied().filter(|(due, _)| *due <= now) {
            self.ai.timers.remove(&(due, key));
            self.in_room(now, key.room, Some(key.pid), |room, cx| room.wake_tap(cx, key));
        }
        if now >= self.next_tick {
            self.next_tick = now + TICK;
            self.tick(now);
        }
    }

    fn tick(&mut self, now: Instant) {
        let version = self.ai.book.version();
        if version != self.ai.read {
            self.ai.read = version;
            self.in_every_room(now, Room::policies_changed);
        }
        if now >= self.next_rows {
            self.next_rows = now + ROW_EVERY;
            self.in_every_room(now, Room::report);
        }
        if now >= self.next_quality {
            self.next_quality = now + QUALITY_EVERY;
            self.in_every_room(now, |room, cx| {
                room.tell_quality();
                room.rest(cx);
            });
        }
        if now >= self.next_ageing {
            self.next_ageing = now + AGE_EVERY;
            self.whereabouts.age();
        }
        self.in_every_room(now, Room::tick);
        self.let_in(now);
        self.end_calls(now, false);
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Instant {
        let sessions = self.timers.first().map(|(due, _)| *due);
        let taps = self.ai.timers.first().map(|(due, _)| *due);
        [sessions, taps]
            .into_iter()
            .flatten()
            .fold(self.next_tick, Instant::min)
    }

    /// Lets everything leave that was written since the last time.
    pub fn flush(&mut self, now: Instant) {
        while !self.out.unsent.is_empty() {
            // Whoever is flushed may write anew.
            for id in std::mem::take(&mut self.out.unsent) {
                self.in_room(now, id.room, Some(id.pid), |room, cx| room.flush(cx, id));
            }
        }
    }

    /// Datagrams to send; whoever sends them clears them.
    pub fn transmits(&mut self) -> &mut VecDeque<Transmit> {
        &mut self.out.transmits
    }

    /// One coherent snapshot.
    pub fn stats(&self) -> Stats {
        Stats {
            participants: self.people(),
            tracks: self.rooms.values().map(Room::tracks).sum(),
            legs: self.rooms.values().map(Room::legs).sum(),
            tapped: self.rooms.values().map(Room::tapped).sum(),
            counters: self.counters.clone(),
            delays: self.delays.clone(),
            turns: self.turns.clone(),
            ..Stats::default()
        }
    }

    fn people(&self) -> usize {
        self.rooms.values().map(Room::len).sum()
    }

    /// Lets a room do something, and takes over what that changes in the tables. A panic costs the participant in whose
    /// name it was done, and nobody else.
    fn in_room<T>(
        &mut self,
        now: Instant,
        id: RoomId,
        whose: Option<Pid>,
        work: impl FnOnce(&mut Room, &mut Cx<'_>) -> T,
    ) -> Option<T> {
        let room = self.rooms.get_mut(id.0)?;
        let mut cx = Cx {
            now,
            out: &mut self.out,
            ai: &mut self.ai,
            counters: &mut self.counters,
            sessions: &self.sessions,
        };
        let done = catch_unwind(AssertUnwindSafe(|| work(room, &mut cx)));
        if done.is_err() {
            cx.counters.failed_sessions += 1;
            tracing::error!(room = %room.sid, "a step panicked");
            cx.out.events.clear();
            if let Some(pid) = whose {
                room.depart(pid, Departure::to_return(DisconnectReason::MediaFailure));
                // What is left of them may be unfit for a goodbye.
                let _ = catch_unwind(AssertUnwindSafe(|| room.settle(&mut cx)));
            }
        }
        room.take_letters(&mut self.out.letters);
        self.take_over();
        done.ok()
    }

    fn in_every_room(&mut self, now: Instant, mut work: impl FnMut(&mut Room, &mut Cx<'_>)) {
        for id in self.rooms.handles() {
            self.in_room(now, RoomId(id), None, &mut work);
        }
    }

    /// Brings the tables up to what sessions said.
    fn take_over(&mut self) {
        for socket in self.out.hung_up.drain(..) {
            self.sockets.remove(&socket);
        }
        for (id, entry) in self.out.entries.drain(..) {
            match entry {
                Entry::Timer { old, new } => {
                    if let Some(old) = old {
                        self.timers.remove(&(old, id));
                    }
                    if let Some(new) = new {
                        self.timers.insert((new, id));
                    }
                }
                Entry::Name { old, new } => self.whereabouts.rename(id, &old, new),
            }
        }
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
}
