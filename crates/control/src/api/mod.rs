//! One file for each noun: its requests, its answers, its routes.

pub(crate) mod alerts;
pub(crate) mod audit;
pub(crate) mod calls;
pub(crate) mod config;
pub(crate) mod deliveries;
pub(crate) mod experiments;
pub(crate) mod health;
pub(crate) mod metrics;
pub(crate) mod models;
pub(crate) mod outcome;
pub(crate) mod performance;
pub(crate) mod sessions;
pub(crate) mod stats;
pub(crate) mod users;
pub(crate) mod webhooks;

use axum::Json;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::StatusCode;

use crate::problem::Problem;

pub(crate) type Answer<T> = Result<Json<T>, Problem>;

/// One part of a path, as an extractor may or may not have read it.
pub(crate) type Part = Result<Path<String>, PathRejection>;

pub(crate) fn part(part: Part) -> Result<String, Problem> {
    let Path(text) = part.map_err(|error| Problem::new(StatusCode::NOT_FOUND, error.body_text()))?;
    // Nothing is called so, and PostgreSQL takes no text with a zero.
    if text.chars().any(char::is_control) {
        return Err(missing("thing"));
    }
    Ok(text)
}

/// What may stand in for something that is not there, or not the caller's to see.
pub(crate) fn missing(what: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("no such {what}"))
}
