//! Metric rows into SQLite: many rows to a statement, one transaction to a batch.

use auralink_types::MetricRow;
use sqlx::{QueryBuilder, Sqlite, Transaction};

use crate::error::StoreError;
use crate::names::Named;
use crate::parents::Parents;
use crate::sql::int;

/// Rows to a statement: with 20 values each well under SQLite's 32,766, and few enough texts to keep prepared.
const ROWS_MAX: usize = 100;

/// Writes the rows, and those of the parents that may be missing.
pub(crate) async fn write(
    tx: &mut Transaction<'static, Sqlite>,
    rows: &[&MetricRow],
    parents: &Parents<'_>,
) -> Result<(), StoreError> {
    write_parents(tx, parents).await?;
    for rows in rows.chunks(ROWS_MAX) {
        write_rows(tx, rows).await?;
    }
    Ok(())
}

async fn write_parents(
    tx: &mut Transaction<'static, Sqlite>,
    parents: &Parents<'_>,
) -> Result<(), StoreError> {
    for users in parents.users.chunks(ROWS_MAX) {
        let mut sql = QueryBuilder::new("INSERT INTO users (tenant_id, user_id, created_at_us) ");
        sql.push_values(users, |mut values, (row, start)| {
            values
                .push_bind(row.owner.tenant.as_str())
                .push_bind(row.owner.user.as_str())
                .push_bind(*start);
        });
        sql.push(" ON CONFLICT DO NOTHING");
        sql.build().execute(&mut **tx).await?;
    }
    for calls in parents.calls.chunks(ROWS_MAX) {
        // A metric row doesn't know the room's name.
        let mut sql = QueryBuilder::new("INSERT INTO calls (tenant_id, call_id, room, started_at_us) ");
        sql.push_values(calls, |mut values, (row, start)| {
            values
                .push_bind(row.owner.tenant.as_str())
                .push_bind(row.call_id.as_str())
                .push_bind("")
                .push_bind(*start);
        });
        sql.push(" ON CONFLICT DO NOTHING");
        sql.build().execute(&mut **tx).await?;
    }
    for sessions in parents.sessions.chunks(ROWS_MAX) {
        let mut sql = QueryBuilder::new(
            "INSERT INTO aic_sessions (tenant_id, session_id, user_id, call_id, track_id, media, started_at_us) ",
        );
        sql.push_values(sessions, |mut values, (row, start)| {
            values
                .push_bind(row.owner.tenant.as_str())
                .push_bind(row.session_id.as_str())
                .push_bind(row.owner.user.as_str())
                .push_bind(row.call_id.as_str())
                .push_bind(row.track_id.as_str())
                .push_bind(row.media.to_name())
                .push_bind(*start);
        });
        sql.push(" ON CONFLICT DO NOTHING");
        sql.build().execute(&mut **tx).await?;
    }
    Ok(())
}

async fn write_rows(tx: &mut Transaction<'static, Sqlite>, rows: &[&MetricRow]) -> Result<(), StoreError> {
    let mut sql = QueryBuilder::new(
        "INSERT INTO aic_metrics (tenant_id, user_id, call_id, session_id, track_id, ts_us, media, \
         original_bandwidth_kbps, compressed_bandwidth_kbps, savings_basis, inference_latency_ms, \
         inference_latency_p99_ms, quality_score, quality_metric, psnr_db, model_used, frames, \
         fallback_triggered, fallback_reason, network_class, predicted_quality_score, \
         predicted_compression_ratio, prediction_confidence) ",
    );
    sql.push_values(rows, |mut values, row| {
        values
            .push_bind(row.owner.tenant.as_str())
            .push_bind(row.owner.user.as_str())
            .push_bind(row.call_id.as_str())
            .push_bind(row.session_id.as_str())
            .push_bind(row.track_id.as_str())
            .push_bind(row.ts_us)
            .push_bind(row.media.to_name())
            .push_bind(row.original_bandwidth_kbps)
            .push_bind(row.compressed_bandwidth_kbps)
            .push_bind(row.savings_basis.to_name())
            .push_bind(row.inference_latency_ms)
            .push_bind(row.inference_latency_p99_ms)
            .push_bind(row.quality_score)
            .push_bind(row.quality_metric.to_name())
            .push_bind(row.psnr_db)
            .push_bind(row.model_used.as_str())
            .push_bind(int(row.frames))
            .push_bind(row.fallback_triggered)
            .push_bind(row.fallback_reason.map(Named::to_name))
            .push_bind(row.network_class.to_name())
            .push_bind(row.prediction.map(|it| it.quality_score))
            .push_bind(row.prediction.map(|it| it.compression_ratio))
            .push_bind(row.prediction.map(|it| it.confidence));
    });
    sql.push(" ON CONFLICT (tenant_id, session_id, ts_us) DO NOTHING");
    // A statement of an odd length is not worth keeping prepared.
    let whole = rows.len() == ROWS_MAX;
    sql.build().persistent(whole).execute(&mut **tx).await?;
    Ok(())
}
