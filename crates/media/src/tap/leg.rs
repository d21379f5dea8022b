//! One subscriber: its timeline, the originals it holds back, and what it waits for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use auralink_engine::{
    Coded, Fallback, InKind, NetworkAnalyzer, NetworkSample, Pace, Phase, ProbeGate, Situation, Turn,
    wire_bitrate,
};
use auralink_quality::savings::SavingsMeter;
use auralink_types::{Bitrate, PacketTime, Reason, Rung, SourceCodec};

use super::growth::{GROW_PAUSE, next_step, same_family, with_packet};
use super::original::Original;
use super::source::Source;
use super::stats::Stats;
use super::{LegCaps, LegId, OutPacket, PayloadKind, TapEvent, TapOutput};
use crate::sequence::SequenceMap;

/// First sequence number of a leg.
const FIRST_SEQ: u64 = 1024;
/// Originals held back at most; a full queue goes out at once.
const HELD_MAX: usize = 64;
/// Time for threads to be scheduled on top of the policy's own limit.
const SLACK: Duration = Duration::from_millis(10);
/// How long a group that lacks its last frame waits beyond its packet time, so that jitter of the sender alone
/// does not undo a packet.
const STRAGGLER: Duration = Duration::from_millis(40);
/// Longest hole that a coded packet may bridge.
const BRIDGE_TICKS: u64 = 6 * 960;
/// Where packets and counts of a leg go.
pub(super) struct Sink<'a> {
    pub out: &'a mut VecDeque<TapOutput>,
    pub stats: &'a mut Stats,
}

pub(super) struct Leg {
    pub id: LegId,
    pub caps: LegCaps,
    pub network: NetworkAnalyzer,
    pub fallback: Fallback,
    /// What goes out.
    pub rung: Rung,
    /// What should go out in the end.
    pub goal: Rung,
    /// The next step there: the goal itself, or with shorter packets. Its packets are awaited.
    pub wanted: Rung,
    /// Its receiver cannot decode the publisher's packets.
    pub deaf: bool,
    /// Why `goal` is not what the policy would like.
    pub reason: Option<Reason>,
    /// `goal` is dearer and cannot wait.
    pub urgent: bool,
    pub savings: SavingsMeter,
    /// Originals from here on are held, on a coded rung.
    hold_from: u64,
    /// Back on originals: what lies before this has gone out as coded packets.
    repeated_until: u64,
    /// End of the audio that has gone out.
    cursor: u64,
    held: VecDeque<Arc<Original>>,
    /// Maps the publisher's numbers while originals go out at once.
    map: Option<SequenceMap>,
    last_out: u64,
    pub pace: Pace,
    /// Sequence number and bytes on the wire at the last report, and when that was.
    reported: (u64, u64, Instant),
    /// When packets became as long as they are.
    grown_at: Option<Instant>,
}

impl Leg {
    pub(super) fn new(now: Instant, id: LegId, caps: LegCaps) -> Self {
        Self {
            id,
            caps,
            network: NetworkAnalyzer::default(),
            fallback: Fallback::new(now),
            rung: Rung::Original,
            goal: Rung::Original,
            wanted: Rung::Original,
            deaf: false,
            reason: None,
            urgent: false,
            savings: SavingsMeter::default(),
            hold_from: 0,
            repeated_until: 0,
            cursor: 0,
            held: VecDeque::new(),
            map: None,
            last_out: FIRST_SEQ - 1,
            pace: Pace::default(),
            reported: (FIRST_SEQ - 1, 0, now),
            grown_at: None,
        }
    }

    /// Nothing but originals is wanted.
    pub(super) fn stay_original(&mut self, reason: Reason) {
        (self.goal, self.wanted) = (Rung::Original, Rung::Original);
        self.reason = Some(reason);
    }

    /// Nothing but what goes out now is wanted.
    pub(super) fn stay(&mut self, reason: Option<Reason>) {
        (self.goal, self.wanted) = (self.rung, self.rung);
        self.reason = reason;
    }

    /// Where the leg stands: what goes out, or what it is growing to.
    pub(super) fn held(&self) -> Rung {
        if same_family(self.rung, self.goal) {
            self.goal
        } else {
            self.rung
        }
    }

    /// Settles the next step to the goal.
    pub(super) fn take_step(&mut self, now: Instant, source: PacketTime) {
        let rested = self
            .grown_at
            .is_none_or(|at| now.saturating_duration_since(at) >= GROW_PAUSE);
        self.wanted = next_step(self.rung, self.goal, source, rested);
    }

