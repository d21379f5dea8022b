//! A user's configuration.

use std::sync::Arc;

use auralink_store::{Scoped, StoredConfig, Timestamp};
use auralink_types::{AicConfig, ConfigChange, Mode, UserId};
use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::Shared;
use crate::body;
use crate::precondition::{Precondition, etag, matches_any};
use crate::problem::Problem;

/// A user's configuration, whole.
#[derive(Serialize, ToSchema)]
#[schema(as = Config)]
pub(crate) struct ConfigAnswer {
    /// Stays the same over all changes; `null` while nothing was ever set.
    config_id: Option<Uuid>,
    /// Whose it is.
    #[schema(value_type = String)]
    user_id: UserId,
    /// Opted in.
    enabled: bool,
    mode: Mode,
    /// Share of the reference bandwidth to save.
    #[schema(minimum = 0, maximum = 1)]
    target_compression_ratio: f64,
    /// Longest time one frame may spend in compression.
    #[schema(minimum = 1, maximum = 200)]
    max_latency_ms: u32,
    /// Model family.
    model_type: String,
    /// Quality floor.
    #[schema(minimum = 0, maximum = 1)]
    min_quality_score: f64,
    enable_predictive_compression: bool,
    enable_perceptual_optimization: bool,
    /// The user's own veto.
    opt_out: bool,
    /// Speech model in use.
    model_version: String,
    #[schema(format = DateTime)]
    created_at: Option<String>,
    #[schema(format = DateTime)]
    updated_at: Option<String>,
}

impl ConfigAnswer {
    /// A user who never set anything has the defaults, and no id.
    pub(crate) fn new(user: UserId, stored: Option<&StoredConfig>, model_version: &str) -> Self {
        let time = |pick: fn(&StoredConfig) -> Timestamp| stored.map(|stored| pick(stored).rfc3339());
        let default = AicConfig::default();
        let config = stored.map_or(&default, |stored| &stored.config);
        Self {
            config_id: stored.map(|stored| stored.config_id),
            user_id: user,
            enabled: config.enabled,
            mode: config.mode,
            target_compression_ratio: config.target_compression_ratio(),
            max_latency_ms: config.max_latency_ms,
            model_type: config.model_type.clone(),
            min_quality_score: config.min_quality_score(),
            enable_predictive_compression: config.enable_predictive_compression,
            enable_perceptual_optimization: config.enable_perceptual_optimization,
            opt_out: config.opt_out,
            model_version: model_version.to_owned(),
            created_at: time(|stored| stored.created_at),
            updated_at: time(|stored| stored.updated_at),
        }
    }
}

/// The configuration in force
///
/// A user who never set anything has the defaults. `ETag` is what `If-Match` of a change wants.
#[utoipa::path(
    get, path = "/config", operation_id = "get_config", tag = "configuration", security(("token" = [])),
    params(UserParam, ("If-None-Match" = Option<String>, Header, description = "ETag that the caller has")),
    responses(
        (status = 200, description = "The configuration", body = ConfigAnswer, headers(("ETag" = String))),
        (status = 304, description = "It is what the caller has"),
    ),
)]
pub(crate) async fn get(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let ask = shared.enter(&headers, &uri, &[])?;
    let user = ask.scope.owner()?.user;
    let stored = ask.scope.config().await?;
    let version = stored.as_ref().map_or(0, |stored| stored.version);
    let known = headers.get(header::IF_NONE_MATCH);
    if known.is_some_and(|known| matches_any(known, version)) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag(version))]).into_response());
    }
    Ok(answer(&shared, user, stored.as_ref()))
}

