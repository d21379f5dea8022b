//! From features to a PESQ-WB score: a logistic curve over a quadratic form, fitted offline by `fit/fit.py`.

use auralink_types::Mos;

use crate::perception::Features;

const TERMS: usize = 10;

include!("coefficients.rs");

/// The score, 1.0 to 4.64 but for NaN.
pub(crate) fn mos(features: &Features) -> f32 {
    let z: f32 = terms(features)
        .iter()
        .zip(COEFFICIENTS)
        .map(|(term, weight)| term * weight)
        .sum();
    Mos::MIN + (Mos::MAX - Mos::MIN) / (1.0 + (-z).exp())
}

/// Terms of the form, in the order of the coefficients; `fit/fit.py` builds the same. Signal-to-noise ratios stay
/// out: they did not help on held-out speakers, and they would make the score depend on exact alignment.
fn terms(features: &Features) -> [f32; TERMS] {
    let Features {
        disturbance,
        added,
        distance_db: [low, mid, high],
        dulled_db,
        ..
    } = *features;
    [
        1.0,
        disturbance,
        added,
        disturbance.sqrt(),
        added.sqrt(),
        low,
        mid,
        high,
        dulled_db,
        disturbance * disturbance,
    ]
}
