//! Keeping the rollups: what sessions have gathered since the last refresh is summed up by user, hour and model.
//!
//! Three transactions, so that the writer of metric rows never waits for the long one: mark what is taken on, sum it up,
//! show it. Cut short anywhere, the next refresh takes the marks up again.

use std::time::Duration;

use crate::database::{Database, Tx};
use crate::error::StoreError;
use crate::sql::Sql;
use crate::store::Store;
use crate::timestamp::Timestamp;
use crate::usage::{Column, HOUR_US, latency_bins, quality_bins, sums};

/// Rows younger than this are left to be read raw: those of the same second may still be in a spool.
const SETTLE: Duration = Duration::from_secs(10);

/// Name of the lock that lets one server refresh at a time.
const LOCK: &str = "rollups";

impl Store {
    /// Brings the rollups up to `now`, less the seconds that may still be on their way. Rows that come later for a time
    /// before are counted by the next refresh.
    pub async fn refresh_rollups(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        let state = tx
            .one(Sql::new("SELECT watermark_us FROM aic_rollup_state"))
            .await?;
        // A clock that was set back takes nothing back.
        let upto = now.minus(SETTLE).max(state.time("watermark_us")?);
        tx.execute(Sql::new(
            "UPDATE aic_sessions SET rolling_from_us = CASE WHEN rolling_from_us < dirty_from_us \
             THEN rolling_from_us ELSE dirty_from_us END, dirty_from_us = NULL WHERE dirty_from_us IS NOT NULL",
        ))
        .await?;
        // SQLite has one writer, and shows what it has at once: there the rest belongs to the same transaction.
        if matches!(self.database, Database::Postgres(_)) {
            tx.commit().await?;
            tx = self.write().await?;
        }
        tx.no_time_limit().await?;
        tx.lock(LOCK).await?;
        sum_up(&mut tx, upto).await?;
        if matches!(self.database, Database::Postgres(_)) {
            tx.commit().await?;
            tx = self.write().await?;
            tx.no_time_limit().await?;
            tx.lock(LOCK).await?;
            show(&mut tx).await?;
        }
        let sql = Sql::new("UPDATE aic_rollup_state SET watermark_us = $1 WHERE watermark_us < $1");
        tx.execute(sql.with(upto)).await?;
        model_windows(&mut tx, upto).await?;
        tx.commit().await
    }
}

/// Makes the materialized views what the sums are; readers are not held up.
pub(crate) async fn show(tx: &mut Tx) -> Result<(), StoreError> {
    for view in ["hourly", "daily"] {
        let sql = format!("REFRESH MATERIALIZED VIEW CONCURRENTLY aic_performance_{view}_all");
        tx.execute(Sql::new(sql)).await?;
    }
    Ok(())
}

/// Sums up anew every hour that a marked session touches, for its user.
async fn sum_up(tx: &mut Tx, upto: Timestamp) -> Result<(), StoreError> {
    let marked = format!(
        "(SELECT tenant_id, user_id, min(rolling_from_us - rolling_from_us % {HOUR_US}) AS from_us \
         FROM aic_sessions WHERE rolling_from_us IS NOT NULL GROUP BY tenant_id, user_id)"
    );
    tx.execute(Sql::new(format!(
        "DELETE FROM aic_usage_hours WHERE EXISTS (SELECT 1 FROM {marked} AS d \
         WHERE d.tenant_id = aic_usage_hours.tenant_id AND d.user_id = aic_usage_hours.user_id \
         AND aic_usage_hours.hour_us >= d.from_us)"
    )))
    .await?;
    let mut columns = sums();
    columns.extend(quality_bins());
    columns.extend(latency_bins());
    let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
    let totals: Vec<_> = columns.iter().map(Column::raw_total).collect();
    let sql = Sql::new(format!(
        "INSERT INTO aic_usage_hours (tenant_id, user_id, hour_us, media, model_used, {}) \
         SELECT m.tenant_id, m.user_id, m.ts_us - m.ts_us % {HOUR_US}, m.media, m.model_used, {} \
         FROM {marked} AS d JOIN aic_metrics m ON m.tenant_id = d.tenant_id AND m.user_id = d.user_id \
         AND m.ts_us >= d.from_us AND m.ts_us < $1 GROUP BY 1, 2, 3, 4, 5",
        names.join(", "),
        totals.join(", ")
    ));
    tx.execute(sql.with(upto)).await?;
    // What came after `upto` is the next refresh's.
    let sql = Sql::new(
        "UPDATE aic_sessions SET rolling_from_us = NULL, dirty_from_us = CASE WHEN last_metric_us >= $1 \
         AND (dirty_from_us IS NULL OR dirty_from_us > $1) THEN $1 ELSE dirty_from_us END \
         WHERE rolling_from_us IS NOT NULL",
    );
    tx.execute(sql.with(upto)).await?;
    Ok(())
}

/// Percentiles of each model's hour over a tenant, exact, once the hour is over.
async fn model_windows(tx: &mut Tx, upto: Timestamp) -> Result<(), StoreError> {
    let done = upto.as_micros().div_euclid(HOUR_US) * HOUR_US;
    let state = tx
        .one(Sql::new("SELECT models_until_us FROM aic_rollup_state"))
        .await?;
    if state.int("models_until_us")? >= done {
        return Ok(());
    }
    let rank = |value: &str| {
        format!(
            "cume_dist() OVER (PARTITION BY tenant_id, model_used, ts_us - ts_us % {HOUR_US}, {value} IS NULL \
             ORDER BY {value})"
        )
    };
    let least = |value: &str, rank: &str, share: f64| {
        format!("min({value}) FILTER (WHERE {value} IS NOT NULL AND {rank} >= {share})")
    };
    let (median, tail) = ("inference_latency_ms", "inference_latency_p99_ms");
    let sql = Sql::new(format!(
        "INSERT INTO aic_model_performance (tenant_id, model, window_start_us, window_us, frames, latency_p50_ms, \
         latency_p95_ms, latency_p99_ms, quality_mean, saved_kbit, fallbacks) \
         SELECT tenant_id, model_used, ts_us - ts_us % {HOUR_US}, {HOUR_US}, CAST(sum(frames) AS BIGINT), {}, {}, {}, \
         avg(quality_score), sum(original_bandwidth_kbps - compressed_bandwidth_kbps), \
         count(*) FILTER (WHERE fallback_triggered) FROM (SELECT *, {} AS median_rank, {} AS tail_rank \
         FROM aic_metrics WHERE ts_us >= (SELECT models_until_us FROM aic_rollup_state) AND ts_us < $1) AS ranked \
         GROUP BY tenant_id, model_used, ts_us - ts_us % {HOUR_US} ON CONFLICT DO NOTHING",
        least(median, "median_rank", 0.50),
        least(tail, "tail_rank", 0.95),
        least(tail, "tail_rank", 0.99),
        rank(median),
        rank(tail),
    ));
    tx.execute(sql.with(done)).await?;
    tx.execute(Sql::new("UPDATE aic_rollup_state SET models_until_us = $1").with(done))
        .await?;
    Ok(())
}
