//! The wall clock as rows and events are dated by it.
//!
//! It is counted from one reading, so that a step of the system's clock that is soon taken back puts nothing out of
//! order. A step that stays is believed: a machine that started without the time has got it, or one that slept has
//! woken up.

use std::time::{Duration, Instant, SystemTime};

/// Smaller differences are not worth a jump in the dates.
const STEP: Duration = Duration::from_secs(1);

/// How long a step has to stay while calls are under way; while there are none it is believed at once.
const STAYS: Duration = Duration::from_secs(10);

/// Sans-IO: it is told both clocks.
#[derive(Debug)]
pub(crate) struct WallClock {
    /// Microseconds since the Unix epoch at one instant.
    epoch: (Instant, i64),
    /// A step that has not stayed for long enough: since when, and by how much.
    stepped: Option<(Instant, i64)>,
}

impl WallClock {
    pub(crate) fn new(now: Instant, wall: SystemTime) -> Self {
        Self {
            epoch: (now, micros(wall)),
            stepped: None,
        }
    }

    /// Microseconds since the Unix epoch.
    pub(crate) fn at(&self, now: Instant) -> i64 {
        let (epoch, wall) = self.epoch;
        let since =
            |later: Instant, earlier: Instant| later.saturating_duration_since(earlier).as_micros() as i64;
        wall + since(now, epoch) - since(epoch, now)
    }

    /// The system's clock says so. Answers by how many microseconds the dates of before were wrong, once they are
    /// known to be.
    pub(crate) fn read(&mut self, now: Instant, wall: SystemTime, calls: bool) -> Option<i64> {
        let step = micros(wall) - self.at(now);
        let small = |by: i64| by.unsigned_abs() < STEP.as_micros() as u64;
        if small(step) {
            self.stepped = None;
            return None;
        }
        let since = match self.stepped {
            Some((since, before)) if small(step - before) => since,
            _ => now,
        };
        self.stepped = Some((since, step));
        if calls && now.saturating_duration_since(since) < STAYS {
            return None;
        }
        *self = Self::new(now, wall);
        Some(step)
    }
}

fn micros(wall: SystemTime) -> i64 {
    let micros = |span: Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    match wall.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => micros(after),
        Err(before) => -micros(before.duration()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const HOUR_US: i64 = 3_600_000_000;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
    }

    fn second(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn short_steps_forth_and_back_disorder_nothing() {
        let from = Instant::now();
        let mut clock = WallClock::new(from, at(0));
        for seconds in 0..60 {
            let real = at(seconds);
            let wall = match seconds % 20 {
                5..10 => real + HOUR,
                10..15 => real - HOUR,
                _ => real,
            };
            assert_eq!(clock.read(from + second(seconds), wall, true), None);
            assert_eq!(clock.at(from + second(seconds)), micros(real));
        }
    }

    #[test]
    fn a_step_that_stays_is_believed_after_ten_seconds_and_told_once() {
        let from = Instant::now();
        let mut clock = WallClock::new(from, at(0) - HOUR);
        let told: Vec<_> = (1..30)
            .filter_map(|seconds| {
                let by = clock.read(from + second(seconds), at(seconds), true)?;
                Some((seconds, by))
            })
            .collect();
        assert_eq!(told, [(11, HOUR_US)]);
        assert_eq!(clock.at(from + second(30)), micros(at(30)));
        // An event of before that is only told now.
        assert_eq!(clock.at(from + second(5)), micros(at(5)));
        let back = clock.read(from + second(31), at(31) - HOUR, false);
        assert_eq!(back, Some(-HOUR_US), "nobody is in a call");
        assert_eq!(clock.at(from + second(32)), micros(at(32) - HOUR));
    }

    #[test]
    fn a_clock_that_is_only_tuned_makes_no_jumps_and_one_that_drifts_makes_small_ones() {
        let from = Instant::now();
        let mut clock = WallClock::new(from, at(0));
        // A thousandth too slow, which is a second in a quarter of an hour.
        let mut steps = Vec::new();
        for seconds in 0..3600 {
            let wall = at(seconds) + Duration::from_millis(seconds);
            steps.extend(clock.read(from + second(seconds), wall, true));
        }
        assert_eq!(steps.len(), 3, "{steps:?}");
        assert!(steps.iter().all(|step| (1_000_000..1_100_000).contains(step)));
    }

    #[test]
    fn a_machine_without_the_time_may_start_before_the_epoch() {
        let from = Instant::now();
        let mut clock = WallClock::new(from, SystemTime::UNIX_EPOCH - HOUR);
        assert_eq!(clock.at(from), -HOUR_US);
        assert!(clock.read(from + second(1), at(1), false).is_some());
        assert_eq!(clock.at(from + second(1)), micros(at(1)));
    }
}
