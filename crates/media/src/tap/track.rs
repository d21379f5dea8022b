//! The tap itself: one source, one stream at the core, many legs.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use auralink_engine::{
    Calibration, Coded, InFrame, InKind, NetworkAnalyzer, NetworkSample, Outcome, Phase, Processor, Refused,
    Situation, StreamId, choose, wire_bitrate,
};
use auralink_types::{
    Bitrate, Lean, Mos, NetworkClass, Neural, NeuralRate, PacketTime, Policy, PublisherHint, QualityScore,
    Reason, Rung, SavingsBasis, TrackId,
};

use super::leg::{Leg, Sink, playable};
use super::original::{FRAME_TICKS, Original, Reader, packet_time};
use super::stats::{LegSnapshot, Stats, TapSnapshot, baseline, on_wire};
use super::steer::{Steer, wish};
use super::{AudioPacket, LegCaps, LegId, PublisherCaps, TapEvent, TapOutput};

/// Rungs one track is coded for at most; further wishes get the dearest of these that they can take.
const RUNGS_MAX: usize = 4;
/// How often decisions are looked at again without a cause.
const REVIEW: Duration = Duration::from_secs(1);
/// Audio measured before the source's rate is believed: 1 s.
const MEASURED_TICKS: u64 = 48_000;
/// Half-life of that measurement: 8 s.
const RATE_TICKS: u64 = 8 * 48_000;
/// A measured score this far under the floor is a breach; less moves the ladder only. The estimator errs by about
/// as much.
const BREACH: f32 = 0.08;
/// A breach this long counts; the estimate itself looks back over 3 s.
const BREACH_TIME: Duration = Duration::from_millis(500);
/// A rung stays while a better one would be cheaper by less than this part.
const STICKY: f64 = 0.10;
/// Frames whose time of arrival is remembered.
const TAKEN_MAX: usize = 32;

/// The tap of one published audio track.
pub struct AudioTap {
    track: TrackId,
    publisher: PublisherCaps,
    policy: Policy,
    legs: Vec<Leg>,
    reader: Reader,
    steer: Steer,
    uplink: NetworkAnalyzer,
    calibration: Calibration,
    stats: Stats,
    out: VecDeque<TapOutput>,
    stream: Option<StreamId>,
    rungs: Vec<Rung>,
    /// Model of the core when it was last asked.
    core_model: Option<u16>,
    source: Option<Source>,
    /// End of the audio handed to the core.
    fed: u64,
    /// End and arrival of the frames fed last.
    taken: VecDeque<(u64, Instant)>,
    quality: Option<(Rung, Mos)>,
    learned_at: Option<Instant>,
    /// A rung measured well under the floor, and since when.
    breach: Option<(Rung, Instant)>,
    /// A breach lasted: the next review may raise rungs out of turn.
    breached: bool,
    review_at: Instant,
    in_session: bool,
}

/// What the publisher sends.
#[derive(Clone, Copy, Debug)]
struct Source {
    coding: InKind,
    model: Option<u16>,
    rate: Option<NeuralRate>,
    packet: PacketTime,
    red: bool,
    stereo: bool,
    wire_bytes: u64,
    ticks: u64,
}

impl Source {
    /// `None` until enough was heard; AIC packets are all alike, so the first one tells.
    fn payload_bitrate(&self) -> Option<Bitrate> {
        let headers = on_wire(0) * 8 * 1000 / u64::from(self.packet.millis());
        Some(Bitrate::bps(
            self.wire_bitrate()?.as_bps().saturating_sub(headers),
        ))
    }

    fn wire_bitrate(&self) -> Option<Bitrate> {
        let known = self.ticks >= MEASURED_TICKS || (self.coding == InKind::Aic && self.ticks > 0);
        known.then(|| Bitrate::bps(self.wire_bytes * 8 * 48_000 / self.ticks))
    }
}

