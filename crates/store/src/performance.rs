//! How AIC performs: summaries, models, quality, fallbacks.

use auralink_types::{Media, Reason};
use serde::Serialize;

use crate::error::StoreError;
use crate::page::{Span, push_span};
use crate::row::Row;
use crate::savings::Traffic;
use crate::scoped::Scoped;
use crate::session::mean;
use crate::sql::Sql;
use crate::timestamp::Timestamp;
use crate::usage::{LATENCY_EDGES, QUALITY_EDGES, Step, Usage, latency_bins, quality_bins, sums};

/// Time that frames spend in compression, milliseconds; absent where nothing was compressed.
///
/// Percentiles are over seconds of tracks, interpolated within bins: p50 of the seconds' medians, p95 and p99 of the
/// seconds' own 99th percentiles, so that they err on the high side. Past the last edge (200 ms) they stay there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Mean of the seconds' medians.
    pub latency_mean_ms: Option<f64>,
    /// 50th percentile.
    pub latency_p50_ms: Option<f64>,
    /// 95th percentile.
    pub latency_p95_ms: Option<f64>,
    /// 99th percentile.
    pub latency_p99_ms: Option<f64>,
}

/// All there is to say about a span in one row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PerformanceSummary {
    /// Traffic with and without AIC.
    pub traffic: Traffic,
    /// Sessions that lived in the span.
    pub sessions: u64,
    /// Mean quality score over the seconds that have one.
    pub quality_mean: Option<f64>,
    /// Time in compression.
    #[serde(flatten)]
    pub latency: Latency,
    /// Fallbacks begun.
    pub fallbacks: u64,
    /// Share of seconds in which a fallback began, 0 to 1.
    pub fallback_rate: f64,
}

/// What one model, or rung, did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelPerformance {
    /// Its name, as metric rows have it.
    pub model: String,
    /// Kind of media.
    pub media: Media,
    /// Traffic with and without AIC.
    pub traffic: Traffic,
    /// Mean quality score over the seconds that have one.
    pub quality_mean: Option<f64>,
    /// Time in compression.
    #[serde(flatten)]
    pub latency: Latency,
    /// Fallbacks begun.
    pub fallbacks: u64,
}

/// How many seconds had a quality score from `from` to below `to`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct QualityBin {
    /// Least score.
    pub from: f64,
    /// Score of the next bin; 1 belongs to the last.
    pub to: f64,
    /// Seconds of tracks.
    pub seconds: u64,
}

/// How quality was spread.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QualityDistribution {
    /// From 0 to 1.
    pub bins: Vec<QualityBin>,
    /// Seconds that have a score.
    pub measured_seconds: u64,
    /// Their mean.
    pub mean: Option<f64>,
}

/// One step of time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PerformancePoint {
    /// Its beginning.
    pub at: Timestamp,
    /// Traffic with and without AIC.
    pub traffic: Traffic,
    /// Mean quality score over the seconds that have one.
    pub quality_mean: Option<f64>,
    /// Fallbacks begun.
    pub fallbacks: u64,
}

/// One model's hour, over all of a tenant; outlives the rows it was made from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelWindow {
    /// The model's name.
    pub model: String,
    /// Beginning of the window.
    pub from: Timestamp,
    /// Its length, seconds.
    pub seconds: u64,
    /// Frames that passed the tap.
    pub frames: u64,
    /// Exact percentiles, otherwise as in [`Latency`].
    pub latency_p50_ms: Option<f64>,
    /// Likewise.
    pub latency_p95_ms: Option<f64>,
    /// Likewise.
    pub latency_p99_ms: Option<f64>,
    /// Mean quality score over the seconds that have one.
    pub quality_mean: Option<f64>,
    /// Kilobits saved.
    pub saved_kbit: f64,
    /// Fallbacks begun.
    pub fallbacks: u64,
}

