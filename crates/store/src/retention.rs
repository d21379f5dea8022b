//! How long rows are kept, and the task that keeps house.

use std::time::{Duration, SystemTime};

use auralink_types::FieldError;
use serde::Deserialize;

use crate::database::Database;
use crate::erasure::REMEMBERED;
use crate::error::StoreError;
use crate::lease::{self, UNHELD};
use crate::sql::Sql;
use crate::store::Store;
use crate::timestamp::Timestamp;

/// How often the rollups are refreshed.
pub const REFRESH_EVERY: Duration = Duration::from_secs(300);

/// How often what is too old is removed: every so many refreshes.
const RETAIN_EVERY: u32 = 12;

/// A session without a metric row for so long has ended, though nobody said so: its server was killed.
const SILENT: Duration = Duration::from_secs(3600);

/// Rows that SQLite removes in one transaction, so that the writer of metric rows waits for none of it long.
const CHUNK: u32 = 20_000;

/// A user of whom nothing is left but that he was here.
const FORGOTTEN: &str = "created_at_us < $1 \
    AND NOT EXISTS (SELECT 1 FROM aic_configs x WHERE x.tenant_id = users.tenant_id AND x.user_id = users.user_id) \
    AND NOT EXISTS (SELECT 1 FROM call_participants x WHERE x.tenant_id = users.tenant_id AND x.user_id = users.user_id) \
    AND NOT EXISTS (SELECT 1 FROM aic_sessions x WHERE x.tenant_id = users.tenant_id AND x.user_id = users.user_id) \
    AND NOT EXISTS (SELECT 1 FROM aic_usage_hours x WHERE x.tenant_id = users.tenant_id AND x.user_id = users.user_id) \
    AND NOT EXISTS (SELECT 1 FROM aic_alerts x WHERE x.tenant_id = users.tenant_id AND x.user_id = users.user_id) \
    AND NOT EXISTS (SELECT 1 FROM webhook_events x WHERE x.tenant_id = users.tenant_id AND x.user_id = users.user_id)";

/// How long rows are kept, in days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Metric rows, second by second.
    pub metrics_days: u32,
    /// Rollups, sessions, calls, exposures, and users of whom nothing else is left.
    pub history_days: u32,
    /// Resolved alerts.
    pub alerts_days: u32,
    /// Webhook events and their deliveries, whatever has become of them.
    pub webhooks_days: u32,
    /// The audit log.
    pub audit_days: u32,
}

/// Longest retention, days.
const DAYS_MAX: u32 = 36_500;

impl Retention {
    /// Each is at least a day, at most a century.
    pub fn validate(&self) -> Result<(), FieldError> {
        for (field, days) in [
            ("metrics_days", self.metrics_days),
            ("history_days", self.history_days),
            ("alerts_days", self.alerts_days),
            ("webhooks_days", self.webhooks_days),
            ("audit_days", self.audit_days),
        ] {
            if !(1..=DAYS_MAX).contains(&days) {
                return Err(FieldError::new(
                    field,
                    format!("must be 1 to {DAYS_MAX}, got {days}"),
                ));
            }
        }
        Ok(())
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            metrics_days: 30,
            history_days: 400,
            alerts_days: 90,
            webhooks_days: 7,
            audit_days: 400,
        }
    }
}

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// Rows.
    pub rows: u64,
    /// Whole days of metric rows, whose rows nobody counted.
    pub partitions: u64,
}

