//! A room that is on several shards: its parts tell each other who is where, and relay what is wanted elsewhere.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use auralink_types::{SourceCodec, TrackId};
use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::signal_response::Message;
use str0m::rtp::RtpPacket;

use super::{Cx, Room};
use crate::arrival::Numbers;
use crate::connection::Route;
use crate::directory::ShardId;
use crate::participant::Pid;
use crate::relay::{Guest, Letter, Letters, Note, Relayed};
use crate::video::Wanted;

/// How long people who come wait for other parts to say who is there.
const PATIENCE: Duration = Duration::from_millis(300);

/// What a part knows of the others.
#[derive(Default)]
pub(super) struct Parts {
    /// Those that are there.
    others: Vec<ShardId>,
    /// Whose each track is that comes from there.
    pub(super) tracks: HashMap<TrackId, Pid>,
    /// Those that have not said yet who is there.
    awaited: Vec<ShardId>,
    /// When that is no longer waited for.
    patience: Option<Instant>,
    /// Notes that are to leave.
    notes: Vec<(ShardId, Note)>,
}

impl Parts {
    /// Waits for those to say who is there, for a while.
    pub(super) fn await_answers(&mut self, now: Instant, parts: impl Iterator<Item = ShardId>) {
        self.awaited.extend(parts);
        self.patience = Some(now + PATIENCE);
    }

    /// A note for one of them.
    pub(super) fn write_to(&mut self, shard: ShardId, note: Note) {
        self.notes.push((shard, note));
    }
}

impl Room {
    /// Says hello to another part, or asks one anew who is there; what was known of it is void.
    pub fn greet_part(&mut self, cx: &mut Cx<'_>, shard: ShardId) {
        self.lose_part(cx, shard);
        let people = self.people_here();
        self.parts.write_to(shard, Note::Hello { asks: true, people });
    }

    /// Whether those who come have to wait until other parts have told who is there.
    pub fn is_meeting(&self, now: Instant) -> bool {
        !self.parts.awaited.is_empty() && self.parts.patience.is_some_and(|until| now < until)
    }

    /// A part is over: its people leave, and nothing is wanted there any more.
    pub fn lose_part(&mut self, cx: &mut Cx<'_>, shard: ShardId) {
        self.parts.others.retain(|other| *other != shard);
        self.parts.awaited.retain(|other| *other != shard);
        for guest in self.everybody() {
            if self.person(guest).and_then(|p| p.elsewhere()) == Some(shard) {
                self.guest_gone(cx, guest, DisconnectReason::ServerShutdown);
            }
        }
        for (pid, serial) in self.tracks_here() {
            if let Some(track) = self.track_mut(pid, serial) {
                track.relay.forget(shard);
            }
            self.wishes_changed(cx, pid, serial);
            self.demand_changed(cx, pid, serial);
        }
    }

    /// Takes what is to leave to other shards.
    pub fn take_letters(&mut self, letters: &mut Letters) {
        let room = self.part.room();
        let notes = self.parts.notes.drain(..);
        letters.extend(notes.map(|(to, note)| {
            let room = room.clone();
            (to, Letter { room, note })
        }));
    }

    /// Another part has something to say.
    pub fn handle_note(&mut self, cx: &mut Cx<'_>, from: ShardId, note: Note) {
        match note {
            Note::Hello { asks, people } => self.meet_part(cx, from, asks, &people),
            // From before either of us began anew.
            _ if !self.parts.others.contains(&from) => {}
            Note::Bye => self.lose_part(cx, from),
            Note::Person(guest) => self.meet_guest(cx, from, &guest),
            Note::Gone(sid, reason) => {
                if let Some(guest) = self.guest(from, &sid) {
                    self.guest_gone(cx, guest, reason);
                }
            }
            Note::Speakers(speakers) => self.guests_speak(from, &speakers),
            Note::Quality(updates) => self.guests_quality(from, &updates),
            Note::Data(channel, packet) => self.deliver(cx, None, channel, &packet),
            Note::Described(metadata) => {
                self.described(metadata);
            }
            Note::Packet(relayed) => self.carry_relayed(cx, from, relayed),
            Note::Want(track, wanted) => self.wanted_elsewhere(cx, from, &track, wanted),
            Note::Wish(track, wish) => self.wished_elsewhere(cx, from, &track, wish),
            Note::Keyframe(track, layer) => {
                if let Some((pid, at)) = self.track_here(&track) {
                    self.request_keyframe(cx, pid, at, layer);
                }
            }
        }
        self.settle(cx);
    }

    fn meet_part(&mut self, cx: &mut Cx<'_>, from: ShardId, asks: bool, people: &[Guest]) {
        if asks {
            self.lose_part(cx, from);
            let people = self.people_here();
            self.parts.write_to(from, Note::Hello { asks: false, people });
        }
        self.parts.awaited.retain(|other| *other != from);
        if !self.parts.others.contains(&from) {
            self.parts.others.push(from);
        }
        for guest in people {
            self.meet_guest(cx, from, guest);
        }
    }

    fn people_here(&self) -> Arc<[Guest]> {
        let here = self.present().filter_map(|(pid, _)| self.as_guest(pid));
        here.collect()
    }

