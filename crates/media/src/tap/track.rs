//! The tap itself: one source, one stream at the core, many legs.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use auralink_engine::{
    Coded, InFrame, InKind, Judge, NetworkAnalyzer, NetworkSample, Outcome, ProbeGate, Processor, Refused,
    StreamId,
};
use auralink_types::{Bitrate, Policy, Reason, Rung, SourceCodec, TrackId};

use super::feed::Feed;
use super::leg::Leg;
use super::original::{Original, Reader};
use super::outlet::Sink;
use super::own::Own;
use super::source::Source;
use super::stats::Stats;
use super::steer::Steer;
use super::{AudioPacket, LegCaps, LegId, PublisherCaps, TapEvent, TapOutput};

/// How often decisions are looked at again without a cause.
pub(super) const REVIEW: Duration = Duration::from_secs(1);
/// The tap of one published audio track.
pub struct AudioTap {
    pub(super) track: TrackId,
    pub(super) publisher: PublisherCaps,
    pub(super) policy: Policy,
    pub(super) legs: Vec<Leg>,
    /// What listeners of other taps on the same track need.
    pub(super) elsewhere: Vec<SourceCodec>,
    pub(super) reader: Reader,
    pub(super) steer: Steer,
    pub(super) own: Own,
    pub(super) uplink: NetworkAnalyzer,
    pub(super) judge: Judge,
    pub(super) stats: Stats,
    pub(super) out: VecDeque<TapOutput>,
    pub(super) feed: Feed,
    /// Model of the core when it was last asked.
    pub(super) core_model: Option<u16>,
    /// The core's model wants an accelerator that is not there.
    pub(super) no_accelerator: bool,
    pub(super) source: Option<Source>,
    pub(super) review_at: Instant,
    pub(super) in_session: bool,
}

impl AudioTap {
    /// A tap without legs.
    pub fn new(now: Instant, track: TrackId, publisher: PublisherCaps, policy: Policy) -> Self {
        let mut tap = Self {
            track,
            own: Own::new(publisher.red, !publisher.models.is_empty()),
            publisher,
            policy,
            legs: Vec::new(),
            elsewhere: Vec::new(),
            reader: Reader::default(),
            steer: Steer::new(),
            uplink: NetworkAnalyzer::default(),
            judge: Judge::default(),
            stats: Stats::default(),
            out: VecDeque::new(),
            feed: Feed::default(),
            core_model: None,
            no_accelerator: false,
            source: None,
            review_at: now,
            in_session: false,
        };
        tap.stats.extensions = tap.extensions();
        tap.hint(now, false);
        tap
    }

    /// The core's stream of this track, for routing outcomes.
    pub fn stream(&self) -> Option<StreamId> {
        self.feed.stream()
    }

    /// Puts another policy in force. One that is not active counts from this call on; the core hears of it with
    /// the next packet or timeout.
    pub fn set_policy(&mut self, now: Instant, policy: Policy) {
        if policy == self.policy {
            return;
        }
        let before = std::mem::replace(&mut self.policy, policy);
        let observed = before.observed;
        self.review_at = now;
        self.stats.extensions = self.extensions();
        if before.active != self.policy.active {
            self.steer.forget_pace();
        }
        // What an experiment compares must not reach back to before it began.
        if (!self.policy.active || self.policy.observed != observed) && std::mem::take(&mut self.in_session) {
            self.out.push_back(TapOutput::Event(TapEvent::SessionEnded));
        }
        if !self.policy.active {
            let reason = if self.policy.opt_out {
                Reason::OptOut
            } else {
                Reason::Disabled
            };
            for leg in &mut self.legs {
                leg.pilot.want_original(reason);
                if self.source.is_none_or(|source| source.is_playable(&leg.caps)) {
                    leg.go_direct(now, Some(reason), &mut Sink::new(&mut self.out, &mut self.stats));
                }
            }
        }
        self.hint(now, false);
    }

