//! A room, or the part of one that is on this shard: its people, their tracks and the legs between them.
//!
//! Owns everything that happens among the people in it, and knows neither sockets nor other rooms. What is to leave, and
//! what sessions say, waits in the [`Outbox`]; what follows from it is done afterwards, one thing after another
//! ([`Room::settle`]): nothing that fails or changes on the way calls back up. Verbs check no permission: the doors do
//! ([`crate::signal`]).

mod asked;
mod audio;
mod calls;
mod departure;
mod dynacast;
mod entitle;
mod events;
mod guests;
mod join;
mod lines;
mod negotiate;
mod network;
mod offer;
mod parts;
mod publish;
mod relay;
mod route;
mod rows;
mod steer;
mod subscribe;
mod tick;
mod verbs;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use auralink_types::{CallId, EventKind};
use livekit_protocol as proto;
use proto::signal_response::Message;

pub use audio::Tapped;
pub use departure::Departure;
pub use join::{new_sid, refuse};

use crate::ai::AiState;
use crate::arena::Arena;
use crate::connection::Connection;
use crate::directory::{Begun, Part};
use crate::metrics::Counters;
use crate::outbox::Outbox;
use crate::participant::{Participant, Pid, RoomId, RoomKey};
use crate::relay::Note;
use crate::session::SessionConfig;
use crate::settings::Settings;
use crate::track::Track;
use crate::transport::{Role, Transport, TransportId};

use parts::Parts;
pub use tick::Headcount;

/// What a room works with and does not own.
pub struct Cx<'a> {
    /// The time.
    pub now: Instant,
    /// Where effects go.
    pub out: &'a mut Outbox,
    /// AIC.
    pub ai: &'a mut AiState,
    /// Counters of the shard.
    pub counters: &'a mut Counters,
    /// What sessions are made with.
    pub sessions: &'a SessionConfig,
}

/// One life of a room, as far as it is on this shard.
pub struct Room {
    /// Its handle.
    pub id: RoomId,
    /// Its place.
    part: Part,
    /// Its id for clients and books, `RM_…`.
    pub sid: CallId,
    /// What it knows of its other parts.
    parts: Parts,
    people: Arena<Participant>,
    /// When it is next told who speaks.
    next_speakers: Instant,
    /// What the people in it were last told of their number.
    told: Headcount,
    /// Since when nobody is in it; it goes after a while unless somebody joins.
    pub empty_since: Option<Instant>,
    /// Whether anybody has been in it.
    occupied: bool,
    /// Whether it is over as soon as everybody has gone.
    deleted: bool,
    /// Calls of clients' methods that wait for an answer.
    calls: calls::Calls,
    /// Who is to be taken out.
    departures: VecDeque<(Pid, Departure)>,
    /// Whose descriptions may be out of date.
    stale: Vec<Pid>,
}

impl Room {
    /// A room that begins.
    pub fn begin(cx: &mut Cx<'_>, id: RoomId, begun: Begun) -> Self {
        let Begun { part, first, others } = begun;
        let mut room = Self {
            id,
            sid: part.call().sid.clone(),
            part,
            parts: Parts::default(),
            people: Arena::default(),
            next_speakers: cx.now,
            told: Headcount::default(),
            empty_since: Some(cx.now),
            occupied: !first,
            deleted: false,
            calls: calls::Calls::default(),
            departures: VecDeque::new(),
            stale: Vec::new(),
        };
        if first {
            room.happened(cx, cx.now, EventKind::CallStarted);
        }
        for (other, _) in &others {
            room.greet_part(cx, *other);
        }
        let there = others.into_iter().filter(|(_, begun)| *begun);
        room.parts.await_answers(cx.now, there.map(|(other, _)| other));
        room
    }

    /// Tenant and name.
    pub fn key(&self) -> &RoomKey {
        self.part.room()
    }

    /// What it was created with.
    fn settings(&self) -> &Settings {
        &self.part.call().settings
    }

    /// Ends it; what it says to other parts leaves with what it has to tell.
    pub fn end(&mut self, cx: &mut Cx<'_>, since: Instant) {
        self.tell_parts(&Note::Bye);
        if self.part.end() {
            self.happened(cx, since, EventKind::CallEnded);
        }
    }

    /// A datagram for one of its transports.
    pub fn handle_datagram(
        &mut self,
        cx: &mut Cx<'_>,
        id: TransportId,
        (source, destination): (SocketAddr, SocketAddr),
        datagram: &[u8],
    ) {
        if let Some(transport) = self.transport_mut(id) {
            transport
                .session
                .receive(cx.now, cx.out, source, destination, datagram);
        }
        self.settle(cx);
    }

    /// Lets what was written to one of its transports leave.
    pub fn flush(&mut self, cx: &mut Cx<'_>, id: TransportId) {
        if let Some(transport) = self.transport_mut(id) {
            transport.session.flush(cx.now, cx.out);
        }
        self.settle(cx);
    }

