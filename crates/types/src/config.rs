//! A user's AIC configuration, the changes that may be made to it, and their validation.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::mode::Mode;
use crate::policy::Policy;
use crate::units::QualityScore;

/// Longest `model_type` accepted, in bytes.
pub const MODEL_TYPE_MAX: usize = 64;

/// A value that is out of bounds, with the field that carries it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct FieldError {
    /// Name of the field as the caller wrote it.
    pub field: String,
    /// What is wrong, with the offending value.
    pub problem: String,
}

impl FieldError {
    /// Names the field and what is wrong with it.
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            problem: problem.into(),
        }
    }
}

/// What one request changes. A field left out keeps what is stored, except that giving `mode` alone returns
/// target and floor to that mode's preset.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ConfigChange {
    /// Opt in.
    pub enabled: Option<bool>,
    /// Preset.
    pub mode: Option<Mode>,
    /// Share of the reference bandwidth to save, 0 to 1.
    #[cfg_attr(feature = "schema", schema(minimum = 0, maximum = 1))]
    pub target_compression_ratio: Option<f64>,
    /// Longest time one frame may spend in compression, 1 to 200 ms.
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 200))]
    pub max_latency_ms: Option<u32>,
    /// Model family.
    #[cfg_attr(
        feature = "schema",
        schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_.-]+$")
    )]
    pub model_type: Option<String>,
    /// Quality floor, 0 to 1.
    #[cfg_attr(feature = "schema", schema(minimum = 0, maximum = 1))]
    pub min_quality_score: Option<f64>,
    /// Act on predictions before a problem.
    pub enable_predictive_compression: Option<bool>,
    /// Spend bits where people notice.
    pub enable_perceptual_optimization: Option<bool>,
    /// The user's own veto.
    pub opt_out: Option<bool>,
}

/// A user's configuration, every field valid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AicConfig {
    /// Opt in; a call without it behaves as a plain SFU.
    pub enabled: bool,
    /// Preset.
    pub mode: Mode,
    /// Overrides the mode's target when given.
    pub target_override: Option<f64>,
    /// Overrides the mode's floor when given.
    pub floor_override: Option<f64>,
    /// Longest time one frame may spend in compression, 1 to 200 ms.
    pub max_latency_ms: u32,
    /// Model family.
    pub model_type: String,
    /// Act on predictions before a problem.
    pub enable_predictive_compression: bool,
    /// Spend bits where people notice.
    pub enable_perceptual_optimization: bool,
    /// The user's own veto: stronger than any operator setting.
    pub opt_out: bool,
}

impl Default for AicConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            mode: Mode::Adaptive,
            target_override: None,
            floor_override: None,
            max_latency_ms: 20,
            model_type: "encodec".into(),
            enable_predictive_compression: true,
            enable_perceptual_optimization: true,
            opt_out: false,
        }
    }
}

impl AicConfig {
    /// The configuration after the change, or the first field that is out of bounds.
    pub fn apply(&self, change: &ConfigChange) -> Result<Self, FieldError> {
        let mut next = self.clone();
        if let Some(mode) = change.mode {
            next.mode = mode;
            next.target_override = None;
            next.floor_override = None;
        }
        if let Some(target) = change.target_compression_ratio {
            next.target_override = Some(share("target_compression_ratio", target)?);
        }
        if let Some(floor) = change.min_quality_score {
            next.floor_override = Some(share("min_quality_score", floor)?);
        }
        if let Some(ms) = change.max_latency_ms {
            if !(1..=200).contains(&ms) {
                return Err(FieldError::new(
                    "max_latency_ms",
                    format!("must be 1 to 200, got {ms}"),
                ));
            }
            next.max_latency_ms = ms;
        }
        if let Some(model) = &change.model_type {
            let printable = model
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
            if model.is_empty() || model.len() > MODEL_TYPE_MAX || !printable {
                let problem = format!("must be 1 to {MODEL_TYPE_MAX} of the characters a-z A-Z 0-9 - _ .");
                return Err(FieldError::new("model_type", problem));
            }
            next.model_type = model.clone();
        }
        next.enabled = change.enabled.unwrap_or(next.enabled);
        next.opt_out = change.opt_out.unwrap_or(next.opt_out);
        next.enable_predictive_compression = change
            .enable_predictive_compression
            .unwrap_or(next.enable_predictive_compression);
        next.enable_perceptual_optimization = change
            .enable_perceptual_optimization
            .unwrap_or(next.enable_perceptual_optimization);
        Ok(next)
    }

