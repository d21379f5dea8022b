//! Audio through the AIC tap: packets, outcomes, time and policies in; packets out, wishes and rows passed on.

use std::time::Instant;

use auralink_quality::savings::RTP_BYTES;
use auralink_types::{SessionId, UserKey};
use auralink_wire::red::Red;
use str0m::rtp::{ExtensionValues, RtpPacket, RtpWrite};

use super::{Cx, Room};
use crate::arena::Handle;
use crate::arrival::Numbers;
use crate::connection::{Connection, Route};
use crate::leg::Leg;
use crate::lent::lent;
use crate::participant::{Participant, Pid, Seat, TrackKey};
use crate::speaking::Loudness;
use crate::tap::{
    AudioPacket, AudioTap, LegCaps, LegId, OutPacket, PayloadKind, PublisherCaps, TapOutput, TapSnapshot,
};
use crate::track::Track;

/// The tap of an audio track with what surrounds it.
pub struct Tapped {
    pub(super) tap: AudioTap,
    /// Legs the tap knows.
    legs: Vec<(LegId, LegCaps)>,
    /// Loudness that the publisher's last packet told, for as long as AIC doesn't save its bytes.
    level: (Option<i8>, Option<bool>),
    timer: Option<Instant>,
    /// Whether a packet has come.
    arrived: bool,
    /// The session in progress; absent while AIC is off.
    pub(super) session: Option<SessionId>,
    /// The snapshot of the last row.
    pub(super) last: TapSnapshot,
    pub(super) last_at: Instant,
}

impl std::fmt::Debug for Tapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tapped")
            .field("legs", &self.legs)
            .finish_non_exhaustive()
    }
}

/// A subscriber as the tap knows them.
pub(super) const fn leg_id(pid: Pid) -> LegId {
    LegId(pid.0.number())
}

/// The subscriber whom the tap means.
pub(super) const fn listener(leg: LegId) -> Pid {
    Pid(Handle::from_number(leg.0))
}

impl Room {
    /// Puts the tap on an audio track that was announced.
    pub(super) fn tap(&mut self, cx: &mut Cx<'_>, pid: Pid, serial: u32) {
        let Some(publisher) = self.person(pid) else { return };
        let Some(track) = publisher.tracks.iter().find(|track| track.serial == serial) else {
            return;
        };
        let policy = self.policy_of(cx, publisher, track);
        let caps = PublisherCaps {
            models: publisher.models(),
            steerable: !track.is_of_a_screen(),
            red: track.wants_red(),
            stereo: track.is_stereo(),
        };
        let mut tap = AudioTap::new(cx.now, track.id.clone(), caps, policy.clone());
        let tapped = Tapped {
            last: tap.snapshot(),
            tap,
            legs: Vec::new(),
            level: (None, None),
            timer: None,
            arrived: false,
            session: None,
            last_at: cx.now,
        };
        if let Some(track) = self.track_mut(pid, serial) {
            track.tapped = Some(Box::new(tapped));
            track.policy = policy;
        }
        self.with_tap(cx, pid, serial, |_, _| {});
        self.steer_track(pid, serial, None);
    }

    /// An audio packet of a publisher.
    pub(super) fn tap_packet(
        &mut self,
        cx: &mut Cx<'_>,
        pid: Pid,
        route: &Route,
        packet: &RtpPacket,
        numbers: Numbers,
    ) {
        let Some(publisher) = self.people.get_mut(pid.0) else {
            return;
        };
        let Participant { tracks, seat, .. } = publisher;
        let Some(track) = tracks.get_mut(route.track) else {
            return;
        };
        // Whether RED was offered is known with the line on which the first packet comes.
        if let (Some(tapped), Some(mid), Seat::Here(connection)) = (&mut track.tapped, track.mid, &*seat)
            && !std::mem::replace(&mut tapped.arrived, true)
            && connection.publisher.session.opus_types(mid).1.is_none()
        {
            tapped.tap.forget_red();
        }
        let told = &packet.header.ext_vals;
        let level = if track.steering.active {
            (None, None)
        } else {
            (told.audio_level, told.voice_activity)
        };
        // Of a guest their own part tells.
        if !packet.payload.is_empty() && matches!(seat, Seat::Here(_)) {
            let loudness = Loudness::of(told.audio_level, &packet.payload, route.red);
            track.speaking.hear(loudness);
        }
        let arrived = AudioPacket {
            kind: if route.red {
                PayloadKind::Red
            } else {
                PayloadKind::Opus
            },
            seq: numbers.seq,
            timestamp: numbers.timestamp,
            marker: packet.header.marker,
            extensions: packet.header.header_len.saturating_sub(RTP_BYTES),
            payload: packet.payload.clone(),
            received: cx.now,
        };
        let serial = track.serial;
        self.with_tap(cx, pid, serial, |cx, tapped| {
            tapped.level = level;
            tapped.tap.handle_packet(cx.now, arrived, &mut *cx.ai.processor);
        });
    }

