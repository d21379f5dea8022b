//! The fallback state machine of one leg: `Active → Degraded → Bypass → Probation → Active`.

use std::time::{Duration, Instant};

use auralink_types::Reason;

use crate::gate::ProbeGate;

/// This many bad frames in a row end in bypass.
const BAD_FRAMES: u32 = 3;
/// So does trouble that lasts this long, however few frames came by.
const TROUBLE_MAX: Duration = Duration::from_millis(200);
/// First stay in bypass; doubles with every relapse.
const BYPASS_FIRST: Duration = Duration::from_secs(10);
/// Longest stay in bypass.
const BYPASS_MAX: Duration = Duration::from_secs(300);
/// A frame stream on trial has to be clean for this long.
const PROBATION: Duration = Duration::from_secs(1);
/// And this many coded frames must have come in time: silence proves nothing.
const PROBES: u32 = 3;
/// Bypass this soon after a recovery is a relapse; later ones start from [`BYPASS_FIRST`] again.
const FORGIVEN_AFTER: Duration = Duration::from_secs(120);
/// A leg that the gate turned away asks again after this long.
const GATE_PAUSE: Duration = Duration::from_millis(500);

/// Where a leg stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Coded frames go out.
    Active,
    /// The last frames were bad; their originals went out.
    Degraded,
    /// Originals go out, the core is left alone.
    Bypass,
    /// Originals go out, the core codes on trial.
    Probation,
}

/// One leg's state.
#[derive(Clone, Debug)]
pub struct Fallback {
    phase: Phase,
    since: Instant,
    bad: u32,
    good: u32,
    trouble_since: Option<Instant>,
    stay: Duration,
    recovered: Option<Instant>,
    /// The gate is asked again then.
    wait_until: Option<Instant>,
    last_reason: Option<Reason>,
}

impl Fallback {
    /// Starts in [`Phase::Active`].
    pub fn new(now: Instant) -> Self {
        Self {
            phase: Phase::Active,
            since: now,
            bad: 0,
            good: 0,
            trouble_since: None,
            stay: BYPASS_FIRST,
            recovered: None,
            wait_until: None,
            last_reason: None,
        }
    }

    /// Where the leg stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether coded frames may go out.
    pub fn may_send_coded(&self) -> bool {
        matches!(self.phase, Phase::Active | Phase::Degraded)
    }

    /// Whether the core should be fed for this leg.
    pub fn wants_core(&self) -> bool {
        self.phase != Phase::Bypass
    }

    /// Why the leg fell back last, while it has not recovered.
    pub fn reason(&self) -> Option<Reason> {
        if self.phase == Phase::Active {
            None
        } else {
            self.last_reason
        }
    }

    /// A coded frame came in time.
    pub fn handle_good(&mut self, now: Instant) {
        self.bad = 0;
        self.good = self.good.saturating_add(1);
        self.trouble_since = None;
        if self.phase == Phase::Degraded {
            self.enter(now, Phase::Active);
        }
    }

    /// A frame was late or failed. `true` when the leg goes to bypass because of it.
    pub fn handle_bad(&mut self, now: Instant, reason: Reason) -> bool {
        self.last_reason = Some(reason);
        self.bad += 1;
        let since = *self.trouble_since.get_or_insert(now);
        match self.phase {
            Phase::Bypass => false,
            Phase::Probation => self.bypass(now, reason),
            Phase::Active | Phase::Degraded => {
                if self.bad >= BAD_FRAMES || now.duration_since(since) >= TROUBLE_MAX {
                    self.bypass(now, reason)
                } else {
                    if self.phase == Phase::Active {
                        self.enter(now, Phase::Degraded);
                    }
                    false
                }
            }
        }
    }

    /// The core is gone: no counting. `true` when that is news.
    pub fn handle_dead(&mut self, now: Instant, reason: Reason) -> bool {
        self.last_reason = Some(reason);
        self.phase != Phase::Bypass && self.bypass(now, reason)
    }

