//! Metric rows.

use std::sync::Arc;

use auralink_store::{MetricPage, MetricQuery, StoredMetric, Timestamp};
use auralink_types::{Media, NetworkClass, QualityMetric, Reason, SavingsBasis};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use serde::Serialize;
use utoipa::ToSchema;

use super::Answer;
use super::config::UserParam;
use crate::Shared;
use crate::params::Params;
use crate::problem::Problem;

/// One page of rows, newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = MetricPage)]
pub(crate) struct MetricsAnswer {
    metrics: Vec<MetricAnswer>,
    /// What `cursor` of the next request should be; `null` on the last page.
    next_cursor: Option<String>,
}

impl From<MetricPage> for MetricsAnswer {
    fn from(page: MetricPage) -> Self {
        Self {
            metrics: page.rows.into_iter().map(MetricAnswer::from).collect(),
            next_cursor: page.next.map(|cursor| cursor.to_string()),
        }
    }
}

/// One second of one published track.
#[derive(Serialize, ToSchema)]
#[schema(as = Metric)]
struct MetricAnswer {
    metric_id: i64,
    call_id: String,
    session_id: String,
    track_id: String,
    user_id: String,
    /// End of the second.
    #[schema(format = DateTime)]
    ts: String,
    media: Media,
    /// Whole-wire rate that would have flowed without AIC.
    original_bandwidth_kbps: f64,
    /// Whole-wire rate that did flow.
    compressed_bandwidth_kbps: f64,
    /// Share saved; negative when AIC cost more than it saved.
    compression_ratio: f64,
    bandwidth_savings_percent: f64,
    savings_basis: SavingsBasis,
    /// Median time a frame spent in compression.
    inference_latency_ms: Option<f64>,
    inference_latency_p99_ms: Option<f64>,
    quality_score: Option<f64>,
    quality_metric: QualityMetric,
    psnr_db: Option<f64>,
    /// Quality score that was expected of the rung in use before this second was measured.
    predicted_quality_score: Option<f64>,
    /// Share that the rung was expected to save on its listeners' legs.
    predicted_compression_ratio: Option<f64>,
    /// How far measurements of this track back the two, 0 to 1.
    prediction_confidence: Option<f64>,
    /// Rung or model in use.
    model_used: String,
    /// Frames that passed.
    frames: u64,
    fallback_triggered: bool,
    fallback_reason: Option<Reason>,
    network_class: NetworkClass,
}

impl From<StoredMetric> for MetricAnswer {
    fn from(StoredMetric { metric_id, row }: StoredMetric) -> Self {
        Self {
            metric_id,
            compression_ratio: row.compression_ratio(),
            bandwidth_savings_percent: row.bandwidth_savings_percent(),
            call_id: row.call_id.to_string(),
            session_id: row.session_id.to_string(),
            track_id: row.track_id.to_string(),
            user_id: row.owner.user.to_string(),
            ts: Timestamp::from_micros(row.ts_us).rfc3339(),
            media: row.media,
            original_bandwidth_kbps: row.original_bandwidth_kbps,
            compressed_bandwidth_kbps: row.compressed_bandwidth_kbps,
            savings_basis: row.savings_basis,
            inference_latency_ms: row.inference_latency_ms,
            inference_latency_p99_ms: row.inference_latency_p99_ms,
            quality_score: row.quality_score,
            quality_metric: row.quality_metric,
            psnr_db: row.psnr_db,
            predicted_quality_score: row.prediction.map(|it| it.quality_score),
            predicted_compression_ratio: row.prediction.map(|it| it.compression_ratio),
            prediction_confidence: row.prediction.map(|it| it.confidence),
            model_used: row.model_used,
            frames: row.frames,
            fallback_triggered: row.fallback_triggered,
            fallback_reason: row.fallback_reason,
            network_class: row.network_class,
        }
    }
}

/// Metric rows, newest first
#[utoipa::path(
    get, path = "/metrics", operation_id = "list_metrics", tag = "figures", security(("token" = [])),
    params(UserParam, CallParam, SpanParam, MetricPageParam),
    responses((status = 200, description = "One page", body = MetricsAnswer)),
)]
pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: Uri,
) -> Answer<MetricsAnswer> {
    let known = ["call_id", "limit", "from", "to", "cursor"];
    let ask = shared.enter(&headers, &uri, &known)?;
    let page = ask.scope.metrics(&query(&ask.params)?).await?;
    Ok(Json(page.into()))
}

fn query(params: &Params) -> Result<MetricQuery, Problem> {
    Ok(MetricQuery {
        call_id: params.call()?,
        from: params.time("from")?,
        to: params.time("to")?,
        cursor: params.metric_cursor()?,
        limit: params.limit()?,
    })
}

/// Of which call.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)] // describes a parameter that `Params` reads
pub(crate) struct CallParam {
    /// Of this call only.
    #[param(max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    call_id: Option<String>,
}

/// Which span of time.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)] // describes parameters that `Params` reads
pub(crate) struct SpanParam {
    /// At this time or later, RFC 3339.
    #[param(format = DateTime)]
    from: Option<String>,
    /// Before this time, RFC 3339.
    #[param(format = DateTime)]
    to: Option<String>,
}

/// Which page of rows.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)] // describes parameters that `Params` reads
struct MetricPageParam {
    /// Rows in a page; 100 when left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(pattern = "^[0-9a-f]{1,15}\\.[0-9a-f]{1,15}$")]
    cursor: Option<String>,
}

/// Which page.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)] // describes parameters that `Params` reads
pub(crate) struct PageParam {
    /// Rows in a page; 100 when left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(pattern = "^[0-9a-f]{1,15}\\.[0-9A-Za-z_:-]{1,64}$")]
    cursor: Option<String>,
}

/// How many days back.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)] // describes a parameter that `Params` reads
pub(crate) struct DaysParam {
    /// Days up to now; 30 when left out.
    #[param(minimum = 1, maximum = 366)]
    days: Option<u32>,
}
