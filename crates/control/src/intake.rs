//! What media tells the control plane: rows for alerts, figures and exposures, events for figures. Never in media's way:
//! the queues are bounded, and what does not fit is counted and lost to alerts, not to the store.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use auralink_engine::PolicyBook;
use auralink_store::{Exposure, NewAlert, Severity, Store, StoreError, Timestamp};
use auralink_types::{AlertKind, Event, MetricRow, SessionId, TenantId};
use metrics::counter;
use tokio::sync::mpsc;

use crate::alert::{AlertEngine, AlertRules, Change, Subject};
use crate::baseline::Baselines;
use crate::clock::Clock;
use crate::metrics as figures;

/// Rows that may wait: ten seconds of a thousand tracks.
pub const ROWS_MAX: usize = 10_000;
/// Events that may wait.
pub const EVENTS_MAX: usize = 1_024;
/// Sessions whose exposure is known to be written; beyond it all are forgotten and written again, which changes nothing.
const EXPOSED_MAX: usize = 50_000;
/// Changes of alerts that may wait for the database; beyond it the oldest are lost, and the next check tells the state.
const CHANGES_MAX: usize = 1_024;
/// An alert that was cleared so short a time ago is the same one when it comes back.
const QUIET: std::time::Duration = std::time::Duration::from_secs(300);
/// How often it is looked whether a check is due.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(100);
/// How often the control arms' rates are summed anew.
const BASELINES_EVERY: std::time::Duration = std::time::Duration::from_secs(300);

/// Where rows and events are left. Cloning shares it.
#[derive(Clone)]
pub struct Intake {
    rows: mpsc::Sender<MetricRow>,
    events: mpsc::Sender<Event>,
    baselines: Baselines,
    book: Arc<PolicyBook>,
    turned_away: TurnedAway,
}

/// Work that did not fit since the last check, by tenant.
type TurnedAway = Arc<Mutex<HashMap<TenantId, u64>>>;

/// What the task works on.
pub struct IntakeConfig {
    /// Where alerts and exposures go.
    pub store: Store,
    /// Where arms are looked up.
    pub book: Arc<PolicyBook>,
    /// Whose alerts and experiments there may be.
    pub tenants: Vec<TenantId>,
    /// When to raise alerts.
    pub rules: AlertRules,
    /// What time it is.
    pub clock: Clock,
}

impl Intake {
    /// Starts the task on the current tokio runtime. It ends with the last clone.
    pub fn start(config: IntakeConfig) -> Self {
        let (rows, arriving_rows) = mpsc::channel(ROWS_MAX);
        let (events, arriving_events) = mpsc::channel(EVENTS_MAX);
        let baselines = Baselines::default();
        let book = Arc::clone(&config.book);
        let turned_away = TurnedAway::default();
        let task = Task {
            engine: AlertEngine::new(config.clock.now().steady, config.rules),
            exposed: HashSet::new(),
            changes: VecDeque::new(),
            baselines: baselines.clone(),
            turned_away: Arc::clone(&turned_away),
            config,
        };
        tokio::spawn(task.run(arriving_rows, arriving_events));
        Self {
            rows,
            events,
            baselines,
            book,
            turned_away,
        }
    }

    /// Work of a tenant did not fit, a row that the store's queue had no room for: the capacity rule counts it.
    pub fn turned_away(&self, tenant: &TenantId) {
        let mut away = self.turned_away.lock().unwrap_or_else(PoisonError::into_inner);
        *away.entry(tenant.clone()).or_default() += 1;
    }

    /// What would have flowed without AIC is what an experiment's control arm sends, where there is a believable one and
    /// the row knows no better than a preset.
    pub fn rebase(&self, row: &mut MetricRow) {
        self.baselines.apply(&self.book, row);
    }

    /// Leaves a row; never waits.
    pub fn row(&self, row: &MetricRow) {
        if self.rows.try_send(row.clone()).is_err() {
            counter!(figures::INTAKE_DROPPED, "what" => "row").increment(1);
            self.turned_away(&row.owner.tenant);
        }
    }

    /// Leaves an event; never waits.
    pub fn event(&self, event: &Event) {
        if self.events.try_send(event.clone()).is_err() {
            counter!(figures::INTAKE_DROPPED, "what" => "event").increment(1);
        }
    }
}

struct Task {
    config: IntakeConfig,
    engine: AlertEngine,
    exposed: HashSet<(String, SessionId)>,
    changes: VecDeque<Change>,
    baselines: Baselines,
    turned_away: TurnedAway,
}