    /// When the next step may be taken.
    pub(super) fn grows_at(&self) -> Option<Instant> {
        let growing = self.rung != Rung::Original && self.rung == self.wanted && self.rung != self.goal;
        self.grown_at.filter(|_| growing).map(|at| at + GROW_PAUSE)
    }

    /// What there is to decide about.
    pub(super) fn situation(
        &self,
        source: &Source,
        asked: SourceCodec,
        core_model: Option<u16>,
    ) -> Situation {
        let playable = playable(&self.caps, source.coding, source.model);
        Situation {
            neural: core_model.is_some_and(|model| self.caps.models.contains(&model)),
            source_packet: Some(source.packet),
            stereo: source.stereo,
            original: source.cost(asked).filter(|_| playable),
            red: source.red && self.caps.red,
            enhanced: self.caps.enhances,
            ..Situation::stock(self.network.network())
        }
    }

    /// Takes a padding packet: nothing goes out and no gap stays.
    pub(super) fn skip(&mut self, seq: u64) {
        if let Some(map) = &mut self.map {
            map.drop(seq);
        }
    }

    /// Takes a packet nobody can read: it goes on where nothing is held back, as without AIC.
    pub(super) fn handle_unreadable(&mut self, original: &Original, sink: &mut Sink<'_>) {
        if self.rung == Rung::Original {
            self.send_direct(original, sink);
        }
    }

    pub(super) fn handle_original(&mut self, now: Instant, original: &Arc<Original>, sink: &mut Sink<'_>) {
        if self.rung == Rung::Original {
            self.send_direct(original, sink);
            return;
        }
        if original.at < self.cursor {
            sink.stats.outdated += 1;
            return;
        }
        let understood = !self.deaf || original.coding == InKind::Opus;
        if original.dtx && understood {
            self.flush(sink);
            self.send_in_turn(original, sink);
        } else if original.at < self.hold_from {
            self.send_in_turn(original, sink);
        } else {
            // A packet that overtook another waits in its place.
            let place = self.held.partition_point(|held| held.at <= original.at);
            if place > 0 && self.held[place - 1].at == original.at {
                sink.stats.outdated += 1;
                return;
            }
            self.held.insert(place, original.clone());
            if self.held.len() > HELD_MAX {
                self.bad(now, Reason::Late, sink);
                self.flush(sink);
            }
        }
    }

    /// Takes a coded packet of any rung of the track. `timely` says whether it met its deadline.
    pub(super) fn handle_coded(&mut self, now: Instant, packet: &Coded, timely: bool, sink: &mut Sink<'_>) {
        let awaited = packet.rung == self.wanted;
        let usable = self.deaf || self.fallback.may_send_coded();
        if packet.rung == self.rung {
            self.send_coded(now, packet, sink);
        } else if awaited && usable && same_family(self.rung, packet.rung) {
            self.reshape(now, packet.rung, sink);
            self.send_coded(now, packet, sink);
        } else if awaited && self.fallback.phase() == Phase::Probation && !self.deaf {
            if timely {
                self.fallback.handle_good(now);
            } else {
                self.bad(now, Reason::Late, sink);
            }
        } else if awaited && usable {
            let due = self.may_switch(now) || (self.urgent && self.may_raise(now));
            if due || self.deaf {
                self.switch_at(now, packet, sink);
            }
        }
    }

