//! Metric rows on their way into the tables and out of them.

use std::collections::HashSet;

use auralink_types::{Media, MetricRow, NetworkClass, QualityMetric, Reason, SavingsBasis, UserKey};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, Sqlite, Transaction};

use crate::error::StoreError;
use crate::metric::StoredMetric;
use crate::names::Named;
use crate::store::Store;

/// A row stands for the second before its time.
const SECOND_US: i64 = 1_000_000;

pub(crate) const SELECT: &str = "SELECT metric_id, tenant_id, user_id, call_id, session_id, track_id, ts_us, media, \
    original_bandwidth_kbps, compressed_bandwidth_kbps, savings_basis, inference_latency_ms, \
    inference_latency_p99_ms, quality_score, quality_metric, psnr_db, model_used, frames, fallback_triggered, \
    fallback_reason, network_class FROM aic_metrics WHERE ";

/// Writes the rows, and the users, calls and sessions they hang on, in one transaction.
pub(crate) async fn write(store: &Store, rows: &[MetricRow]) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    let mut seen = HashSet::new();
    for row in rows {
        if seen.insert((&row.owner, &row.session_id)) {
            write_parents(&mut tx, row).await?;
        }
        write_row(&mut tx, row).await?;
    }
    tx.commit().await?;
    Ok(())
}

async fn write_parents(tx: &mut Transaction<'static, Sqlite>, row: &MetricRow) -> Result<(), StoreError> {
    let start = row.ts_us.saturating_sub(SECOND_US);
    let UserKey { tenant, user } = &row.owner;
    sqlx::query(
        "INSERT INTO users (tenant_id, user_id, created_at_us) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind(tenant.as_str())
    .bind(user.as_str())
    .bind(start)
    .execute(&mut **tx)
    .await?;
    // A metric row doesn't know the room's name.
    sqlx::query(
        "INSERT INTO calls (tenant_id, call_id, room, started_at_us) VALUES (?, ?, '', ?) ON CONFLICT DO NOTHING",
    )
    .bind(tenant.as_str())
    .bind(row.call_id.as_str())
    .bind(start)
    .execute(&mut **tx)
    .await?;
    sqlx::query(
        "INSERT INTO aic_sessions (tenant_id, session_id, user_id, call_id, track_id, media, started_at_us) \
         VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind(tenant.as_str())
    .bind(row.session_id.as_str())
    .bind(user.as_str())
    .bind(row.call_id.as_str())
    .bind(row.track_id.as_str())
    .bind(row.media.to_name())
    .bind(start)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn write_row(tx: &mut Transaction<'static, Sqlite>, row: &MetricRow) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO aic_metrics (tenant_id, user_id, call_id, session_id, track_id, ts_us, media, \
         original_bandwidth_kbps, compressed_bandwidth_kbps, savings_basis, inference_latency_ms, \
         inference_latency_p99_ms, quality_score, quality_metric, psnr_db, model_used, frames, \
         fallback_triggered, fallback_reason, network_class) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
         ON CONFLICT (tenant_id, session_id, ts_us) DO NOTHING",
    )
    .bind(row.owner.tenant.as_str())
    .bind(row.owner.user.as_str())
    .bind(row.call_id.as_str())
    .bind(row.session_id.as_str())
    .bind(row.track_id.as_str())
    .bind(row.ts_us)
    .bind(row.media.to_name())
    .bind(row.original_bandwidth_kbps)
    .bind(row.compressed_bandwidth_kbps)
    .bind(row.savings_basis.to_name())
    .bind(row.inference_latency_ms)
    .bind(row.inference_latency_p99_ms)
    .bind(row.quality_score)
    .bind(row.quality_metric.to_name())
    .bind(row.psnr_db)
    .bind(&row.model_used)
    .bind(i64::try_from(row.frames).unwrap_or(i64::MAX))
    .bind(row.fallback_triggered)
    .bind(row.fallback_reason.map(Named::to_name))
    .bind(row.network_class.to_name())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(crate) fn from_row(row: &SqliteRow) -> Result<StoredMetric, StoreError> {
    let text = |column: &'static str| row.try_get::<String, _>(column);
    let reason: Option<String> = row.try_get("fallback_reason")?;
    Ok(StoredMetric {
        metric_id: row.try_get("metric_id")?,
        row: MetricRow {
            owner: UserKey::new(text("tenant_id")?, text("user_id")?),
            call_id: text("call_id")?.into(),
            session_id: text("session_id")?.into(),
            track_id: text("track_id")?.into(),
            ts_us: row.try_get("ts_us")?,
            media: Media::read("media", &text("media")?)?,
            original_bandwidth_kbps: row.try_get("original_bandwidth_kbps")?,
            compressed_bandwidth_kbps: row.try_get("compressed_bandwidth_kbps")?,
            savings_basis: SavingsBasis::read("savings_basis", &text("savings_basis")?)?,
            inference_latency_ms: row.try_get("inference_latency_ms")?,
            inference_latency_p99_ms: row.try_get("inference_latency_p99_ms")?,
            quality_score: row.try_get("quality_score")?,
            quality_metric: QualityMetric::read("quality_metric", &text("quality_metric")?)?,
            psnr_db: row.try_get("psnr_db")?,
            model_used: text("model_used")?,
            frames: row.try_get::<i64, _>("frames")?.unsigned_abs(),
            fallback_triggered: row.try_get("fallback_triggered")?,
            fallback_reason: reason
                .map(|name| Reason::read("fallback_reason", &name))
                .transpose()?,
            network_class: NetworkClass::read("network_class", &text("network_class")?)?,
        },
    })
}