    /// Adds a subscriber, or changes what a known one can take.
    pub fn add_leg(&mut self, now: Instant, id: LegId, caps: LegCaps) {
        self.review_at = now;
        match self.legs.iter_mut().find(|leg| leg.id == id) {
            Some(leg) => {
                let vetoed = caps.opted_out;
                leg.set_caps(caps);
                if vetoed {
                    leg.pilot.want_original(Reason::OptOut);
                    leg.go_direct(
                        now,
                        Some(Reason::OptOut),
                        &mut Sink::new(&mut self.out, &mut self.stats),
                    );
                }
            }
            None => self.legs.push(Leg::new(now, id, caps)),
        }
        // Whoever cannot decode what comes shall not have to wait for a packet to say so.
        self.hint(now, false);
    }

    /// What listeners need whose taps are elsewhere, each tap's listeners together.
    pub fn set_elsewhere(&mut self, now: Instant, wishes: Vec<SourceCodec>) {
        if wishes != self.elsewhere {
            self.elsewhere = wishes;
            self.hint(now, false);
        }
    }

    /// Forgets a subscriber.
    pub fn remove_leg(&mut self, now: Instant, id: LegId) {
        self.legs.retain(|leg| leg.id != id);
        self.review_at = now;
    }

    /// Takes a report of a subscriber's network.
    pub fn set_leg_network(&mut self, now: Instant, id: LegId, loss: f32, rtt: Duration, jitter: Duration) {
        let leg = self.legs.iter_mut().find(|leg| leg.id == id);
        if leg.is_some_and(|leg| leg.handle_report(now, loss, rtt, jitter)) {
            self.review_at = now;
        }
    }

    /// Takes the rate a subscriber's path can carry for this track, if somebody measured it.
    pub fn set_leg_capacity(&mut self, id: LegId, capacity: Option<Bitrate>) {
        if let Some(leg) = self.legs.iter_mut().find(|leg| leg.id == id) {
            leg.network.set_capacity(capacity);
        }
    }

    /// Takes a report of the publisher's network.
    pub fn set_uplink_network(&mut self, now: Instant, loss: f32, rtt: Duration, jitter: Duration) {
        self.uplink.handle_sample(
            now,
            NetworkSample {
                loss,
                rtt,
                jitter,
                ..NetworkSample::default()
            },
        );
    }

    /// The publisher's offer has no RED, whatever was announced.
    pub fn forget_red(&mut self) {
        self.own.red = false;
    }

    /// Takes what an AIC client says of its own coding: median and 99th percentile of the time it takes, in microseconds,
    /// and the rate of its own Opus encoder.
    pub fn handle_report(&mut self, times: Option<(u32, u32)>, own: Option<Bitrate>) {
        if let Some((median, p99)) = times {
            let time = |micros: u32| Duration::from_micros(micros.into());
            self.stats.told((time(median), time(p99.max(median))));
        }
        if let Some(rate) = own {
            self.own.tell(rate);
        }
    }

    /// Takes a packet of the publisher.
    pub fn handle_packet(&mut self, now: Instant, packet: AudioPacket, core: &mut dyn Processor) {
        if packet.payload.is_empty() {
            self.stats.padding += 1;
            for leg in &mut self.legs {
                leg.skip(packet.seq);
            }
            return;
        }
        let reading = self.reader.read(now, packet);
        let original = Arc::new(reading.original);
        self.count(now, &original);
        if !reading.readable {
            self.stats.bad_input += 1;
            for leg in &mut self.legs {
                leg.handle_unreadable(&original, &mut Sink::new(&mut self.out, &mut self.stats));
            }
            return;
        }
        self.stats.ticks += if original.dtx { 0 } else { original.ticks };
        self.note_source(now, &original);
        if (self.policy.active || self.policy.observed) && !self.in_session {
            self.in_session = true;
            self.out.push_back(TapOutput::Event(TapEvent::SessionStarted));
        }
        if now >= self.review_at {
            self.review(now, core);
        }
        for leg in &mut self.legs {
            leg.handle_original(now, &original, &mut Sink::new(&mut self.out, &mut self.stats));
        }
        for earlier in reading.earlier {
            if self.feed.lacks(&earlier, original.at) {
                let at = (InKind::Opus, earlier.at, earlier.ticks);
                self.submit(now, at, earlier.payload, core);
            }
        }
        let at = (original.coding, original.at, original.ticks);
        self.submit(now, at, original.primary.clone(), core);
    }

