//! Pages of metric rows, newest first.

use std::fmt;

use auralink_types::{CallId, MetricRow, Prediction, Reason};

use crate::error::StoreError;
use crate::names::Named as _;
use crate::page::{PAGE_MAX, hex, push_span};
use crate::row::Row;
use crate::scoped::Scoped;
use crate::sql::Sql;
use crate::timestamp::Timestamp;

/// A row with its number.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredMetric {
    /// Unique in the database.
    pub metric_id: i64,
    /// The row.
    pub row: MetricRow,
}

/// Which rows are wanted. What is `None` does not narrow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricQuery {
    /// Of this call.
    pub call_id: Option<CallId>,
    /// At this time or later.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub to: Option<Timestamp>,
    /// After the page that ended here.
    pub cursor: Option<MetricCursor>,
    /// At most so many, up to [`PAGE_MAX`].
    pub limit: u32,
}

/// Where a page ended. Its text means nothing to callers but "go on here".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricCursor {
    pub(crate) ts_us: i64,
    pub(crate) metric_id: i64,
}

impl fmt::Display for MetricCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{:x}", self.ts_us, self.metric_id)
    }
}

impl MetricCursor {
    /// Reads back what `Display` wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let (ts, id) = text.split_once('.')?;
        Some(Self {
            ts_us: hex(ts)?,
            metric_id: hex(id)?,
        })
    }
}

/// One page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricPage {
    /// Newest first.
    pub rows: Vec<StoredMetric>,
    /// Where to go on; absent on the last page.
    pub next: Option<MetricCursor>,
}

const COLUMNS: &str = "metric_id, tenant_id, user_id, call_id, session_id, track_id, ts_us, media, \
    original_bandwidth_kbps, compressed_bandwidth_kbps, savings_basis, inference_latency_ms, \
    inference_latency_p99_ms, quality_score, quality_metric, psnr_db, model_used, frames, fallback_triggered, \
    fallback_reason, network_class, predicted_quality_score, predicted_compression_ratio, prediction_confidence";

impl Scoped {
    /// One page of metric rows, newest first.
    pub async fn metrics(&self, query: &MetricQuery) -> Result<MetricPage, StoreError> {
        let limit = query.limit.clamp(1, PAGE_MAX);
        let mut sql = Sql::new(format!("SELECT {COLUMNS} FROM aic_metrics WHERE "));
        self.push_call_predicate(&mut sql);
        if let Some(call) = &query.call_id {
            sql.push(" AND call_id = ").bind(call);
        }
        push_span(&mut sql, "ts_us", query.from, query.to);
        if let Some(MetricCursor { ts_us, metric_id }) = query.cursor {
            sql.push(" AND (ts_us, metric_id) < (").bind(ts_us);
            sql.push(", ").bind(metric_id).push(")");
        }
        sql.push(" ORDER BY ts_us DESC, metric_id DESC LIMIT ")
            .bind(limit + 1);
        let found = self.rows_of_calls("metrics", sql).await?;
        let wanted = limit as usize;
        let rows: Vec<_> = found
            .iter()
            .take(wanted)
            .map(from_row)
            .collect::<Result<_, _>>()?;
        let next = rows
            .last()
            .filter(|_| found.len() > wanted)
            .map(|last: &StoredMetric| MetricCursor {
                ts_us: last.row.ts_us,
                metric_id: last.metric_id,
            });
        Ok(MetricPage { rows, next })
    }
}

fn from_row(row: &Row) -> Result<StoredMetric, StoreError> {
    let reason: Option<String> = row.get("fallback_reason")?;
    Ok(StoredMetric {
        metric_id: row.int("metric_id")?,
        row: MetricRow {
            owner: row.owner()?,
            call_id: row.text("call_id")?.into(),
            session_id: row.text("session_id")?.into(),
            track_id: row.text("track_id")?.into(),
            ts_us: row.int("ts_us")?,
            media: row.named("media")?,
            original_bandwidth_kbps: row.get("original_bandwidth_kbps")?,
            compressed_bandwidth_kbps: row.get("compressed_bandwidth_kbps")?,
            savings_basis: row.named("savings_basis")?,
            inference_latency_ms: row.get("inference_latency_ms")?,
            inference_latency_p99_ms: row.get("inference_latency_p99_ms")?,
            quality_score: row.get("quality_score")?,
            quality_metric: row.named("quality_metric")?,
            psnr_db: row.get("psnr_db")?,
            model_used: row.text("model_used")?,
            frames: row.count("frames")?,
            fallback_triggered: row.get("fallback_triggered")?,
            fallback_reason: reason
                .map(|name| Reason::read("fallback_reason", &name))
                .transpose()?,
            network_class: row.named("network_class")?,
            prediction: prediction(row)?,
        },
    })
}

/// Its columns are filled together or not at all.
fn prediction(row: &Row) -> Result<Option<Prediction>, StoreError> {
    let quality_score: Option<f64> = row.get("predicted_quality_score")?;
    let compression_ratio: Option<f64> = row.get("predicted_compression_ratio")?;
    let confidence: Option<f64> = row.get("prediction_confidence")?;
    Ok(quality_score.zip(compression_ratio).zip(confidence).map(
        |((quality_score, compression_ratio), confidence)| Prediction {
            quality_score,
            compression_ratio,
            confidence,
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text_and_garbage_is_no_cursor() {
        for (ts_us, metric_id) in [(0, 1), (i64::MAX, i64::MAX), (-1, 7)] {
            let cursor = MetricCursor { ts_us, metric_id };
            assert_eq!(MetricCursor::parse(&cursor.to_string()), Some(cursor));
        }
        for text in ["", ".", "1", "1.", "+1.2", "g.1", "1.2.3", "11112222333344445.1"] {
            assert_eq!(MetricCursor::parse(text), None, "{text}");
        }
    }
}