    /// Time has passed for one of its transports.
    pub fn handle_timeout(&mut self, cx: &mut Cx<'_>, id: TransportId) {
        if let Some(transport) = self.transport_mut(id) {
            transport.session.advance(cx.now, cx.out);
        }
        self.settle(cx);
    }

    /// Works off what follows from what was done: what sessions said, who is to go, whose descriptions are out of date.
    pub fn settle(&mut self, cx: &mut Cx<'_>) {
        loop {
            if let Some((id, event)) = cx.out.events.pop_front() {
                self.handle_event(cx, id, event);
            } else if let Some((pid, departure)) = self.departures.pop_front() {
                self.take_out(cx, pid, departure);
            } else if let Some(pid) = self.stale.pop() {
                self.refresh(cx, pid);
            } else {
                return;
            }
        }
    }

    /// Somebody in the room.
    pub fn person(&self, pid: Pid) -> Option<&Participant> {
        self.people.get(pid.0)
    }

    /// Somebody in the room.
    pub fn person_mut(&mut self, pid: Pid) -> Option<&mut Participant> {
        self.people.get_mut(pid.0)
    }

    /// The connection of somebody who is here.
    pub fn connection(&self, pid: Pid) -> Option<&Connection> {
        self.person(pid)?.here()
    }

    /// The connection of somebody who is here.
    pub fn connection_mut(&mut self, pid: Pid) -> Option<&mut Connection> {
        self.person_mut(pid)?.here_mut()
    }

    fn transport_mut(&mut self, id: TransportId) -> Option<&mut Transport> {
        self.connection_mut(id.pid)?.transport_mut(id.role)
    }

    /// Whoever is here under that identity.
    pub fn find(&self, identity: &str) -> Option<Pid> {
        let named = |p: &Participant| p.here().is_some() && p.user.user.as_str() == identity;
        let found = self.people.iter().find(|(_, p)| named(p));
        found.map(|(handle, _)| Pid(handle))
    }

    /// Everybody, guests as well, in no order that means anything.
    pub fn everybody(&self) -> impl Iterator<Item = Pid> + use<> {
        self.people.handles().into_iter().map(Pid)
    }

    /// Everybody who is here.
    fn present(&self) -> impl Iterator<Item = (Pid, &Connection)> {
        let here = self.people.iter();
        here.filter_map(|(handle, person)| Some((Pid(handle), person.here()?)))
    }

    /// Whether nobody is here.
    fn is_empty(&self) -> bool {
        self.present().next().is_none()
    }

    /// How many are here.
    pub fn len(&self) -> usize {
        self.present().count()
    }

    /// Tracks published here.
    pub fn tracks(&self) -> usize {
        let here = self.people.values().filter(|p| p.here().is_some());
        here.map(|p| p.tracks.len()).sum()
    }

    /// Ways of its tracks to subscribers.
    pub fn legs(&self) -> usize {
        let tracks = self.people.values().flat_map(|p| &p.tracks);
        tracks.map(|track| track.legs.len()).sum()
    }

    /// Of these, tracks under AIC.
    pub fn tapped(&self) -> usize {
        let tracks = self.people.values().flat_map(|person| &person.tracks);
        tracks.filter(|track| track.tapped.is_some()).count()
    }

    fn others(&self, pid: Pid) -> impl Iterator<Item = Pid> + use<> {
        self.everybody().filter(move |other| *other != pid)
    }

    fn track_mut(&mut self, pid: Pid, serial: u32) -> Option<&mut Track> {
        self.person_mut(pid)?.track_of(serial)
    }

    fn transport_id(&self, pid: Pid, role: Role) -> TransportId {
        TransportId {
            room: self.id,
            pid,
            role,
        }
    }

    /// Notes that what somebody is sent is to be described anew.
    fn renegotiate(&mut self, pid: Pid) {
        if let Some(connection) = self.connection_mut(pid) {
            connection.sending_mut().stale = true;
            self.stale.push(pid);
        }
    }

    fn tell(&mut self, pid: Pid, message: Message) {
        if let Some(participant) = self.person_mut(pid) {
            participant.tell(message);
        }
    }

    /// A message to everybody but one.
    fn tell_room(&mut self, but: Option<Pid>, message: &Message) {
        for pid in self.everybody().filter(|pid| Some(*pid) != but) {
            self.tell(pid, message.clone());
        }
    }

    /// Tells the room, and themselves, what has changed about somebody.
    fn announce(&mut self, pid: Pid) {
        let Some(participant) = self.person_mut(pid) else {
            return;
        };
        participant.version += 1;
        let update = Message::Update(proto::ParticipantUpdate {
            participants: vec![participant.info()],
        });
        if participant.grants.hidden {
            participant.tell(update);
        } else {
            self.tell_room(None, &update);
        }
        self.share(pid);
    }
}
