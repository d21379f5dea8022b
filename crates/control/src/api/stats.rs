//! Statistics over days: what was saved, how it sounded.

use std::sync::Arc;

use auralink_store::{BandwidthSavings, QualityDistribution};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use serde::Serialize;
use utoipa::ToSchema;

use super::Answer;
use super::config::UserParam;
use super::metrics::DaysParam;
use crate::Shared;

/// What was saved, and what that was worth. Negative when AIC cost more than it saved.
#[derive(Serialize, ToSchema)]
#[schema(as = BandwidthSavings)]
pub(crate) struct SavingsAnswer {
    /// 10⁶ bytes.
    total_saved_mb: f64,
    /// 10⁹ bytes.
    total_saved_gb: f64,
    /// Weighted by traffic.
    avg_savings_percent: f64,
    total_frames: u64,
    estimated_cost_savings_usd: f64,
    price_per_gb: f64,
    period_days: u32,
}

impl From<BandwidthSavings> for SavingsAnswer {
    fn from(savings: BandwidthSavings) -> Self {
        Self {
            total_saved_mb: savings.total_saved_mb,
            total_saved_gb: savings.total_saved_gb,
            avg_savings_percent: savings.avg_savings_percent,
            total_frames: savings.total_frames,
            estimated_cost_savings_usd: savings.estimated_cost_savings_usd,
            price_per_gb: savings.price_per_gb,
            period_days: savings.period_days,
        }
    }
}

/// What was saved over the last days
#[utoipa::path(
    get, path = "/stats/bandwidth-savings", operation_id = "get_bandwidth_savings", tag = "figures",
    security(("token" = [])), params(UserParam, DaysParam),
    responses((status = 200, description = "Sums over the period", body = SavingsAnswer)),
)]
pub(crate) async fn bandwidth_savings(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: Uri,
) -> Answer<SavingsAnswer> {
    savings(&shared, &headers, &uri).await
}

/// What was saved over the last days (short address)
#[utoipa::path(
    get, path = "/bandwidth-savings", operation_id = "get_bandwidth_savings_short", tag = "figures",
    security(("token" = [])), params(UserParam, DaysParam),
    responses((status = 200, description = "Sums over the period", body = SavingsAnswer)),
)]
pub(crate) async fn bandwidth_savings_short(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: Uri,
) -> Answer<SavingsAnswer> {
    savings(&shared, &headers, &uri).await
}

async fn savings(shared: &Shared, headers: &HeaderMap, uri: &Uri) -> Answer<SavingsAnswer> {
    let ask = shared.enter(headers, uri, &["days"])?;
    let days = ask.params.days()?;
    let savings = ask
        .scope
        .bandwidth_savings(days, shared.state.price_per_gb)
        .await?;
    Ok(Json(savings.into()))
}

/// How the quality scores are spread.
#[derive(Serialize, ToSchema)]
#[schema(as = QualityDistribution)]
pub(crate) struct QualityAnswer {
    bins: Vec<QualityBinAnswer>,
    /// Seconds that have a score.
    measured_seconds: u64,
    mean: Option<f64>,
    period_days: u32,
}

/// Seconds whose score is in one range.
#[derive(Serialize, ToSchema)]
#[schema(as = QualityBin)]
struct QualityBinAnswer {
    /// From this score on.
    from: f64,
    /// Below this one; the last range holds it.
    to: f64,
    seconds: u64,
    /// Share of the seconds measured; 0 when there are none.
    share: f64,
}

impl QualityAnswer {
    fn new(found: QualityDistribution, period_days: u32) -> Self {
        let all = found.measured_seconds.max(1) as f64;
        let bins = found.bins.into_iter().map(|bin| QualityBinAnswer {
            from: bin.from,
            to: bin.to,
            seconds: bin.seconds,
            share: bin.seconds as f64 / all,
        });
        Self {
            bins: bins.collect(),
            measured_seconds: found.measured_seconds,
            mean: found.mean,
            period_days,
        }
    }
}

/// How the quality scores of the last days are spread
#[utoipa::path(
    get, path = "/stats/quality-distribution", operation_id = "get_quality_distribution", tag = "figures",
    security(("token" = [])), params(UserParam, DaysParam),
    responses((status = 200, description = "Seconds by score", body = QualityAnswer)),
)]
pub(crate) async fn quality_distribution(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: Uri,
) -> Answer<QualityAnswer> {
    let ask = shared.enter(&headers, &uri, &["days"])?;
    let found = ask.scope.quality_distribution(&ask.params.span(ask.now)?).await?;
    Ok(Json(QualityAnswer::new(found, ask.params.days()?)))
}
