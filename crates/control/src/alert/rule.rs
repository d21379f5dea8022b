//! What is watched, and from where on it is a worry.

use serde::Deserialize;

/// Limits of the rules.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlertRules {
    /// Share of seconds in which a leg fell back, over a minute.
    pub fallback_rate: f64,
    /// Lowest mean quality score, over a minute.
    pub quality: f64,
    /// Highest mean of the 99th percentiles of compression time, over a minute, in milliseconds.
    pub latency_ms: f64,
    /// Share of bad seconds that an hour may have.
    pub error_budget: f64,
    /// Share of seconds in which work was turned away, over a minute.
    pub capacity: f64,
    /// Checks in a row, one every ten seconds, that must fail before an alert is raised.
    pub raise_after: u32,
    /// Checks in a row that must pass before it is cleared.
    pub clear_after: u32,
}

impl Default for AlertRules {
    fn default() -> Self {
        Self {
            fallback_rate: 0.01,
            // The floor of the boldest mode.
            quality: 0.70,
            latency_ms: 20.0,
            error_budget: 0.01,
            capacity: 0.01,
            raise_after: 3,
            clear_after: 6,
        }
    }
}

impl AlertRules {
    /// Name of the first field that is out of bounds, with what is wrong.
    pub fn validate(&self) -> Result<(), auralink_types::FieldError> {
        let refused = |field: &str, problem: String| {
            Err(auralink_types::FieldError::new(
                format!("alerts.{field}"),
                problem,
            ))
        };
        for (field, share) in [
            ("fallback_rate", self.fallback_rate),
            ("quality", self.quality),
            ("error_budget", self.error_budget),
            ("capacity", self.capacity),
        ] {
            if !(share > 0.0 && share <= 1.0) {
                return refused(field, format!("must be over 0 and at most 1, got {share}"));
            }
        }
        if !(self.latency_ms > 0.0 && self.latency_ms.is_finite()) {
            return refused("latency_ms", format!("must be over 0, got {}", self.latency_ms));
        }
        for (field, checks) in [
            ("raise_after", self.raise_after),
            ("clear_after", self.clear_after),
        ] {
            if !(1..=360).contains(&checks) {
                return refused(field, format!("must be 1 to 360, got {checks}"));
            }
        }
        Ok(())
    }
}
