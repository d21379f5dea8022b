//! When to try again.

use std::time::Duration;

/// Attempts before an event is given up: the last waits make about half a day together.
pub const ATTEMPTS_MAX: u32 = 24;

/// First wait; doubles with every attempt.
const FIRST: Duration = Duration::from_secs(1);
/// Longest wait.
const LONGEST: Duration = Duration::from_secs(3600);

/// The wait after so many failed attempts, or none when it is given up. `jitter`, 0 to 1, spreads the attempts of many
/// endpoints that failed together over half of the wait.
pub(crate) fn wait(attempts: u32, jitter: f64) -> Option<Duration> {
    if attempts >= ATTEMPTS_MAX {
        return None;
    }
    let doublings = attempts.saturating_sub(1).min(31);
    let whole = FIRST.saturating_mul(1 << doublings).min(LONGEST);
    let jitter = if jitter.is_nan() {
        0.0
    } else {
        jitter.clamp(0.0, 1.0)
    };
    Some(whole.mul_f64(0.5 + 0.5 * jitter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_an_hour_and_end() {
        let waits: Vec<_> = (1..ATTEMPTS_MAX)
            .map(|attempts| wait(attempts, 1.0).unwrap().as_secs())
            .collect();
        assert_eq!(waits[..5], [1, 2, 4, 8, 16]);
        assert_eq!(waits[12..], [3600; 11]);
        assert_eq!(wait(ATTEMPTS_MAX, 0.0), None);
        let total: u64 = waits.iter().sum();
        assert!((12 * 3600..14 * 3600).contains(&total), "{total} s");
    }

    #[test]
    fn jitter_takes_up_to_half_of_the_wait() {
        assert_eq!(wait(3, 0.0), Some(Duration::from_secs(2)));
        assert_eq!(wait(3, 0.5), Some(Duration::from_secs(3)));
        assert_eq!(wait(3, f64::NAN).map(|_| ()), Some(()));
    }
}
