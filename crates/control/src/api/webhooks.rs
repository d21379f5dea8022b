//! Webhook endpoints. Operators only.

use std::sync::Arc;

use auralink_store::{Endpoint, EndpointChange, NewEndpoint};
use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::config::UserParam;
use super::{Answer, Part, part};
use crate::Shared;
use crate::body;
use crate::problem::Problem;
use crate::webhook::{Reach, event};

/// Longest address, in bytes.
const URL_MAX: usize = 2048;

/// An endpoint that gets events.
#[derive(Serialize, ToSchema)]
#[schema(as = Webhook)]
pub(crate) struct WebhookAnswer {
    webhook_id: String,
    url: String,
    /// API key whose secret signs.
    api_key: String,
    /// Names of the events it gets; empty for all.
    events: Vec<String>,
    /// Whether anything is sent to it. While it is not, nothing new is kept for it, and what waits stays.
    enabled: bool,
    /// Deliveries that wait.
    pending: u64,
    /// Events that it will never get: the outbox was full, or it was given up after many attempts.
    dropped: u64,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

impl From<Endpoint> for WebhookAnswer {
    fn from(endpoint: Endpoint) -> Self {
        Self {
            webhook_id: endpoint.endpoint_id,
            url: endpoint.url,
            api_key: endpoint.signing_key,
            events: endpoint
                .events
                .iter()
                .map(|name| event::public(name).to_owned())
                .collect(),
            enabled: endpoint.enabled,
            pending: endpoint.pending,
            dropped: endpoint.dropped + endpoint.lost,
            created_at: endpoint.created_at.rfc3339(),
            updated_at: endpoint.updated_at.rfc3339(),
        }
    }
}

/// All endpoints.
#[derive(Serialize, ToSchema)]
#[schema(as = Webhooks)]
pub(crate) struct WebhooksAnswer {
    webhooks: Vec<WebhookAnswer>,
}

/// A new endpoint.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewWebhook)]
pub(crate) struct NewWebhookBody {
    /// `http` or `https`, without user name and password.
    #[schema(
        min_length = 8,
        max_length = 2048,
        pattern = "^https?://[a-z0-9.-]+(:[1-9][0-9]{0,3})?(/[A-Za-z0-9._/-]*)?$"
    )]
    url: String,
    /// Names of the events it gets; all when left out or empty. `aic.*` stands for all that begin so.
    #[serde(default)]
    #[schema(max_items = 32)]
    events: Vec<EventName>,
    /// `true` when left out. While `false` nothing is sent, neither what waits nor what is replayed.
    #[serde(default = "yes")]
    enabled: bool,
}

const fn yes() -> bool {
    true
}

/// What is to change; what is left out or `null` stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WebhookChange)]
pub(crate) struct WebhookChangeBody {
    #[schema(
        min_length = 8,
        max_length = 2048,
        pattern = "^https?://[a-z0-9.-]+(:[1-9][0-9]{0,3})?(/[A-Za-z0-9._/-]*)?$"
    )]
    url: Option<String>,
    #[schema(max_items = 32)]
    events: Option<Vec<EventName>>,
    enabled: Option<bool>,
}

/// Name of an event.
#[derive(Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, pattern = "^(room_started|room_finished|participant_joined|participant_left|track_published|track_unpublished|aic\\.session\\.started|aic\\.session\\.ended|aic\\.fallback\\.triggered|aic\\.fallback\\.recovered|aic\\.config\\.updated|aic\\.alert\\.raised|aic\\.alert\\.cleared|aic\\.\\*)$")]
struct EventName(String);

/// Names in one request, repetitions included.
const EVENTS_MAX: usize = 32;

/// The names as the store has them.
fn names(events: Vec<EventName>) -> Result<Vec<String>, Problem> {
    if events.len() > EVENTS_MAX {
        return Err(Problem::invalid(
            "events",
            format!("has more than {EVENTS_MAX} names"),
        ));
    }
    let known = events.into_iter().enumerate().map(|(at, EventName(name))| {
        let stored = event::stored(&name).ok_or_else(|| {
            let problem = format!("{name:?} is no event; there are {}", event::all().join(", "));
            Problem::invalid(format!("events[{at}]"), problem)
        });
        stored.map(str::to_owned)
    });
    let mut names: Vec<String> = known.collect::<Result<_, _>>()?;
    names.sort();
    names.dedup();
    Ok(names)
}