impl Scoped {
    /// The span in one row.
    pub async fn performance_summary(&self, span: &Span) -> Result<PerformanceSummary, StoreError> {
        let mut columns = sums();
        columns.extend(latency_bins());
        let mut live = Sql::new("SELECT count(*) AS sessions FROM aic_sessions WHERE ");
        self.push_predicate(&mut live);
        live.push(" AND started_at_us < ").bind(span.to);
        live.push(" AND coalesce(ended_at_us, last_metric_us, started_at_us) >= ")
            .bind(span.from);
        self.note_read("performance").await?;
        let mut tx = self.read().await?;
        let row = tx.one(Usage::of(columns).sql(self, span)).await?;
        let sessions = tx.one(live).await?.count("sessions")?;
        tx.commit().await?;
        let traffic = Traffic::from_row(&row)?;
        let fallbacks = row.count("fallbacks")?;
        Ok(PerformanceSummary {
            traffic,
            sessions,
            quality_mean: quality(&row)?,
            latency: latency(&row)?,
            fallbacks,
            fallback_rate: mean(fallbacks as f64, traffic.seconds).unwrap_or_default(),
        })
    }

    /// The span by model, in the order of their names.
    pub async fn model_performance(&self, span: &Span) -> Result<Vec<ModelPerformance>, StoreError> {
        let mut columns = sums();
        columns.extend(latency_bins());
        let sql = Usage::of(columns).by_model().sql(self, span);
        let rows = self.rows("performance", sql).await?;
        let model = |row: &Row| {
            Ok(ModelPerformance {
                model: row.text("model_used")?,
                media: row.named("media")?,
                traffic: Traffic::from_row(row)?,
                quality_mean: quality(row)?,
                latency: latency(row)?,
                fallbacks: row.count("fallbacks")?,
            })
        };
        rows.iter().map(model).collect()
    }

    /// How quality was spread over the span.
    pub async fn quality_distribution(&self, span: &Span) -> Result<QualityDistribution, StoreError> {
        let mut columns = sums();
        columns.extend(quality_bins());
        let rows = self.rows("quality", Usage::of(columns).sql(self, span)).await?;
        let mut bins = Vec::new();
        for at in 0..=QUALITY_EDGES.len() {
            let seconds = rows.first().map(|row| row.count(&format!("quality_{at:02}")));
            bins.push(QualityBin {
                from: if at == 0 { 0.0 } else { QUALITY_EDGES[at - 1] },
                to: QUALITY_EDGES.get(at).copied().unwrap_or(1.0),
                seconds: seconds.transpose()?.unwrap_or_default(),
            });
        }
        let mean = rows.first().map(quality).transpose()?.flatten();
        Ok(QualityDistribution {
            measured_seconds: bins.iter().map(|bin| bin.seconds).sum(),
            bins,
            mean,
        })
    }

    /// The span step by step, oldest first; steps without traffic are left out.
    pub async fn performance_series(
        &self,
        span: &Span,
        step: Step,
    ) -> Result<Vec<PerformancePoint>, StoreError> {
        let sql = Usage::of(sums()).by_time(step).sql(self, span);
        let rows = self.rows("performance", sql).await?;
        let point = |row: &Row| {
            Ok(PerformancePoint {
                at: row.time("at_us")?,
                traffic: Traffic::from_row(row)?,
                quality_mean: quality(row)?,
                fallbacks: row.count("fallbacks")?,
            })
        };
        rows.iter().map(point).collect()
    }

    /// Fallbacks begun in the span by reason, most first. Read from the rows, so that it reaches back as far as they do.
    pub async fn fallbacks_by_reason(&self, span: &Span) -> Result<Vec<(Reason, u64)>, StoreError> {
        let mut sql = Sql::new(
            "SELECT fallback_reason, count(*) AS count FROM aic_metrics WHERE fallback_triggered \
             AND fallback_reason IS NOT NULL AND ",
        );
        self.push_predicate(&mut sql);
        push_span(&mut sql, "ts_us", Some(span.from), Some(span.to));
        sql.push(" GROUP BY fallback_reason ORDER BY 2 DESC, 1");
        let rows = self.rows("fallbacks", sql).await?;
        let reason = |row: &Row| Ok((row.named("fallback_reason")?, row.count("count")?));
        rows.iter().map(reason).collect()
    }

