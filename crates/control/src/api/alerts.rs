//! Alerts: what was raised, and who has seen it.

use std::sync::Arc;

use auralink_store::{Alert, AlertQuery, AlertState, Severity, Timestamp};
use auralink_types::AlertKind;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use serde::Serialize;
use utoipa::ToSchema;

use super::config::UserParam;
use super::metrics::PageParam;
use super::{Answer, Part, part};
use crate::Shared;

/// One alert.
#[derive(Serialize, ToSchema)]
#[schema(as = Alert)]
pub(crate) struct AlertAnswer {
    alert_id: String,
    /// `fallback_rate`, `quality`, `latency`, `error_budget` or `capacity`.
    #[schema(value_type = String)]
    kind: AlertKind,
    /// `info`, `warning` or `critical`.
    #[schema(value_type = String)]
    severity: Severity,
    message: String,
    /// The figure that raised it.
    value: f64,
    /// Its limit.
    threshold: f64,
    /// Whom it is about; `null` when it is about the whole tenant.
    user_id: Option<String>,
    session_id: Option<String>,
    /// How often it was raised since it is open.
    count: u64,
    #[schema(format = DateTime)]
    raised_at: String,
    #[schema(format = DateTime)]
    last_seen_at: String,
    /// `null` while it is open.
    #[schema(format = DateTime)]
    cleared_at: Option<String>,
    /// `null` until somebody acknowledged it.
    #[schema(format = DateTime)]
    acked_at: Option<String>,
    acked_by: Option<String>,
}

impl From<Alert> for AlertAnswer {
    fn from(alert: Alert) -> Self {
        Self {
            alert_id: alert.alert_id,
            kind: alert.kind,
            severity: alert.severity,
            message: alert.message,
            value: alert.value,
            threshold: alert.threshold,
            user_id: alert.user_id.map(|user| user.to_string()),
            session_id: alert.session_id.map(|session| session.to_string()),
            count: alert.count,
            raised_at: alert.raised_at.rfc3339(),
            last_seen_at: alert.last_seen_at.rfc3339(),
            cleared_at: alert.resolved_at.map(Timestamp::rfc3339),
            acked_at: alert.acked_at.map(Timestamp::rfc3339),
            acked_by: alert.acked_by.map(|user| user.to_string()),
        }
    }
}

/// One page of alerts, newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = AlertPage)]
pub(crate) struct AlertsAnswer {
    alerts: Vec<AlertAnswer>,
    /// What `cursor` of the next request should be; `null` on the last page.
    next_cursor: Option<String>,
}

/// Which alerts.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)] // describes parameters that `Params` reads
pub(crate) struct AlertParams {
    /// Open or cleared ones only.
    #[param(pattern = "^(open|cleared)$")]
    state: Option<String>,
    /// Only those that nobody has acknowledged.
    unacked: Option<bool>,
    /// Of this kind only.
    #[param(pattern = "^(fallback_rate|quality|latency|error_budget|capacity)$")]
    kind: Option<String>,
}

/// Alerts, newest first
#[utoipa::path(
    get, path = "/alerts", operation_id = "list_alerts", tag = "alerts", security(("token" = [])),
    params(UserParam, AlertParams, PageParam),
    responses((status = 200, description = "One page", body = AlertsAnswer)),
)]
pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: Uri,
) -> Answer<AlertsAnswer> {
    let ask = shared.enter(&headers, &uri, &["state", "unacked", "kind", "limit", "cursor"])?;
    let params = &ask.params;
    let state = |text: &str| match text {
        "open" => Some(AlertState::Open),
        "cleared" => Some(AlertState::Resolved),
        _ => None,
    };
    let query = AlertQuery {
        state: params.name("state", state, "open, cleared")?,
        unacked: params.flag("unacked")?,
        kind: params.name(
            "kind",
            AlertKind::parse,
            "fallback_rate, quality, latency, error_budget, capacity",
        )?,
        cursor: params.cursor()?,
        limit: params.limit()?,
    };
    let page = ask.scope.alerts(&query).await?;
    Ok(Json(AlertsAnswer {
        alerts: page.rows.into_iter().map(AlertAnswer::from).collect(),
        next_cursor: page.next.map(|cursor| cursor.to_string()),
    }))
}

/// Acknowledges an alert
///
/// Acknowledging again changes nothing: the first to do it stays.
#[utoipa::path(
    post, path = "/alerts/{alert_id}/ack", operation_id = "acknowledge_alert", tag = "alerts", security(("token" = [])),
    params(("alert_id" = String, Path, description = "Its id"), UserParam),
    responses((status = 200, description = "The alert", body = AlertAnswer)),
)]
pub(crate) async fn acknowledge(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: Uri,
    id: Part,
) -> Answer<AlertAnswer> {
    let ask = shared.enter(&headers, &uri, &[])?;
    Ok(Json(ask.scope.acknowledge(&part(id)?, ask.now).await?.into()))
}
