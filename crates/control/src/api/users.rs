//! Everything about one user: taking it along, and having it deleted (GDPR articles 15, 17 and 20).

use std::io;
use std::sync::Arc;

use auralink_store::{Actor, StoreError};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, stream};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinError;
use utoipa::ToSchema;

use super::{Answer, Part, part};
use crate::Shared;
use crate::problem::Problem;

/// Lines that may wait for a slow reader; the export waits with them.
const LINES: usize = 256;

/// Everything the server has about a user
///
/// One JSON object a line: `{"table": …, "row": {…}}`. Users themselves or an operator.
#[utoipa::path(
    get, path = "/users/{user_id}/export", operation_id = "export_user", tag = "privacy", security(("token" = [])),
    params(("user_id" = String, Path, description = "The user", min_length = 1, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")),
    responses((status = 200, description = "Every row", body = String, content_type = "application/x-ndjson")),
)]
pub(crate) async fn export(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: Uri,
    user: Part,
) -> Result<Response, Problem> {
    let mut ask = shared.enter(&headers, &uri, &[])?;
    ask.about(&part(user)?)?;
    let (lines, mut written) = mpsc::channel::<String>(LINES);
    let scope = ask.scope;
    let export = tokio::spawn(async move { scope.export(lines).await });
    // The first line, or its absence, tells whether the database answers: after it the status cannot change.
    let Some(first) = written.recv().await else {
        ended(export.await)?;
        return Ok(ndjson(Body::empty()));
    };
    let rest = stream::unfold(Some((written, export)), |state| async move {
        let (mut written, export) = state?;
        if let Some(line) = written.recv().await {
            return Some((Ok(line), Some((written, export))));
        }
        // An export that broke off must not look whole: the connection is cut.
        let broken = ended(export.await).err()?;
        tracing::warn!(?broken, "an export broke off");
        Some((Err(io::Error::other("the export broke off")), None))
    });
    let lines = stream::once(async move { Ok(first) }).chain(rest);
    Ok(ndjson(Body::from_stream(lines)))
}

fn ended(export: Result<Result<u64, StoreError>, JoinError>) -> Result<u64, Problem> {
    let lines = export.map_err(|error| {
        tracing::error!(%error, "export failed");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the export failed")
    })??;
    Ok(lines)
}

fn ndjson(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

/// What was deleted.
#[derive(Serialize, ToSchema)]
#[schema(as = Erased)]
pub(crate) struct ErasedAnswer {
    /// Rows of all tables.
    rows: u64,
}

/// Deletes everything the server has about a user
///
/// Their media are no longer touched by AIC. Doing it again finds nothing and succeeds. Users themselves or an operator.
#[utoipa::path(
    delete, path = "/users/{user_id}", operation_id = "erase_user", tag = "privacy", security(("token" = [])),
    params(("user_id" = String, Path, description = "The user", min_length = 1, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")),
    responses((status = 200, description = "It is gone", body = ErasedAnswer)),
)]
pub(crate) async fn erase(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: Uri,
    user: Part,
) -> Answer<ErasedAnswer> {
    let mut ask = shared.enter(&headers, &uri, &[])?;
    let owner = ask.about(&part(user)?)?;
    let shared = Arc::clone(&shared);
    // A task of its own: a caller who hangs up must not leave a deleted policy in the book.
    let task = tokio::spawn(async move {
        let erased = ask.scope.erase(ask.now).await?;
        // It may have taken long, and others' turns come first; whoever was erased may have come back meanwhile.
        let _turn = shared.state.turn.take().await;
        let themselves = Actor {
            key: owner.clone(),
            operator: false,
        };
        let back = shared.state.store.as_user(themselves).config().await?;
        if back.is_none() {
            shared.state.book.remove(&owner);
        }
        Ok::<_, Problem>(erased)
    });
    let erased = task.await.map_err(|error| {
        tracing::error!(%error, "deletion failed");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the deletion failed")
    })??;
    Ok(Json(ErasedAnswer { rows: erased.rows }))
}
