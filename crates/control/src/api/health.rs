//! Whether the server can answer, and what its refusals mean.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Answer, Part, part};
use crate::Shared;
use crate::problem::{KINDS, Problem};

/// The server is well.
#[derive(Serialize, ToSchema)]
#[schema(as = Health)]
pub(crate) struct HealthAnswer {
    /// `ok`.
    status: &'static str,
}

/// Whether the database answers
#[utoipa::path(
    get, path = "/healthz", operation_id = "get_health", tag = "server",
    responses(
        (status = 200, description = "It does", body = HealthAnswer),
        (status = 503, description = "It does not", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn health(State(shared): State<Arc<Shared>>) -> Answer<HealthAnswer> {
    shared.state.store.ping().await?;
    Ok(Json(HealthAnswer { status: "ok" }))
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
