//! Presets of compression.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::units::QualityScore;

/// A preset that sets the share to save and the quality floor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum Mode {
    /// Saves half, floor 0.95.
    Conservative,
    /// Saves 80 %, floor 0.85.
    #[default]
    Adaptive,
    /// Saves 90 %, floor 0.70.
    Aggressive,
    /// Standard codecs only.
    Off,
}

impl Mode {
    /// Every mode, in the order of the product's table.
    pub const ALL: [Self; 4] = [Self::Conservative, Self::Adaptive, Self::Aggressive, Self::Off];

    /// Share of the reference bandwidth to save, 0 to 1.
    pub const fn target_compression_ratio(self) -> f64 {
        match self {
            Self::Conservative => 0.50,
            Self::Adaptive => 0.80,
            Self::Aggressive => 0.90,
            Self::Off => 0.0,
        }
    }

    /// Quality floor, 0 to 1.
    pub fn min_quality(self) -> QualityScore {
        QualityScore::new(match self {
            Self::Conservative => 0.95,
            Self::Adaptive => 0.85,
            Self::Aggressive => 0.70,
            Self::Off => 1.0,
        })
    }

    /// The mode's name as written in configuration and rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Conservative => "conservative",
            Self::Adaptive => "adaptive",
            Self::Aggressive => "aggressive",
            Self::Off => "off",
        }
    }

    /// The mode of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == name)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