impl Task {
    async fn run(mut self, mut rows: mpsc::Receiver<MetricRow>, mut events: mpsc::Receiver<Event>) {
        self.restore().await;
        let mut sum = tokio::time::interval(BASELINES_EVERY);
        sum.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut told = true;
        loop {
            tokio::select! {
                row = rows.recv() => match row {
                    Some(row) => self.take(&row).await,
                    None => return,
                },
                event = events.recv(), if told => match event {
                    Some(event) => counter!(figures::EVENTS, "event" => event.kind.name()).increment(1),
                    None => told = false,
                },
                _ = look.tick() => self.check().await,
                _ = sum.tick() => self.sum().await,
            }
        }
    }

    /// Alerts that were open when the server stopped.
    async fn restore(&mut self) {
        for tenant in &self.config.tenants {
            match self.config.store.open_alerts(tenant).await {
                Ok(open) => {
                    for alert in open {
                        let subject = Subject {
                            tenant: tenant.clone(),
                            session: alert.session_id.zip(alert.user_id),
                        };
                        self.engine.restore(subject, alert.kind);
                    }
                }
                Err(error) => tracing::warn!(%error, "open alerts cannot be read"),
            }
        }
        figures::raised(self.engine.raised());
    }

    async fn sum(&self) {
        let Self {
            config, baselines, ..
        } = self;
        if let Err(error) = baselines.reload(&config.store, &config.tenants).await {
            tracing::warn!(%error, "control arms cannot be summed");
        }
    }

    async fn take(&mut self, row: &MetricRow) {
        figures::row(row);
        self.engine.handle_row(row);
        let running = self.config.book.experiments(&row.owner.tenant);
        for experiment in running.iter() {
            let key = (experiment.id().to_owned(), row.session_id.clone());
            if self.exposed.contains(&key) {
                continue;
            }
            let arm = experiment.arm_of(&row.owner, &row.call_id);
            let exposure = Exposure {
                tenant: row.owner.tenant.clone(),
                experiment_id: experiment.id().to_owned(),
                user: row.owner.user.clone(),
                call_id: row.call_id.clone(),
                session_id: row.session_id.clone(),
                // The engine names an arm that it has.
                arm: experiment.arms()[arm].name.clone(),
                at: Timestamp::from_micros(row.ts_us),
            };
            match self.config.store.expose(&exposure).await {
                Ok(()) => {
                    if self.exposed.len() >= EXPOSED_MAX {
                        self.exposed.clear();
                    }
                    self.exposed.insert(key);
                }
                // The session's next row tries again.
                Err(error) => tracing::warn!(%error, "exposure cannot be written"),
            }
        }
    }

    async fn check(&mut self) {
        let now = self.config.clock.now().steady;
        if now < self.engine.poll_timeout() && self.changes.is_empty() {
            return;
        }
        let away = std::mem::take(&mut *self.turned_away.lock().unwrap_or_else(PoisonError::into_inner));
        for (tenant, count) in &away {
            self.engine.handle_turned_away(tenant, *count);
        }
        self.engine.handle_timeout(now);
        while let Some(change) = self.engine.poll_change() {
            if self.changes.len() >= CHANGES_MAX {
                self.changes.pop_front();
                counter!(figures::INTAKE_DROPPED, "what" => "alert").increment(1);
            }
            self.changes.push_back(change);
        }
        figures::raised(self.engine.raised());
        while let Some(change) = self.changes.pop_front() {
            let level = if change.raised { "raised" } else { "cleared" };
            match self.write(&change).await {
                Ok(()) => tracing::warn!(
                    kind = change.kind.as_str(),
                    value = change.value,
                    limit = change.limit,
                    "alert {level}"
                ),
                Err(error) if error.is_transient() => {
                    tracing::warn!(%error, "alert waits for the database");
                    self.changes.push_front(change);
                    return;
                }
                Err(error) => tracing::error!(%error, kind = change.kind.as_str(), "alert refused"),
            }
        }
    }

    async fn write(&self, change: &Change) -> Result<(), StoreError> {
        let now = self.config.clock.now().wall.into();
        let Subject { tenant, session } = &change.subject;
        let key = match session {
            Some((session, _)) => format!("{}:{session}", change.kind.as_str()),
            None => change.kind.as_str().to_owned(),
        };
        if !change.raised {
            self.config.store.resolve_alert(tenant, &key, now).await?;
            return Ok(());
        }
        let alert = NewAlert {
            tenant: tenant.clone(),
            key,
            kind: change.kind,
            severity: severity(change.kind),
            user: session.as_ref().map(|(_, user)| user.clone()),
            session: session.as_ref().map(|(session, _)| session.clone()),
            message: change.message(),
            value: change.value.unwrap_or_default(),
            threshold: change.limit,
        };
        self.config.store.raise_alert(&alert, QUIET, now).await?;
        Ok(())
    }
}

/// Critical where calls suffer or soon will.
const fn severity(kind: AlertKind) -> Severity {
    match kind {
        AlertKind::ErrorBudget | AlertKind::Capacity => Severity::Critical,
        AlertKind::FallbackRate | AlertKind::Quality | AlertKind::Latency => Severity::Warning,
    }
}
