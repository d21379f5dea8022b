//! How AIC performed: the summary, its course over time, and each model's part in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use auralink_store::{Latency, PerformancePoint, PerformanceSummary, Span, Step, Traffic};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use serde::Serialize;
use utoipa::ToSchema;

use super::Answer;
use super::config::UserParam;
use super::metrics::DaysParam;
use crate::Shared;

/// Traffic with and without AIC.
#[derive(Serialize, ToSchema)]
#[schema(as = Traffic)]
pub(crate) struct TrafficAnswer {
    /// Seconds of tracks.
    seconds: u64,
    frames: u64,
    /// 10⁶ bytes that would have flowed without AIC.
    original_mb: f64,
    /// 10⁶ bytes that did flow.
    compressed_mb: f64,
    saved_mb: f64,
    /// Weighted by traffic.
    avg_savings_percent: f64,
}

impl From<Traffic> for TrafficAnswer {
    fn from(traffic: Traffic) -> Self {
        Self {
            seconds: traffic.seconds,
            frames: traffic.frames,
            original_mb: traffic.original_kbit / 8000.0,
            compressed_mb: traffic.compressed_kbit / 8000.0,
            saved_mb: traffic.saved_mb(),
            avg_savings_percent: traffic.saved_percent(),
        }
    }
}

/// Time frames spent in compression, milliseconds; `null` when none was compressed.
#[derive(Serialize, ToSchema)]
#[schema(as = Latency)]
pub(crate) struct LatencyAnswer {
    mean_ms: Option<f64>,
    p50_ms: Option<f64>,
    p95_ms: Option<f64>,
    p99_ms: Option<f64>,
}

impl From<Latency> for LatencyAnswer {
    fn from(latency: Latency) -> Self {
        Self {
            mean_ms: latency.latency_mean_ms,
            p50_ms: latency.latency_p50_ms,
            p95_ms: latency.latency_p95_ms,
            p99_ms: latency.latency_p99_ms,
        }
    }
}

/// Everything about a period in one answer.
#[derive(Serialize, ToSchema)]
#[schema(as = PerformanceSummary)]
pub(crate) struct SummaryAnswer {
    sessions: u64,
    traffic: TrafficAnswer,
    avg_quality_score: Option<f64>,
    inference_latency: LatencyAnswer,
    fallbacks: u64,
    /// Fallbacks for each second of a track.
    fallback_rate: f64,
    fallbacks_by_reason: BTreeMap<&'static str, u64>,
    #[schema(format = DateTime)]
    from: String,
    #[schema(format = DateTime)]
    to: String,
    period_days: u32,
}

impl SummaryAnswer {
    fn new(
        found: PerformanceSummary,
        reasons: Vec<(auralink_types::Reason, u64)>,
        span: &Span,
        period_days: u32,
    ) -> Self {
        Self {
            sessions: found.sessions,
            traffic: found.traffic.into(),
            avg_quality_score: found.quality_mean,
            inference_latency: found.latency.into(),
            fallbacks: found.fallbacks,
            fallback_rate: found.fallback_rate,
            fallbacks_by_reason: reasons
                .into_iter()
                .map(|(reason, count)| (reason.as_str(), count))
                .collect(),
            from: span.from.rfc3339(),
            to: span.to.rfc3339(),
            period_days,
        }
    }
}

/// Summary of the last days
#[utoipa::path(
    get, path = "/performance/summary", operation_id = "get_performance_summary", tag = "figures",
    security(("token" = [])), params(UserParam, DaysParam),
    responses((status = 200, description = "The summary", body = SummaryAnswer)),
)]
pub(crate) async fn summary(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: Uri,
) -> Answer<SummaryAnswer> {
    let ask = shared.enter(&headers, &uri, &["days"])?;
    let span = ask.params.span(ask.now)?;
    let found = ask.scope.performance_summary(&span).await?;
    let reasons = ask.scope.fallbacks_by_reason(&span).await?;
    Ok(Json(SummaryAnswer::new(
        found,
        reasons,
        &span,
        ask.params.days()?,
    )))
}

/// Figures of one hour or day.
#[derive(Serialize, ToSchema)]
#[schema(as = PerformancePoint)]
pub(crate) struct PointAnswer {
    /// Its begin.
    #[schema(format = DateTime)]
    at: String,
    traffic: TrafficAnswer,
    avg_quality_score: Option<f64>,
    fallbacks: u64,
}

impl From<PerformancePoint> for PointAnswer {
    fn from(point: PerformancePoint) -> Self {
        Self {
            at: point.at.rfc3339(),
            traffic: point.traffic.into(),
            avg_quality_score: point.quality_mean,
            fallbacks: point.fallbacks,
        }
    }
}

/// The course of a period.
#[derive(Serialize, ToSchema)]
#[schema(as = PerformanceSeries)]
pub(crate) struct SeriesAnswer {
    points: Vec<PointAnswer>,
}

/// Which steps.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)] // describes a parameter that `Params` reads
pub(crate) struct StepParam {
    /// Length of one step; `day` when left out.
    #[param(pattern = "^(hour|day)$")]
    step: Option<String>,
}

/// Figures of the last days, hour by hour or day by day
#[utoipa::path(
    get, path = "/performance/series", operation_id = "get_performance_series", tag = "figures",
    security(("token" = [])), params(UserParam, DaysParam, StepParam),
    responses((status = 200, description = "Oldest first", body = SeriesAnswer)),
)]
pub(crate) async fn series(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: Uri,
) -> Answer<SeriesAnswer> {
    let ask = shared.enter(&headers, &uri, &["days", "step"])?;
    let read = |text: &str| match text {
        "hour" => Some(Step::Hour),
        "day" => Some(Step::Day),
        _ => None,
    };
    let step = ask.params.name("step", read, "hour, day")?.unwrap_or(Step::Day);
    let found = ask
        .scope
        .performance_series(&ask.params.span(ask.now)?, step)
        .await?;
    Ok(Json(SeriesAnswer {
        points: found.into_iter().map(PointAnswer::from).collect(),
    }))
}
