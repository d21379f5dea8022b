//! What the path can carry, from its delay: a queue that stands says that more was sent than goes through.
//!
//! Loss alone says nothing about capacity (a radio path loses as much at any rate), so the estimate moves down only
//! while delay stands above its base. It moves up slowly, stays below a rate that was too much for a time that
//! doubles with each failed try, and is forgotten once it is far above what anybody sends: a path is not scarce for
//! ever because it was so once.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use auralink_types::Bitrate;

/// Delay over the base that counts as a standing queue, milliseconds.
const QUEUE_MS: f32 = 80.0;
/// Round trips of a jittery path swing by so many times its jitter, which is a mean.
const SWING: f32 = 4.0;
/// Loss and delay that together are a full queue even where no shorter delay was ever seen: a path that was too
/// narrow from the first packet on. Radio paths of that delay (EDGE, satellite) lose far less.
const FLOOD: (f32, f32) = (0.15, 350.0);
/// The base is the least delay of this long.
const BASE_MEMORY: Duration = Duration::from_secs(60);
/// Delays remembered at most.
const DELAYS: usize = 128;
/// Part of what went through that is planned with after too much was sent, so that the queue drains.
const BACK_OFF: f64 = 0.85;
/// Growth a second while a known limit is near, and when it has been let go.
const CREEP: f64 = 0.02;
const CLIMB: f64 = 0.08;
/// Part of a limit that is planned with while it stands.
const UNDER_LIMIT: f64 = 0.95;
/// First time for which a limit stands.
const LIMIT_FIRST: Duration = Duration::from_secs(15);
/// Longest time for which a limit stands.
const LIMIT_MAX: Duration = Duration::from_secs(300);
/// Without trouble for this long the first time counts again.
const FORGIVEN: Duration = Duration::from_secs(120);
/// Above this nothing in an audio leg is scarce.
const PLENTY: Bitrate = Bitrate::kbps(400);
/// Least estimate: below it nothing can be sent at all.
const LEAST: Bitrate = Bitrate::kbps(6);
/// Growth of a queue believed at most, seconds a second.
const GROWTH_MAX: f64 = 1.0;
/// After a step down growth still tells of what was sent before it.
const SETTLE: Duration = Duration::from_secs(6);
/// Least time between two steps down: the queue must have had time to answer.
const STEP: Duration = Duration::from_millis(900);

/// What a report says about capacity.
#[derive(Clone, Copy, Debug)]
pub(super) struct Report {
    pub rtt_ms: f32,
    pub jitter_ms: f32,
    /// Growth of the delay, seconds a second; 0 when it is noise.
    pub growth: f32,
    pub loss: f32,
    pub sent: Option<Bitrate>,
}

/// The running estimate of one path.
#[derive(Clone, Debug)]
pub(super) struct Capacity {
    estimate: Option<f64>,
    foreseen: Option<f64>,
    limit: Option<(f64, Instant)>,
    stands: Duration,
    rtt_ms: f32,
    delays: VecDeque<(Instant, f32)>,
    sent: VecDeque<(Instant, f64)>,
    last: Option<Instant>,
    lowered: Option<Instant>,
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            estimate: None,
            foreseen: None,
            limit: None,
            stands: LIMIT_FIRST,
            rtt_ms: 0.0,
            delays: VecDeque::new(),
            sent: VecDeque::new(),
            last: None,
            lowered: None,
        }
    }
}

impl Capacity {
    /// Rate the path carries; `None` while it is not known to be scarce.
    pub(super) fn estimate(&self) -> Option<Bitrate> {
        self.estimate.map(rate)
    }

    /// Rate it will carry as far as a filling queue shows it.
    pub(super) fn foreseen(&self) -> Option<Bitrate> {
        self.foreseen.map(rate)
    }

