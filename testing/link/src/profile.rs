//! The named profiles.

use std::time::Duration;

use auralink_types::Bitrate;

/// How packets are lost on the way, the queue's own losses apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    /// None.
    None,
    /// This share, each packet for itself.
    Random(f64),
    /// This share of the time, in bursts of this mean length.
    Bursts(f64, Duration),
    /// From the first share to the second and back within this time, each packet for itself.
    Swings(f64, f64, Duration),
}

impl Loss {
    /// Share at a time.
    pub(crate) fn share(self, at: Duration) -> f64 {
        match self {
            Self::None => 0.0,
            Self::Random(share) | Self::Bursts(share, _) => share,
            Self::Swings(low, high, period) => {
                let phase = at.as_secs_f64() / period.as_secs_f64() * std::f64::consts::TAU;
                low + (high - low) * (1.0 - phase.cos()) / 2.0
            }
        }
    }
}

/// What the bottleneck carries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Room {
    /// More than anybody sends.
    Plenty,
    /// Always so much.
    Steady(Bitrate),
    /// The first rate, but the second from one time to another.
    Dip(Bitrate, Bitrate, Duration, Duration),
    /// From the first rate to the second in a straight line between two times; then it stays there.
    Slide(Bitrate, Bitrate, Duration, Duration),
}

impl Room {
    pub(crate) fn at(self, at: Duration) -> Option<Bitrate> {
        match self {
            Self::Plenty => None,
            Self::Steady(rate) => Some(rate),
            Self::Dip(high, low, from, to) => Some(if (from..to).contains(&at) { low } else { high }),
            Self::Slide(high, low, from, to) => {
                let part = (at.as_secs_f64() - from.as_secs_f64()) / (to - from).as_secs_f64();
                let (high, low) = (high.as_bps() as f64, low.as_bps() as f64);
                Some(Bitrate::bps((high + (low - high) * part.clamp(0.0, 1.0)) as u64))
            }
        }
    }
}

/// A kind of network. Delays are one-way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Profile {
    /// Its name.
    pub name: &'static str,
    /// Mean delay without a queue.
    pub delay: Duration,
    /// Largest deviation from it.
    pub jitter: Duration,
    /// What is lost on the way.
    pub loss: Loss,
    /// What the bottleneck carries.
    pub room: Room,
    /// Packets that wait before it at most.
    pub queue: usize,
    /// Nothing goes through from one time to another.
    pub outage: Option<(Duration, Duration)>,
    /// Share of reports that are lost.
    pub feedback_loss: f64,
}

impl Profile {
    /// The profile of that name.
    pub fn named(name: &str) -> Option<Self> {
        PROFILES.into_iter().find(|profile| profile.name == name)
    }

    pub(crate) fn out(&self, at: Duration) -> bool {
        self.outage.is_some_and(|(from, to)| (from..to).contains(&at))
    }

    const fn new(name: &'static str, delay_ms: u64, jitter_ms: u64, loss: Loss) -> Self {
        Self {
            name,
            delay: Duration::from_millis(delay_ms),
            jitter: Duration::from_millis(jitter_ms),
            loss,
            room: Room::Plenty,
            queue: 64,
            outage: None,
            feedback_loss: 0.0,
        }
    }

    const fn narrow(name: &'static str, kbps: u64) -> Self {
        Self {
            queue: 32,
            ..Self::new(name, 100, 0, Loss::None).with(Room::Steady(Bitrate::kbps(kbps)))
        }
    }

    const fn with(self, room: Room) -> Self {
        Self { room, ..self }
    }

    const fn outage(name: &'static str, ms: u64) -> Self {
        Self {
            outage: Some((OUTAGE, Duration::from_millis(OUTAGE.as_millis() as u64 + ms))),
            ..Self::new(name, 20, 5, Loss::None)
        }
    }
}

/// When dips and outages begin, and dips end.
const OUTAGE: Duration = Duration::from_secs(30);
const DIP: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(60));
/// Mean burst on wireless paths.
const WIFI_RUN: Duration = Duration::from_millis(60);

/// Every profile of the house's fault matrix, and three in which only an audio leg's own rate is scarce.
pub const PROFILES: [Profile; 29] = [
    Profile::new("clean", 5, 0, Loss::None),
    Profile::new("wifi", 10, 5, Loss::Bursts(0.01, WIFI_RUN)).with(Room::Steady(Bitrate::kbps(100_000))),
    Profile::new("lossy-wifi", 15, 10, Loss::Bursts(0.05, WIFI_RUN)),
    Profile::new("congested-wifi", 10, 20, Loss::Bursts(0.10, WIFI_RUN))
        .with(Room::Steady(Bitrate::kbps(5_000))),
    Profile::new("4g", 50, 15, Loss::Swings(0.002, 0.02, Duration::from_secs(40))),
    Profile::new("3g", 250, 50, Loss::Random(0.005)).with(Room::Steady(Bitrate::kbps(1_200))),
    Profile::new("edge", 650, 100, Loss::Random(0.01)).with(Room::Steady(Bitrate::kbps(200))),
    Profile::new("satellite", 600, 30, Loss::Bursts(0.03, WIFI_RUN)),
    Profile::new("random-1", 50, 5, Loss::Random(0.01)),
    Profile::new("random-3", 50, 5, Loss::Random(0.03)),
    Profile::new("random-5", 50, 5, Loss::Random(0.05)),
    Profile::new("random-10", 50, 5, Loss::Random(0.10)),
    Profile::new("random-20", 50, 5, Loss::Random(0.20)),
    Profile::new("random-50", 50, 5, Loss::Random(0.50)),
    Profile::narrow("narrow-30", 30),
    Profile::narrow("narrow-150", 150),
    Profile::narrow("narrow-500", 500),
    Profile::narrow("narrow-1000", 1_000),
    Profile::narrow("narrow-2000", 2_000),
    Profile::new("dip", 20, 5, Loss::None).with(Room::Dip(
        Bitrate::kbps(10_000),
        Bitrate::kbps(1_000),
        DIP.0,
        DIP.1,
    )),
    Profile::new("audio-dip", 20, 5, Loss::None).with(Room::Dip(
        Bitrate::kbps(10_000),
        Bitrate::kbps(40),
        DIP.0,
        DIP.1,
    )),
    Profile::new("audio-slide", 20, 5, Loss::None).with(Room::Slide(
        Bitrate::kbps(200),
        Bitrate::kbps(20),
        DIP.0,
        DIP.1,
    )),
    Profile::new(
        "rising-loss",
        50,
        5,
        Loss::Swings(0.0, 0.12, Duration::from_secs(60)),
    ),
    Profile::outage("outage-0.2", 200),
    Profile::outage("outage-2", 2_000),
    Profile::outage("outage-10", 10_000),
    Profile::outage("outage-30", 30_000),
    Profile {
        feedback_loss: 0.2,
        ..Profile::new("feedback-loss", 50, 15, Loss::Bursts(0.01, WIFI_RUN))
    },
    Profile {
        feedback_loss: 0.2,
        ..Profile::new("bad-hotel", 80, 60, Loss::Bursts(0.04, WIFI_RUN))
            .with(Room::Steady(Bitrate::kbps(64)))
    },
];