impl Store {
    /// Removes what is older than it may be, closes sessions that have fallen silent, and on PostgreSQL makes the
    /// partitions of the days to come.
    pub async fn retain(&self, retention: &Retention, now: Timestamp) -> Result<Retained, StoreError> {
        let before = |days: u32| now.minus(Duration::from_secs(u64::from(days) * 86_400));
        let mut done = Retained::default();
        if let Database::Postgres(pool) = &self.database {
            pool.make_partitions(now).await?;
            done.partitions = pool.drop_partitions(before(retention.metrics_days)).await?;
        }
        let history = before(retention.history_days);
        for (table, condition, before) in [
            ("aic_metrics", "ts_us < $1", before(retention.metrics_days)),
            ("aic_usage_hours", "hour_us < $1", history),
            ("aic_model_performance", "window_start_us < $1", history),
            (
                "aic_sessions",
                "coalesce(ended_at_us, last_metric_us, started_at_us) < $1",
                history,
            ),
            (
                "calls",
                "coalesce(ended_at_us, started_at_us) < $1 AND NOT EXISTS (SELECT 1 FROM aic_sessions s \
                 WHERE s.tenant_id = calls.tenant_id AND s.call_id = calls.call_id)",
                history,
            ),
            ("aic_alerts", "resolved_at_us < $1", before(retention.alerts_days)),
            (
                "webhook_events",
                "created_at_us < $1",
                before(retention.webhooks_days),
            ),
            ("audit_log", "at_us < $1", before(retention.audit_days)),
            ("users", FORGOTTEN, history),
            ("erasures", "erased_at_us < $1", now.minus(REMEMBERED)),
        ] {
            done.rows += self.remove(table, condition, before).await?;
        }
        let sql = Sql::new(
            "UPDATE aic_sessions SET ended_at_us = coalesce(last_metric_us, started_at_us) \
             WHERE ended_at_us IS NULL AND started_at_us < $1 AND coalesce(last_metric_us, started_at_us) < $1",
        );
        let mut tx = self.write().await?;
        tx.execute(sql.with(now.minus(SILENT))).await?;
        lease::close_unheld(&mut tx, now.minus(UNHELD)).await?;
        tx.commit().await?;
        self.scrub_if_due(now).await?;
        Ok(done)
    }

    async fn remove(&self, table: &str, condition: &str, before: Timestamp) -> Result<u64, StoreError> {
        let mut removed = 0;
        loop {
            // Whole days are gone on PostgreSQL already, and it locks rows, not tables.
            let text = match (&self.database, table) {
                (Database::Sqlite(_), "aic_metrics") => format!(
                    "DELETE FROM aic_metrics WHERE metric_id IN (SELECT metric_id FROM aic_metrics \
                     WHERE {condition} LIMIT {CHUNK})"
                ),
                _ => format!("DELETE FROM {table} WHERE {condition}"),
            };
            let mut tx = self.write().await?;
            tx.no_time_limit().await?;
            let count = tx.execute(Sql::new(text).with(before)).await?;
            tx.commit().await?;
            removed += count;
            if table != "aic_metrics" || count < u64::from(CHUNK) {
                return Ok(removed);
            }
        }
    }
}

/// The task that refreshes the rollups and removes what is too old; it ends when this is dropped.
#[derive(Debug)]
pub struct Housekeeping(tokio::task::JoinHandle<()>);

impl Housekeeping {
    /// Starts the task on the current tokio runtime.
    pub fn start(store: Store, retention: Retention) -> Self {
        Self(tokio::spawn(async move {
            let mut tick = tokio::time::interval(REFRESH_EVERY);
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            for round in 0_u32.. {
                tick.tick().await;
                let now = Timestamp::from(SystemTime::now());
                if let Err(error) = store.refresh_rollups(now).await {
                    tracing::warn!(%error, "rollups were not refreshed");
                }
                if round % RETAIN_EVERY == 0 {
                    match store.retain(&retention, now).await {
                        Ok(done) if done == Retained::default() => {}
                        Ok(done) => {
                            tracing::info!(rows = done.rows, days = done.partitions, "old rows removed")
                        }
                        Err(error) => tracing::warn!(%error, "old rows were not removed"),
                    }
                }
            }
        }))
    }
}

impl Drop for Housekeeping {
    fn drop(&mut self) {
        self.0.abort();
    }
}
