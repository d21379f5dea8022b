//! One subscriber: what it gets, and what it waits for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use auralink_engine::{
    Coded, InKind, Judge, LegPilot, NetworkAnalyzer, NetworkSample, Phase, ProbeGate, Situation,
};
use auralink_types::{Bitrate, Reason, Rung, SourceCodec};

use super::original::Original;
use super::outlet::{Outlet, Sink};
use super::shelf::{Deadline, Shelf};
use super::source::Source;
use super::{LegCaps, LegId, TapEvent, TapOutput};

pub(super) struct Leg {
    pub id: LegId,
    pub caps: LegCaps,
    pub network: NetworkAnalyzer,
    /// Decides what goes out, and is told of it.
    pub pilot: LegPilot,
    /// Its receiver cannot decode the publisher's packets.
    pub deaf: bool,
    /// Back on originals: what lies before this has gone out as coded packets.
    repeated_until: u64,
    /// End of the audio that has gone out.
    cursor: u64,
    shelf: Shelf,
    pub outlet: Outlet,
    /// Sequence number and bytes on the wire at the last report, and when that was.
    reported: (u64, u64, Instant),
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
            pilot: LegPilot::new(now),
            deaf: false,
            repeated_until: 0,
            cursor: 0,
            shelf: Shelf::default(),
        }
    }

    /// Its receiver can take something else now.
    pub(super) fn set_caps(&mut self, caps: LegCaps) {
        self.outlet.red = caps.red;
        self.caps = caps;
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
        if self.pilot.rung() == Rung::Original {
            self.send_direct(original, sink);
        }
    }

    pub(super) fn handle_original(&mut self, now: Instant, original: &Arc<Original>, sink: &mut Sink<'_>) {
        if self.pilot.rung() == Rung::Original {
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
        let rung = self.pilot.rung();
        let awaited = packet.rung == self.pilot.wanted();
        let usable = self.deaf || self.pilot.may_send_coded();
        if packet.rung == rung {
            self.send_coded(now, packet, sink);
        } else if awaited && usable && rung.same_family(packet.rung) {
            if self.pilot.handle_reshape(now, packet.rung) {
                self.tell_change(rung, packet.rung, self.pilot.reason(), sink);
            }
            self.send_coded(now, packet, sink);
        } else if awaited && self.pilot.phase() == Phase::Probation && !self.deaf {
            if timely {
                self.pilot.handle_good(now);
            } else {
                self.bad(now, Reason::Late, sink);
            }
        } else if awaited && usable && (self.deaf || self.pilot.may_switch(now)) {
            self.switch_at(now, packet, sink);
        }
    }

    /// Lets time pass: what is overdue goes out as it came.
    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        max_latency: Duration,
        gate: &mut ProbeGate,
        judge: &mut Judge,
        sink: &mut Sink<'_>,
    ) {
        while let Some(due) = self.deadline(max_latency).filter(|due| due.at <= now) {
            self.flush_until(due.until, sink);
            // A group that lacks frames is the sender's pause, not the core's fault.
            if due.complete {
                self.bad(now, Reason::Late, sink);
            }
        }
        if self.pilot.handle_timeout(now, gate, judge) {
            sink.out
                .push_back(TapOutput::Event(TapEvent::Recovered { leg: self.id }));
        }
    }

    pub(super) fn poll_timeout(&self, max_latency: Duration) -> Option<Instant> {
        let held = self.deadline(max_latency).map(|due| due.at);
        [held, self.pilot.poll_timeout()].into_iter().flatten().min()
    }

    /// A frame of this leg was bad.
    pub(super) fn bad(&mut self, now: Instant, reason: Reason, sink: &mut Sink<'_>) {
        if self.pilot.handle_bad(now, reason) {
            self.fell_back(now, reason, sink);
        }
    }

    /// There is nothing to wait for.
    pub(super) fn dead(&mut self, now: Instant, reason: Reason, sink: &mut Sink<'_>) {
        if self.pilot.handle_dead(now, reason) {
            self.fell_back(now, reason, sink);
        } else {
            self.go_direct(now, Some(reason), sink);
        }
    }

    /// Originals from now on: what is held goes out at once.
    pub(super) fn go_direct(&mut self, now: Instant, reason: Option<Reason>, sink: &mut Sink<'_>) {
        self.flush(sink);
        if self.pilot.rung() != Rung::Original {
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

    /// The leg fell back.
    pub(super) fn fell_back(&mut self, now: Instant, reason: Reason, sink: &mut Sink<'_>) {
        sink.stats.fell_back(reason);
        sink.out
            .push_back(TapOutput::Event(TapEvent::Fallback { leg: self.id, reason }));
        self.go_direct(now, Some(reason), sink);
    }

    fn changed(&mut self, now: Instant, to: Rung, reason: Option<Reason>, sink: &mut Sink<'_>) {
        self.tell_change(self.pilot.rung(), to, reason, sink);
        self.pilot.handle_switch(now, to);
        self.outlet.unmap();
        if to == Rung::Original {
            self.repeated_until = self.cursor;
        }
    }

    fn tell_change(&self, from: Rung, to: Rung, reason: Option<Reason>, sink: &mut Sink<'_>) {
        let goal = self.pilot.goal();
        let event = TapEvent::RungChanged {
            leg: self.id,
            from,
            to: if to.same_family(goal) { goal } else { to },
            reason,
        };
        sink.out.push_back(TapOutput::Event(event));
    }

    /// The first packet of the rung this leg waits for: from its end on originals are held.
    fn switch_at(&mut self, now: Instant, packet: &Coded, sink: &mut Sink<'_>) {
        let behind = self.cursor.saturating_sub(packet.timestamp + packet.samples);
        let packets = behind.div_ceil(packet.samples.max(1));
        let border = packet.timestamp + packet.samples * (1 + packets);
        self.flush_until(border, sink);
        self.shelf.from = border;
        self.changed(now, packet.rung, self.pilot.reason(), sink);
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
        self.pilot.handle_good(now);
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
        let (rung, wanted) = (self.pilot.rung(), self.pilot.wanted());
        let packet = rung.packet()?;
        // The coder may have gone over to longer packets already.
        let next = wanted.packet().filter(|_| rung.same_family(wanted));
        let packet = next.map_or(packet, |next| packet.max(next));
        self.shelf.deadline(packet, self.cursor, max_latency)
    }
}
