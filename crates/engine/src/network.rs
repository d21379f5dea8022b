//! From reports of a leg's network to a class, with hysteresis.

use std::time::{Duration, Instant};

use auralink_types::{Bitrate, NetworkClass};

/// One report.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NetworkSample {
    /// Share of packets lost since the last report, 0 to 1.
    pub loss: f32,
    /// Round-trip time.
    pub rtt: Duration,
    /// Interarrival jitter (RFC 3550, section 6.4.1).
    pub jitter: Duration,
}

/// What is known of a leg's network.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Network {
    /// The class.
    pub class: NetworkClass,
    /// Share of packets lost, 0 to 1, smoothed.
    pub loss: f32,
    /// Rate the path can carry, where somebody measured it.
    pub capacity: Option<Bitrate>,
}

/// A better class is believed after this long; a worse one at once.
const BETTER_AFTER: Duration = Duration::from_secs(10);
/// Weight of a new report in the running mean.
const SMOOTHING: f32 = 0.3;

/// Keeps the running picture of one leg's network.
#[derive(Clone, Debug, Default)]
pub struct NetworkAnalyzer {
    loss: f32,
    rtt_ms: f32,
    jitter_ms: f32,
    class: NetworkClass,
    better_since: Option<Instant>,
    capacity: Option<Bitrate>,
}

impl NetworkAnalyzer {
    /// Takes in a report.
    pub fn handle_sample(&mut self, now: Instant, sample: NetworkSample) {
        let loss = if sample.loss.is_finite() {
            sample.loss.clamp(0.0, 1.0)
        } else {
            0.0
        };
        let weight = if self.class == NetworkClass::Unknown {
            1.0
        } else {
            SMOOTHING
        };
        let blend = |old: f32, new: f32| old + weight * (new - old);
        self.loss = blend(self.loss, loss);
        self.rtt_ms = blend(self.rtt_ms, sample.rtt.as_secs_f32() * 1e3);
        self.jitter_ms = blend(self.jitter_ms, sample.jitter.as_secs_f32() * 1e3);
        let seen = self.instant_class();
        if self.class == NetworkClass::Unknown || rank(seen) >= rank(self.class) {
            self.class = seen;
            self.better_since = None;
        } else {
            let since = *self.better_since.get_or_insert(now);
            if now.duration_since(since) >= BETTER_AFTER {
                self.class = seen;
                self.better_since = None;
            }
        }
    }

    /// Tells the rate the path can carry, or that nobody knows.
    pub fn set_capacity(&mut self, capacity: Option<Bitrate>) {
        self.capacity = capacity;
    }

    /// All that is known.
    pub fn network(&self) -> Network {
        Network {
            class: self.class,
            loss: self.loss,
            capacity: self.capacity,
        }
    }

    /// The class.
    pub fn class(&self) -> NetworkClass {
        self.class
    }

    /// Smoothed share of packets lost.
    pub fn loss(&self) -> f32 {
        self.loss
    }

    fn instant_class(&self) -> NetworkClass {
        let over = |loss: f32, rtt: f32, jitter: f32| {
            self.loss > loss || self.rtt_ms > rtt || self.jitter_ms > jitter
        };
        if over(0.25, 1500.0, 200.0) {
            NetworkClass::Bad
        } else if over(0.06, 500.0, 60.0) {
            NetworkClass::Poor
        } else if over(0.01, 200.0, 20.0) {
            NetworkClass::Fair
        } else {
            NetworkClass::Good
        }
    }
}

const fn rank(class: NetworkClass) -> u8 {
    match class {
        NetworkClass::Unknown => 0,
        NetworkClass::Good => 1,
        NetworkClass::Fair => 2,
        NetworkClass::Poor => 3,
        NetworkClass::Bad => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(loss: f32) -> NetworkSample {
        NetworkSample {
            loss,
            rtt: Duration::from_millis(30),
            jitter: Duration::from_millis(3),
        }
    }

    #[test]
    fn trouble_is_believed_at_once_and_peace_only_after_ten_seconds() {
        let start = Instant::now();
        let mut network = NetworkAnalyzer::default();
        network.handle_sample(start, sample(0.0));
        assert_eq!(network.class(), NetworkClass::Good);
        network.handle_sample(start, sample(0.5));
        assert_eq!(network.class(), NetworkClass::Poor);
        let mut now = start;
        for second in 1..30 {
            now = start + Duration::from_secs(second);
            network.handle_sample(now, sample(0.0));
            if second < 10 {
                assert_eq!(network.class(), NetworkClass::Poor, "after {second} s");
            }
        }
        assert_eq!(network.class(), NetworkClass::Good, "at {now:?}");
    }
}
