//! From reports of a leg's network to a picture of it: class, loss pattern, capacity, and where they are heading.

mod capacity;
mod class;
mod loss;
mod trend;

use std::time::{Duration, Instant};

use auralink_types::{Bitrate, NetworkClass};

use capacity::Capacity;
use class::ClassFilter;
use loss::LossPattern;
use trend::Slope;

pub use trend::Trend;

/// How far ahead the network is predicted. A change of rung takes about this long to be decided, coded and heard.
const HORIZON: Duration = Duration::from_secs(5);
/// Weight of a new report in the running means of delay and jitter.
const SMOOTHING: f32 = 0.3;
/// How far back trends reach: a queue fills within seconds, loss shows itself in many packets only.
const DELAY_WINDOW: Duration = Duration::from_secs(6);
const LOSS_WINDOW: Duration = Duration::from_secs(20);
/// Packets a report is taken to be about when it does not say: one second of 20 ms.
const PACKETS: u32 = 50;
/// And the time between them.
const SPACING: Duration = Duration::from_millis(20);
/// Longest time between packets that is believed; pauses of the talker are longer.
const SPACING_MAX: Duration = Duration::from_millis(200);

/// One report.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NetworkSample {
    /// Share of packets lost since the last report, 0 to 1.
    pub loss: f32,
    /// Round-trip time.
    pub rtt: Duration,
    /// Interarrival jitter (RFC 3550, section 6.4.1).
    pub jitter: Duration,
    /// Packets the report is about; 0 where the reporter does not say.
    pub packets: u32,
    /// Mean run of packets lost in a row, where the reporter saw the sequence itself. Otherwise it is guessed from how
    /// unevenly losses fall into reports.
    pub burst: Option<f32>,
    /// Whole-wire rate sent into the path since the last report, where known: what capacity is estimated from.
    pub sent: Option<Bitrate>,
}

/// What is known of a leg's network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Network {
    /// The class.
    pub class: NetworkClass,
    /// Share of packets that the path loses, 0 to 1: the worse of the last quarter minute and the last minute.
    pub loss: f32,
    /// Mean run of packets lost in a row, 1 or more, of packets that are `spacing` apart.
    pub burst: f32,
    /// Time between the packets that were reported on.
    pub spacing: Duration,
    /// Smoothed round-trip time.
    pub rtt: Duration,
    /// Smoothed interarrival jitter.
    pub jitter: Duration,
    /// Rate the path can carry, where it is known to be scarce.
    pub capacity: Option<Bitrate>,
    /// Where delay and loss are heading.
    pub trend: Trend,
    /// Loss to expect a `HORIZON` from now; never less than now.
    pub loss_ahead: f32,
    /// Capacity to expect then; never more than now.
    pub capacity_ahead: Option<Bitrate>,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            class: NetworkClass::Unknown,
            loss: 0.0,
            burst: 1.0,
            spacing: SPACING,
            rtt: Duration::ZERO,
            jitter: Duration::ZERO,
            capacity: None,
            trend: Trend::Steady,
            loss_ahead: 0.0,
            capacity_ahead: None,
        }
    }
}

impl Network {
    /// Chance that a packet is lost if the one before it, so much earlier, was. Gilbert's model: bursts of geometric
    /// length in time, so that packets further apart share fewer of them.
    pub(crate) fn run_on(&self, apart: Duration) -> f32 {
        let next = 1.0 - 1.0 / self.burst.max(1.0);
        let times = apart.as_secs_f32() / self.spacing.as_secs_f32().max(1e-3);
        next.powf(times).max(self.loss)
    }

    /// The picture as it is predicted: who acts on it acts before the trouble.
    pub(crate) fn ahead(&self) -> Self {
        Self {
            loss: self.loss.max(self.loss_ahead),
            capacity: lower(self.capacity, self.capacity_ahead),
            ..*self
        }
    }
}

/// Keeps the running picture of one leg's network.
#[derive(Clone, Debug)]
pub struct NetworkAnalyzer {
    seen: bool,
    rtt_ms: f32,
    jitter_ms: f32,
    loss: LossPattern,
    class: ClassFilter,
    delay_slope: Slope,
    loss_slope: Slope,
    own: Capacity,
    told: Option<Bitrate>,
    spacing: Duration,
    reported: Option<Instant>,
}

