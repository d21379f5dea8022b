//! One function for each route.

use std::sync::Arc;
use std::time::SystemTime;

use auralink_store::{Scoped, StoredConfig};
use auralink_types::{AicConfig, ConfigChange, Media, SessionId};
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use serde_json::{Value, json};

use crate::Shared;
use crate::answer::{ConfigAnswer, MetricsAnswer, ModelAnswer, ModelsAnswer, SavingsAnswer, SessionAnswer};
use crate::body;
use crate::caller;
use crate::params::Params;
use crate::problem::Problem;

type Answer<T> = Result<Json<T>, Problem>;

/// Checks the token before anything else is looked at.
fn enter(
    shared: &Shared,
    headers: &HeaderMap,
    uri: &Uri,
    known: &[&str],
) -> Result<(Scoped, Params), Problem> {
    let actor = caller::actor(&shared.state.keys, headers, SystemTime::now())?;
    let params = Params::read(uri, known)?;
    Ok((caller::scope(&shared.state, actor, &params)?, params))
}

pub(crate) async fn get_config(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: Uri,
) -> Answer<ConfigAnswer> {
    let (scope, _) = enter(&shared, &headers, &uri, &[])?;
    let user = scope.owner()?.user;
    let stored = scope.config().await?;
    Ok(Json(ConfigAnswer::new(user, stored, &shared.state.model_version)))
}

pub(crate) async fn post_config(State(shared): State<Arc<Shared>>, request: Request) -> Answer<ConfigAnswer> {
    let (scope, _) = enter(&shared, request.headers(), request.uri(), &[])?;
    let user = scope.owner()?.user;
    let change = body::config_change(request).await?;
    // A task of its own: a caller who hangs up must not leave a committed change out of the book.
    let task = tokio::spawn(commit(Arc::clone(&shared), scope, change));
    let stored = task.await.map_err(|error| {
        tracing::error!(%error, "configuration task failed");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the change failed")
    })??;
    Ok(Json(ConfigAnswer::new(
        user,
        Some(stored),
        &shared.state.model_version,
    )))
}

async fn commit(shared: Arc<Shared>, scope: Scoped, change: ConfigChange) -> Result<StoredConfig, Problem> {
    let _turn = shared.turn.lock().await;
    let stored = scope.change_config(&change).await?;
    let policy = stored.config.policy();
    shared
        .state
        .book
        .set(stored.owner.clone(), policy)
        .map_err(|error| {
            tracing::error!(%error, "a stored configuration is not in force");
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "stored, but not in force: too many users",
            )
        })?;
    Ok(stored)
}

pub(crate) async fn metrics(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: Uri,
) -> Answer<MetricsAnswer> {
    let known = ["call_id", "limit", "from", "to", "cursor"];
    let (scope, params) = enter(&shared, &headers, &uri, &known)?;
    let page = scope.metrics(&params.metric_query()?).await?;
    Ok(Json(page.into()))
}

pub(crate) async fn session(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: Uri,
    id: Result<Path<String>, PathRejection>,
) -> Answer<SessionAnswer> {
    let (scope, _) = enter(&shared, &headers, &uri, &[])?;
    let Path(id) = id.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    // Somebody else's session looks like none at all.
    let found = scope.session(&SessionId::from(id)).await?;
    let session = found.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "no such session"))?;
    Ok(Json(session.into()))
}

pub(crate) async fn bandwidth_savings(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: Uri,
) -> Answer<SavingsAnswer> {
    let (scope, params) = enter(&shared, &headers, &uri, &["days"])?;
    let savings = scope
        .bandwidth_savings(params.days()?, shared.state.price_per_gb)
        .await?;
    Ok(Json(savings.into()))
}

pub(crate) async fn models(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: Uri,
) -> Answer<ModelsAnswer> {
    enter(&shared, &headers, &uri, &[])?;
    let speech = ModelAnswer {
        model_type: AicConfig::default().model_type,
        model_version: shared.state.model_version.clone(),
        media: Media::Audio,
    };
    Ok(Json(ModelsAnswer { models: vec![speech] }))
}

pub(crate) async fn health(State(shared): State<Arc<Shared>>) -> Answer<Value> {
    shared.state.store.ping().await?;
    Ok(Json(json!({ "status": "ok" })))
}

pub(crate) async fn no_such_path() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no such path")
}

pub(crate) async fn wrong_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "the path does not have this method",
    )
}
