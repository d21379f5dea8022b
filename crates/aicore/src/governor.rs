//! Chooses the rung of a session whose caller leaves that to the core. Sans-IO.

use std::time::{Duration, Instant};

use auralink_engine::{
    Choice, Coded, Judge, LegPilot, NetworkAnalyzer, NetworkSample, ProbeGate, Situation, Terms,
};
use auralink_types::{AicConfig, Bitrate, PacketTime, Policy, Reason, Rung};
use auralink_wire::proto::{Governed, NetworkReport};

/// How often a decision is looked at again without a cause.
const REVIEW: Duration = Duration::from_secs(1);

/// One session: a leg whose coded frames go out as soon as they are decided on, each in the place of one that came.
pub(crate) struct Governor {
    policy: Policy,
    /// All but the network, which the analyzer knows.
    situation: Situation,
    network: NetworkAnalyzer,
    judge: Judge,
    pilot: LegPilot,
    /// A session has one leg, so the gate lets it through whenever it asks.
    gate: ProbeGate,
    review_at: Instant,
    told: Option<(Rung, Option<Reason>)>,
}

impl Governor {
    pub(crate) fn new(now: Instant, governed: &Governed, core_model: Option<u16>) -> Self {
        let network = NetworkAnalyzer::default();
        let mut governor = Self {
            policy: governed.config.policy(),
            situation: Situation {
                neural: core_model.is_some_and(|model| governed.models.contains(&model)),
                original: governed.original,
                ..Situation::stock(network.network())
            },
            network,
            judge: Judge::default(),
            pilot: LegPilot::new(now),
            gate: ProbeGate::new(),
            review_at: now,
            told: None,
        };
        if let Some(report) = governed.network {
            governor.handle_report(now, report);
        }
        governor.decide(now);
        // Nobody has heard anything yet that could flap.
        governor.pilot.forget_pace();
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
        self.pilot.choice(&self.policy, &self.situation(), &self.judge)
    }

    /// The rung to be coded, on trial as well; none in bypass.
    pub(crate) fn wanted(&self) -> Option<Rung> {
        let rung = self.pilot.wanted();
        (rung != Rung::Original && self.pilot.wants_core()).then_some(rung)
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
        self.pilot.forget_pace();
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
        if (packet, stereo) != (self.situation.source_packet, self.situation.stereo) {
            (self.situation.source_packet, self.situation.stereo) = (packet, stereo);
            self.review_at = now;
        }
    }

    /// A coded packet came in time, with what was measured of it.
    pub(crate) fn handle_coded(&mut self, now: Instant, packet: &Coded) {
        self.pilot.handle_good(now);
        let judged = packet.quality.filter(|_| packet.rung == self.pilot.wanted());
        if let Some(mos) = judged
            && self
                .judge
                .handle_quality(now, packet.rung, mos, self.policy.floor)
        {
            self.pilot.handle_breach(now, packet.rung);
            self.review_at = now;
        }
        if self.judge.handle_content(packet.content) {
            self.review_at = now;
        }
    }

    /// A frame was late or refused.
    pub(crate) fn handle_bad(&mut self, now: Instant, reason: Reason) {
        self.pilot.handle_bad(now, reason);
        self.obey(now);
    }

    /// The stream is lost.
    pub(crate) fn handle_dead(&mut self, now: Instant, reason: Reason) {
        self.pilot.handle_dead(now, reason);
        self.obey(now);
    }

    /// Time passes; to be called before each frame.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.pilot.handle_timeout(now, &mut self.gate, &mut self.judge);
        if now >= self.review_at {
            self.decide(now);
        } else {
            self.obey(now);
        }
    }

    fn decide(&mut self, now: Instant) {
        self.review_at = now + REVIEW;
        let situation = self.situation();
        // Originals need no hand-over here, so whether the leg fell back shows soon enough.
        let _ = self
            .pilot
            .review(now, &self.policy, &situation, &Terms::default(), &self.judge);
        self.judge.end_review();
        self.obey(now);
    }

    /// What is decided goes out with the next frame.
    fn obey(&mut self, now: Instant) {
        let to = if self.pilot.may_send_coded() {
            self.pilot.wanted()
        } else {
            Rung::Original
        };
        if to != self.pilot.rung() {
            self.pilot.handle_switch(now, to);
        }
    }

    fn situation(&self) -> Situation {
        Situation {
            network: self.network.network(),
            ..self.situation
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use auralink_quality::Content;
    use auralink_types::{ConfigChange, Mode, Mos};

    const MS: Duration = Duration::from_millis(1);

    fn coded(rung: Rung, quality: Option<Mos>) -> Coded {
        Coded {
            rung,
            timestamp: 0,
            samples: 0,
            payload: [].into(),
            quality,
            content: Content::Unknown,
        }
    }

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
            governor.handle_coded(now, &coded(rung, None));
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
            governor.handle_coded(now, &coded(before.rung, Some(Mos::new(3.6))));
            governor.handle_timeout(now);
        }
        let after = governor.choice();
        assert!(
            after.rung == Rung::Original || cost(after) > cost(before),
            "{before:?} {after:?}"
        );
    }
}