    /// The AI core has something to say of a track.
    pub fn handle_outcome(&mut self, cx: &mut Cx<'_>, key: TrackKey, outcome: &auralink_engine::Outcome) {
        self.with_tap(cx, key.pid, key.serial, |cx, tapped| {
            tapped.tap.handle_outcome(cx.now, outcome, &mut *cx.ai.processor);
        });
        self.settle(cx);
    }

    /// The time has come that a track's tap waits for.
    pub fn wake_tap(&mut self, cx: &mut Cx<'_>, key: TrackKey) {
        self.with_tap(cx, key.pid, key.serial, |cx, tapped| {
            tapped.timer = None;
            tapped
                .tap
                .handle_timeout(cx.now, &mut *cx.ai.processor, &mut cx.ai.gate);
        });
        self.settle(cx);
    }

    /// Policies may have changed: every tap gets the one that is in force for it now.
    pub fn policies_changed(&mut self, cx: &mut Cx<'_>) {
        for (pid, serial) in self.audio_tracks() {
            let policy = self.person(pid).and_then(|publisher| {
                let track = publisher.tracks.iter().find(|track| track.serial == serial)?;
                Some(self.policy_of(cx, publisher, track))
            });
            let Some(policy) = policy else { continue };
            if let Some(track) = self.track_mut(pid, serial) {
                track.policy = policy.clone();
            }
            self.with_tap(cx, pid, serial, |cx, tapped| {
                tapped.tap.set_policy(cx.now, policy)
            });
            self.legs_changed(cx, pid, serial);
            self.steer_track(pid, serial, None);
        }
        self.settle(cx);
    }

    /// What somebody can decode may have changed.
    pub(super) fn abilities_changed(&mut self, cx: &mut Cx<'_>) {
        for (pid, serial) in self.audio_tracks() {
            self.legs_changed(cx, pid, serial);
        }
    }

    /// A track is gone: its stream at the core goes as well.
    pub(super) fn close_tap(&mut self, cx: &mut Cx<'_>, pid: Pid, owner: &UserKey, track: &mut Track) {
        let Some(mut tapped) = track.tapped.take() else {
            return;
        };
        self.end_session(cx, owner, &track.id, &mut tapped);
        if let Some(stream) = tapped.tap.stream() {
            cx.ai.streams.remove(&stream);
        }
        if let Some(due) = tapped.timer {
            cx.ai.timers.remove(&(due, self.track_key(pid, track.serial)));
        }
        tapped.tap.close(&mut *cx.ai.processor);
    }

    const fn track_key(&self, pid: Pid, serial: u32) -> TrackKey {
        TrackKey {
            room: self.id,
            pid,
            serial,
        }
    }

    pub(super) fn audio_tracks(&self) -> Vec<(Pid, u32)> {
        let tracks = self.people.iter().flat_map(|(handle, p)| {
            p.tracks
                .iter()
                .filter(|t| !t.is_video())
                .map(move |t| (Pid(handle), t.serial))
        });
        tracks.collect()
    }

