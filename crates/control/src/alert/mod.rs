//! The rule engine: rows in, alerts out. Sans-IO.
//!
//! Every ten seconds each rule looks at the last minute (the error budget at the last hour) of each tenant, and quality
//! and latency at each session as well. A rule raises after so many bad checks in a row and clears after so many good
//! ones; too few rows prove nothing bad.

mod latch;
mod rule;
mod window;

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use auralink_types::{AlertKind, MetricRow, SessionId, TenantId, UserId};

use latch::{Latch, Turn};
pub use rule::AlertRules;
use window::{LONG, SHORT, Window};

/// Time between two checks.
pub const CHECK_EVERY: Duration = Duration::from_secs(10);
/// Sessions watched one by one at most; beyond it a new one is watched as part of its tenant only.
pub const SESSIONS_MAX: usize = 10_000;
/// Tenants watched at most: API keys of a configuration file are fewer.
const TENANTS_MAX: usize = 1_000;
/// Fewest seconds of media in a minute that prove anything.
const SECONDS_MIN: u64 = 20;
/// Fewest seconds in an hour before its budget is judged.
const BUDGET_SECONDS_MIN: u64 = 300;

/// What an alert is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject {
    /// Whose it is.
    pub tenant: TenantId,
    /// The session and its user, when it is about one alone.
    pub session: Option<(SessionId, UserId)>,
}

/// What the engine has to say.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// What it is about.
    pub subject: Subject,
    /// Which rule.
    pub kind: AlertKind,
    /// `true` when the alert is raised, `false` when it is cleared.
    pub raised: bool,
    /// The figure that the rule looked at; absent when there was nothing to look at any more.
    pub value: Option<f64>,
    /// Its limit.
    pub limit: f64,
}

impl Change {
    /// One sentence for people.
    pub fn message(&self) -> String {
        let percent = |share: f64| format!("{:.1} %", share * 100.0);
        let value = self.value.unwrap_or_default();
        let limit = self.limit;
        match self.kind {
            AlertKind::FallbackRate => format!(
                "fallbacks in {} of the seconds of the last minute, limit {}",
                percent(value),
                percent(limit)
            ),
            AlertKind::Quality => {
                format!("mean quality score {value:.2} over the last minute, limit {limit:.2}")
            }
            AlertKind::Latency => {
                format!(
                    "compression took {value:.1} ms (99th percentile) over the last minute, limit {limit:.1} ms"
                )
            }
            AlertKind::ErrorBudget => format!(
                "{} of the seconds of the last hour were bad, budget {}",
                percent(value),
                percent(limit)
            ),
            AlertKind::Capacity => format!(
                "work was turned away in {} of the seconds of the last minute, limit {}",
                percent(value),
                percent(limit)
            ),
        }
    }
}

struct Watched {
    window: Window,
    latches: HashMap<AlertKind, Latch>,
}

/// The engine.
pub struct AlertEngine {
    rules: AlertRules,
    watched: HashMap<Subject, Watched>,
    next_check: Instant,
    changes: VecDeque<Change>,
}

impl AlertEngine {
    /// Nothing is raised yet.
    pub fn new(now: Instant, rules: AlertRules) -> Self {
        Self {
            rules,
            watched: HashMap::new(),
            next_check: now + CHECK_EVERY,
            changes: VecDeque::new(),
        }
    }

    /// An alert that was raised before a restart; it clears like any other.
    pub fn restore(&mut self, subject: Subject, kind: AlertKind) {
        if let Some(watched) = self.watch(subject) {
            watched.latches.insert(kind, Latch::raised());
        }
    }

    /// A row came in.
    pub fn handle_row(&mut self, row: &MetricRow) {
        let rules = self.rules;
        let tenant = Subject {
            tenant: row.owner.tenant.clone(),
            session: None,
        };
        let session = Subject {
            session: Some((row.session_id.clone(), row.owner.user.clone())),
            ..tenant.clone()
        };
        for subject in [tenant, session] {
            if let Some(watched) = self.watch(subject) {
                watched.window.take(row, &rules);
            }
        }
    }

    /// The server turned work of a tenant away so often: rows that did not fit, for example.
    pub fn handle_turned_away(&mut self, tenant: &TenantId, count: u64) {
        let subject = Subject {
            tenant: tenant.clone(),
            session: None,
        };
        if let Some(watched) = self.watch(subject) {
            watched.window.turn_away(count);
        }
    }

    /// Time passes.
    pub fn handle_timeout(&mut self, now: Instant) {
        if now < self.next_check {
            return;
        }
        // A server that slept through some checks does not make up for them: they would all see the same.
        self.next_check = now + CHECK_EVERY;
        let rules = self.rules;
        let changes = &mut self.changes;
        self.watched.retain(|subject, watched| {
            watched.window.close();
            check(&rules, subject, watched, changes);
            !(watched.window.is_empty() && watched.latches.values().all(Latch::is_idle))
        });
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Instant {
        self.next_check
    }

    /// The next change, if there is one.
    pub fn poll_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    /// Alerts that are raised now.
    pub fn raised(&self) -> usize {
        let latches = self.watched.values().flat_map(|watched| watched.latches.values());
        latches.filter(|latch| latch.is_raised()).count()
    }

    fn watch(&mut self, subject: Subject) -> Option<&mut Watched> {
        let known = self.watched.contains_key(&subject);
        if !known
            && self.watched.len() >= SESSIONS_MAX + if subject.session.is_none() { TENANTS_MAX } else { 0 }
        {
            return None;
        }
        let depth = if subject.session.is_none() { LONG } else { SHORT };
        Some(self.watched.entry(subject).or_insert_with(|| Watched {
            window: Window::new(depth),
            latches: HashMap::new(),
        }))
    }
}

/// Seconds of trouble in a minute that are chance and no rate.
const CHANCE: u64 = 1;

/// Each rule's figure over its span: none when there are too few seconds to say, and whether it is a worry.
fn check(rules: &AlertRules, subject: &Subject, watched: &mut Watched, changes: &mut VecDeque<Change>) {
    let minute = watched.window.sum(SHORT);
    let enough = minute.seconds >= SECONDS_MIN;
    let share = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
    let mut figures = vec![
        (
            AlertKind::Quality,
            minute.quality().filter(|_| enough),
            rules.quality,
        ),
        (
            AlertKind::Latency,
            minute.latency().filter(|_| enough),
            rules.latency_ms,
        ),
    ];
    if subject.session.is_none() {
        let hour = watched.window.sum(LONG);
        let budget = hour.seconds >= BUDGET_SECONDS_MIN;
        figures.extend([
            (
                AlertKind::FallbackRate,
                (enough && minute.fallbacks > CHANCE).then(|| share(minute.fallbacks, minute.seconds)),
                rules.fallback_rate,
            ),
            (
                AlertKind::Capacity,
                (enough && minute.turned_away > CHANCE).then(|| share(minute.turned_away, minute.seconds)),
                rules.capacity,
            ),
            (
                AlertKind::ErrorBudget,
                budget.then(|| share(hour.bad, hour.seconds)),
                rules.error_budget,
            ),
        ]);
    }
    for (kind, value, limit) in figures {
        let bad = value.is_some_and(|value| match kind {
            AlertKind::Quality => value < limit,
            _ => value > limit,
        });
        let latch = watched.latches.entry(kind).or_default();
        if let Some(turn) = latch.check(bad, rules.raise_after, rules.clear_after) {
            changes.push_back(Change {
                subject: subject.clone(),
                kind,
                raised: turn == Turn::Raised,
                value,
                limit,
            });
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
