//! Whether the server can answer, and what its refusals mean.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use tokio::sync::Mutex;
use utoipa::ToSchema;

use super::{Answer, Part, part};
use crate::Shared;
use crate::problem::{KINDS, Problem};

/// How long an answer about the database holds: whoever asks often must not make it write often.
const FRESH: Duration = Duration::from_secs(1);

/// The server is well.
#[derive(Serialize, ToSchema)]
#[schema(as = Health)]
pub(crate) struct HealthAnswer {
    /// `ok`.
    status: &'static str,
}

const WELL: Json<HealthAnswer> = Json(HealthAnswer { status: "ok" });

/// When the database was last asked for a change, and whether it took it.
#[derive(Default)]
pub(crate) struct Readiness(Mutex<Option<(Instant, bool)>>);

impl Readiness {
    /// One asks the database, the others wait for what it says.
    async fn check(&self, shared: &Shared) -> Result<(), Problem> {
        let mut known = self.0.lock().await;
        let now = shared.state.clock.now().steady;
        match *known {
            Some((at, true)) if now.saturating_duration_since(at) < FRESH => return Ok(()),
            Some((at, false)) if now.saturating_duration_since(at) < FRESH => {
                return Err(Problem::busy("the database did not take a change a moment ago"));
            }
            _ => {}
        }
        let taken = shared.state.store.ping().await;
        *known = Some((shared.state.clock.now().steady, taken.is_ok()));
        Ok(taken?)
    }
}

/// Whether the process answers
///
/// It says nothing of the database, without which calls go on; a server that does not answer here is to be restarted.
#[utoipa::path(
    get, path = "/livez", operation_id = "get_liveness", tag = "server",
    responses((status = 200, description = "It does", body = HealthAnswer)),
)]
pub(crate) async fn live() -> Json<HealthAnswer> {
    WELL
}

/// Whether the database takes changes
///
/// A server that is not ready keeps its calls; whoever spreads new ones may pass it over. An answer holds for a second.
#[utoipa::path(
    get, path = "/readyz", operation_id = "get_readiness", tag = "server",
    responses(
        (status = 200, description = "It does", body = HealthAnswer),
        (status = 503, description = "It does not", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn ready(State(shared): State<Arc<Shared>>) -> Answer<HealthAnswer> {
    shared.readiness.check(&shared).await?;
    Ok(WELL)
}

/// The same as `/readyz`
#[utoipa::path(
    get, path = "/healthz", operation_id = "get_health", tag = "server",
    responses(
        (status = 200, description = "The database takes changes", body = HealthAnswer),
        (status = 503, description = "It does not", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn health(state: State<Arc<Shared>>) -> Answer<HealthAnswer> {
    ready(state).await
}

/// One kind of refusal.
#[derive(Serialize, ToSchema)]
#[schema(as = ProblemKind)]
pub(crate) struct KindAnswer {
    status: u16,
    name: &'static str,
    title: &'static str,
    /// What a caller can do about it.
    remedy: &'static str,
}

/// What a kind of refusal means
///
/// `type` of a problem body is the address of this answer.
#[utoipa::path(
    get, path = "/api/problems/{name}", operation_id = "get_problem_kind", tag = "server",
    params(("name" = String, Path, description = "Name of the kind")),
    responses(
        (status = 200, description = "The kind", body = KindAnswer),
        (status = 404, description = "There is no such kind", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn problem(name: Part) -> Answer<KindAnswer> {
    let name = part(name)?;
    let found = KINDS.iter().find(|(_, known, ..)| *known == name);
    let (status, name, title, remedy) = found.ok_or_else(|| super::missing("kind of problem"))?;
    Ok(Json(KindAnswer {
        status: *status,
        name,
        title,
        remedy,
    }))
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