    /// Lets time pass: what is overdue goes out as it came.
    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        max_latency: Duration,
        gate: &mut ProbeGate,
        sink: &mut Sink<'_>,
    ) {
        while let Some((deadline, until, complete)) = self.deadline(max_latency) {
            if now < deadline {
                break;
            }
            self.flush_until(until, sink);
            // A group that lacks frames is the sender's pause, not the core's fault.
            if complete {
                self.bad(now, Reason::Late, sink);
            }
        }
        if self.fallback.handle_timeout(now, gate) {
            sink.out
                .push_back(TapOutput::Event(TapEvent::Recovered { leg: self.id }));
        }
    }

    pub(super) fn poll_timeout(&self, max_latency: Duration) -> Option<Instant> {
        let held = self.deadline(max_latency).map(|(at, _, _)| at);
        let fallback = (self.wanted != Rung::Original)
            .then(|| self.fallback.poll_timeout())
            .flatten();
        [held, fallback].into_iter().flatten().min()
    }

    /// A frame of this leg was bad.
    pub(super) fn bad(&mut self, now: Instant, reason: Reason, sink: &mut Sink<'_>) {
        if self.fallback.handle_bad(now, reason) {
            self.fell_back(now, reason, sink);
        }
    }

    /// There is nothing to wait for.
    pub(super) fn dead(&mut self, now: Instant, reason: Reason, sink: &mut Sink<'_>) {
        if self.fallback.handle_dead(now, reason) {
            self.fell_back(now, reason, sink);
        } else {
            self.go_direct(now, Some(reason), sink);
        }
    }

    /// Originals from now on: what is held goes out at once.
    pub(super) fn go_direct(&mut self, now: Instant, reason: Option<Reason>, sink: &mut Sink<'_>) {
        self.flush(sink);
        if self.rung != Rung::Original {
            self.changed(now, Rung::Original, reason, sink);
        }
    }

    /// A report of this leg's network came. `true` when it got worse.
    pub(super) fn handle_report(&mut self, now: Instant, loss: f32, rtt: Duration, jitter: Duration) -> bool {
        let (seq, bytes, at) = self.reported;
        self.reported = (self.last_out, self.savings.sent_bytes, now);
        let micros = now.saturating_duration_since(at).as_micros() as u64;
        let sent = (self.savings.sent_bytes - bytes) * 8 * 1_000_000;
        self.network.handle_sample(
            now,
            NetworkSample {
                loss,
                rtt,
                jitter,
                packets: u32::try_from(self.last_out - seq).unwrap_or(0),
                sent: sent.checked_div(micros).map(Bitrate::bps),
                burst: None,
            },
        )
    }

    pub(super) fn may_switch(&self, now: Instant) -> bool {
        self.pace.may_switch(now)
    }

    pub(super) fn may_raise(&self, now: Instant) -> bool {
        self.rung != Rung::Original && self.pace.may_switch_urgently(now)
    }

    fn fell_back(&mut self, now: Instant, reason: Reason, sink: &mut Sink<'_>) {
        sink.stats.fell_back(reason);
        sink.out
            .push_back(TapOutput::Event(TapEvent::Fallback { leg: self.id, reason }));
        self.go_direct(now, Some(reason), sink);
    }

    fn changed(&mut self, now: Instant, to: Rung, reason: Option<Reason>, sink: &mut Sink<'_>) {
        self.tell_change(to, reason, sink);
        let turn = turn(self.rung, to);
        self.rung = to;
        self.map = None;
        self.urgent = false;
        self.grown_at = Some(now);
        if to == Rung::Original {
            self.repeated_until = self.cursor;
        }
        self.pace.handle_switch(now, turn);
    }

    fn tell_change(&self, to: Rung, reason: Option<Reason>, sink: &mut Sink<'_>) {
        let event = TapEvent::RungChanged {
            leg: self.id,
            from: self.rung,
            to: if same_family(to, self.goal) { self.goal } else { to },
            reason,
        };
        sink.out.push_back(TapOutput::Event(event));
    }

    /// The coder of this leg goes on with other packets.
    fn reshape(&mut self, now: Instant, to: Rung, sink: &mut Sink<'_>) {
        let same_rate = self
            .rung
            .packet()
            .is_some_and(|packet| with_packet(to, packet) == self.rung);
        if !same_rate {
            self.tell_change(to, self.reason, sink);
            self.pace.handle_switch(now, turn(self.rung, self.goal));
            self.urgent = false;
        }
        if to.packet() != self.rung.packet() {
            self.grown_at = Some(now);
        }
        self.rung = to;
    }

    /// The first packet of the rung this leg waits for: from its end on originals are held.
    fn switch_at(&mut self, now: Instant, packet: &Coded, sink: &mut Sink<'_>) {
        let behind = self.cursor.saturating_sub(packet.timestamp + packet.samples);
        let packets = behind.div_ceil(packet.samples.max(1));
        let border = packet.timestamp + packet.samples * (1 + packets);
        self.flush_until(border, sink);
        self.hold_from = border;
        self.changed(now, packet.rung, self.reason, sink);
    }

    fn send_coded(&mut self, now: Instant, packet: &Coded, sink: &mut Sink<'_>) {
        let end = packet.timestamp + packet.samples;
        if end <= self.cursor {
            sink.stats.unused += 1;
            return;
        }
        let straddled = self
            .held
            .iter()
            .any(|held| held.at < packet.timestamp && held.end() > packet.timestamp);
        if packet.timestamp < self.cursor || end <= self.hold_from || straddled {
            // Part of it has gone out already: originals up to its end, then the next packet fits.
            sink.stats.unused += 1;
            self.flush_until(end, sink);
            return;
        }
        self.flush_until(packet.timestamp, sink);
        let mut marker = false;
        while let Some(held) = self.held.front().filter(|held| held.at < end) {
            marker |= held.marker;
            self.held.pop_front();
        }
        self.send(
            OutPacket {
                kind: PayloadKind::Opus,
                seq: self.last_out + 1,
                timestamp: packet.timestamp as u32,
                marker,
                payload: packet.payload.clone(),
            },
            sink,
        );
        self.cursor = end;
        sink.stats.coded += 1;
        self.fallback.handle_good(now);
    }

    fn send_direct(&mut self, original: &Original, sink: &mut Sink<'_>) {
        let next = self.last_out + 1;
        let map = self
            .map
            .get_or_insert_with(|| SequenceMap::new(original.seq, next));
        // After coded packets what they covered must not come again.
        let covered = original.ticks > 0 && original.at < self.repeated_until;
        match map.map(original.seq) {
            Some(seq) if !covered => {
                self.cursor = self.cursor.max(original.end());
                self.send(self.as_is(original, seq), sink);
            }
            _ => sink.stats.outdated += 1,
        }
    }

    fn send_in_turn(&mut self, original: &Original, sink: &mut Sink<'_>) {
        self.cursor = self.cursor.max(original.end());
        self.send(self.as_is(original, self.last_out + 1), sink);
    }

    fn as_is(&self, original: &Original, seq: u64) -> OutPacket {
        let unwrap = original.kind == PayloadKind::Red && !self.caps.red && original.ticks > 0;
        let (kind, payload) = if unwrap {
            (PayloadKind::Opus, original.primary.clone())
        } else {
            (original.kind, original.payload.clone())
        };
        OutPacket {
            kind,
            seq,
            timestamp: original.at as u32,
            marker: original.marker,
            payload,
        }
    }

    fn send(&mut self, packet: OutPacket, sink: &mut Sink<'_>) {
        let bytes = sink.stats.on_wire(packet.payload.len());
        self.savings.sent_bytes += bytes;
        sink.stats.downlink.sent_bytes += bytes;
        self.last_out = self.last_out.max(packet.seq);
        sink.out.push_back(TapOutput::Send { leg: self.id, packet });
    }

    fn flush(&mut self, sink: &mut Sink<'_>) {
        self.flush_until(u64::MAX, sink);
    }

    fn flush_until(&mut self, until: u64, sink: &mut Sink<'_>) {
        while let Some(held) = self.held.pop_front_if(|held| held.at < until) {
            sink.stats.rescued += 1;
            self.send_in_turn(&held, sink);
        }
    }

    /// When the oldest group must go out, up to which timestamp, and whether all its frames are there.
    fn deadline(&self, max_latency: Duration) -> Option<(Instant, u64, bool)> {
        let front = self.held.front()?;
        let Some(packet) = self.rung.packet() else {
            return Some((front.taken, u64::MAX, false));
        };
        // The coder may have gone over to longer packets already.
        let next = self
            .wanted
            .packet()
            .filter(|_| same_family(self.rung, self.wanted));
        let packet = next.map_or(packet, |next| packet.max(next));
        let bridged = front.at.saturating_sub(self.cursor) <= BRIDGE_TICKS;
        let start = if bridged { self.cursor } else { front.at };
        let until = start + packet.frames() as u64 * super::original::FRAME_TICKS;
        let wait = max_latency + SLACK;
        Some(match self.held.iter().find(|held| held.end() >= until) {
            Some(last) => (last.taken + wait, until, true),
            None => (
                front.taken + packet.duration() + wait + STRAGGLER,
                u64::MAX,
                false,
            ),
        })
    }
}

/// Which way a leg goes from one rung to another.
fn turn(from: Rung, to: Rung) -> Turn {
    match (wire_bitrate(from), wire_bitrate(to)) {
        (Some(from), Some(to)) => from.cmp(&to).into(),
        _ => Turn::Aside,
    }
}

/// Whether the publisher's own coding is one this leg's receiver decodes without help.
pub(super) fn playable(caps: &LegCaps, coding: InKind, model: Option<u16>) -> bool {
    match (coding, model) {
        (InKind::Opus, _) => true,
        (InKind::Aic, Some(model)) => caps.models.contains(&model),
        (InKind::Aic, None) => false,
    }
}
