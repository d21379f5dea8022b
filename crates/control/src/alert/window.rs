//! Sums over the last minute and the last hour, by the time at which rows arrive: a wall clock that is set does not
//! move them.

use std::collections::VecDeque;

use auralink_types::{MetricRow, Reason};

use super::rule::AlertRules;

/// Checks in a minute, and in an hour.
pub(crate) const SHORT: usize = 6;
pub(crate) const LONG: usize = 360;

/// What one stretch between two checks saw.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Tally {
    pub(crate) seconds: u64,
    pub(crate) fallbacks: u64,
    pub(crate) bad: u64,
    pub(crate) turned_away: u64,
    quality_sum: f64,
    quality_count: u64,
    latency_sum: f64,
    latency_count: u64,
}

impl Tally {
    pub(crate) fn take(&mut self, row: &MetricRow, rules: &AlertRules) {
        let low = row.quality_score.is_some_and(|score| score < rules.quality);
        let late = row
            .inference_latency_p99_ms
            .is_some_and(|ms| ms > rules.latency_ms);
        self.seconds += 1;
        self.fallbacks += u64::from(row.fallback_triggered);
        self.bad += u64::from(row.fallback_triggered || low || late);
        self.turned_away += u64::from(row.fallback_reason == Some(Reason::Overload));
        if let Some(score) = row.quality_score {
            self.quality_sum += score;
            self.quality_count += 1;
        }
        if let Some(ms) = row.inference_latency_p99_ms {
            self.latency_sum += ms;
            self.latency_count += 1;
        }
    }

    fn add(&mut self, other: &Self) {
        self.seconds += other.seconds;
        self.fallbacks += other.fallbacks;
        self.bad += other.bad;
        self.turned_away += other.turned_away;
        self.quality_sum += other.quality_sum;
        self.quality_count += other.quality_count;
        self.latency_sum += other.latency_sum;
        self.latency_count += other.latency_count;
    }

    pub(crate) fn quality(&self) -> Option<f64> {
        (self.quality_count > 0).then(|| self.quality_sum / self.quality_count as f64)
    }

    pub(crate) fn latency(&self) -> Option<f64> {
        (self.latency_count > 0).then(|| self.latency_sum / self.latency_count as f64)
    }
}

/// The stretches of the last hour, newest at the back.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    open: Tally,
    past: VecDeque<Tally>,
    depth: usize,
}

impl Window {
    pub(crate) fn new(depth: usize) -> Self {
        Self {
            open: Tally::default(),
            past: VecDeque::new(),
            depth,
        }
    }

    pub(crate) fn take(&mut self, row: &MetricRow, rules: &AlertRules) {
        self.open.take(row, rules);
    }

    pub(crate) fn turn_away(&mut self, count: u64) {
        self.open.turned_away += count;
        self.open.seconds += count;
    }

    /// Closes the stretch.
    pub(crate) fn close(&mut self) {
        if self.past.len() == self.depth {
            self.past.pop_front();
        }
        self.past.push_back(std::mem::take(&mut self.open));
    }

    pub(crate) fn sum(&self, stretches: usize) -> Tally {
        let mut sum = Tally::default();
        self.past
            .iter()
            .rev()
            .take(stretches)
            .for_each(|tally| sum.add(tally));
        sum
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.seconds == 0 && self.past.iter().all(|tally| tally.seconds == 0)
    }
}
