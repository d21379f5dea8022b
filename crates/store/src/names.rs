//! Names of closed sets as the tables hold them, both ways.

use auralink_types::{Media, Mode, NetworkClass, QualityMetric, Reason, SavingsBasis};

use crate::alert::{AlertKind, Severity};
use crate::error::StoreError;
use crate::experiment::Unit;
use crate::webhook::DeliveryState;

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

macro_rules! named {
    ($kind:ident { $($member:ident = $name:literal),+ $(,)? }) => {
        impl Named for $kind {
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

named!(AlertKind {
    FallbackRate = "fallback_rate",
    Quality = "quality",
    Latency = "latency",
    ErrorBudget = "error_budget",
    Capacity = "capacity",
});
named!(Severity {
    Info = "info",
    Warning = "warning",
    Critical = "critical",
});
named!(DeliveryState {
    Pending = "pending",
    Delivered = "delivered",
    Lost = "lost",
});
named!(Unit {
    User = "user",
    Call = "call",
});
