//! A network path in virtual time, for tests and benchmarks: named profiles of delay, jitter, loss and capacity, and
//! the receiver reports that the other end would send. And, for calls in real time, a watch for moments at which the machine
//! itself stood still.
//!
//! Owns the model of the path. Must never know packets' contents, codecs or the engine: it is told sizes and times and
//! says when each packet arrives, if it does. One seed decides a run.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use auralink_link::{Link, Profile};
//!
//! let start = Instant::now();
//! let mut link = Link::new(Profile::named("clean").unwrap(), 1, start);
//! assert_eq!(link.send(start, 100), Some(start + Duration::from_millis(5)));
//! ```
#![forbid(unsafe_code)]

mod meter;
mod profile;
mod stall;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use auralink_types::Bitrate;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

pub use meter::{Meter, Report};
pub use profile::{Loss, PROFILES, Profile, Room};
pub use stall::{Stall, StallWatch, explains};

/// One direction of a path.
#[derive(Clone, Debug)]
pub struct Link {
    profile: Profile,
    rng: StdRng,
    start: Instant,
    /// In a burst of losses, and when that ends or the next one begins.
    losing: bool,
    turns: Instant,
    /// When the last bit of each queued packet will have left.
    queue: VecDeque<Instant>,
    last_arrival: Instant,
}

impl Link {
    /// A path that behaves like the profile from `start` on.
    pub fn new(profile: Profile, seed: u64, start: Instant) -> Self {
        Self {
            profile,
            rng: StdRng::seed_from_u64(seed),
            start,
            losing: false,
            turns: start,
            queue: VecDeque::new(),
            last_arrival: start,
        }
    }

    /// The profile it was made from.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Sends a packet of that many bytes on the wire; says when it arrives, `None` when it is lost. Packets do not
    /// overtake each other.
    pub fn send(&mut self, now: Instant, bytes: usize) -> Option<Instant> {
        let at = now.saturating_duration_since(self.start);
        let lost = self.lost(now, at);
        let left = self.through(now, at, bytes)?;
        if lost {
            return None;
        }
        let arrival = (left + self.delay()).max(self.last_arrival);
        self.last_arrival = arrival;
        Some(arrival)
    }

    /// Sends a report back: when it arrives, `None` when it is lost. The way back has room.
    pub fn report(&mut self, now: Instant) -> Option<Instant> {
        let at = now.saturating_duration_since(self.start);
        let lost = self.profile.out(at) || self.rng.random_bool(self.profile.feedback_loss);
        let delay = self.delay();
        (!lost).then(|| now + delay)
    }

    fn delay(&mut self) -> Duration {
        let jitter = self.profile.jitter.as_secs_f64();
        // The sum of two is nearer to what paths do than one: small deviations are the rule.
        let off = if jitter > 0.0 {
            self.rng.random_range(-jitter..jitter) / 2.0 + self.rng.random_range(-jitter..jitter) / 2.0
        } else {
            0.0
        };
        Duration::from_secs_f64((self.profile.delay.as_secs_f64() + off).max(0.0))
    }

    fn lost(&mut self, now: Instant, at: Duration) -> bool {
        if self.profile.out(at) {
            return true;
        }
        match self.profile.loss {
            Loss::Bursts(share, mean) => {
                // Gilbert's two states in continuous time: a burst takes whatever is sent while it lasts.
                while self.turns <= now {
                    self.losing = !self.losing;
                    let mean = mean.as_secs_f64();
                    let mean = if self.losing {
                        mean
                    } else {
                        mean * (1.0 - share) / share
                    };
                    let stay = -mean * (1.0 - self.rng.random::<f64>()).ln();
                    self.turns += Duration::from_secs_f64(stay.max(1e-4));
                }
                self.losing
            }
            loss => {
                let share = loss.share(at);
                share > 0.0 && self.rng.random_bool(share)
            }
        }
    }

    /// When the packet has left the bottleneck; `None` when its queue was full.
    fn through(&mut self, now: Instant, at: Duration, bytes: usize) -> Option<Instant> {
        let Some(rate) = self.profile.room.at(at) else {
            self.queue.clear();
            return Some(now);
        };
        while self.queue.front().is_some_and(|left| *left <= now) {
            self.queue.pop_front();
        }
        if self.queue.len() >= self.profile.queue {
            return None;
        }
        let begin = self.queue.back().copied().unwrap_or(now).max(now);
        let left = begin + airtime(bytes, rate);
        self.queue.push_back(left);
        Some(left)
    }
}

fn airtime(bytes: usize, rate: Bitrate) -> Duration {
    Duration::from_secs_f64(bytes as f64 * 8.0 / rate.as_bps().max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends 20 ms packets for so many seconds; arrivals by index.
    fn run(name: &str, seed: u64, seconds: u64, bytes: usize) -> Vec<Option<Duration>> {
        let start = Instant::now();
        let mut link = Link::new(Profile::named(name).unwrap(), seed, start);
        (0..seconds * 50)
            .map(|n| {
                let now = start + Duration::from_millis(20 * n);
                link.send(now, bytes).map(|at| at - now)
            })
            .collect()
    }

    fn loss(arrivals: &[Option<Duration>]) -> f64 {
        arrivals.iter().filter(|at| at.is_none()).count() as f64 / arrivals.len() as f64
    }

    #[test]
    fn every_profile_loses_what_its_name_says_for_three_seeds() {
        for (name, share) in [
            ("clean", 0.0),
            ("wifi", 0.01),
            ("lossy-wifi", 0.05),
            ("congested-wifi", 0.10),
            ("random-20", 0.20),
            ("satellite", 0.03),
        ] {
            for seed in 1..=3 {
                let lost = loss(&run(name, seed, 600, 100));
                assert!((lost - share).abs() <= 0.3 * share, "{name}: {lost}");
            }
        }
    }

    #[test]
    fn one_seed_decides_a_run() {
        assert_eq!(run("4g", 7, 20, 100), run("4g", 7, 20, 100));
        assert_ne!(run("4g", 7, 20, 100), run("4g", 8, 20, 100));
    }

    #[test]
    fn a_narrow_path_queues_up_to_its_limit_and_then_drops() {
        let arrivals = run("narrow-30", 1, 20, 300);
        let slowest = arrivals.iter().flatten().max().unwrap();
        // 32 packets of 300 bytes at 30 kbps, and 100 ms of way.
        assert!((2.5..2.8).contains(&slowest.as_secs_f64()), "{slowest:?}");
        assert!((loss(&arrivals) - 0.75).abs() < 0.05);
        assert_eq!(loss(&run("narrow-150", 1, 20, 300)), 0.0);
    }

    #[test]
    fn an_outage_takes_everything_and_nothing_else() {
        let arrivals = run("outage-2", 1, 120, 100);
        let lost: Vec<usize> = (0..arrivals.len()).filter(|n| arrivals[*n].is_none()).collect();
        assert_eq!(lost.len(), 100);
        assert_eq!(lost[99] - lost[0], 99);
    }
}