impl AudioTap {
    /// A tap without legs.
    pub fn new(now: Instant, track: TrackId, publisher: PublisherCaps, policy: Policy) -> Self {
        let mut tap = Self {
            track,
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
            source: None,
            fed: 0,
            taken: VecDeque::new(),
            quality: None,
            learned_at: None,
            breach: None,
            breached: false,
            review_at: now,
            in_session: false,
        };
        tap.hint(now);
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
        self.policy = policy;
        self.review_at = now;
        if !self.policy.active {
            let reason = if self.policy.opt_out {
                Reason::OptOut
            } else {
                Reason::Disabled
            };
            for leg in &mut self.legs {
                leg.wanted = Rung::Original;
                leg.reason = Some(reason);
                if self
                    .source
                    .is_none_or(|source| playable(&leg.caps, source.coding, source.model))
                {
                    leg.go_direct(now, Some(reason), &mut sink(&mut self.out, &mut self.stats));
                }
            }
            if std::mem::take(&mut self.in_session) {
                self.out.push_back(TapOutput::Event(TapEvent::SessionEnded));
            }
        }
        self.hint(now);
    }

    /// Adds a subscriber, or changes what a known one can take.
    pub fn add_leg(&mut self, now: Instant, id: LegId, caps: LegCaps) {
        self.review_at = now;
        match self.legs.iter_mut().find(|leg| leg.id == id) {
            Some(leg) => {
                let vetoed = caps.opted_out;
                leg.caps = caps;
                if vetoed {
                    leg.wanted = Rung::Original;
                    leg.reason = Some(Reason::OptOut);
                    leg.go_direct(
                        now,
                        Some(Reason::OptOut),
                        &mut sink(&mut self.out, &mut self.stats),
                    );
                }
            }
            None => self.legs.push(Leg::new(now, id, caps)),
        }
    }

    /// Forgets a subscriber.
    pub fn remove_leg(&mut self, now: Instant, id: LegId) {
        self.legs.retain(|leg| leg.id != id);
        self.review_at = now;
    }

