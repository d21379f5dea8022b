use std::time::Duration;

use auralink_types::{AicConfig, ConfigChange, Lean, Mos, PacketTime};

use super::*;
use crate::network::Network;

const SECOND: Duration = Duration::from_secs(1);
const POOR: f32 = 1.5;

/// A leg whose packets come as soon as they are wanted.
struct Leg {
    now: Instant,
    policy: Policy,
    situation: Situation,
    terms: Terms,
    judge: Judge,
    pilot: LegPilot,
    gate: ProbeGate,
}

impl Leg {
    fn new() -> Self {
        let now = Instant::now();
        let change = ConfigChange {
            enabled: Some(true),
            ..Default::default()
        };
        Self {
            now,
            policy: AicConfig::default().apply(&change).unwrap().policy(),
            situation: Situation::stock(Network::default()),
            terms: Terms::default(),
            judge: Judge::default(),
            pilot: LegPilot::new(now),
            gate: ProbeGate::new(),
        }
    }

    fn pass(&mut self, time: Duration) -> Course {
        self.now += time;
        self.pilot
            .handle_timeout(self.now, &mut self.gate, &mut self.judge);
        let course = self
            .pilot
            .review(self.now, &self.policy, &self.situation, &self.terms, &self.judge);
        self.judge.end_review();
        let to = match course {
            Course::Onward if self.pilot.may_send_coded() => self.pilot.wanted(),
            _ => Rung::Original,
        };
        if to != self.pilot.rung() {
            self.pilot.handle_switch(self.now, to);
        }
        course
    }

    /// Measures what goes out for so long; `true` when the core says that it breaches the floor.
    fn measure(&mut self, mos: Mos, time: Duration) -> bool {
        let (rung, floor) = (self.pilot.wanted(), self.policy.floor);
        self.judge.handle_quality(self.now, rung, mos, floor);
        self.now += time;
        self.judge.handle_quality(self.now, rung, mos, floor)
    }
}

#[test]
fn packets_reach_the_goal_at_once_or_step_by_step() {
    let mut leg = Leg::new();
    let _ = leg.pass(Duration::ZERO);
    assert_eq!(leg.pilot.rung().packet(), Some(PacketTime::Ms60));
    let mut leg = Leg::new();
    leg.terms.stepwise = true;
    let mut lengths = Vec::new();
    for _ in 0..3 {
        let _ = leg.pass(growth::GROW_PAUSE / 2);
        lengths.push(leg.pilot.rung().packet().unwrap().millis());
    }
    assert_eq!(lengths, [40, 40, 60]);
    assert_eq!(leg.pilot.grows_at(), None);
}

#[test]
fn a_breach_buys_a_dearer_rung_out_of_turn_once_in_two_seconds() {
    let mut leg = Leg::new();
    let _ = leg.pass(Duration::ZERO);
    let cost = |leg: &Leg| wire_bitrate(leg.pilot.rung());
    let first = cost(&leg);
    let near = Mos::new(3.3);
    assert!(!leg.measure(near, SECOND / 4), "too short");
    assert!(leg.measure(near, SECOND / 2));
    let _ = leg.pass(Duration::ZERO);
    assert_eq!(cost(&leg), first, "what began a second ago is given another");
    assert!(leg.measure(near, 2 * SECOND));
    let _ = leg.pass(Duration::ZERO);
    assert!(cost(&leg) > first, "{:?}", leg.pilot.rung());
}

#[test]
fn content_that_no_rung_holds_falls_back_and_its_trial_begins_without_prejudice() {
    let mut leg = Leg::new();
    let _ = leg.pass(Duration::ZERO);
    let coded = leg.pilot.rung();
    assert!(leg.measure(Mos::new(POOR), SECOND));
    assert_eq!(leg.pass(Duration::ZERO), Course::Bypass);
    let outcome = (leg.pilot.phase(), leg.pilot.trouble(), leg.pilot.rung());
    assert_eq!(outcome, (Phase::Bypass, Some(Reason::Quality), Rung::Original));
    let _ = leg.pass(9 * SECOND);
    assert_eq!(leg.pilot.wanted(), Rung::Original);
    let _ = leg.pass(SECOND);
    assert_eq!((leg.pilot.phase(), leg.pilot.wanted()), (Phase::Probation, coded));
    assert!(leg.measure(Mos::new(POOR), SECOND));
    assert!(leg.pilot.handle_breach(leg.now, coded), "the trial fails");
    let _ = leg.pass(19 * SECOND);
    assert_eq!(
        leg.pilot.phase(),
        Phase::Bypass,
        "and the next one is further off"
    );
}

#[test]
fn who_cannot_decode_the_sender_gets_what_the_core_makes_whatever_else_is_so() {
    let plain = Rung::Lean(Lean::new(Bitrate::kbps(24), PacketTime::Ms20));
    let on = Leg::new().policy;
    for policy in [on.clone(), AicConfig::default().policy()] {
        let mut leg = Leg::new();
        leg.terms = Terms {
            opted_out: true,
            deaf: true,
            instead: Some(plain),
            awaited: true,
            ..Terms::default()
        };
        leg.policy = policy;
        let _ = leg.pass(Duration::ZERO);
        assert_eq!(leg.pilot.rung() == plain, leg.policy != on);
        assert_ne!(leg.pilot.rung(), Rung::Original);
        assert_eq!(leg.pilot.reason(), Some(Reason::ReceiverNotCapable));
    }
}

#[test]
fn who_can_decode_the_sender_hears_them_where_that_is_wished_or_coding_again_is_not_worth_it() {
    let first = |terms: Terms| {
        let mut leg = Leg::new();
        leg.terms = terms;
        let _ = leg.pass(Duration::ZERO);
        (leg.pilot.rung(), leg.pilot.reason())
    };
    let (coded, _) = first(Terms::default());
    let terms = Terms {
        opted_out: true,
        ..Terms::default()
    };
    assert_eq!(first(terms), (Rung::Original, Some(Reason::OptOut)));
    let terms = Terms {
        awaited: true,
        ..Terms::default()
    };
    assert_eq!(first(terms), (Rung::Original, None));
    let thinned_to = |times: f64| {
        let rate = wire_bitrate(coded).unwrap().as_bps() as f64 * times;
        first(Terms {
            thinned: Some(Bitrate::bps(rate as u64)),
            ..Terms::default()
        })
    };
    assert_eq!(thinned_to(1.2).0, Rung::Original);
    assert_eq!(thinned_to(1.5).0, coded);
}

#[test]
fn what_was_decided_is_answered_with_what_it_is_expected_to_sound_like() {
    let mut leg = Leg::new();
    let choice = |leg: &Leg| leg.pilot.choice(&leg.policy, &leg.situation, &leg.judge);
    let _ = leg.pass(Duration::ZERO);
    let coded = choice(&leg);
    assert_eq!((coded.rung, coded.reason), (leg.pilot.rung(), None));
    assert_eq!(coded.expected, leg.judge.calibration().score(coded.rung));
    leg.pilot.handle_dead(leg.now, Reason::CoreUnreachable);
    let _ = leg.pass(Duration::ZERO);
    let original = choice(&leg);
    assert_eq!(
        (original.rung, original.reason),
        (Rung::Original, Some(Reason::CoreUnreachable))
    );
}
