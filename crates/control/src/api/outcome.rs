//! What an experiment found, as an answer.

use std::sync::Arc;

use auralink_engine::{CONFIDENCE, Difference, Sample, UNITS_MIN};
use auralink_store::{ArmOutcome, Experiment};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use serde::Serialize;
use utoipa::ToSchema;

use super::config::UserParam;
use super::experiments::ExperimentAnswer;
use super::{Answer, Part, part};
use crate::Shared;

/// One figure of one arm.
#[derive(Serialize, ToSchema)]
#[schema(as = Figure)]
struct FigureAnswer {
    /// Units that have it.
    units: u64,
    /// Mean over these.
    mean: Option<f64>,
    /// Standard deviation between these.
    deviation: Option<f64>,
    /// Against the control; `null` for the control itself.
    versus_control: Option<DifferenceAnswer>,
}

/// An arm's mean against the control's.
#[derive(Serialize, ToSchema)]
#[schema(as = Difference)]
struct DifferenceAnswer {
    /// Arm minus control.
    difference: f64,
    /// Ends of the interval (Welch); `null` when an arm has fewer than two units.
    low: Option<f64>,
    high: Option<f64>,
    /// Whether the interval leaves out zero, with units enough.
    significant: bool,
}

impl From<Difference> for DifferenceAnswer {
    fn from(found: Difference) -> Self {
        Self {
            difference: found.difference,
            low: found.low,
            high: found.high,
            significant: found.significant,
        }
    }
}

/// Bandwidth saved against the control arm.
#[derive(Serialize, ToSchema)]
#[schema(as = ExperimentSavings)]
struct SavingsAnswer {
    /// Always `experiment`: the control arm is the baseline.
    savings_basis: &'static str,
    /// What the control arm's tracks took.
    baseline_kbps: f64,
    kbps: f64,
    saved_percent: f64,
}

/// What one arm found.
#[derive(Serialize, ToSchema)]
#[schema(as = ArmOutcome)]
struct ArmOutcomeAnswer {
    arm: String,
    control: bool,
    /// Sessions that met the arm.
    exposures: u64,
    /// Users or calls.
    units: u64,
    /// Percent of the original's bandwidth, as each session measured it itself.
    saved_percent: FigureAnswer,
    /// Whole-wire rate of a track.
    wire_kbps: FigureAnswer,
    quality: FigureAnswer,
    latency_ms: FigureAnswer,
    fallbacks_per_hour: FigureAnswer,
    /// `null` for the control, and while an arm has no traffic.
    savings: Option<SavingsAnswer>,
}

/// An experiment with what it found.
#[derive(Serialize, ToSchema)]
#[schema(as = ExperimentOutcome)]
pub(crate) struct OutcomeAnswer {
    #[serde(flatten)]
    experiment: ExperimentAnswer,
    outcomes: Vec<ArmOutcomeAnswer>,
    /// Share of intervals that hold the true difference.
    confidence: f64,
    /// Fewest units in each arm that a difference should be believed with.
    units_min: u64,
    /// What to keep in mind, in words; empty when there is nothing.
    warnings: Vec<String>,
}

/// One experiment with what it found
///
/// Operators only.
#[utoipa::path(
    get, path = "/experiments/{experiment_id}", operation_id = "get_experiment", tag = "experiments",
    security(("token" = [])), params(("experiment_id" = String, Path, description = "Its id"), UserParam),
    responses((status = 200, description = "The experiment", body = OutcomeAnswer)),
)]
pub(crate) async fn get(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: Uri,
    id: Part,
) -> Answer<OutcomeAnswer> {
    let ask = shared.enter(&headers, &uri, &[])?;
    ask.operator()?;
    let id = part(id)?;
    let experiment = ask.scope.experiment(&id).await?;
    let found = ask.scope.outcomes(&id).await?;
    Ok(Json(outcome(experiment, &found)))
}

fn outcome(experiment: Experiment, found: &[ArmOutcome]) -> OutcomeAnswer {
    let of = |name: &str| found.iter().find(|outcome| outcome.arm == name);
    let control = experiment
        .arms
        .iter()
        .find(|arm| arm.control)
        .and_then(|arm| of(&arm.name));
    let mut warnings = Vec::new();
    let mut outcomes = Vec::new();
    for arm in &experiment.arms {
        let Some(seen) = of(&arm.name) else {
            warnings.push(format!("arm {}: nobody has met it yet", arm.name));
            continue;
        };
        if seen.units < UNITS_MIN {
            warnings.push(format!(
                "arm {}: {} units are too few to believe a difference; wait for {UNITS_MIN}",
                arm.name, seen.units
            ));
        }
        let against = control.filter(|_| !arm.control);
        let figure = |pick: fn(&ArmOutcome) -> Sample| {
            let sample = pick(seen);
            FigureAnswer {
                units: sample.count,
                mean: (sample.count > 0).then_some(sample.mean),
                deviation: (sample.count > 1).then(|| sample.variance().sqrt()),
                versus_control: against
                    .map(pick)
                    .filter(|control| control.count > 0 && sample.count > 0)
                    .map(|control| Difference::between(&sample, &control).into()),
            }
        };
        outcomes.push(ArmOutcomeAnswer {
            arm: arm.name.clone(),
            control: arm.control,
            exposures: seen.exposures,
            units: seen.units,
            saved_percent: figure(|outcome| sample(&outcome.saved_percent)),
            wire_kbps: figure(|outcome| sample(&outcome.wire_kbps)),
            quality: figure(|outcome| sample(&outcome.quality)),
            latency_ms: figure(|outcome| sample(&outcome.latency_ms)),
            fallbacks_per_hour: figure(|outcome| sample(&outcome.fallbacks_per_hour)),
            savings: against
                .and_then(|control| savings(&sample(&control.wire_kbps), &sample(&seen.wire_kbps))),
        });
    }
    OutcomeAnswer {
        experiment: experiment.into(),
        outcomes,
        confidence: CONFIDENCE,
        units_min: UNITS_MIN,
        warnings,
    }
}

fn savings(control: &Sample, arm: &Sample) -> Option<SavingsAnswer> {
    (control.count > 0 && arm.count > 0 && control.mean > 0.0).then(|| SavingsAnswer {
        savings_basis: "experiment",
        baseline_kbps: control.mean,
        kbps: arm.mean,
        saved_percent: 100.0 * (1.0 - arm.mean / control.mean),
    })
}

fn sample(stored: &auralink_store::Sample) -> Sample {
    Sample {
        count: stored.n,
        mean: stored.mean,
        squares: stored.variance * stored.n.saturating_sub(1) as f64,
    }
}
