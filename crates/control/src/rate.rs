//! How often one caller may ask: a token bucket for each, in a table that cannot grow without end.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use auralink_store::Actor;

/// Callers remembered at most. Beyond it newcomers share one bucket: the table stays small and nobody gets in free.
pub const CALLERS_MAX: usize = 10_000;

/// What one caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests a second for as long as they like.
    pub per_second: u32,
    /// Requests at once after a pause.
    pub burst: u32,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self {
            per_second: 100,
            burst: 200,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

/// The table.
#[derive(Debug)]
pub(crate) struct Limiter {
    limit: RateLimit,
    callers_max: usize,
    buckets: HashMap<Actor, Bucket>,
    newcomers: Option<Bucket>,
}

impl Limiter {
    pub(crate) fn new(limit: RateLimit) -> Self {
        Self::with_room(limit, CALLERS_MAX)
    }

    fn with_room(limit: RateLimit, callers_max: usize) -> Self {
        Self {
            limit,
            callers_max,
            buckets: HashMap::new(),
            newcomers: None,
        }
    }

    /// Lets a request through, or says after what time the next one would be.
    pub(crate) fn admit(&mut self, now: Instant, caller: &Actor) -> Result<(), Duration> {
        let limit = self.limit;
        let full = Bucket {
            left: f64::from(limit.burst),
            at: now,
        };
        if !self.buckets.contains_key(caller) && self.buckets.len() >= self.callers_max {
            // Whose bucket has filled up again is as good as forgotten.
            self.buckets
                .retain(|_, bucket| level(limit, bucket, now) < f64::from(limit.burst));
            if self.buckets.len() >= self.callers_max {
                return take(limit, self.newcomers.get_or_insert(full), now);
            }
        }
        take(limit, self.buckets.entry(caller.clone()).or_insert(full), now)
    }
}

fn level(limit: RateLimit, bucket: &Bucket, now: Instant) -> f64 {
    let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
    (bucket.left + passed * f64::from(limit.per_second)).min(f64::from(limit.burst))
}

fn take(limit: RateLimit, bucket: &mut Bucket, now: Instant) -> Result<(), Duration> {
    let level = level(limit, bucket, now);
    *bucket = Bucket {
        left: level,
        at: bucket.at.max(now),
    };
    if level >= 1.0 {
        bucket.left -= 1.0;
        return Ok(());
    }
    Err(Duration::from_secs_f64(
        (1.0 - level) / f64::from(limit.per_second.max(1)),
    ))
}

#[cfg(test)]
mod tests {
    use auralink_types::UserKey;

    use super::*;

    fn caller(user: &str) -> Actor {
        Actor {
            key: UserKey::new("one", user),
            operator: false,
        }
    }

    const LIMIT: RateLimit = RateLimit {
        per_second: 10,
        burst: 3,
    };

    #[test]
    fn a_burst_goes_through_then_the_rate_holds_and_the_wait_is_told() {
        let start = Instant::now();
        let mut limiter = Limiter::new(LIMIT);
        let ada = caller("ada");
        for _ in 0..3 {
            limiter.admit(start, &ada).unwrap();
        }
        let wait = limiter.admit(start, &ada).unwrap_err();
        assert!(
            wait > Duration::ZERO && wait <= Duration::from_millis(100),
            "{wait:?}"
        );
        limiter.admit(start + wait, &ada).unwrap();
        limiter
            .admit(start, &caller("bob"))
            .expect("another caller has their own");
        let passed = (0..1000).filter(|ms| {
            limiter
                .admit(start + Duration::from_millis(200 + ms), &ada)
                .is_ok()
        });
        assert!((10..=13).contains(&passed.count()));
    }

    #[test]
    fn the_table_is_bounded_and_newcomers_to_a_full_one_share_a_bucket() {
        let start = Instant::now();
        let mut limiter = Limiter::with_room(LIMIT, 4);
        for user in 0..4 {
            limiter.admit(start, &caller(&user.to_string())).unwrap();
        }
        let passed = (100..200).filter(|user| limiter.admit(start, &caller(&user.to_string())).is_ok());
        assert_eq!(passed.count(), 3);
        assert_eq!(limiter.buckets.len(), 4);
        let later = start + Duration::from_secs(1);
        limiter
            .admit(later, &caller("new"))
            .expect("the old ones are forgotten");
        assert_eq!(limiter.buckets.len(), 1);
    }

    #[test]
    fn a_clock_that_stands_still_or_goes_back_gives_nothing_away() {
        let start = Instant::now() + Duration::from_secs(10);
        let mut limiter = Limiter::new(LIMIT);
        let ada = caller("ada");
        for _ in 0..3 {
            limiter.admit(start, &ada).unwrap();
        }
        assert!(limiter.admit(start - Duration::from_secs(5), &ada).is_err());
        assert!(limiter.admit(start, &ada).is_err());
    }
}