    /// Models hour by hour, oldest first; for operators.
    pub async fn model_history(&self, span: &Span) -> Result<Vec<ModelWindow>, StoreError> {
        let mut sql = Sql::new(
            "SELECT model, window_start_us, window_us, frames, latency_p50_ms, latency_p95_ms, latency_p99_ms, \
             quality_mean, saved_kbit, fallbacks FROM aic_model_performance WHERE tenant_id = ",
        );
        sql.bind(&self.actor.key.tenant);
        push_span(&mut sql, "window_start_us", Some(span.from), Some(span.to));
        sql.push(" ORDER BY window_start_us, model LIMIT 10000");
        let rows = self.tenant_rows(sql).await?;
        let window = |row: &Row| {
            Ok(ModelWindow {
                model: row.text("model")?,
                from: row.time("window_start_us")?,
                seconds: row.count("window_us")? / 1_000_000,
                frames: row.count("frames")?,
                latency_p50_ms: row.get("latency_p50_ms")?,
                latency_p95_ms: row.get("latency_p95_ms")?,
                latency_p99_ms: row.get("latency_p99_ms")?,
                quality_mean: row.get("quality_mean")?,
                saved_kbit: row.get("saved_kbit")?,
                fallbacks: row.count("fallbacks")?,
            })
        };
        rows.iter().map(window).collect()
    }
}

fn quality(row: &Row) -> Result<Option<f64>, StoreError> {
    Ok(mean(row.get("quality_sum")?, row.count("quality_count")?))
}

fn latency(row: &Row) -> Result<Latency, StoreError> {
    let bins = |prefix: &str| {
        let bin = |at: usize| row.count(&format!("{prefix}_{at:02}"));
        (0..=LATENCY_EDGES.len()).map(bin).collect::<Result<Vec<_>, _>>()
    };
    let (median, tail) = (bins("median")?, bins("tail")?);
    Ok(Latency {
        latency_mean_ms: mean(row.get("latency_sum")?, row.count("latency_count")?),
        latency_p50_ms: percentile(&median, &LATENCY_EDGES, 0.50),
        latency_p95_ms: percentile(&tail, &LATENCY_EDGES, 0.95),
        latency_p99_ms: percentile(&tail, &LATENCY_EDGES, 0.99),
    })
}

/// Where the share `p` of what the bins count lies below; straight within a bin. `None` when nothing was counted.
fn percentile(bins: &[u64], edges: &[f64], p: f64) -> Option<f64> {
    let total: u64 = bins.iter().sum();
    if total == 0 {
        return None;
    }
    let wanted = p * total as f64;
    let mut below = 0.0;
    for (at, count) in bins.iter().enumerate() {
        let count = *count as f64;
        if count > 0.0 && below + count >= wanted {
            let from = if at == 0 { 0.0 } else { edges[at - 1] };
            let Some(to) = edges.get(at) else {
                return Some(from);
            };
            return Some(from + (to - from) * ((wanted - below) / count).clamp(0.0, 1.0));
        }
        below += count;
    }
    edges.last().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_lies_in_the_bin_that_holds_it() {
        let edges = [1.0, 2.0, 4.0];
        assert_eq!(percentile(&[0, 0, 0, 0], &edges, 0.5), None);
        assert_eq!(percentile(&[10, 0, 0, 0], &edges, 0.5), Some(0.5));
        assert_eq!(percentile(&[50, 0, 50, 0], &edges, 0.75), Some(3.0));
        assert_eq!(percentile(&[0, 0, 0, 9], &edges, 0.99), Some(4.0));
    }
}
