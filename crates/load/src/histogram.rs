//! Times, counted in buckets that are 1/32 of their value wide, so that an hour of packets takes no more memory than a
//! second's.

use std::time::Duration;

/// Buckets per doubling.
const STEPS: u32 = 32;

/// Doublings above [`STEPS`] microseconds that are told apart: up to 134 s.
const DOUBLINGS: u32 = 22;

/// Counted times.
#[derive(Clone, Debug)]
pub struct Histogram {
    buckets: Box<[u64]>,
    count: u64,
    longest: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: vec![0; (STEPS * (DOUBLINGS + 1)) as usize].into(),
            count: 0,
            longest: 0,
        }
    }
}

impl Histogram {
    /// Counts one.
    pub fn record(&mut self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket(micros).min(self.buckets.len() - 1)] += 1;
        self.count += 1;
        self.longest = self.longest.max(micros);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Milliseconds under which that share of the times lies; `None` when there are none.
    pub fn ms_at(&self, share: f64) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        let rank = ((self.count as f64 * share).ceil() as u64).clamp(1, self.count);
        let mut below = 0;
        let at = self.buckets.iter().position(|count| {
            below += count;
            below >= rank
        })?;
        Some(upper(at).min(self.longest) as f64 / 1e3)
    }

    /// The longest, in milliseconds.
    pub fn longest_ms(&self) -> Option<f64> {
        (self.count > 0).then_some(self.longest as f64 / 1e3)
    }
}

/// Where a time is counted: below [`STEPS`] microseconds each has its own bucket.
fn bucket(micros: u64) -> usize {
    let steps = u64::from(STEPS);
    if micros < steps {
        return micros as usize;
    }
    let doubling = micros.ilog2() - STEPS.ilog2();
    (u64::from(doubling) * steps + (micros >> doubling)) as usize
}

/// The longest time of a bucket.
fn upper(at: usize) -> u64 {
    let (at, steps) = (at as u64, u64::from(STEPS));
    if at < steps {
        return at;
    }
    let doubling = at / steps - 1;
    let within = at - doubling * steps;
    ((within + 1) << doubling) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_off_by_a_thirtieth_at_most() {
        let mut times = Histogram::default();
        for micros in 1..=100_000 {
            times.record(Duration::from_micros(micros));
        }
        for (share, ms) in [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0)] {
            let found = times.ms_at(share).unwrap();
            assert!((ms..=ms * 1.04).contains(&found), "{share}: {found}");
        }
        assert_eq!(times.longest_ms(), Some(100.0));
    }

    #[test]
    fn every_time_lies_in_its_own_bucket_and_buckets_leave_no_gap() {
        let last = (STEPS * (DOUBLINGS + 1)) as usize;
        for at in 0..last {
            assert_eq!(bucket(upper(at)), at);
            assert_eq!(bucket(upper(at) + 1), at + 1);
        }
        let mut times = Histogram::default();
        assert_eq!((times.ms_at(0.5), times.longest_ms()), (None, None));
        times.record(Duration::MAX);
        assert_eq!(times.count(), 1);
    }
}
