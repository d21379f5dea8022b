//! AIC sessions: one published track under AIC in one call.

use std::sync::Arc;

use auralink_store::{Page, SessionQuery, StoredSession, Timestamp};
use auralink_types::{Media, SessionId};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use serde::Serialize;
use utoipa::ToSchema;

use super::config::UserParam;
use super::metrics::{CallParam, PageParam, SpanParam};
use super::{Answer, Part, missing, part};
use crate::Shared;

/// Bytes of one kilobit.
const BYTES_PER_KBIT: f64 = 125.0;

/// One session with its totals.
#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
pub(crate) struct SessionAnswer {
    session_id: String,
    call_id: String,
    track_id: String,
    user_id: String,
    media: Media,
    #[schema(format = DateTime)]
    started_at: String,
    /// `null` while it lives.
    #[schema(format = DateTime)]
    ended_at: Option<String>,
    frames: u64,
    original_bytes: u64,
    compressed_bytes: u64,
    bandwidth_savings_percent: f64,
    /// Mean over the seconds that were measured.
    quality_score: Option<f64>,
    fallbacks: u64,
}

impl From<StoredSession> for SessionAnswer {
    fn from(session: StoredSession) -> Self {
        let bytes = |kbit: f64| (kbit * BYTES_PER_KBIT).round() as u64;
        Self {
            session_id: session.session_id.to_string(),
            call_id: session.call_id.to_string(),
            track_id: session.track_id.to_string(),
            user_id: session.owner.user.to_string(),
            media: session.media,
            started_at: session.started_at.rfc3339(),
            ended_at: session.ended_at.map(Timestamp::rfc3339),
            frames: session.traffic.frames,
            original_bytes: bytes(session.traffic.original_kbit),
            compressed_bytes: bytes(session.traffic.compressed_kbit),
            bandwidth_savings_percent: session.traffic.saved_percent(),
            quality_score: session.quality_score,
            fallbacks: session.fallbacks,
        }
    }
}

/// One page of sessions, newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = SessionPage)]
pub(crate) struct SessionsAnswer {
    sessions: Vec<SessionAnswer>,
    /// What `cursor` of the next request should be; `null` on the last page.
    next_cursor: Option<String>,
}

impl From<Page<StoredSession>> for SessionsAnswer {
    fn from(page: Page<StoredSession>) -> Self {
        Self {
            sessions: page.rows.into_iter().map(SessionAnswer::from).collect(),
            next_cursor: page.next.map(|cursor| cursor.to_string()),
        }
    }
}

/// Sessions, newest first
#[utoipa::path(
    get, path = "/sessions", operation_id = "list_sessions", tag = "figures", security(("token" = [])),
    params(UserParam, CallParam, SpanParam, PageParam),
    responses((status = 200, description = "One page", body = SessionsAnswer)),
)]
pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: Uri,
) -> Answer<SessionsAnswer> {
    let known = ["call_id", "limit", "from", "to", "cursor"];
    let ask = shared.enter(&headers, &uri, &known)?;
    let params = &ask.params;
    let query = SessionQuery {
        call_id: params.call()?,
        from: params.time("from")?,
        to: params.time("to")?,
        cursor: params.cursor()?,
        limit: params.limit()?,
    };
    Ok(Json(ask.scope.sessions(&query).await?.into()))
}

/// One session
#[utoipa::path(
    get, path = "/sessions/{session_id}", operation_id = "get_session", tag = "figures", security(("token" = [])),
    params(("session_id" = String, Path, description = "Its id (`AS_…`)"), UserParam),
    responses((status = 200, description = "The session", body = SessionAnswer)),
)]
pub(crate) async fn get(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: Uri,
    id: Part,
) -> Answer<SessionAnswer> {
    let ask = shared.enter(&headers, &uri, &[])?;
    // Somebody else's session looks like none at all.
    let found = ask.scope.session(&SessionId::from(part(id)?)).await?;
    Ok(Json(found.ok_or_else(|| missing("session"))?.into()))
}
