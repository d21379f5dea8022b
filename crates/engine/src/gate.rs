//! Who may try a core again that failed: one leg first, and everybody once it has passed.
//!
//! A core that comes back with a thousand legs waiting would be killed by the thousand streams that open at once. The
//! one that tries first shows whether it works; the others lose half a second.

use std::time::{Duration, Instant};

/// A leg on trial that has not passed after this long no longer keeps the others out.
const TRIAL: Duration = Duration::from_secs(3);
/// After a trial that passed, legs come back freely for this long.
const OPEN: Duration = Duration::from_secs(60);
/// Legs let through in each [`STEP`] while the gate is open, so that streams open in turn.
const BATCH: u32 = 16;
const STEP: Duration = Duration::from_millis(500);

/// The gate of one core.
#[derive(Clone, Debug, Default)]
pub struct ProbeGate {
    trial: Option<Instant>,
    passed: bool,
    open_until: Option<Instant>,
    batch: Option<(Instant, u32)>,
}

impl ProbeGate {
    /// Closed: the first leg that asks is the one on trial.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether one more leg may begin its trial now.
    pub fn admit(&mut self, now: Instant) -> bool {
        if std::mem::take(&mut self.passed) {
            self.open_until = Some(now + OPEN);
        }
        if self.open_until.is_some_and(|until| now < until) {
            let (since, count) = self.batch.get_or_insert((now, 0));
            if now.saturating_duration_since(*since) >= STEP {
                (*since, *count) = (now, 0);
            }
            *count += 1;
            return *count <= BATCH;
        }
        self.open_until = None;
        if self
            .trial
            .is_some_and(|at| now.saturating_duration_since(at) < TRIAL)
        {
            return false;
        }
        self.trial = Some(now);
        true
    }

    /// A leg passed its trial: the core works.
    pub(crate) fn handle_passed(&mut self) {
        self.passed = true;
        self.trial = None;
    }

    /// The core failed: the next trial is one leg's again.
    pub fn handle_failed(&mut self) {
        self.passed = false;
        self.open_until = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fallback::{Fallback, Phase};
    use auralink_types::Reason;

    #[test]
    fn of_a_thousand_legs_one_tries_a_dead_core_and_the_rest_follow_once_it_passed() {
        let start = Instant::now();
        let mut gate = ProbeGate::new();
        let mut legs: Vec<Fallback> = (0..1000).map(|_| Fallback::new(start)).collect();
        for leg in &mut legs {
            leg.handle_dead(start, Reason::CoreUnreachable);
        }
        let on_trial = |legs: &[Fallback]| legs.iter().filter(|leg| leg.wants_core()).count();
        // The core works again after 16 s: trials before that fail.
        let mut most_while_dead = 0;
        let mut back = None;
        for ms in (0..120_000).step_by(100) {
            let now = start + Duration::from_millis(ms);
            for leg in &mut legs {
                if leg.poll_timeout().is_some_and(|due| due <= now) {
                    leg.handle_timeout(now, &mut gate);
                }
                if leg.phase() == Phase::Probation {
                    if ms < 16_000 {
                        leg.handle_dead(now, Reason::CoreUnreachable);
                        gate.handle_failed();
                    } else {
                        leg.handle_good(now);
                    }
                }
            }
            if ms < 16_000 {
                most_while_dead = most_while_dead.max(on_trial(&legs));
            }
            if legs.iter().all(|leg| leg.phase() == Phase::Active) {
                back = Some(ms);
                break;
            }
        }
        assert!(most_while_dead <= 1, "{most_while_dead} at once");
        let back = back.expect("everybody came back");
        assert!(back < 80_000, "after {back} ms");
    }

    #[test]
    fn a_trial_that_never_ends_does_not_shut_the_others_out() {
        let start = Instant::now();
        let mut gate = ProbeGate::new();
        assert!(gate.admit(start));
        assert!(!gate.admit(start + TRIAL / 2));
        assert!(gate.admit(start + TRIAL));
    }
}
