//! Chooses the rung of a session whose caller leaves that to the core. Sans-IO.

use std::time::{Duration, Instant};

use auralink_engine::{
    Calibration, Choice, Fallback, NetworkAnalyzer, NetworkSample, ProbeGate, Situation, choose,
};
use auralink_types::{AicConfig, Bitrate, Mos, PacketTime, Policy, QualityScore, Reason, Rung};
use auralink_wire::proto::{Governed, NetworkReport};

/// How often a decision is looked at again without a cause.
const REVIEW: Duration = Duration::from_secs(1);
/// A rung stays for this long unless it must go.
const SWITCH_PAUSE: Duration = Duration::from_secs(10);
/// A measured score this far under the floor is a breach; less is the estimator's error.
const BREACH: f32 = 0.08;
/// A breach this long counts.
const BREACH_TIME: Duration = Duration::from_millis(500);

/// One session's brain.
pub(crate) struct Governor {
    policy: Policy,
    neural: bool,
    original: Option<Bitrate>,
    packet: Option<PacketTime>,
    stereo: bool,
    network: NetworkAnalyzer,
    calibration: Calibration,
    fallback: Fallback,
    /// A session has one leg, so the gate lets it through whenever it asks.
    gate: ProbeGate,
    choice: Choice,
    review_at: Instant,
    switched_at: Option<Instant>,
    breach_since: Option<Instant>,
    told: Option<(Rung, Option<Reason>)>,
}

impl Governor {
    pub(crate) fn new(now: Instant, governed: &Governed, core_model: Option<u16>) -> Self {
        let mut governor = Self {
            policy: governed.config.policy(),
            neural: core_model.is_some_and(|model| governed.models.contains(&model)),
            original: governed.original,
            packet: None,
            stereo: false,
            network: NetworkAnalyzer::default(),
            calibration: Calibration::default(),
            fallback: Fallback::new(now),
            gate: ProbeGate::new(),
            choice: Choice {
                rung: Rung::Original,
                reason: None,
                expected: QualityScore::FULL,
                heard: QualityScore::FULL,
            },
            review_at: now,
            switched_at: None,
            breach_since: None,
            told: None,
        };
        if let Some(report) = governed.network {
            governor.handle_report(now, report);
        }
        governor.decide(now);
        governor
    }

    /// Longest time a frame may take.
    pub(crate) fn max_latency(&self) -> Duration {
        self.policy.max_latency
    }

    /// What is obeyed.
    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What the path carries, where that is known.
    pub(crate) fn capacity(&self) -> Option<Bitrate> {
        self.network.network().capacity
    }

    /// What goes out now, and why.
    pub(crate) fn choice(&self) -> Choice {
        if self.choice.rung == Rung::Original || self.fallback.may_send_coded() {
            self.choice
        } else {
            Choice {
                rung: Rung::Original,
                reason: self.fallback.reason().or(Some(Reason::Probation)),
                expected: QualityScore::FULL,
                heard: QualityScore::FULL,
            }
        }
    }

    /// The rung to be coded, on trial as well; none in bypass.
    pub(crate) fn wanted(&self) -> Option<Rung> {
        let rung = self.choice.rung;
        (rung != Rung::Original && self.fallback.wants_core()).then_some(rung)
    }

    /// The choice, if it is not the one that was told last.
    pub(crate) fn news(&mut self) -> Option<Choice> {
        let choice = self.choice();
        let told = (choice.rung, choice.reason);
        (self.told.replace(told) != Some(told)).then_some(choice)
    }

    /// Other wishes: obeyed at once.
    pub(crate) fn set_config(&mut self, now: Instant, config: &AicConfig) {
        self.policy = config.policy();
        self.switched_at = None;
        self.decide(now);
    }

    /// A report of the network.
    pub(crate) fn handle_report(&mut self, now: Instant, report: NetworkReport) {
        let sample = NetworkSample {
            loss: report.loss,
            rtt: report.rtt,
            jitter: report.jitter,
            ..NetworkSample::default()
        };
        self.network.handle_sample(now, sample);
        if report.capacity.is_some() {
            self.network.set_capacity(report.capacity);
        }
        self.review_at = now;
    }

    /// What the sender sends.
    pub(crate) fn note_source(&mut self, now: Instant, packet: Option<PacketTime>, stereo: bool) {
        if packet != self.packet || stereo != self.stereo {
            self.packet = packet;
            self.stereo = stereo;
            self.review_at = now;
        }
    }

