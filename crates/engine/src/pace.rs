//! How often a leg may change its rung, so that nobody hears it flap.

use std::time::{Duration, Instant};

/// Least time between two changes, but for those to the original and up from under the floor.
const SWITCH: Duration = Duration::from_secs(10);
/// Least time before a coded rung gives way to a cheaper one: what made it dear may come again.
const CHEAPER: Duration = Duration::from_secs(30);
/// Least time before a leg under the floor, or on a path too narrow for its rung, may change once more.
const URGENT: Duration = Duration::from_secs(2);

/// When one leg changed last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    last: Option<Instant>,
}

impl Pace {
    /// The rung changed.
    pub fn handle_switch(&mut self, now: Instant) {
        self.last = Some(now);
    }

    /// Whether it may change because that is better.
    pub fn may_switch(&self, now: Instant) -> bool {
        self.passed(now, SWITCH)
    }

    /// Whether a coded rung may give way to a cheaper one.
    pub fn may_cheapen(&self, now: Instant) -> bool {
        self.passed(now, CHEAPER)
    }

    /// Whether it may change because it must.
    pub fn may_switch_urgently(&self, now: Instant) -> bool {
        self.passed(now, URGENT)
    }

    fn passed(&self, now: Instant, pause: Duration) -> bool {
        self.last
            .is_none_or(|last| now.saturating_duration_since(last) >= pause)
    }
}