    /// Share of the reference bandwidth to save: the override, else the mode's.
    pub fn target_compression_ratio(&self) -> f64 {
        self.target_override
            .unwrap_or(self.mode.target_compression_ratio())
    }

    /// Quality floor: the override, else the mode's.
    pub fn min_quality_score(&self) -> f64 {
        // Rounded, because the floors are decimal fractions that f32 cannot hold exactly.
        self.floor_override
            .unwrap_or_else(|| (f64::from(self.mode.min_quality().value()) * 1e4).round() / 1e4)
    }

    /// Whether AIC may touch the user's media at all.
    pub fn active(&self) -> bool {
        self.enabled && !self.opt_out && self.mode != Mode::Off
    }

    /// What the media path obeys.
    pub fn policy(&self) -> Policy {
        Policy {
            active: self.active(),
            opt_out: self.opt_out,
            mode: self.mode,
            target: self.target_compression_ratio(),
            explicit_target: self.target_override,
            floor: QualityScore::new(self.min_quality_score() as f32),
            max_latency: Duration::from_millis(u64::from(self.max_latency_ms)),
            predictive: self.enable_predictive_compression,
            perceptual: self.enable_perceptual_optimization,
            observed: false,
        }
    }
}

fn share(field: &str, value: f64) -> Result<f64, FieldError> {
    if (0.0..=1.0).contains(&value) {
        Ok(value)
    } else {
        Err(FieldError::new(field, format!("must be 0 to 1, got {value}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aic_is_off_until_somebody_opts_in() {
        assert!(!AicConfig::default().policy().active);
    }

    #[test]
    fn a_mode_sets_target_and_floor_and_explicit_fields_override_it() {
        let change = ConfigChange {
            mode: Some(Mode::Aggressive),
            min_quality_score: Some(0.5),
            ..ConfigChange::default()
        };
        let config = AicConfig::default().apply(&change).unwrap();
        assert_eq!(config.target_compression_ratio(), 0.90);
        assert_eq!(config.min_quality_score(), 0.5);

        let change = ConfigChange {
            mode: Some(Mode::Conservative),
            ..ConfigChange::default()
        };
        let config = config.apply(&change).unwrap();
        assert_eq!(config.min_quality_score(), 0.95);
    }

    #[test]
    fn opt_out_beats_enabled() {
        let change = ConfigChange {
            enabled: Some(true),
            opt_out: Some(true),
            ..ConfigChange::default()
        };
        assert!(!AicConfig::default().apply(&change).unwrap().policy().active);
    }

    #[test]
    fn every_out_of_bounds_value_is_refused_by_name() {
        let refused = |change: ConfigChange| AicConfig::default().apply(&change).unwrap_err().field;
        for value in [-0.1, 1.1, f64::NAN, f64::INFINITY, 1e308] {
            let change = ConfigChange {
                target_compression_ratio: Some(value),
                ..ConfigChange::default()
            };
            assert_eq!(refused(change), "target_compression_ratio");
            let change = ConfigChange {
                min_quality_score: Some(value),
                ..ConfigChange::default()
            };
            assert_eq!(refused(change), "min_quality_score");
        }
        for ms in [0, 201, u32::MAX] {
            let change = ConfigChange {
                max_latency_ms: Some(ms),
                ..ConfigChange::default()
            };
            assert_eq!(refused(change), "max_latency_ms");
        }
        for model in [String::new(), "a b".into(), "x".repeat(65)] {
            let change = ConfigChange {
                model_type: Some(model),
                ..ConfigChange::default()
            };
            assert_eq!(refused(change), "model_type");
        }
    }
}