/// Changes the fields that are named
///
/// A field left out or `null` keeps what is stored, except that `mode` alone returns target and floor to that mode's
/// preset. In force in running calls when the answer arrives. With `If-Match` only what the caller has read is changed.
#[utoipa::path(
    post, path = "/config", operation_id = "change_config", tag = "configuration", security(("token" = [])),
    params(UserParam, ("If-Match" = Option<String>, Header, description = "ETag of the configuration that was read")),
    request_body = ConfigChange,
    responses(
        (status = 200, description = "The configuration after the change", body = ConfigAnswer, headers(("ETag" = String))),
        (status = 412, description = "It is not what the caller has read", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn post(State(shared): State<Arc<Shared>>, request: Request) -> Result<Response, Problem> {
    write(shared, request, false).await
}

/// Replaces the whole configuration
///
/// A field left out returns to its default. `If-Match` is needed, because what is replaced should have been read.
#[utoipa::path(
    put, path = "/config", operation_id = "replace_config", tag = "configuration", security(("token" = [])),
    params(UserParam, ("If-Match" = String, Header, description = "ETag of the configuration that was read, or `*`")),
    request_body = ConfigChange,
    responses(
        (status = 200, description = "The new configuration", body = ConfigAnswer, headers(("ETag" = String))),
        (status = 412, description = "It is not what the caller has read", body = Problem, content_type = "application/problem+json"),
        (status = 428, description = "If-Match is missing", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn put(State(shared): State<Arc<Shared>>, request: Request) -> Result<Response, Problem> {
    write(shared, request, true).await
}

async fn write(shared: Arc<Shared>, request: Request, whole: bool) -> Result<Response, Problem> {
    let ask = shared.enter(request.headers(), request.uri(), &[])?;
    let user = ask.scope.owner()?.user;
    let condition = Precondition::read(request.headers())?;
    if whole && condition == Precondition::None {
        let detail = "If-Match is needed to replace a configuration";
        return Err(Problem::new(StatusCode::PRECONDITION_REQUIRED, detail).about("If-Match"));
    }
    let change: ConfigChange = body::json(request).await?;
    // A change that could not be made is refused as such, whatever the precondition (RFC 9110 section 13.2.1).
    AicConfig::default().apply(&change)?;
    // A task of its own: a caller who hangs up must not leave a committed change out of the book.
    let task = tokio::spawn(commit(Arc::clone(&shared), ask.scope, change, condition, whole));
    let stored = task.await.map_err(|error| {
        tracing::error!(%error, "configuration task failed");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the change failed")
    })??;
    Ok(answer(&shared, user, Some(&stored)))
}

async fn commit(
    shared: Arc<Shared>,
    scope: Scoped,
    change: ConfigChange,
    condition: Precondition,
    whole: bool,
) -> Result<StoredConfig, Problem> {
    let _turn = shared.state.turn.take().await;
    let expected = match condition {
        Precondition::None => None,
        Precondition::Any => scope.config().await?.map(|stored| stored.version),
        Precondition::OneOf(versions) => {
            // Of several only the one that is stored can match; the transaction looks again.
            let stored = scope.config().await?.map_or(0, |stored| stored.version);
            Some(if versions.contains(&stored) {
                stored
            } else {
                versions[0]
            })
        }
    };
    let stored = if whole {
        let config = AicConfig::default().apply(&change)?;
        scope.put_config_if(&config, expected).await?
    } else {
        scope.change_config_if(&change, expected).await?
    };
    shared
        .state
        .book
        .set(stored.owner.clone(), stored.config.clone())
        .map_err(|error| {
            tracing::error!(%error, "a stored configuration is not in force");
            Problem::busy("stored, but not in force: too many users")
        })?;
    Ok(stored)
}

fn answer(shared: &Shared, user: UserId, stored: Option<&StoredConfig>) -> Response {
    let version: HeaderValue = etag(stored.map_or(0, |stored| stored.version));
    let answer = ConfigAnswer::new(user, stored, shared.state.speech_model());
    ([(header::ETAG, version)], Json(answer)).into_response()
}

/// Whose rows are meant.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)] // describes a parameter that `Params` reads
pub(crate) struct UserParam {
    /// Another user of the tenant; operators only. For the configuration an operator without an identity has to say it.
    #[param(min_length = 1, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    user_id: Option<String>,
}