impl Default for NetworkAnalyzer {
    fn default() -> Self {
        Self {
            seen: false,
            rtt_ms: 0.0,
            jitter_ms: 0.0,
            loss: LossPattern::default(),
            class: ClassFilter::default(),
            delay_slope: Slope::over(DELAY_WINDOW, 4),
            loss_slope: Slope::over(LOSS_WINDOW, 10),
            own: Capacity::default(),
            told: None,
            spacing: SPACING,
            reported: None,
        }
    }
}

impl NetworkAnalyzer {
    /// Takes in a report. `true` when the class got worse: what hangs on it should be looked at again at once.
    pub fn handle_sample(&mut self, now: Instant, sample: NetworkSample) -> bool {
        let loss = if sample.loss.is_finite() {
            sample.loss.clamp(0.0, 1.0)
        } else {
            0.0
        };
        let packets = if sample.packets == 0 {
            PACKETS
        } else {
            sample.packets
        };
        if let Some(before) = self.reported.replace(now).filter(|_| sample.packets > 0) {
            let apart = now.saturating_duration_since(before) / sample.packets;
            self.spacing = apart.clamp(SPACING, SPACING_MAX);
        }
        let weight = if self.seen { SMOOTHING } else { 1.0 };
        self.seen = true;
        self.rtt_ms += weight * (sample.rtt.as_secs_f32() * 1e3 - self.rtt_ms);
        self.jitter_ms += weight * (sample.jitter.as_secs_f32() * 1e3 - self.jitter_ms);
        self.delay_slope.push(now, sample.rtt.as_secs_f32() * 1e3);
        let stands = self.own.handle_report(
            now,
            capacity::Report {
                rtt_ms: sample.rtt.as_secs_f32() * 1e3,
                jitter_ms: self.jitter_ms,
                growth: self.delay_growth() / 1e3,
                loss,
                sent: sample.sent,
            },
        );
        self.loss.handle_report(now, loss, packets, sample.burst, !stands);
        self.loss_slope.push(now, loss);
        self.class
            .handle(now, class::rate(self.loss.recent(), self.rtt_ms, self.jitter_ms))
    }

    /// Tells the rate the path can carry for this leg, or that nobody measured it. The engine's own estimate stays
    /// in force beside it; the lower one counts.
    pub fn set_capacity(&mut self, capacity: Option<Bitrate>) {
        self.told = capacity;
    }

    /// All that is known.
    pub fn network(&self) -> Network {
        let loss = self.loss.planned();
        let capacity = lower(self.told, self.own.estimate());
        let seconds = HORIZON.as_secs_f32();
        // At most as much again: a straight line through losses is a guess.
        let rising = (self.loss_slope.sure().max(0.0) * seconds).min(loss);
        Network {
            class: self.class.class(),
            loss,
            burst: self.loss.burst(),
            spacing: self.spacing,
            rtt: Duration::from_secs_f32(self.rtt_ms.max(0.0) / 1e3),
            jitter: Duration::from_secs_f32(self.jitter_ms.max(0.0) / 1e3),
            capacity,
            trend: self.trend(),
            loss_ahead: (loss + rising).clamp(loss, 1.0),
            capacity_ahead: lower(capacity, self.own.foreseen()),
        }
    }

    /// The class.
    pub fn class(&self) -> NetworkClass {
        self.class.class()
    }

    /// Growth of the delay that is more than its noise, milliseconds a second; 0 otherwise.
    fn delay_growth(&self) -> f32 {
        let sure = self.delay_slope.sure();
        // Single round trips of a jittery path swing by twice its jitter.
        if sure.abs() * HORIZON.as_secs_f32() > 2.0 * self.jitter_ms {
            sure
        } else {
            0.0
        }
    }

    fn trend(&self) -> Trend {
        Trend::of(self.delay_growth(), self.loss_slope.sure())
    }
}

fn lower(a: Option<Bitrate>, b: Option<Bitrate>) -> Option<Bitrate> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests;
