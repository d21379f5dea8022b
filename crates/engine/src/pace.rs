//! How often a leg, or a publisher, may change what it sends, so that nobody hears it flap.

use std::cmp::Ordering;
use std::time::{Duration, Instant};

use auralink_types::Rung;

use crate::cost::wire_bitrate;

/// Least time between two changes, but for those to the original and up from under the floor.
const SWITCH: Duration = Duration::from_secs(10);
/// Least time before a coded rung gives way to a cheaper one: what made it dear may come again.
const CHEAPER: Duration = Duration::from_secs(30);
/// A cheaper rung that lasts less than this was a mistake: the next one waits twice as long.
const RELAPSE: Duration = Duration::from_secs(120);
/// Up to so long.
const CHEAPER_MAX: Duration = Duration::from_secs(300);
/// Least time before a leg under the floor, or on a path too narrow for its rung, may change once more.
const URGENT: Duration = Duration::from_secs(2);

/// Which way a change goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// To a cheaper coded rung.
    Cheaper,
    /// To a dearer coded rung.
    Dearer,
    /// To or from the original, or to another rung of the same cost.
    Aside,
}

impl Turn {
    fn between(from: Rung, to: Rung) -> Self {
        let costs = wire_bitrate(from).zip(wire_bitrate(to));
        match costs.map(|(from, to)| from.cmp(&to)) {
            Some(Ordering::Greater) => Self::Cheaper,
            Some(Ordering::Less) => Self::Dearer,
            Some(Ordering::Equal) | None => Self::Aside,
        }
    }
}

/// When one leg changed last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    last: Option<Instant>,
    cheapened: Option<Instant>,
    patience: Duration,
    /// `patience`, doubled by relapses.
    cheaper: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self::with_patience(CHEAPER)
    }
}

impl Pace {
    /// A pace at which a cheaper rung waits for so long at first.
    pub const fn with_patience(patience: Duration) -> Self {
        Self {
            last: None,
            cheapened: None,
            patience,
            cheaper: patience,
        }
    }

    /// The rung changed.
    pub fn handle_switch(&mut self, now: Instant, from: Rung, to: Rung) {
        self.turn(now, Turn::between(from, to));
    }

    fn turn(&mut self, now: Instant, turn: Turn) {
        self.last = Some(now);
        match turn {
            Turn::Cheaper => self.cheapened = Some(now),
            Turn::Dearer => {
                let mistaken = self
                    .cheapened
                    .take()
                    .is_some_and(|at| now.saturating_duration_since(at) < RELAPSE);
                self.cheaper = if mistaken {
                    (2 * self.cheaper).min(CHEAPER_MAX)
                } else {
                    self.patience
                };
            }
            Turn::Aside => {}
        }
    }

    /// Whether it may change because that is better.
    pub(crate) fn may_switch(&self, now: Instant) -> bool {
        self.passed(now, SWITCH)
    }

    /// Whether a coded rung may give way to a cheaper one.
    pub fn may_cheapen(&self, now: Instant) -> bool {
        self.passed(now, self.cheaper)
    }

    /// Whether it may change because it must.
    pub(crate) fn may_switch_urgently(&self, now: Instant) -> bool {
        self.passed(now, URGENT)
    }

    fn passed(&self, now: Instant, pause: Duration) -> bool {
        self.last
            .is_none_or(|last| now.saturating_duration_since(last) >= pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cheaper_rung_that_did_not_last_is_tried_again_after_twice_the_time_and_one_that_did_at_the_first_pace()
     {
        let mut now = Instant::now();
        let mut pace = Pace::default();
        let mut waited = Vec::new();
        for lasted in [10, 10, 10, 10, 10, 200, 10] {
            pace.turn(now, Turn::Cheaper);
            now += Duration::from_secs(lasted);
            pace.turn(now, Turn::Dearer);
            let from = now;
            while !pace.may_cheapen(now) {
                now += Duration::from_secs(1);
            }
            waited.push((now - from).as_secs());
        }
        assert_eq!(waited, [60, 120, 240, 300, 300, 30, 60]);
    }
}