    /// Tells other parts how somebody here is now.
    pub(super) fn share(&mut self, pid: Pid) {
        if self.parts.others.is_empty() {
            return;
        }
        if let Some(guest) = self.as_guest(pid) {
            self.tell_parts(&Note::Person(Arc::new(guest)));
        }
    }

    pub(super) fn tell_parts(&mut self, note: &Note) {
        let Parts { others, notes, .. } = &mut self.parts;
        notes.extend(others.iter().map(|other| (*other, note.clone())));
    }

    /// Whether it is on other shards as well.
    pub(super) fn has_parts(&self) -> bool {
        !self.parts.others.is_empty()
    }

    /// Relays a packet of somebody here to the parts that want its track.
    pub(super) fn relay(
        &mut self,
        cx: &mut Cx<'_>,
        pid: Pid,
        route: &Route,
        numbers: Numbers,
        packet: RtpPacket,
    ) {
        let tracks = self.people.get(pid.0).map(|publisher| &publisher.tracks);
        let Some(track) = tracks.and_then(|tracks| tracks.get(route.track)) else {
            return;
        };
        let packet = Arc::new(packet);
        for way in track.relay.wanted() {
            let relayed = Relayed {
                track: track.id.clone(),
                route: *route,
                numbers,
                packet: packet.clone(),
            };
            self.parts.notes.push((way.to, Note::Packet(relayed)));
            cx.counters.relayed += 1;
        }
    }

    /// A packet of a guest.
    fn carry_relayed(&mut self, cx: &mut Cx<'_>, from: ShardId, relayed: Relayed) {
        let Some(pid) = self.parts.tracks.get(&relayed.track).copied() else {
            return;
        };
        let Some(guest) = self.person(pid).filter(|guest| guest.elsewhere() == Some(from)) else {
            return;
        };
        let Some(at) = guest.tracks.iter().position(|track| track.id == relayed.track) else {
            return;
        };
        let route = Route {
            track: at,
            ..relayed.route
        };
        self.contained(cx, pid, |room, cx| {
            room.carry(cx, pid, &route, &relayed.packet, relayed.numbers);
        });
    }

    fn wanted_elsewhere(&mut self, cx: &mut Cx<'_>, shard: ShardId, id: &TrackId, wanted: Wanted) {
        let Some((pid, at)) = self.track_here(id) else {
            return;
        };
        let tracks = self.person_mut(pid).map(|publisher| &mut publisher.tracks);
        let Some(track) = tracks.and_then(|tracks| tracks.get_mut(at)) else {
            return;
        };
        let Some(way) = track.relay.way(shard) else { return };
        let begins = std::mem::replace(&mut way.wanted, wanted).is_none() && wanted.is_some();
        let (serial, layers) = (track.serial, track.layers.len());
        if begins {
            self.subscribed(pid, id);
            let keyframes = if self.is_video(pid, serial) { layers } else { 0 };
            for layer in 0..keyframes {
                self.request_keyframe(cx, pid, at, layer);
            }
        }
        self.wishes_changed(cx, pid, serial);
        self.demand_changed(cx, pid, serial);
    }

    fn wished_elsewhere(&mut self, cx: &mut Cx<'_>, shard: ShardId, id: &TrackId, wish: SourceCodec) {
        let Some((pid, at)) = self.track_here(id) else {
            return;
        };
        let tracks = self.person_mut(pid).map(|publisher| &mut publisher.tracks);
        let Some(track) = tracks.and_then(|tracks| tracks.get_mut(at)) else {
            return;
        };
        if let Some(way) = track.relay.way(shard) {
            way.wish = Some(wish);
        }
        let serial = track.serial;
        self.wishes_changed(cx, pid, serial);
    }

    /// Tells a track's tap what the listeners of other parts need.
    fn wishes_changed(&mut self, cx: &mut Cx<'_>, pid: Pid, serial: u32) {
        let Some(track) = self.track_mut(pid, serial) else {
            return;
        };
        let wishes: Vec<SourceCodec> = track.relay.wanted().filter_map(|way| way.wish).collect();
        self.with_tap(cx, pid, serial, |cx, tapped| {
            tapped.tap.set_elsewhere(cx.now, wishes)
        });
    }

    fn track_here(&self, id: &TrackId) -> Option<(Pid, usize)> {
        self.people.iter().find_map(|(handle, person)| {
            person.here()?;
            let at = person.tracks.iter().position(|track| track.id == *id)?;
            Some((Pid(handle), at))
        })
    }

    fn tracks_here(&self) -> Vec<(Pid, u32)> {
        let here = self.people.iter().filter(|(_, person)| person.here().is_some());
        here.flat_map(|(handle, person)| person.tracks.iter().map(move |track| (Pid(handle), track.serial)))
            .collect()
    }

    fn is_video(&mut self, pid: Pid, serial: u32) -> bool {
        self.track_mut(pid, serial).is_some_and(|track| track.is_video())
    }

    /// Tells a publisher that somebody listens, once.
    pub(super) fn subscribed(&mut self, pid: Pid, id: &TrackId) {
        let Some(track) = self.published_mut(pid, id) else {
            return;
        };
        if !std::mem::replace(&mut track.told_subscribed, true) {
            let track_sid = id.as_str().to_owned();
            self.tell(
                pid,
                Message::TrackSubscribed(proto::TrackSubscribed { track_sid }),
            );
        }
    }
}
