//! A/B experiments: making them, ending them, reading what they found.

use std::sync::Arc;

use auralink_store::{Experiment, NewExperiment, Timestamp};
use auralink_types::experiment::{Arm, Unit, check_arms, check_name};
use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::config::UserParam;
use super::metrics::PageParam;
use super::{Answer, Part, part};
use crate::Shared;
use crate::body;
use crate::experiments::reload;
use crate::problem::Problem;

/// Figures that an experiment may be about; the outcome has all of them.
const FIGURES: [&str; 5] = [
    "saved_percent",
    "wire_kbps",
    "quality",
    "latency_ms",
    "fallbacks_per_hour",
];

/// A new experiment.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewExperiment)]
pub(crate) struct NewExperimentBody {
    /// Unique in the tenant.
    #[schema(min_length = 1, max_length = 64)]
    name: String,
    /// `user` when left out.
    #[serde(default)]
    unit: Unit,
    /// Two to eight arms.
    #[schema(min_items = 2, max_items = 8)]
    arms: Vec<Arm>,
    /// The figure it is about; `saved_percent` when left out.
    #[serde(default = "saved")]
    #[schema(pattern = "^(saved_percent|wire_kbps|quality|latency_ms|fallbacks_per_hour)$")]
    primary: String,
}

fn saved() -> String {
    FIGURES[0].into()
}

impl NewExperimentBody {
    fn check(self) -> Result<NewExperiment, Problem> {
        check_name("name", &self.name)?;
        if !FIGURES.contains(&self.primary.as_str()) {
            let problem = format!("must be one of {}", FIGURES.join(", "));
            return Err(Problem::invalid("primary", problem));
        }
        let named = self.arms.iter().any(|arm| arm.control);
        let mut arms = self.arms;
        if let Some(first) = arms.first_mut().filter(|_| !named) {
            first.control = true;
        }
        check_arms(&arms)?;
        Ok(NewExperiment {
            name: self.name,
            unit: self.unit,
            arms,
            primary: self.primary,
        })
    }
}

/// One experiment.
#[derive(Serialize, ToSchema)]
#[schema(as = Experiment)]
pub(crate) struct ExperimentAnswer {
    experiment_id: String,
    name: String,
    unit: Unit,
    arms: Vec<Arm>,
    primary: String,
    /// `running` or `ended`.
    state: &'static str,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    ended_at: Option<String>,
}

impl From<Experiment> for ExperimentAnswer {
    fn from(found: Experiment) -> Self {
        Self {
            experiment_id: found.experiment_id,
            name: found.name,
            unit: found.unit,
            arms: found.arms,
            primary: found.primary,
            state: if found.ended_at.is_some() {
                "ended"
            } else {
                "running"
            },
            created_at: found.created_at.rfc3339(),
            ended_at: found.ended_at.map(Timestamp::rfc3339),
        }
    }
}

/// One page of experiments, newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = ExperimentPage)]
pub(crate) struct ExperimentsAnswer {
    experiments: Vec<ExperimentAnswer>,
    /// What `cursor` of the next request should be; `null` on the last page.
    next_cursor: Option<String>,
}

/// Experiments, newest first
///
/// Operators only.
#[utoipa::path(
    get, path = "/experiments", operation_id = "list_experiments", tag = "experiments", security(("token" = [])),
    params(UserParam, PageParam),
    responses((status = 200, description = "One page", body = ExperimentsAnswer)),
)]
pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: Uri,
) -> Answer<ExperimentsAnswer> {
    let ask = shared.enter(&headers, &uri, &["limit", "cursor"])?;
    ask.operator()?;
    let page = ask
        .scope
        .experiments(ask.params.cursor()?.as_ref(), ask.params.limit()?)
        .await?;
    Ok(Json(ExperimentsAnswer {
        experiments: page.rows.into_iter().map(ExperimentAnswer::from).collect(),
        next_cursor: page.next.map(|cursor| cursor.to_string()),
    }))
}

/// Starts an experiment
///
/// It runs from the answer on, in running calls as well, for users who have AIC on. The same request again gives the
/// same experiment. Operators only.
#[utoipa::path(
    post, path = "/experiments", operation_id = "create_experiment", tag = "experiments", security(("token" = [])),
    params(UserParam), request_body = NewExperimentBody,
    responses(
        (status = 201, description = "It runs", body = ExperimentAnswer),
        (status = 409, description = "Another one has that name, or too many run", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn create(State(shared): State<Arc<Shared>>, request: Request) -> Result<Response, Problem> {
    let ask = shared.enter(request.headers(), request.uri(), &[])?;
    ask.operator()?;
    let new = body::json::<NewExperimentBody>(request).await?.check()?;
    let tenant = ask.tenant().clone();
    let task = tokio::spawn(async move {
        let _turn = shared.state.turn.take().await;
        let made = ask.scope.create_experiment(&new, ask.now).await?;
        reload(&shared.state.store, &shared.state.book, &[tenant]).await?;
        Ok::<_, Problem>(made)
    });
    let made = joined(task.await)?;
    Ok((StatusCode::CREATED, Json(ExperimentAnswer::from(made))).into_response())
}

/// Ends an experiment
///
/// Its users have their own configuration again. Ending it again changes nothing. Operators only.
#[utoipa::path(
    post, path = "/experiments/{experiment_id}/end", operation_id = "end_experiment", tag = "experiments",
    security(("token" = [])), params(("experiment_id" = String, Path, description = "Its id"), UserParam),
    responses((status = 200, description = "It has ended", body = ExperimentAnswer)),
)]
pub(crate) async fn end(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: Uri,
    id: Part,
) -> Answer<ExperimentAnswer> {
    let ask = shared.enter(&headers, &uri, &[])?;
    ask.operator()?;
    let id = part(id)?;
    let tenant = ask.tenant().clone();
    let task = tokio::spawn(async move {
        let _turn = shared.state.turn.take().await;
        let ended = ask.scope.end_experiment(&id, ask.now).await?;
        reload(&shared.state.store, &shared.state.book, &[tenant]).await?;
        Ok::<_, Problem>(ended)
    });
    Ok(Json(joined(task.await)?.into()))
}

fn joined<T>(done: Result<Result<T, Problem>, tokio::task::JoinError>) -> Result<T, Problem> {
    done.map_err(|error| {
        tracing::error!(%error, "experiment task failed");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the change failed")
    })?
}
