//! Names of closed sets as the tables hold them, both ways.

use auralink_types::experiment::Unit;
use auralink_types::{AlertKind, Media, Mode, NetworkClass, QualityMetric, Reason, SavingsBasis};

use crate::error::StoreError;

/// A closed set with one name for each member.
pub(crate) trait Named: Sized + Copy {
    fn to_name(self) -> &'static str;
    fn from_name(name: &str) -> Option<Self>;

    fn read(column: &'static str, name: &str) -> Result<Self, StoreError> {
        Self::from_name(name).ok_or_else(|| StoreError::Corrupt {
            column,
            value: name.to_owned(),
        })
    }
}

/// Names the members of a set; a set of the store's own does it where it is defined.
macro_rules! named {
    ($kind:ident { $($member:ident = $name:literal),+ $(,)? }) => {
        impl $crate::names::Named for $kind {
            fn to_name(self) -> &'static str {
                match self {
                    $(Self::$member => $name,)+
                }
            }

            fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$member),)+
                    _ => None,
                }
            }
        }
    };
}

pub(crate) use named;

/// Sets that name themselves.
macro_rules! self_named {
    ($($kind:ty),+) => {$(
        impl Named for $kind {
            fn to_name(self) -> &'static str {
                self.as_str()
            }

            fn from_name(name: &str) -> Option<Self> {
                Self::parse(name)
            }
        }
    )+};
}

self_named!(AlertKind, Unit);

named!(Media {
    Audio = "audio",
    Video = "video"
});
named!(SavingsBasis {
    Measured = "measured",
    Experiment = "experiment",
    Preset = "preset",
});
named!(QualityMetric {
    EstimatedPesqWb = "estimated_pesq_wb",
    ExpectedPesqWb = "expected_pesq_wb",
    Ssim = "ssim"
});
named!(NetworkClass {
    Unknown = "unknown",
    Good = "good",
    Fair = "fair",
    Poor = "poor",
    Bad = "bad",
});

impl Named for Mode {
    fn to_name(self) -> &'static str {
        self.as_str()
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::parse(name)
    }
}

impl Named for Reason {
    fn to_name(self) -> &'static str {
        self.as_str()
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::parse(name)
    }
}
