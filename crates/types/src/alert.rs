//! What alerts are about.

use serde::{Deserialize, Serialize};

/// What an alert is about: a closed set, so that every count has a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// Legs fall back too often.
    FallbackRate,
    /// The mean quality is under the floor.
    Quality,
    /// Frames take too long in compression.
    Latency,
    /// Bad seconds use up the hour's budget.
    ErrorBudget,
    /// The AI core or the store turns work away.
    Capacity,
}

impl AlertKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::FallbackRate,
        Self::Quality,
        Self::Latency,
        Self::ErrorBudget,
        Self::Capacity,
    ];

    /// Name in rows, events and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FallbackRate => "fallback_rate",
            Self::Quality => "quality",
            Self::Latency => "latency",
            Self::ErrorBudget => "error_budget",
            Self::Capacity => "capacity",
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_name_in_text_and_in_json() {
        for kind in AlertKind::ALL {
            assert_eq!(AlertKind::parse(kind.as_str()), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        assert_eq!(AlertKind::parse("weather"), None);
    }
}