    /// Takes an outcome of the core; one of another stream is ignored.
    pub fn handle_outcome(&mut self, now: Instant, outcome: &Outcome, core: &mut dyn Processor) {
        if self.feed.stream() != Some(outcome.stream()) {
            return;
        }
        match outcome {
            Outcome::Coded { packet, .. } => self.handle_coded(now, packet),
            Outcome::Took { compute, .. } => self.stats.took(*compute),
            Outcome::Failed { reason, .. } => {
                self.lose_stream(now, *reason);
                self.review(now, core);
            }
        }
    }

    /// Lets time pass. The gate is the core's: through it legs that fell back come to their trials.
    pub fn handle_timeout(&mut self, now: Instant, core: &mut dyn Processor, gate: &mut ProbeGate) {
        let limit = self.policy.max_latency;
        let mut turned = false;
        for leg in &mut self.legs {
            let before = leg.pilot.phase();
            let sink = &mut Sink::new(&mut self.out, &mut self.stats);
            leg.handle_timeout(now, limit, gate, &mut self.judge, sink);
            turned |= leg.pilot.phase() != before;
        }
        if now >= self.review_at || turned {
            self.review(now, core);
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<TapOutput> {
        self.out.pop_front()
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let busy = self.policy.active || self.feed.stream().is_some() || self.steer.steers();
        let review = busy.then_some(self.review_at);
        let limit = self.policy.max_latency;
        let legs = self.legs.iter().filter_map(|leg| leg.poll_timeout(limit)).min();
        [review, legs].into_iter().flatten().min()
    }

    /// Ends the stream at the core; to be called before the tap is dropped.
    pub fn close(&mut self, core: &mut dyn Processor) {
        self.drop_stream(core);
    }

    fn note_source(&mut self, now: Instant, original: &Original) {
        if original.dtx {
            return;
        }
        let packet = Source::of(original);
        if !self.source.as_mut().is_some_and(|source| source.add(&packet)) {
            self.review_at = now;
            self.source = Some(packet);
        }
    }

    fn submit(
        &mut self,
        now: Instant,
        (kind, timestamp, ticks): (InKind, u64, u64),
        payload: Arc<[u8]>,
        core: &mut dyn Processor,
    ) {
        let frame = InFrame {
            kind,
            timestamp,
            payload,
            deadline: now + self.policy.max_latency,
        };
        match self.feed.submit(now, frame, ticks, core) {
            Ok(()) => {}
            Err(Refused::Full) => {
                for leg in self
                    .legs
                    .iter_mut()
                    .filter(|leg| leg.pilot.wanted() != Rung::Original)
                {
                    leg.bad(
                        now,
                        Reason::Overload,
                        &mut Sink::new(&mut self.out, &mut self.stats),
                    );
                }
            }
            Err(refused) => {
                self.feed.close(core);
                self.lose_stream(now, refused.reason());
            }
        }
    }

    fn handle_coded(&mut self, now: Instant, packet: &Coded) {
        if let Some(mos) = packet.quality
            && self
                .judge
                .handle_quality(now, packet.rung, mos, self.policy.floor)
        {
            self.review_at = now;
            for leg in &mut self.legs {
                if leg.pilot.handle_breach(now, packet.rung) {
                    let sink = &mut Sink::new(&mut self.out, &mut self.stats);
                    leg.fell_back(now, Reason::Quality, sink);
                }
            }
        }
        if self.judge.handle_content(packet.content) {
            self.review_at = now;
        }
        let timely = self.feed.is_timely(now, packet, self.policy.max_latency);
        for leg in &mut self.legs {
            leg.handle_coded(
                now,
                packet,
                timely,
                &mut Sink::new(&mut self.out, &mut self.stats),
            );
        }
        self.expect_growth();
    }

    pub(super) fn lose_stream(&mut self, now: Instant, reason: Reason) {
        self.feed.forget();
        for leg in self
            .legs
            .iter_mut()
            .filter(|leg| leg.pilot.wanted() != Rung::Original)
        {
            leg.dead(now, reason, &mut Sink::new(&mut self.out, &mut self.stats));
        }
        self.hint(now, true);
    }

    pub(super) fn drop_stream(&mut self, core: &mut dyn Processor) {
        self.feed.close(core);
        self.judge.forget_quality();
    }
}
