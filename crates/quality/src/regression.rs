//! From features to a PESQ-WB score: a logistic curve over a small network, fitted offline by `fit/refit.sh`.

use auralink_types::Mos;

use crate::network::Network;
use crate::perception::Features;

mod weights {
    include!("estimator_weights.rs");
}
use weights::{HIDDEN, HIDDEN_BIAS, MEAN, OUT, OUT_BIAS, SCALE};

const NETWORK: Network<{ Features::COUNT }, { HIDDEN_BIAS.len() }, 1> = Network {
    mean: MEAN,
    scale: SCALE,
    hidden: HIDDEN,
    hidden_bias: HIDDEN_BIAS,
    out: OUT,
    out_bias: OUT_BIAS,
};

/// The score, 1.0 to 4.64 but for NaN.
pub(crate) fn mos(features: &Features) -> f32 {
    let [z] = NETWORK.apply(&features.values());
    Mos::MIN + (Mos::MAX - Mos::MIN) / (1.0 + (-z).exp())
}
