//! The audit log.

use std::sync::Arc;

use auralink_store::{AuditEntry, AuditQuery};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::Answer;
use super::config::UserParam;
use super::metrics::{PageParam, SpanParam};
use crate::Shared;

/// One entry: who did what to whose data.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEntry)]
struct AuditAnswer {
    audit_id: i64,
    /// Who did it; the API key, where the token names nobody.
    actor: String,
    /// `user` or `operator`.
    actor_role: String,
    action: String,
    /// Whose data; empty when it is the tenant's.
    user_id: String,
    /// What exactly; its form depends on the action.
    #[schema(value_type = Value)]
    detail: Value,
    #[schema(format = DateTime)]
    at: String,
}

impl From<AuditEntry> for AuditAnswer {
    fn from(entry: AuditEntry) -> Self {
        Self {
            audit_id: entry.audit_id,
            actor: entry.actor,
            actor_role: entry.actor_role,
            action: entry.action,
            user_id: entry.user_id,
            detail: entry.detail,
            at: entry.at.rfc3339(),
        }
    }
}

/// One page of the log, newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditPage)]
pub(crate) struct AuditPageAnswer {
    entries: Vec<AuditAnswer>,
    /// What `cursor` of the next request should be; `null` on the last page.
    next_cursor: Option<String>,
}

/// The audit log, newest first
///
/// Changes of configurations, webhooks and experiments, exports, deletions, and operators' reads of users' data.
/// Operators only.
#[utoipa::path(
    get, path = "/audit", operation_id = "list_audit", tag = "privacy", security(("token" = [])),
    params(UserParam, SpanParam, PageParam),
    responses((status = 200, description = "One page", body = AuditPageAnswer)),
)]
pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: Uri,
) -> Answer<AuditPageAnswer> {
    let ask = shared.enter(&headers, &uri, &["limit", "from", "to", "cursor"])?;
    ask.operator()?;
    let query = AuditQuery {
        from: ask.params.time("from")?,
        to: ask.params.time("to")?,
        cursor: ask.params.cursor()?,
        limit: ask.params.limit()?,
    };
    let page = ask.scope.audit(&query).await?;
    Ok(Json(AuditPageAnswer {
        entries: page.rows.into_iter().map(AuditAnswer::from).collect(),
        next_cursor: page.next.map(|cursor| cursor.to_string()),
    }))
}