    /// A coded packet came in time, with what was measured of it.
    pub(crate) fn handle_coded(&mut self, now: Instant, rung: Rung, quality: Option<Mos>) {
        self.fallback.handle_good(now);
        let Some(mos) = quality.filter(|_| rung == self.choice.rung) else {
            return;
        };
        if mos.score().value() + BREACH >= self.policy.floor.value() {
            self.breach_since = None;
            self.calibration.learn(rung, mos);
            return;
        }
        let since = *self.breach_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= BREACH_TIME {
            self.breach_since = None;
            self.calibration.learn_at_once(rung, mos);
            self.switched_at = None;
            self.review_at = now;
        }
    }

    /// A frame was late or refused.
    pub(crate) fn handle_bad(&mut self, now: Instant, reason: Reason) {
        self.fallback.handle_bad(now, reason);
    }

    /// The stream is lost.
    pub(crate) fn handle_dead(&mut self, now: Instant, reason: Reason) {
        self.fallback.handle_dead(now, reason);
    }

    /// Time passes; to be called before each frame.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.fallback.handle_timeout(now, &mut self.gate);
        if now >= self.review_at {
            self.decide(now);
        }
    }

    fn decide(&mut self, now: Instant) {
        self.review_at = now + REVIEW;
        let situation = Situation {
            network: self.network.network(),
            neural: self.neural,
            source_packet: self.packet,
            stereo: self.stereo,
            original: self.original,
            ..Situation::stock(self.network.network())
        };
        let next = choose(&self.policy, &situation, &self.calibration);
        let coded = |choice: &Choice| choice.rung != Rung::Original;
        let settled = self
            .switched_at
            .is_some_and(|at| now.saturating_duration_since(at) < SWITCH_PAUSE);
        if next.rung != self.choice.rung {
            if settled && coded(&next) && coded(&self.choice) {
                return;
            }
            self.switched_at = Some(now);
        }
        self.choice = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use auralink_types::{ConfigChange, Mode};

    const MS: Duration = Duration::from_millis(1);

    fn governed(mode: Mode, opt_out: bool) -> Governed {
        let change = ConfigChange {
            enabled: Some(true),
            mode: Some(mode),
            opt_out: Some(opt_out),
            ..Default::default()
        };
        Governed {
            config: AicConfig::default().apply(&change).unwrap(),
            network: None,
            models: Vec::new(),
            original: None,
        }
    }

    #[test]
    fn a_veto_and_the_mode_off_leave_everything_as_it_is_with_the_reason() {
        let now = Instant::now();
        let vetoed = Governor::new(now, &governed(Mode::Adaptive, true), None);
        assert_eq!(
            (vetoed.wanted(), vetoed.choice().reason),
            (None, Some(Reason::OptOut))
        );
        let mut free = Governor::new(now, &governed(Mode::Adaptive, false), None);
        assert!(free.wanted().is_some());
        assert!(
            free.news().is_some() && free.news().is_none(),
            "news are told once"
        );
        free.set_config(now + MS, &governed(Mode::Off, false).config);
        assert_eq!((free.wanted(), free.choice().rung), (None, Rung::Original));
        assert!(free.news().is_some());
    }

    #[test]
    fn three_late_frames_end_in_bypass_and_a_clean_trial_leads_back() {
        let mut now = Instant::now();
        let mut governor = Governor::new(now, &governed(Mode::Adaptive, false), None);
        let rung = governor.choice().rung;
        for _ in 0..3 {
            now += 20 * MS;
            governor.handle_bad(now, Reason::Late);
        }
        assert_eq!(
            (governor.choice().rung, governor.choice().reason),
            (Rung::Original, Some(Reason::Late))
        );
        assert_eq!(governor.wanted(), None);
        now += 10_001 * MS;
        governor.handle_timeout(now);
        assert_eq!(governor.wanted(), Some(rung), "on trial it is coded");
        assert_eq!(governor.choice().rung, Rung::Original, "but not sent");
        for _ in 0..20 {
            now += 60 * MS;
            governor.handle_coded(now, rung, None);
            governor.handle_timeout(now);
        }
        assert_eq!(governor.choice().rung, rung);
    }

    #[test]
    fn quality_well_under_the_floor_for_half_a_second_buys_a_dearer_rung() {
        let mut now = Instant::now();
        let mut governor = Governor::new(now, &governed(Mode::Adaptive, false), None);
        let cost = |choice: Choice| auralink_engine::wire_bitrate(choice.rung).map(Bitrate::as_bps);
        let before = governor.choice();
        for _ in 0..12 {
            now += 60 * MS;
            governor.handle_coded(now, before.rung, Some(Mos::new(3.6)));
            governor.handle_timeout(now);
        }
        let after = governor.choice();
        assert!(
            after.rung == Rung::Original || cost(after) > cost(before),
            "{before:?} {after:?}"
        );
    }
}
