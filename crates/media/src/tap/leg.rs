//! One subscriber: what it gets, and what it waits for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use auralink_engine::{
    Coded, Fallback, InKind, NetworkAnalyzer, NetworkSample, Pace, Phase, ProbeGate, Situation, Turn,
    wire_bitrate,
};
use auralink_types::{Bitrate, PacketTime, Reason, Rung, SourceCodec};

use super::growth::{GROW_PAUSE, next_step, same_family, with_packet};
use super::original::Original;
use super::outlet::{Outlet, Sink};
use super::shelf::{Deadline, Shelf};
use super::source::Source;
use super::{LegCaps, LegId, TapEvent, TapOutput};

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
    /// Back on originals: what lies before this has gone out as coded packets.
    repeated_until: u64,
    /// End of the audio that has gone out.
    cursor: u64,
    shelf: Shelf,
    pub outlet: Outlet,
    pub pace: Pace,
    /// Sequence number and bytes on the wire at the last report, and when that was.
    reported: (u64, u64, Instant),
    /// When packets became as long as they are.
    grown_at: Option<Instant>,
}

impl Leg {
    pub(super) fn new(now: Instant, id: LegId, caps: LegCaps) -> Self {
        let outlet = Outlet::new(id, caps.red);
        Self {
            id,
            reported: (outlet.last(), 0, now),
            outlet,
            caps,
            network: NetworkAnalyzer::default(),
            fallback: Fallback::new(now),
            rung: Rung::Original,
            goal: Rung::Original,
            wanted: Rung::Original,
            deaf: false,
            reason: None,
            urgent: false,
            repeated_until: 0,
            cursor: 0,
            shelf: Shelf::default(),
            pace: Pace::default(),
            grown_at: None,
        }
    }

    /// Its receiver can take something else now.
    pub(super) fn set_caps(&mut self, caps: LegCaps) {
        self.outlet.red = caps.red;
        self.caps = caps;
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
        let playable = source.is_playable(&self.caps);
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
        self.outlet.skip(seq);
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
        } else if original.at < self.shelf.from {
            self.send_in_turn(original, sink);
        } else if !self.shelf.put(original) {
            sink.stats.outdated += 1;
        } else if self.shelf.is_full() {
            self.bad(now, Reason::Late, sink);
            self.flush(sink);
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
        while let Some(due) = self.deadline(max_latency).filter(|due| due.at <= now) {
            self.flush_until(due.until, sink);
            // A group that lacks frames is the sender's pause, not the core's fault.
            if due.complete {
                self.bad(now, Reason::Late, sink);
            }
        }
        if self.fallback.handle_timeout(now, gate) {
            sink.out
                .push_back(TapOutput::Event(TapEvent::Recovered { leg: self.id }));
        }
    }

    pub(super) fn poll_timeout(&self, max_latency: Duration) -> Option<Instant> {
        let held = self.deadline(max_latency).map(|due| due.at);
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
        self.reported = (self.outlet.last(), self.outlet.savings.sent_bytes, now);
        let micros = now.saturating_duration_since(at).as_micros() as u64;
        let sent = (self.outlet.savings.sent_bytes - bytes) * 8 * 1_000_000;
        self.network.handle_sample(
            now,
            NetworkSample {
                loss,
                rtt,
                jitter,
                packets: u32::try_from(self.outlet.last() - seq).unwrap_or(0),
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
        self.outlet.unmap();
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
        self.shelf.from = border;
        self.changed(now, packet.rung, self.reason, sink);
    }

    fn send_coded(&mut self, now: Instant, packet: &Coded, sink: &mut Sink<'_>) {
        let end = packet.timestamp + packet.samples;
        if end <= self.cursor {
            sink.stats.unused += 1;
            return;
        }
        if !self.shelf.fits(packet, self.cursor) {
            // Part of it has gone out already: originals up to its end, then the next packet fits.
            sink.stats.unused += 1;
            self.flush_until(end, sink);
            return;
        }
        self.flush_until(packet.timestamp, sink);
        let mut marker = false;
        while let Some(covered) = self.shelf.take_before(end) {
            marker |= covered.marker;
        }
        self.outlet.send_coded(packet, marker, sink);
        self.cursor = end;
        self.fallback.handle_good(now);
    }

    fn send_direct(&mut self, original: &Original, sink: &mut Sink<'_>) {
        // After coded packets what they covered must not come again.
        let covered = original.ticks > 0 && original.at < self.repeated_until;
        match self.outlet.map(original) {
            Some(seq) if !covered => {
                self.cursor = self.cursor.max(original.end());
                self.outlet.send_as(seq, original, sink);
            }
            _ => sink.stats.outdated += 1,
        }
    }

    fn send_in_turn(&mut self, original: &Original, sink: &mut Sink<'_>) {
        self.cursor = self.cursor.max(original.end());
        self.outlet.send_next(original, sink);
    }

    fn flush(&mut self, sink: &mut Sink<'_>) {
        self.flush_until(u64::MAX, sink);
    }

    fn flush_until(&mut self, until: u64, sink: &mut Sink<'_>) {
        while let Some(held) = self.shelf.take_before(until) {
            sink.stats.rescued += 1;
            self.send_in_turn(&held, sink);
        }
    }

    /// When the oldest group must go out.
    fn deadline(&self, max_latency: Duration) -> Option<Deadline> {
        let packet = self.rung.packet()?;
        // The coder may have gone over to longer packets already.
        let next = self
            .wanted
            .packet()
            .filter(|_| same_family(self.rung, self.wanted));
        let packet = next.map_or(packet, |next| packet.max(next));
        self.shelf.deadline(packet, self.cursor, max_latency)
    }
}

/// Which way a leg goes from one rung to another.
fn turn(from: Rung, to: Rung) -> Turn {
    match (wire_bitrate(from), wire_bitrate(to)) {
        (Some(from), Some(to)) => from.cmp(&to).into(),
        _ => Turn::Aside,
    }
}
