//! What became of events on their way to an endpoint, and sending them again. Operators only.

use std::sync::Arc;

use auralink_store::{DeliveryQuery, DeliveryRecord, DeliveryState, Timestamp};
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Uri};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::config::UserParam;
use super::metrics::PageParam;
use super::{Answer, Part, missing, part};
use crate::Shared;
use crate::body;
use crate::problem::Problem;
use crate::webhook::event;

/// One event on its way to one endpoint.
#[derive(Serialize, ToSchema)]
#[schema(as = Delivery)]
struct DeliveryAnswer {
    delivery_id: i64,
    event: String,
    /// Order is kept among those of one subject.
    subject: String,
    /// `pending`, `delivered` or `lost`.
    state: &'static str,
    attempts: u32,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    next_attempt_at: String,
    #[schema(format = DateTime)]
    delivered_at: Option<String>,
    last_error: Option<String>,
}

impl From<DeliveryRecord> for DeliveryAnswer {
    fn from(record: DeliveryRecord) -> Self {
        Self {
            delivery_id: record.delivery_id,
            event: event::public(&record.event).to_owned(),
            subject: record.subject,
            state: match record.state {
                DeliveryState::Pending => "pending",
                DeliveryState::Delivered => "delivered",
                DeliveryState::Lost => "lost",
            },
            attempts: record.attempts,
            created_at: record.created_at.rfc3339(),
            next_attempt_at: record.next_attempt_at.rfc3339(),
            delivered_at: record.delivered_at.map(Timestamp::rfc3339),
            last_error: record.last_error,
        }
    }
}

/// One page of deliveries, newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = DeliveryPage)]
pub(crate) struct DeliveriesAnswer {
    deliveries: Vec<DeliveryAnswer>,
    /// What `cursor` of the next request should be; `null` on the last page.
    next_cursor: Option<String>,
}

/// Which deliveries.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)] // describes a parameter that `Params` reads
pub(crate) struct DeliveryParams {
    /// In this state only.
    #[param(pattern = "^(pending|delivered|lost)$")]
    state: Option<String>,
}

/// What was sent to an endpoint, newest first
///
/// Operators only.
#[utoipa::path(
    get, path = "/webhooks/{webhook_id}/deliveries", operation_id = "list_deliveries", tag = "webhooks",
    security(("token" = [])),
    params(("webhook_id" = String, Path, description = "The endpoint's id"), UserParam, DeliveryParams, PageParam),
    responses((status = 200, description = "One page", body = DeliveriesAnswer)),
)]
pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: Uri,
    id: Part,
) -> Answer<DeliveriesAnswer> {
    let ask = shared.enter(&headers, &uri, &["state", "limit", "cursor"])?;
    ask.operator()?;
    let id = part(id)?;
    ask.scope.endpoint(&id).await?;
    let state = |text: &str| match text {
        "pending" => Some(DeliveryState::Pending),
        "delivered" => Some(DeliveryState::Delivered),
        "lost" => Some(DeliveryState::Lost),
        _ => None,
    };
    let query = DeliveryQuery {
        endpoint_id: Some(id),
        state: ask.params.name("state", state, "pending, delivered, lost")?,
        cursor: ask.params.cursor()?,
        limit: ask.params.limit()?,
    };
    let page = ask.scope.deliveries(&query).await?;
    Ok(Json(DeliveriesAnswer {
        deliveries: page.rows.into_iter().map(DeliveryAnswer::from).collect(),
        next_cursor: page.next.map(|cursor| cursor.to_string()),
    }))
}

/// From where on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Replay)]
pub(crate) struct ReplayBody {
    /// Events made at this time or later, RFC 3339.
    #[schema(format = DateTime)]
    from: String,
}

/// How many go out again.
#[derive(Serialize, ToSchema)]
#[schema(as = Replayed)]
pub(crate) struct ReplayedAnswer {
    replayed: u64,
}

/// Sends events again, in order
///
/// Delivered and lost ones since a time. Each keeps its id, so that a receiver knows what it has had. Operators only.
#[utoipa::path(
    post, path = "/webhooks/{webhook_id}/replay", operation_id = "replay_webhook", tag = "webhooks",
    security(("token" = [])), params(("webhook_id" = String, Path, description = "The endpoint's id"), UserParam),
    request_body = ReplayBody,
    responses((status = 200, description = "They are on their way", body = ReplayedAnswer)),
)]
pub(crate) async fn replay(
    State(shared): State<Arc<Shared>>,
    id: Part,
    request: Request,
) -> Answer<ReplayedAnswer> {
    let ask = shared.enter(request.headers(), request.uri(), &[])?;
    ask.operator()?;
    let id = part(id)?;
    let body: ReplayBody = body::json(request).await?;
    let from = Timestamp::parse_rfc3339(&body.from)
        .ok_or_else(|| Problem::invalid("from", "must be a time in RFC 3339"))?;
    let replayed = ask.scope.replay_since(&id, from, ask.now).await?;
    Ok(Json(ReplayedAnswer { replayed }))
}

/// Sends one event again
///
/// Operators only.
#[utoipa::path(
    post, path = "/webhooks/{webhook_id}/deliveries/{delivery_id}/replay", operation_id = "replay_delivery",
    tag = "webhooks", security(("token" = [])),
    params(
        ("webhook_id" = String, Path, description = "The endpoint's id"),
        ("delivery_id" = i64, Path, description = "The delivery's id"),
        UserParam,
    ),
    responses((status = 200, description = "It is on its way", body = ReplayedAnswer)),
)]
pub(crate) async fn replay_one(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: Uri,
    ids: Result<Path<(String, String)>, PathRejection>,
) -> Answer<ReplayedAnswer> {
    let ask = shared.enter(&headers, &uri, &[])?;
    ask.operator()?;
    let Path((endpoint, delivery)) = ids.map_err(|_| missing("delivery"))?;
    let endpoint = part(Ok(Path(endpoint)))?;
    let delivery: i64 = delivery.parse().map_err(|_| missing("delivery"))?;
    ask.scope.endpoint(&endpoint).await?;
    ask.scope.replay(delivery, ask.now).await?;
    Ok(Json(ReplayedAnswer { replayed: 1 }))
}