    /// Lets `work` use a track's tap, and carries out what the tap says.
    pub(super) fn with_tap(
        &mut self,
        cx: &mut Cx<'_>,
        pid: Pid,
        serial: u32,
        work: impl FnOnce(&mut Cx<'_>, &mut Tapped),
    ) {
        // Taken out for the time, because what it sends goes to others in the room.
        let take = |room: &mut Self| {
            let track = room.track_mut(pid, serial)?;
            Some((track.tapped.take()?, std::mem::take(&mut track.legs)))
        };
        let put = |room: &mut Self, (tapped, legs)| {
            if let Some(track) = room.track_mut(pid, serial) {
                (track.tapped, track.legs) = (Some(tapped), legs);
            }
        };
        lent(self, take, put, |room, (tapped, legs)| {
            work(cx, tapped);
            room.obey_tap(cx, (pid, serial), tapped, legs);
        });
    }

    fn obey_tap(
        &mut self,
        cx: &mut Cx<'_>,
        (pid, serial): (Pid, u32),
        tapped: &mut Tapped,
        legs: &mut [Leg],
    ) {
        // Packets come in the order of the legs.
        let mut next = 0;
        while let Some(output) = tapped.tap.poll_output() {
            match output {
                TapOutput::Send { leg, packet } => {
                    let to = listener(leg);
                    let after = legs[next..]
                        .iter()
                        .position(|leg| leg.to == to)
                        .map(|at| next + at);
                    let found = after.or_else(|| legs.iter().position(|leg| leg.to == to));
                    if let Some(at) = found {
                        let (leg, level) = (&mut legs[at], tapped.level);
                        self.contained(cx, to, |room, cx| room.send_tapped(cx, level, leg, packet));
                        next = at;
                    }
                }
                TapOutput::Hint { hint, keep_rate } => self.hint(cx, pid, serial, &hint, keep_rate),
                TapOutput::Event(event) => {
                    if let Some(id) = self.track_mut(pid, serial).map(|track| track.id.clone()) {
                        self.tap_event(cx, (pid, &id), tapped, event);
                    }
                }
            }
        }
        let key = self.track_key(pid, serial);
        if let Some(stream) = tapped.tap.stream() {
            cx.ai.streams.entry(stream).or_insert(key);
        }
        let due = tapped.tap.poll_timeout();
        if due != tapped.timer {
            if let Some(old) = tapped.timer.take() {
                cx.ai.timers.remove(&(old, key));
            }
            if let Some(due) = due {
                cx.ai.timers.insert((due, key));
            }
            tapped.timer = due;
        }
    }

    /// Tells a track's tap who came, went or can take something else now.
    pub(super) fn legs_changed(&mut self, cx: &mut Cx<'_>, pid: Pid, serial: u32) {
        let tracks = self.person(pid).map(|p| &p.tracks);
        let Some(track) = tracks.and_then(|tracks| tracks.iter().find(|track| track.serial == serial)) else {
            return;
        };
        let legs = track.legs.iter().filter_map(|leg| {
            let subscriber = self.person(leg.to)?;
            Some((leg_id(leg.to), caps(cx, subscriber, leg)))
        });
        let legs: Vec<(LegId, LegCaps)> = legs.collect();
        self.with_tap(cx, pid, serial, |cx, tapped| {
            for (known, _) in &tapped.legs {
                if !legs.iter().any(|(leg, _)| leg == known) {
                    tapped.tap.remove_leg(cx.now, *known);
                }
            }
            for (leg, caps) in &legs {
                let known = tapped.legs.iter().find(|(known, _)| known == leg);
                if known.is_none_or(|(_, had)| had != caps) {
                    tapped.tap.add_leg(cx.now, *leg, caps.clone());
                }
            }
            tapped.legs = legs;
        });
        self.demand_changed(cx, pid, serial);
    }

    fn send_tapped(
        &mut self,
        cx: &mut Cx<'_>,
        level: (Option<i8>, Option<bool>),
        leg: &mut Leg,
        packet: OutPacket,
    ) {
        let connected = |c: &Connection| c.sending().session.is_connected();
        if leg.paused || !self.connection(leg.to).is_some_and(connected) {
            return;
        }
        let red = packet.kind == PayloadKind::Red;
        let (pt, payload) = match (red, leg.red, leg.opus) {
            (true, Some(pt), _) | (false, _, Some(pt)) => (pt, packet.payload),
            // A receiver without RED gets what RED wraps.
            (true, None, Some(pt)) => match Red::parse(&packet.payload) {
                Ok(red) => (pt, red.primary().payload.into()),
                Err(_) => return cx.counters.unfit += 1,
            },
            (_, _, None) => return cx.counters.unfit += 1,
        };
        let Some((seq, timestamp)) = leg.outgoing.audio(cx.now, packet.seq, packet.timestamp) else {
            return cx.counters.unfit += 1;
        };
        let write = RtpWrite::new(pt, seq.into(), timestamp, cx.now, payload)
            .marker(packet.marker)
            .ext_vals(ExtensionValues {
                audio_level: level.0,
                voice_activity: level.1,
                ..Default::default()
            });
        self.write(cx, leg, write);
    }
}

/// What a subscriber can take on a leg.
fn caps(cx: &Cx<'_>, subscriber: &Participant, leg: &Leg) -> LegCaps {
    LegCaps {
        models: subscriber.models(),
        enhances: subscriber.enhances(),
        red: leg.red.is_some(),
        opted_out: cx.ai.book.get(&subscriber.user).opt_out,
    }
}
