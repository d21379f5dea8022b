//! The class of a network, with hysteresis: trouble is believed at once, peace only when it lasts.

use std::time::{Duration, Instant};

use auralink_types::NetworkClass;

/// Peace is believed after this long.
const PEACE: Duration = Duration::from_secs(10);
/// Longest time that peace has to last after relapses.
const PEACE_MAX: Duration = Duration::from_secs(80);
/// Trouble this soon after peace was believed is a relapse: it doubles the time peace has to last.
const RELAPSE: Duration = Duration::from_secs(60);
/// Part of its limit that a figure must be under before a class is left for a better one.
const LEAVE: f32 = 0.7;

/// Most loss, round trip and jitter (ms) of each class but the worst, best first. Loss of 1 % is where plain packets
/// begin to cost more quality than people accept (PESQ 0.3 lower), 6 % where they are no longer understood well;
/// a round trip of 500 ms is where ITU-T G.114 calls delay unacceptable for most users.
const LIMITS: [(NetworkClass, f32, f32, f32); 3] = [
    (NetworkClass::Good, 0.01, 200.0, 20.0),
    (NetworkClass::Fair, 0.06, 500.0, 60.0),
    (NetworkClass::Poor, 0.25, 1_500.0, 200.0),
];

/// The class that figures speak of when they rise, and when they have to fall clearly below the limits.
pub(super) fn rate(loss: f32, rtt_ms: f32, jitter_ms: f32) -> (NetworkClass, NetworkClass) {
    let class = |part: f32| {
        LIMITS
            .into_iter()
            .find(|(_, l, r, j)| loss <= part * l && rtt_ms <= part * r && jitter_ms <= part * j)
            .map_or(NetworkClass::Bad, |(class, ..)| class)
    };
    (class(1.0), class(LEAVE))
}

/// Classes from unknown to worst.
pub(super) const fn rank(class: NetworkClass) -> u8 {
    match class {
        NetworkClass::Unknown => 0,
        NetworkClass::Good => 1,
        NetworkClass::Fair => 2,
        NetworkClass::Poor => 3,
        NetworkClass::Bad => 4,
    }
}

/// Remembers the class.
#[derive(Clone, Debug)]
pub(super) struct ClassFilter {
    class: NetworkClass,
    /// Since when the network looks better, and the worst it looked like since then.
    better: Option<(Instant, NetworkClass)>,
    peace: Duration,
    believed: Option<Instant>,
}

impl Default for ClassFilter {
    fn default() -> Self {
        Self {
            class: NetworkClass::Unknown,
            better: None,
            peace: PEACE,
            believed: None,
        }
    }
}

impl ClassFilter {
    pub(super) fn class(&self) -> NetworkClass {
        self.class
    }

    /// Takes what [`rate`] says. `true` when the class got worse.
    pub(super) fn handle(&mut self, now: Instant, (rising, falling): (NetworkClass, NetworkClass)) -> bool {
        if self.class == NetworkClass::Unknown {
            self.class = rising;
            return false;
        }
        if rank(rising) > rank(self.class) {
            let relapsed = self
                .believed
                .is_some_and(|at| now.saturating_duration_since(at) < RELAPSE);
            self.peace = if relapsed {
                (self.peace * 2).min(PEACE_MAX)
            } else {
                PEACE
            };
            self.class = rising;
            self.better = None;
            return true;
        }
        if rank(falling) >= rank(self.class) {
            self.better = None;
            return false;
        }
        let (since, worst) = self.better.get_or_insert((now, falling));
        if rank(falling) > rank(*worst) {
            *worst = falling;
        }
        if now.saturating_duration_since(*since) >= self.peace {
            self.class = *worst;
            self.better = None;
            self.believed = Some(now);
        }
        false
    }
}