    /// Time passes; a trial waits until the gate lets one more leg through, and its end is told to the gate. `true` when
    /// the leg has just recovered.
    pub fn handle_timeout(&mut self, now: Instant, gate: &mut ProbeGate) -> bool {
        let here = now.saturating_duration_since(self.since);
        match self.phase {
            Phase::Bypass if here >= self.stay => {
                if !gate.admit(now) {
                    self.wait_until = Some(now + GATE_PAUSE);
                    return false;
                }
                self.wait_until = None;
                self.bad = 0;
                self.trouble_since = None;
                self.enter(now, Phase::Probation);
                false
            }
            Phase::Probation if here >= PROBATION && self.good >= PROBES => {
                self.recovered = Some(now);
                self.enter(now, Phase::Active);
                gate.handle_passed();
                true
            }
            _ => false,
        }
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Bypass => Some(self.wait_until.unwrap_or(self.since + self.stay)),
            Phase::Probation if self.good >= PROBES => Some(self.since + PROBATION),
            Phase::Probation | Phase::Active | Phase::Degraded => None,
        }
    }

    fn bypass(&mut self, now: Instant, reason: Reason) -> bool {
        let relapsed = self.phase == Phase::Probation
            || self
                .recovered
                .is_some_and(|at| now.saturating_duration_since(at) < FORGIVEN_AFTER);
        self.stay = if relapsed {
            (self.stay * 2).min(BYPASS_MAX)
        } else {
            BYPASS_FIRST
        };
        self.wait_until = None;
        self.last_reason = Some(reason);
        self.enter(now, Phase::Bypass);
        true
    }

    fn enter(&mut self, now: Instant, phase: Phase) {
        self.phase = phase;
        self.since = now;
        self.good = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn three_late_frames_end_in_bypass_and_one_does_not() {
        let start = Instant::now();
        let mut leg = Fallback::new(start);
        assert!(!leg.handle_bad(at(start, 0), Reason::Late));
        assert_eq!(leg.phase(), Phase::Degraded);
        leg.handle_good(at(start, 20));
        assert_eq!(leg.phase(), Phase::Active);
        assert!(!leg.handle_bad(at(start, 40), Reason::Late));
        assert!(!leg.handle_bad(at(start, 60), Reason::Late));
        assert!(leg.handle_bad(at(start, 80), Reason::Late));
        assert_eq!((leg.phase(), leg.reason()), (Phase::Bypass, Some(Reason::Late)));
    }

    #[test]
    fn long_frames_fall_back_within_two_hundred_milliseconds_as_well() {
        let start = Instant::now();
        let mut leg = Fallback::new(start);
        assert!(!leg.handle_bad(start, Reason::Late));
        assert!(leg.handle_bad(at(start, 200), Reason::Late));
    }

    #[test]
    fn a_dead_core_means_bypass_at_once_and_a_clean_trial_leads_back() {
        let start = Instant::now();
        let mut leg = Fallback::new(start);
        assert!(leg.handle_dead(start, Reason::CoreUnreachable));
        assert!(!leg.handle_timeout(at(start, 9_999), &mut ProbeGate::new()));
        assert_eq!(leg.phase(), Phase::Bypass);
        assert!(!leg.handle_timeout(at(start, 10_000), &mut ProbeGate::new()));
        assert_eq!(leg.phase(), Phase::Probation);
        assert!(!leg.may_send_coded() && leg.wants_core());
        assert!(
            !leg.handle_timeout(at(start, 11_000), &mut ProbeGate::new()),
            "silence is not a clean trial"
        );
        for step in 0..3 {
            leg.handle_good(at(start, 11_020 + 20 * step));
        }
        assert!(leg.handle_timeout(at(start, 11_100), &mut ProbeGate::new()));
        assert_eq!(leg.phase(), Phase::Active);
    }

    #[test]
    fn a_relapse_on_trial_doubles_the_stay_up_to_five_minutes() {
        let start = Instant::now();
        let mut leg = Fallback::new(start);
        leg.handle_dead(start, Reason::CoreUnreachable);
        let mut now = start;
        let mut stays = Vec::new();
        for _ in 0..8 {
            let until = leg.poll_timeout().unwrap();
            stays.push(until.duration_since(now).as_secs());
            now = until;
            leg.handle_timeout(now, &mut ProbeGate::new());
            assert!(
                leg.handle_bad(now, Reason::Late),
                "one bad frame on trial is enough"
            );
        }
        assert_eq!(stays, [10, 20, 40, 80, 160, 300, 300, 300]);
    }

    /// Through bypass and trial, back to active.
    fn recover(leg: &mut Fallback) -> Instant {
        let mut now = leg.poll_timeout().unwrap();
        leg.handle_timeout(now, &mut ProbeGate::new());
        for _ in 0..PROBES {
            leg.handle_good(now);
        }
        now += PROBATION;
        assert!(leg.handle_timeout(now, &mut ProbeGate::new()));
        now
    }

    #[test]
    fn a_relapse_soon_after_recovery_doubles_the_stay_and_a_later_one_does_not() {
        let start = Instant::now();
        let mut leg = Fallback::new(start);
        leg.handle_dead(start, Reason::CoreUnreachable);
        let back = recover(&mut leg);
        let soon = back + Duration::from_secs(60);
        leg.handle_dead(soon, Reason::CoreUnreachable);
        assert_eq!(leg.poll_timeout(), Some(soon + 2 * BYPASS_FIRST));
        let late = recover(&mut leg) + FORGIVEN_AFTER;
        leg.handle_dead(late, Reason::CoreUnreachable);
        assert_eq!(leg.poll_timeout(), Some(late + BYPASS_FIRST));
    }

    #[test]
    fn coded_frames_come_back_at_most_once_in_ten_seconds_whatever_goes_wrong() {
        let start = Instant::now();
        let mut leg = Fallback::new(start);
        let mut comebacks = vec![start];
        let mut coded = true;
        for ms in (0..600_000).step_by(20) {
            let now = at(start, ms);
            leg.handle_timeout(now, &mut ProbeGate::new());
            // Works on trial and fails as soon as it counts.
            if leg.phase() == Phase::Probation {
                leg.handle_good(now);
            } else {
                leg.handle_bad(now, Reason::Late);
            }
            if leg.may_send_coded() && !coded {
                comebacks.push(now);
            }
            coded = leg.may_send_coded();
        }
        assert!(comebacks.len() > 3);
        let pauses = comebacks.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(pauses.clone().all(|pause| pause >= BYPASS_FIRST));
        assert!(
            pauses.clone().max().unwrap() > Duration::from_secs(150),
            "stays grow"
        );
    }
}
