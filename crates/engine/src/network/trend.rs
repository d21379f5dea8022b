//! Where a figure is heading: a straight line through its last reports.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Points kept at most.
const POINTS: usize = 64;
/// A slope counts when it is this many times its standard error: 3 keeps chance under 1 % of windows.
const SURE: f32 = 3.0;
/// Delay that grows faster than this (ms a second) is a queue that fills, not a clock that drifts.
const DELAY_MOVES: f32 = 4.0;
/// Loss that grows faster than this (share a second) is a trend.
const LOSS_MOVES: f32 = 0.002;

/// Where the network is heading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trend {
    /// Delay or loss fall.
    Better,
    /// No clear direction.
    #[default]
    Steady,
    /// Delay or loss grow.
    Worse,
}

impl Trend {
    /// From the growth of delay (ms a second) and of loss (share a second).
    pub(super) fn of(delay: f32, loss: f32) -> Self {
        if delay > DELAY_MOVES || loss > LOSS_MOVES {
            Self::Worse
        } else if delay < -DELAY_MOVES || loss < -LOSS_MOVES {
            Self::Better
        } else {
            Self::Steady
        }
    }
}

/// Least-squares slope over a sliding window.
#[derive(Clone, Debug)]
pub(super) struct Slope {
    window: Duration,
    least: usize,
    points: VecDeque<(Instant, f32)>,
}

impl Slope {
    /// Over that time; fewer points than `least` show no direction.
    pub(super) fn over(window: Duration, least: usize) -> Self {
        Self {
            window,
            least,
            points: VecDeque::new(),
        }
    }

    pub(super) fn push(&mut self, now: Instant, value: f32) {
        self.points.push_back((now, value));
        let window = self.window;
        let old = |at: Instant| now.saturating_duration_since(at) > window;
        while self.points.len() > POINTS || self.points.front().is_some_and(|(at, _)| old(*at)) {
            self.points.pop_front();
        }
    }

    /// Change a second, or 0 where chance could have made it.
    pub(super) fn sure(&self) -> f32 {
        if self.points.len() < self.least.max(3) {
            return 0.0;
        }
        let first = self.points[0].0;
        let n = self.points.len() as f32;
        let xs = || {
            self.points
                .iter()
                .map(|(at, value)| (at.saturating_duration_since(first).as_secs_f32(), *value))
        };
        let (mean_x, mean_y) = xs().fold((0.0, 0.0), |(a, b), (x, y)| (a + x / n, b + y / n));
        let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
        for (x, y) in xs() {
            xx += (x - mean_x).powi(2);
            xy += (x - mean_x) * (y - mean_y);
            yy += (y - mean_y).powi(2);
        }
        if xx <= f32::EPSILON {
            return 0.0;
        }
        let slope = xy / xx;
        let rest = (yy - slope * xy).max(0.0);
        let error = (rest / (n - 2.0) / xx).sqrt();
        if slope.abs() > SURE * error { slope } else { 0.0 }
    }
}
