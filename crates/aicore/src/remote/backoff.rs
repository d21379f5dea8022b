//! Pauses between attempts to reach a core. Sans-IO: the caller brings the randomness.

use std::time::Duration;

/// First pause.
const FIRST: Duration = Duration::from_millis(100);
/// Longest pause.
const LAST: Duration = Duration::from_secs(5);

/// Doubling pauses with jitter, so that many media servers do not come back in one instant.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    pause: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { pause: FIRST }
    }

    /// The next pause: half to all of the planned one. `random` is 0 to 1.
    pub(super) fn next(&mut self, random: f64) -> Duration {
        let pause = self.pause.mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0));
        self.pause = (self.pause * 2).min(LAST);
        pause
    }

    /// The core was there: start from the beginning.
    pub(super) fn reset(&mut self) {
        self.pause = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_the_longest_and_are_never_all_alike() {
        let mut backoff = Backoff::new();
        let longest: Vec<u64> = (0..8).map(|_| backoff.next(1.0).as_millis() as u64).collect();
        assert_eq!(longest, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        assert_eq!(backoff.next(0.0), LAST / 2);
        backoff.reset();
        assert_eq!(backoff.next(0.0), FIRST / 2);
    }
}