fn check_url(text: &str, reach: Reach) -> Result<(), Problem> {
    let refused = |problem: &str| Err(Problem::invalid("url", problem));
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return refused("must not contain spaces or control characters");
    }
    if text.len() > URL_MAX {
        return refused("is longer than 2048 bytes");
    }
    match reqwest::Url::parse(text) {
        Ok(url) if !matches!(url.scheme(), "http" | "https") => refused("must be http or https"),
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            refused("must not carry a user name or password")
        }
        Ok(url) if url.host_str().is_none_or(str::is_empty) => refused("names no host"),
        Ok(url) if url.port() == Some(0) => refused("names port 0, where nothing listens"),
        Ok(url) if url.domain().is_some_and(|name| !name.chars().all(is_of_a_name)) => {
            refused("names a host with characters other than letters, digits, dots, hyphens and underscores")
        }
        Ok(url) => reach.check(&url).or_else(refused),
        Err(_) => refused("must be an absolute address"),
    }
}

fn is_of_a_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')
}

/// Endpoints
///
/// Operators only.
#[utoipa::path(
    get, path = "/webhooks", operation_id = "list_webhooks", tag = "webhooks", security(("token" = [])),
    params(UserParam),
    responses((status = 200, description = "All endpoints of the tenant", body = WebhooksAnswer)),
)]
pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: Uri,
) -> Answer<WebhooksAnswer> {
    let ask = shared.enter(&headers, &uri, &[])?;
    ask.operator()?;
    let found = ask.scope.endpoints().await?;
    Ok(Json(WebhooksAnswer {
        webhooks: found.into_iter().map(WebhookAnswer::from).collect(),
    }))
}

/// Adds an endpoint
///
/// Events are signed with the API key of the token that asks. The same request again gives the same endpoint.
/// Operators only.
#[utoipa::path(
    post, path = "/webhooks", operation_id = "create_webhook", tag = "webhooks", security(("token" = [])),
    params(UserParam), request_body = NewWebhookBody,
    responses(
        (status = 201, description = "It gets events from now on", body = WebhookAnswer),
        (status = 409, description = "There are too many", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn create(State(shared): State<Arc<Shared>>, request: Request) -> Result<Response, Problem> {
    let ask = shared.enter(request.headers(), request.uri(), &[])?;
    ask.operator()?;
    let body: NewWebhookBody = body::json(request).await?;
    check_url(&body.url, shared.state.reach)?;
    let new = NewEndpoint {
        url: body.url,
        signing_key: ask.tenant().as_str().to_owned(),
        events: names(body.events)?,
        enabled: body.enabled,
    };
    let made = ask.scope.create_endpoint(&new, ask.now).await?;
    Ok((StatusCode::CREATED, Json(WebhookAnswer::from(made))).into_response())
}

/// One endpoint
///
/// Operators only.
#[utoipa::path(
    get, path = "/webhooks/{webhook_id}", operation_id = "get_webhook", tag = "webhooks", security(("token" = [])),
    params(("webhook_id" = String, Path, description = "Its id"), UserParam),
    responses((status = 200, description = "The endpoint", body = WebhookAnswer)),
)]
pub(crate) async fn get(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: Uri,
    id: Part,
) -> Answer<WebhookAnswer> {
    let ask = shared.enter(&headers, &uri, &[])?;
    ask.operator()?;
    Ok(Json(ask.scope.endpoint(&part(id)?).await?.into()))
}

/// Changes an endpoint
///
/// Operators only.
#[utoipa::path(
    patch, path = "/webhooks/{webhook_id}", operation_id = "change_webhook", tag = "webhooks", security(("token" = [])),
    params(("webhook_id" = String, Path, description = "Its id"), UserParam), request_body = WebhookChangeBody,
    responses((status = 200, description = "The endpoint after the change", body = WebhookAnswer)),
)]
pub(crate) async fn change(
    State(shared): State<Arc<Shared>>,
    id: Part,
    request: Request,
) -> Answer<WebhookAnswer> {
    let ask = shared.enter(request.headers(), request.uri(), &[])?;
    ask.operator()?;
    let id = part(id)?;
    let body: WebhookChangeBody = body::json(request).await?;
    if let Some(url) = &body.url {
        check_url(url, shared.state.reach)?;
    }
    let change = EndpointChange {
        url: body.url,
        events: body.events.map(names).transpose()?,
        enabled: body.enabled,
    };
    Ok(Json(
        ask.scope.update_endpoint(&id, &change, ask.now).await?.into(),
    ))
}

/// Removes an endpoint with all that waits for it
///
/// Operators only.
#[utoipa::path(
    delete, path = "/webhooks/{webhook_id}", operation_id = "delete_webhook", tag = "webhooks",
    security(("token" = [])), params(("webhook_id" = String, Path, description = "Its id"), UserParam),
    responses((status = 204, description = "It is gone")),
)]
pub(crate) async fn remove(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: Uri,
    id: Part,
) -> Result<StatusCode, Problem> {
    let ask = shared.enter(&headers, &uri, &[])?;
    ask.operator()?;
    ask.scope.delete_endpoint(&part(id)?, ask.now).await?;
    Ok(StatusCode::NO_CONTENT)
}
