//! The tap itself: one source, one stream at the core, many legs.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use auralink_engine::{
    Calibration, Coded, InFrame, InKind, NetworkAnalyzer, NetworkSample, Outcome, Phase, ProbeGate,
    Processor, Refused, StreamId,
};
use auralink_quality::Content;
use auralink_quality::savings::wire_bytes;
use auralink_types::{Bitrate, Mos, Policy, Reason, Rung, TrackId};

use super::leg::{Leg, Sink, playable};
use super::original::{Original, Reader};
use super::own::{BARE_HEADER, FULL_HEADER, Made, Own, Side};
use super::source::Source;
use super::stats::Stats;
use super::steer::Steer;
use super::{AudioPacket, LegCaps, LegId, PublisherCaps, TapEvent, TapOutput};

/// How often decisions are looked at again without a cause.
pub(super) const REVIEW: Duration = Duration::from_secs(1);
/// A measured score this far under the floor is a breach; less moves the ladder only. The estimator errs by about
/// as much.
const BREACH: f32 = 0.08;
/// A breach this long counts; the estimate itself looks back over 3 s.
const BREACH_TIME: Duration = Duration::from_millis(500);
/// Frames whose time of arrival is remembered.
const TAKEN_MAX: usize = 32;

/// The tap of one published audio track.
pub struct AudioTap {
    pub(super) track: TrackId,
    pub(super) publisher: PublisherCaps,
    pub(super) policy: Policy,
    pub(super) legs: Vec<Leg>,
    pub(super) reader: Reader,
    pub(super) steer: Steer,
    pub(super) own: Own,
    pub(super) uplink: NetworkAnalyzer,
    pub(super) calibration: Calibration,
    pub(super) stats: Stats,
    pub(super) out: VecDeque<TapOutput>,
    pub(super) stream: Option<StreamId>,
    pub(super) rungs: Vec<Rung>,
    /// Model of the core when it was last asked.
    pub(super) core_model: Option<u16>,
    /// The core's model wants an accelerator that is not there.
    pub(super) no_accelerator: bool,
    pub(super) source: Option<Source>,
    /// End of the audio handed to the core.
    pub(super) fed: u64,
    /// End and arrival of the frames fed last.
    pub(super) taken: VecDeque<(u64, Instant)>,
    pub(super) quality: Option<(Rung, Mos)>,
    /// What the core says the source sounds like.
    pub(super) content: Content,
    pub(super) learned_at: Option<Instant>,
    /// A rung measured well under the floor, and since when.
    pub(super) breach: Option<(Rung, Instant)>,
    /// A breach lasted: the next review may raise rungs out of turn.
    pub(super) breached: bool,
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
            reader: Reader::default(),
            steer: Steer::new(),
            uplink: NetworkAnalyzer::default(),
            calibration: Calibration::default(),
            stats: Stats::default(),
            out: VecDeque::new(),
            stream: None,
            rungs: Vec::new(),
            core_model: None,
            no_accelerator: false,
            source: None,
            fed: 0,
            taken: VecDeque::new(),
            quality: None,
            content: Content::Unknown,
            learned_at: None,
            breach: None,
            breached: false,
            review_at: now,
            in_session: false,
        };
        tap.stats.extensions = tap.extensions();
        tap.hint(now, false);
        tap
    }

    /// The core's stream of this track, for routing outcomes.
    pub fn stream(&self) -> Option<StreamId> {
        self.stream
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
                leg.stay_original(reason);
                if self
                    .source
                    .is_none_or(|source| playable(&leg.caps, source.coding, source.model))
                {
                    leg.go_direct(now, Some(reason), &mut sink(&mut self.out, &mut self.stats));
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
                leg.caps = caps;
                if vetoed {
                    leg.stay_original(Reason::OptOut);
                    leg.go_direct(
                        now,
                        Some(Reason::OptOut),
                        &mut sink(&mut self.out, &mut self.stats),
                    );
                }
            }
            None => self.legs.push(Leg::new(now, id, caps)),
        }
        // Whoever cannot decode what comes shall not have to wait for a packet to say so.
        self.hint(now, false);
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
                leg.handle_unreadable(&original, &mut sink(&mut self.out, &mut self.stats));
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
            leg.handle_original(now, &original, &mut sink(&mut self.out, &mut self.stats));
        }
        if self.stream.is_some() {
            for earlier in reading.earlier {
                // What was lost and came along with a later packet is as good as new.
                if earlier.at >= self.fed && self.fed > 0 && earlier.at + earlier.ticks <= original.at {
                    self.feed(
                        now,
                        earlier.at,
                        earlier.ticks,
                        InKind::Opus,
                        earlier.payload,
                        core,
                    );
                }
            }
            let payload = original.primary.clone();
            self.feed(now, original.at, original.ticks, original.coding, payload, core);
        }
    }

    /// Takes an outcome of the core; one of another stream is ignored.
    pub fn handle_outcome(&mut self, now: Instant, outcome: &Outcome, core: &mut dyn Processor) {
        if self.stream != Some(outcome.stream()) {
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
            let before = leg.fallback.phase();
            leg.handle_timeout(now, limit, gate, &mut sink(&mut self.out, &mut self.stats));
            if leg.fallback.phase() != before {
                turned = true;
                // Other content may have come by: the trial starts from what is generally expected.
                if leg.fallback.phase() == Phase::Probation && leg.fallback.reason() == Some(Reason::Quality)
                {
                    self.calibration = Calibration::default();
                }
            }
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
        let busy = self.policy.active || self.stream.is_some() || self.steer.steers();
        let review = busy.then_some(self.review_at);
        let limit = self.policy.max_latency;
        let legs = self.legs.iter().filter_map(|leg| leg.poll_timeout(limit)).min();
        [review, legs].into_iter().flatten().min()
    }

    /// Ends the stream at the core; to be called before the tap is dropped.
    pub fn close(&mut self, core: &mut dyn Processor) {
        self.drop_stream(core);
    }

    fn count(&mut self, now: Instant, original: &Original) {
        let made = self.made();
        if !self.steer.may_still_thin(now) && !matches!(made, Made::AtRate(_)) {
            self.own.hear(original);
        }
        let before = self.own.cost(original, made, Side::Up);
        self.stats.uplink.original_bytes += before;
        self.stats.uplink.sent_bytes += match made {
            Made::Freely => before,
            _ => wire_bytes(original.payload.len(), 0) as u64,
        };
        for leg in &mut self.legs {
            let red = leg.caps.red;
            let before = self.own.cost(original, made, Side::Down { red });
            leg.savings.original_bytes += before;
            self.stats.downlink.original_bytes += before;
        }
    }

    /// How the publisher makes packets now.
    pub(super) fn made(&self) -> Made {
        let exceeds = |rate| self.source.is_some_and(|source| source.exceeds(rate));
        match self.steer.asked_rate() {
            _ if !self.policy.active => Made::Freely,
            Some(rate) if !exceeds(rate) => Made::AtRate(rate),
            _ => Made::AtOwnRate,
        }
    }

    fn extensions(&self) -> usize {
        if self.policy.active {
            BARE_HEADER
        } else {
            FULL_HEADER
        }
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

    fn feed(
        &mut self,
        now: Instant,
        at: u64,
        ticks: u64,
        kind: InKind,
        payload: Arc<[u8]>,
        core: &mut dyn Processor,
    ) {
        let Some(stream) = self.stream.filter(|_| at >= self.fed) else {
            return;
        };
        let frame = InFrame {
            kind,
            timestamp: at,
            payload,
            deadline: now + self.policy.max_latency,
        };
        match core.submit(stream, frame) {
            Ok(()) => {
                self.fed = at + ticks;
                if self.taken.len() == TAKEN_MAX {
                    self.taken.pop_front();
                }
                self.taken.push_back((self.fed, now));
            }
            Err(Refused::Full) => {
                for leg in self.legs.iter_mut().filter(|leg| leg.wanted != Rung::Original) {
                    leg.bad(now, Reason::Overload, &mut sink(&mut self.out, &mut self.stats));
                }
            }
            Err(refused) => {
                core.close(stream);
                self.lose_stream(now, refused.reason());
            }
        }
    }

    fn handle_coded(&mut self, now: Instant, packet: &Coded) {
        if let Some(mos) = packet.quality {
            self.learn(now, packet.rung, mos);
        }
        if packet.content != self.content {
            self.content = packet.content;
            self.review_at = now;
        }
        let end = packet.timestamp + packet.samples;
        let complete = self.taken.iter().find(|(fed, _)| *fed >= end);
        let limit = self.policy.max_latency + Duration::from_millis(10);
        let timely = complete.is_none_or(|(_, taken)| now.saturating_duration_since(*taken) <= limit);
        for leg in &mut self.legs {
            leg.handle_coded(now, packet, timely, &mut sink(&mut self.out, &mut self.stats));
        }
        self.expect_growth();
    }

    fn learn(&mut self, now: Instant, rung: Rung, mos: Mos) {
        let worst = self.quality.is_none_or(|(of, old)| of == rung || mos < old);
        if worst {
            self.quality = Some((rung, mos));
        }
        let due = self
            .learned_at
            .is_none_or(|at| now.saturating_duration_since(at) >= REVIEW);
        if mos.score().value() + BREACH >= self.policy.floor.value() {
            self.breach = self.breach.filter(|(of, _)| *of != rung);
            if due {
                self.learned_at = Some(now);
                self.calibration.learn(rung, mos);
            }
            return;
        }
        let since = match self.breach {
            Some((of, since)) if of == rung => since,
            _ => now,
        };
        self.breach = Some((rung, since));
        if now.saturating_duration_since(since) < BREACH_TIME {
            return;
        }
        self.breach = None;
        self.breached = true;
        self.calibration.learn_at_once(rung, mos);
        self.review_at = now;
        for leg in self.legs.iter_mut().filter(|leg| leg.wanted == rung) {
            if leg.fallback.phase() == Phase::Probation {
                leg.bad(now, Reason::Quality, &mut sink(&mut self.out, &mut self.stats));
            }
        }
    }

    pub(super) fn lose_stream(&mut self, now: Instant, reason: Reason) {
        self.stream = None;
        self.rungs.clear();
        self.taken.clear();
        for leg in self.legs.iter_mut().filter(|leg| leg.wanted != Rung::Original) {
            leg.dead(now, reason, &mut sink(&mut self.out, &mut self.stats));
        }
        self.hint(now, true);
    }

    pub(super) fn drop_stream(&mut self, core: &mut dyn Processor) {
        if let Some(stream) = self.stream.take() {
            core.close(stream);
        }
        self.rungs.clear();
        self.taken.clear();
        self.quality = None;
    }
}

pub(super) fn sink<'a>(out: &'a mut VecDeque<TapOutput>, stats: &'a mut Stats) -> Sink<'a> {
    Sink { out, stats }
}
