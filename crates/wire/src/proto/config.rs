//! A user's wishes: the same validation as in REST.

use auralink_types::{AicConfig, ConfigChange, FieldError};

use super::{enums, v1};

impl TryFrom<v1::Configuration> for AicConfig {
    type Error = FieldError;

    fn try_from(wishes: v1::Configuration) -> Result<Self, FieldError> {
        let change = ConfigChange {
            enabled: Some(true),
            mode: Some(enums::mode(wishes.mode)?),
            target_compression_ratio: wishes.target_compression_ratio,
            max_latency_ms: wishes.max_latency_ms,
            model_type: Some(wishes.model_type).filter(|family| !family.is_empty()),
            min_quality_score: wishes.min_quality_score,
            enable_predictive_compression: wishes.enable_predictive_compression,
            enable_perceptual_optimization: wishes.enable_perceptual_optimization,
            opt_out: Some(wishes.opt_out),
        };
        Self::default().apply(&change)
    }
}

impl From<&AicConfig> for v1::Configuration {
    fn from(config: &AicConfig) -> Self {
        Self {
            mode: v1::Mode::from(config.mode) as i32,
            target_compression_ratio: config.target_override,
            max_latency_ms: Some(config.max_latency_ms),
            model_type: config.model_type.clone(),
            min_quality_score: config.floor_override,
            enable_predictive_compression: Some(config.enable_predictive_compression),
            enable_perceptual_optimization: Some(config.enable_perceptual_optimization),
            opt_out: config.opt_out,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use auralink_types::Mode;

    #[test]
    fn a_configuration_goes_there_and_back() {
        let change = ConfigChange {
            enabled: Some(true),
            mode: Some(Mode::Aggressive),
            min_quality_score: Some(0.4),
            max_latency_ms: Some(35),
            enable_predictive_compression: Some(false),
            ..Default::default()
        };
        let config = AicConfig::default().apply(&change).unwrap();
        assert_eq!(AicConfig::try_from(v1::Configuration::from(&config)), Ok(config));
    }

    #[test]
    fn what_is_out_of_bounds_is_refused_by_name() {
        let refused = |wishes: v1::Configuration| AicConfig::try_from(wishes).unwrap_err().field;
        for value in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            let wishes = v1::Configuration {
                min_quality_score: Some(value),
                ..Default::default()
            };
            assert_eq!(refused(wishes), "min_quality_score");
        }
        let wishes = v1::Configuration {
            max_latency_ms: Some(201),
            ..Default::default()
        };
        assert_eq!(refused(wishes), "max_latency_ms");
        let wishes = v1::Configuration {
            mode: 77,
            ..Default::default()
        };
        assert_eq!(refused(wishes), "mode");
    }
}
