//! Calls: one life of a room each.

use std::sync::Arc;

use auralink_store::{CallQuery, StoredCall, Timestamp};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use serde::Serialize;
use utoipa::ToSchema;

use super::Answer;
use super::config::UserParam;
use super::metrics::{PageParam, SpanParam};
use crate::Shared;

/// One call.
#[derive(Serialize, ToSchema)]
#[schema(as = Call)]
pub(crate) struct CallAnswer {
    call_id: String,
    /// Name of its room; empty when only figures of it are known.
    room: String,
    #[schema(format = DateTime)]
    started_at: String,
    /// `null` while it lives.
    #[schema(format = DateTime)]
    ended_at: Option<String>,
    /// Stays of participants in it, everybody's.
    participants: u64,
    /// AIC sessions in it that the caller may see.
    sessions: u64,
}

impl From<StoredCall> for CallAnswer {
    fn from(call: StoredCall) -> Self {
        Self {
            call_id: call.call_id.to_string(),
            room: call.room.to_string(),
            started_at: call.started_at.rfc3339(),
            ended_at: call.ended_at.map(Timestamp::rfc3339),
            participants: call.participants,
            sessions: call.sessions,
        }
    }
}

/// One page of calls, newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = CallPage)]
pub(crate) struct CallsAnswer {
    calls: Vec<CallAnswer>,
    /// What `cursor` of the next request should be; `null` on the last page.
    next_cursor: Option<String>,
}

/// Calls, newest first
#[utoipa::path(
    get, path = "/calls", operation_id = "list_calls", tag = "figures", security(("token" = [])),
    params(UserParam, SpanParam, PageParam),
    responses((status = 200, description = "One page", body = CallsAnswer)),
)]
pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: Uri,
) -> Answer<CallsAnswer> {
    let ask = shared.enter(&headers, &uri, &["limit", "from", "to", "cursor"])?;
    let query = CallQuery {
        from: ask.params.time("from")?,
        to: ask.params.time("to")?,
        cursor: ask.params.cursor()?,
        limit: ask.params.limit()?,
    };
    let page = ask.scope.calls(&query).await?;
    Ok(Json(CallsAnswer {
        calls: page.rows.into_iter().map(CallAnswer::from).collect(),
        next_cursor: page.next.map(|cursor| cursor.to_string()),
    }))
}