    /// Takes a report. `true` while a queue stands: what was lost then, the queue dropped.
    pub(super) fn handle_report(&mut self, now: Instant, report: Report) -> bool {
        let since = self
            .last
            .replace(now)
            .map(|last| now.saturating_duration_since(last));
        let queue = self.queue(now, report.rtt_ms);
        let flooded = report.loss > FLOOD.0 && report.rtt_ms > FLOOD.1;
        let stands = flooded || queue > QUEUE_MS + SWING * report.jitter_ms;
        let through = self
            .sent(now, &report)
            .map(|sent| sent * f64::from(1.0 - report.loss));
        let lowered = self.within(now, SETTLE);
        // A queue that grows by s seconds a second is fed 1 + s times what leaves it.
        let growth = f64::from(report.growth).min(GROWTH_MAX);
        self.foreseen = through
            .filter(|_| growth > 0.0 && !lowered && queue > QUEUE_MS / 4.0)
            .map(|through| through / (1.0 + growth));
        let seconds = since.unwrap_or_default().as_secs_f64().min(2.0);
        match through {
            Some(through) if stands && !self.within(now, STEP) => self.lower(now, through),
            _ if !stands => self.raise(now, seconds),
            _ => {}
        }
        stands
    }

    /// What was sent when the packets were on their way that the report is about: a round trip ago.
    fn sent(&mut self, now: Instant, report: &Report) -> Option<f64> {
        if let Some(sent) = report.sent {
            self.sent.push_back((now, sent.as_bps() as f64));
        }
        while self.sent.len() > DELAYS {
            self.sent.pop_front();
        }
        let then = |at: Instant| now.saturating_duration_since(at).as_secs_f32() * 1e3 >= report.rtt_ms;
        let past = self.sent.iter().rev().find(|(at, _)| then(*at));
        past.or(self.sent.front()).map(|(_, sent)| *sent)
    }

    fn within(&self, now: Instant, time: Duration) -> bool {
        self.lowered
            .is_some_and(|at| now.saturating_duration_since(at) < time)
    }

    fn queue(&mut self, now: Instant, rtt_ms: f32) -> f32 {
        self.rtt_ms = if self.rtt_ms > 0.0 {
            (self.rtt_ms + rtt_ms) / 2.0
        } else {
            rtt_ms
        };
        self.delays.push_back((now, self.rtt_ms));
        let old = |at: Instant| now.saturating_duration_since(at) > BASE_MEMORY;
        while self.delays.len() > DELAYS || self.delays.front().is_some_and(|(at, _)| old(*at)) {
            self.delays.pop_front();
        }
        let base = self
            .delays
            .iter()
            .map(|(_, ms)| *ms)
            .fold(f32::INFINITY, f32::min);
        self.rtt_ms - base
    }

    fn lower(&mut self, now: Instant, through: f64) {
        let again = self.within(now, FORGIVEN);
        let draining = self
            .limit
            .is_some_and(|(limit, _)| through < limit && self.estimate.is_some_and(|rate| rate <= limit));
        if draining {
            // What was sent already fits; the queue only needs time.
            self.lowered = Some(now);
            return;
        }
        self.stands = if again {
            (self.stands * 2).min(LIMIT_MAX)
        } else {
            LIMIT_FIRST
        };
        let through = through.max(LEAST.as_bps() as f64);
        self.limit = Some((through, now + self.stands));
        self.estimate = Some(through * BACK_OFF);
        self.lowered = Some(now);
    }

    fn raise(&mut self, now: Instant, seconds: f64) {
        let Some(estimate) = self.estimate else { return };
        if self.limit.is_some_and(|(_, until)| now >= until) {
            self.limit = None;
        }
        let next = match self.limit {
            Some((limit, _)) => (estimate * (1.0 + CREEP * seconds))
                .min(limit * UNDER_LIMIT)
                .max(estimate.min(limit)),
            None => estimate * (1.0 + CLIMB * seconds),
        };
        self.estimate = (next < PLENTY.as_bps() as f64).then_some(next);
    }
}

fn rate(bps: f64) -> Bitrate {
    Bitrate::bps(bps.max(LEAST.as_bps() as f64) as u64)
}