    /// Takes a report of a subscriber's network.
    pub fn set_leg_network(&mut self, now: Instant, id: LegId, loss: f32, rtt: Duration, jitter: Duration) {
        if let Some(leg) = self.legs.iter_mut().find(|leg| leg.id == id) {
            leg.network
                .handle_sample(now, NetworkSample { loss, rtt, jitter });
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
        self.uplink
            .handle_sample(now, NetworkSample { loss, rtt, jitter });
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
        self.count(&original);
        if !reading.readable {
            self.stats.bad_input += 1;
            for leg in &mut self.legs {
                leg.handle_unreadable(&original, &mut sink(&mut self.out, &mut self.stats));
            }
            return;
        }
        self.stats.ticks += if original.dtx { 0 } else { original.ticks };
        self.note_source(now, &original);
        if self.policy.active && !self.in_session {
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

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant, core: &mut dyn Processor) {
        let limit = self.policy.max_latency;
        let mut turned = false;
        for leg in &mut self.legs {
            let before = leg.fallback.phase();
            leg.handle_timeout(now, limit, &mut sink(&mut self.out, &mut self.stats));
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

    /// Counters and states; compute times start anew.
    pub fn snapshot(&mut self) -> TapSnapshot {
        let times = self.stats.take_times();
        let coded = self.legs.iter().any(|leg| leg.rung != Rung::Original);
        TapSnapshot {
            uplink: self.stats.uplink,
            downlink: self.stats.downlink,
            basis: if self.steer.steers() {
                SavingsBasis::Preset
            } else {
                SavingsBasis::Measured
            },
            frames: self.stats.ticks / FRAME_TICKS,
            compute_p50: times.map(|(median, _)| median),
            compute_p99: times.map(|(_, p99)| p99),
            quality: self.quality.filter(|_| coded).map(|(_, mos)| mos),
            fallbacks: self.stats.fallbacks,
            bad_input: self.stats.bad_input,
            padding: self.stats.padding,
            outdated: self.stats.outdated,
            unused: self.stats.unused,
            coded: self.stats.coded,
            rescued: self.stats.rescued,
            source: self.source.map(|source| self.source_rung(&source)),
            legs: self.legs.iter().map(leg_snapshot).collect(),
        }
    }

    fn source_rung(&self, source: &Source) -> Rung {
        match source.coding {
            InKind::Aic => Rung::Neural(Neural {
                rate: source.rate.unwrap_or(NeuralRate::Kbps6),
                packet: source.packet,
                copies: 0,
            }),
            InKind::Opus if !source.red && self.steer.steers() => Rung::Lean(Lean {
                bitrate: source.payload_bitrate().unwrap_or_default(),
                packet: source.packet,
            }),
            InKind::Opus => Rung::Original,
        }
    }

    fn count(&mut self, original: &Original) {
        let steered = self.steer.steers();
        let before = baseline(original, steered);
        self.stats.uplink.sent_bytes += on_wire(original.payload.len());
        self.stats.uplink.original_bytes += before;
        self.stats.downlink.original_bytes += before * self.legs.len() as u64;
        for leg in &mut self.legs {
            leg.savings.original_bytes += before;
        }
    }

    fn note_source(&mut self, now: Instant, original: &Original) {
        if original.dtx {
            return;
        }
        let packet = packet_time(original.ticks);
        let red = original.kind == super::PayloadKind::Red;
        let same = self.source.as_mut().filter(|source| {
            source.coding == original.coding
                && source.model == original.model
                && source.rate == original.rate
                && source.packet == packet
                && source.red == red
                && source.stereo == original.stereo
        });
        let bytes = on_wire(original.payload.len());
        match same {
            Some(source) => {
                source.wire_bytes += bytes;
                source.ticks += original.ticks;
                if source.ticks > RATE_TICKS {
                    source.wire_bytes /= 2;
                    source.ticks /= 2;
                }
            }
            None => {
                self.review_at = now;
                self.source = Some(Source {
                    coding: original.coding,
                    model: original.model,
                    rate: original.rate,
                    packet,
                    red,
                    stereo: original.stereo,
                    wire_bytes: bytes,
                    ticks: original.ticks,
                });
            }
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
        let end = packet.timestamp + packet.samples;
        let complete = self.taken.iter().find(|(fed, _)| *fed >= end);
        let limit = self.policy.max_latency + Duration::from_millis(10);
        let timely = complete.is_none_or(|(_, taken)| now.saturating_duration_since(*taken) <= limit);
        for leg in &mut self.legs {
            leg.handle_coded(now, packet, timely, &mut sink(&mut self.out, &mut self.stats));
        }
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

    fn lose_stream(&mut self, now: Instant, reason: Reason) {
        self.stream = None;
        self.rungs.clear();
        self.taken.clear();
        for leg in self.legs.iter_mut().filter(|leg| leg.wanted != Rung::Original) {
            leg.dead(now, reason, &mut sink(&mut self.out, &mut self.stats));
        }
    }

    fn drop_stream(&mut self, core: &mut dyn Processor) {
        if let Some(stream) = self.stream.take() {
            core.close(stream);
        }
        self.rungs.clear();
        self.taken.clear();
        self.quality = None;
    }

    /// Looks at every decision again and tells core and publisher what follows.
    fn review(&mut self, now: Instant, core: &mut dyn Processor) {
        self.review_at = now + REVIEW;
        self.core_model = core.models().first().copied();
        self.decide(now);
        self.supply(now, core);
        self.hint(now);
    }

    fn decide(&mut self, now: Instant) {
        let Some(source) = self.source else { return };
        let core_model = self.core_model;
        let breached = std::mem::take(&mut self.breached);
        for leg in &mut self.legs {
            let playable = playable(&leg.caps, source.coding, source.model);
            let neural = core_model.is_some_and(|model| leg.caps.models.contains(&model));
            let situation = Situation {
                network: leg.network.network(),
                neural,
                source_packet: Some(source.packet),
                stereo: source.stereo,
                original: source.wire_bitrate().filter(|_| playable),
            };
            let (mut rung, mut reason) = if leg.caps.opted_out && playable {
                (Rung::Original, Some(Reason::OptOut))
            } else {
                let choice = choose(&self.policy, &situation, &self.calibration);
                (choice.rung, choice.reason)
            };
            if rung == Rung::Original && !playable && core_model == source.model {
                // Its receiver cannot decode what the publisher sends: plain Opus is the least it needs.
                let (bitrate, packet) = (Bitrate::kbps(24), source.packet);
                (rung, reason) = (
                    Rung::Lean(Lean { bitrate, packet }),
                    Some(Reason::ReceiverNotCapable),
                );
            }
            if rung != leg.rung && still_good(leg, rung, &situation, &self.calibration, self.policy.floor) {
                rung = leg.rung;
            }
            leg.reason = reason;
            if rung == leg.wanted {
                continue;
            }
            let waiting = leg.wanted != leg.rung;
            let dearer = breached && wire_bitrate(rung) > wire_bitrate(leg.rung) && leg.may_raise(now);
            if rung == Rung::Original || rung == leg.rung || waiting || dearer || leg.may_switch(now) {
                leg.wanted = rung;
                leg.urgent = dearer;
            }
            if rung == Rung::Original && reason == Some(Reason::Quality) && leg.rung != rung {
                // No rung holds the floor on this content.
                leg.dead(now, Reason::Quality, &mut sink(&mut self.out, &mut self.stats));
            } else if rung == Rung::Original {
                leg.go_direct(now, reason, &mut sink(&mut self.out, &mut self.stats));
            }
        }
    }

    /// Makes the core code what legs wait for, and nothing else.
    fn supply(&mut self, now: Instant, core: &mut dyn Processor) {
        let mut rungs: Vec<Rung> = Vec::with_capacity(RUNGS_MAX);
        for leg in &mut self.legs {
            if !leg.fallback.wants_core() {
                continue;
            }
            for rung in [leg.rung, leg.wanted] {
                if rung == Rung::Original || rungs.contains(&rung) {
                    continue;
                }
                if rungs.len() < RUNGS_MAX {
                    rungs.push(rung);
                } else if rung == leg.wanted {
                    leg.wanted = leg.rung;
                    leg.reason = Some(Reason::Overload);
                }
            }
        }
        if rungs.is_empty() {
            self.drop_stream(core);
            return;
        }
        let result = match self.stream {
            Some(_) if rungs == self.rungs => Ok(()),
            Some(stream) => core.set_rungs(stream, &rungs),
            None => core.open(&rungs).map(|stream| {
                self.stream = Some(stream);
                self.fed = 0;
            }),
        };
        match result {
            Ok(()) => self.rungs = rungs,
            Err(refused) => {
                if let Some(stream) = self.stream {
                    core.close(stream);
                }
                self.lose_stream(now, refused.reason());
            }
        }
    }

    fn hint(&mut self, now: Instant) {
        let stereo = self.source.is_some_and(|source| source.stereo);
        let wish = wish(
            &self.policy,
            &self.publisher,
            &self.legs,
            self.uplink.network(),
            &self.calibration,
            stereo,
            self.core_model.is_some(),
        );
        if let Some(source) = self.steer.decide(now, wish) {
            let track = self.track.clone();
            self.out
                .push_back(TapOutput::Hint(PublisherHint { track, source }));
        }
    }
}

fn sink<'a>(out: &'a mut VecDeque<TapOutput>, stats: &'a mut Stats) -> Sink<'a> {
    Sink { out, stats }
}

/// Whether the leg's rung holds the floor and another one is hardly cheaper.
fn still_good(
    leg: &Leg,
    better: Rung,
    situation: &Situation,
    calibration: &Calibration,
    floor: QualityScore,
) -> bool {
    let (Some(now), Some(then)) = (wire_bitrate(leg.rung), wire_bitrate(better)) else {
        return false;
    };
    let aligned = match leg.rung {
        Rung::Original => false,
        Rung::Lean(Lean { packet, .. }) => situation
            .source_packet
            .is_none_or(|source| packet.frames() % source.frames() == 0),
        Rung::Neural(neural) => {
            situation.neural
                && situation
                    .source_packet
                    .is_none_or(|source| neural.packet.frames() % source.frames() == 0)
        }
    };
    let fits = situation
        .network
        .capacity
        .is_none_or(|room| now.as_bps() <= room.as_bps());
    let calm = situation.network.class != NetworkClass::Bad;
    aligned
        && fits
        && calm
        && calibration.score(leg.rung) >= floor
        && now.as_bps() as f64 * (1.0 - STICKY) <= then.as_bps() as f64
        && then <= now
}

fn leg_snapshot(leg: &Leg) -> LegSnapshot {
    LegSnapshot {
        leg: leg.id,
        rung: leg.rung,
        phase: leg.fallback.phase(),
        reason: leg
            .fallback
            .reason()
            .filter(|_| leg.wanted != Rung::Original)
            .or(leg.reason),
        network: leg.network.class(),
        savings: leg.savings,
    }
}
