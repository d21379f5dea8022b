//! How much is lost, and whether in ones or in bursts.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Weight of a full report in the mean of the last seconds, which decides about trouble.
const RECENT: f32 = 0.3;
/// Packets of a full report.
const FULL: f32 = 50.0;
/// Packets lost in one report that are trouble however few it is about.
const SURELY: f32 = 8.0;
/// How long reports are remembered.
const MEMORY: Duration = Duration::from_secs(60);
/// Reports remembered at most; beyond it the oldest go.
const REPORTS: usize = 256;
/// The last part of the memory that counts for itself.
const LATELY: Duration = Duration::from_secs(15);
/// A report that comes after so long a silence, with most lost, tells of an outage: no pattern, and no rung helps.
const SILENCE: Duration = Duration::from_secs(3);
/// Packets that must have been lost before a pattern is believed.
const PATTERN: f32 = 8.0;
/// Packets taken to have come through before the first report: the first loss of a call is not its rate of loss.
const UNTOLD: f32 = 100.0;
/// Longest mean run believed.
const BURST_MAX: f32 = 20.0;

#[derive(Clone, Copy, Debug)]
struct Report {
    at: Instant,
    packets: f32,
    lost: f32,
}

/// Loss of one path.
#[derive(Clone, Debug, Default)]
pub(super) struct LossPattern {
    recent: Option<f32>,
    reports: VecDeque<Report>,
    last: Option<Instant>,
    told: Option<f32>,
}

impl LossPattern {
    /// Takes a report. Only what the path itself lost is remembered; a queue's losses go with the queue.
    pub(super) fn handle_report(
        &mut self,
        at: Instant,
        loss: f32,
        packets: u32,
        burst: Option<f32>,
        by_path: bool,
    ) {
        let packets = packets as f32;
        // Few packets say little, unless so many of them are gone that chance cannot have done it.
        let weight = if loss * packets >= SURELY {
            RECENT
        } else {
            1.0 - (1.0 - RECENT).powf((packets / FULL).min(1.0))
        };
        self.recent = Some(self.recent.map_or(loss, |old| old + weight * (loss - old)));
        let silent = self
            .last
            .replace(at)
            .is_some_and(|last| at.saturating_duration_since(last) > SILENCE);
        if by_path && !(silent && loss > 0.5) {
            self.reports.push_back(Report {
                at,
                packets,
                lost: loss * packets,
            });
        }
        let old = |report: &Report| at.saturating_duration_since(report.at) > MEMORY;
        while self.reports.len() > REPORTS || self.reports.front().is_some_and(old) {
            self.reports.pop_front();
        }
        if let Some(burst) = burst.filter(|burst| burst.is_finite() && loss > 0.0) {
            let burst = burst.clamp(1.0, BURST_MAX);
            self.told = Some(self.told.map_or(burst, |old| old + RECENT * (burst - old)));
        }
    }

    /// Over the last seconds: quick to rise and to fall.
    pub(super) fn recent(&self) -> f32 {
        self.recent.unwrap_or(0.0)
    }

    /// To plan with: the mean of the last minute, or of its last quarter where that was worse. Bursts that come
    /// every few seconds are one and the same network.
    pub(super) fn planned(&self) -> f32 {
        let Some(last) = self.reports.back() else {
            return 0.0;
        };
        let lately = self
            .reports
            .iter()
            .filter(|report| last.at.saturating_duration_since(report.at) < LATELY);
        mean(self.reports.iter(), UNTOLD).max(mean(lately, UNTOLD))
    }

    /// Mean run of losses. Told by who saw them, else from the index of dispersion of losses per report: independent
    /// losses have one of 1, runs of mean length L one of 2L - 1 (a two-state Markov chain with little loss).
    pub(super) fn burst(&self) -> f32 {
        if let Some(told) = self.told {
            return told;
        }
        let lost: f32 = self.reports.iter().map(|report| report.lost).sum();
        if lost < PATTERN {
            return 1.0;
        }
        let share = mean(self.reports.iter(), 0.0);
        let spread: f32 = self
            .reports
            .iter()
            .filter(|report| report.packets > 0.0)
            .map(|report| {
                (report.lost - share * report.packets).powi(2)
                    / (report.packets * share * (1.0 - share).max(0.05))
            })
            .sum();
        let dispersion = spread / self.reports.len() as f32;
        ((dispersion + 1.0) / 2.0).clamp(1.0, BURST_MAX)
    }
}

/// Share lost, as if `kept` more packets had come through.
fn mean<'a>(reports: impl Iterator<Item = &'a Report>, kept: f32) -> f32 {
    let (lost, packets) = reports.fold((0.0, kept), |(lost, packets), report| {
        (lost + report.lost, packets + report.packets)
    });
    if packets > 0.0 { lost / packets } else { 0.0 }
}
