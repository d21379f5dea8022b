//! Quantities with their units and bounds.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Bits per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bitrate(u64);

impl Bitrate {
    /// From bits per second.
    pub const fn bps(bits_per_second: u64) -> Self {
        Self(bits_per_second)
    }

    /// From kilobits (1000 bits) per second.
    pub const fn kbps(kilobits_per_second: u64) -> Self {
        Self(kilobits_per_second * 1000)
    }

    /// Bits per second.
    pub const fn as_bps(self) -> u64 {
        self.0
    }

    /// Kilobits per second.
    pub fn as_kbps(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

impl fmt::Display for Bitrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} kbps", self.as_kbps())
    }
}

/// Speech quality on the PESQ-WB scale (ITU-T P.862.2): 1.0 bad to 4.64 transparent.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Mos(f32);

impl Mos {
    /// Lowest value of the scale.
    pub const MIN: f32 = 1.0;
    /// Highest value of the scale.
    pub const MAX: f32 = 4.64;

    /// Clamps into the scale; NaN becomes the lowest value, so that a broken estimate never looks good.
    pub fn new(value: f32) -> Self {
        if value.is_nan() {
            Self(Self::MIN)
        } else {
            Self(value.clamp(Self::MIN, Self::MAX))
        }
    }

    /// The value, 1.0 to 4.64.
    pub fn value(self) -> f32 {
        self.0
    }

    /// `(MOS − 1) / 3.64`, the product's quality score.
    pub fn score(self) -> QualityScore {
        QualityScore::new((self.0 - Self::MIN) / (Self::MAX - Self::MIN))
    }
}

/// Quality on a scale of 0 to 1; what floors are written in.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct QualityScore(f32);

impl QualityScore {
    /// Untouched media.
    pub const FULL: Self = Self(1.0);

    /// Clamps into 0..=1; NaN becomes 0.
    pub fn new(value: f32) -> Self {
        if value.is_nan() {
            Self(0.0)
        } else {
            Self(value.clamp(0.0, 1.0))
        }
    }

    /// The value, 0 to 1.
    pub fn value(self) -> f32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_estimate_never_looks_good() {
        assert_eq!(Mos::new(f32::NAN).score().value(), 0.0);
        assert_eq!(QualityScore::new(f32::NAN).value(), 0.0);
    }

    #[test]
    fn the_scale_of_the_floors_matches_the_design() {
        assert!((Mos::new(4.094).score().value() - 0.85).abs() < 1e-3);
        assert!((Mos::new(3.548).score().value() - 0.70).abs() < 1e-3);
    }
}
