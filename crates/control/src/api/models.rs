//! Models: what is installed, and how each performed.

use std::sync::Arc;

use auralink_store::ModelPerformance;
use auralink_types::Media;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use serde::Serialize;
use utoipa::ToSchema;

use super::Answer;
use super::config::UserParam;
use super::metrics::DaysParam;
use super::performance::{LatencyAnswer, TrafficAnswer};
use crate::Shared;

/// One model that the server can code with.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = Model)]
pub struct InstalledModel {
    /// Family, as `model_type` of a configuration names it.
    pub model_type: String,
    /// Name and id.
    pub model_version: String,
    /// Kind of media.
    pub media: Media,
    /// Hash of its weights; absent when there are none.
    pub sha256: Option<String>,
}

/// The models installed.
#[derive(Serialize, ToSchema)]
#[schema(as = Models)]
pub(crate) struct ModelsAnswer {
    models: Vec<InstalledModel>,
}

/// Models installed
#[utoipa::path(
    get, path = "/models", operation_id = "list_models", tag = "figures", security(("token" = [])), params(UserParam),
    responses((status = 200, description = "The models", body = ModelsAnswer)),
)]
pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: Uri,
) -> Answer<ModelsAnswer> {
    shared.enter(&headers, &uri, &[])?;
    Ok(Json(ModelsAnswer {
        models: shared.state.models.clone(),
    }))
}

/// How one model or rung performed.
#[derive(Serialize, ToSchema)]
#[schema(as = ModelPerformance)]
struct ModelPerformanceAnswer {
    /// Rung or model.
    model: String,
    media: Media,
    traffic: TrafficAnswer,
    avg_quality_score: Option<f64>,
    inference_latency: LatencyAnswer,
    fallbacks: u64,
}

impl From<ModelPerformance> for ModelPerformanceAnswer {
    fn from(found: ModelPerformance) -> Self {
        Self {
            model: found.model,
            media: found.media,
            traffic: found.traffic.into(),
            avg_quality_score: found.quality_mean,
            inference_latency: found.latency.into(),
            fallbacks: found.fallbacks,
        }
    }
}

/// How each model performed.
#[derive(Serialize, ToSchema)]
#[schema(as = ModelPerformances)]
pub(crate) struct ModelPerformancesAnswer {
    models: Vec<ModelPerformanceAnswer>,
    period_days: u32,
}

/// How each model performed over the last days
#[utoipa::path(
    get, path = "/models/performance", operation_id = "get_model_performance", tag = "figures",
    security(("token" = [])), params(UserParam, DaysParam),
    responses((status = 200, description = "One entry for each model in use", body = ModelPerformancesAnswer)),
)]
pub(crate) async fn performance(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: Uri,
) -> Answer<ModelPerformancesAnswer> {
    let ask = shared.enter(&headers, &uri, &["days"])?;
    let found = ask.scope.model_performance(&ask.params.span(ask.now)?).await?;
    Ok(Json(ModelPerformancesAnswer {
        models: found.into_iter().map(ModelPerformanceAnswer::from).collect(),
        period_days: ask.params.days()?,
    }))
}
