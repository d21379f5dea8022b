//! Why a leg fell back: a closed set, so that every count has a label.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a leg sends something dearer than the policy would like, or nothing of AIC at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum Reason {
    /// The measured quality is under the floor.
    Quality,
    /// A frame missed its deadline.
    Late,
    /// The model failed, or its output is broken.
    ModelFailure,
    /// The network is unstable.
    UnstableNetwork,
    /// No accelerator; targets were adjusted.
    NoAccelerator,
    /// The AI core is gone or refuses work.
    CoreUnreachable,
    /// The AI core has no room for this stream.
    Overload,
    /// A user vetoed AIC.
    OptOut,
    /// AIC is not enabled for the user.
    Disabled,
    /// The receiver cannot decode a lower rung.
    ReceiverNotCapable,
    /// Music, noise or several talkers: content the speech codec cannot carry.
    Content,
    /// The sender's packets could not be read.
    BadInput,
    /// A frame is on trial after a fallback.
    Probation,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 13] = [
        Self::Quality,
        Self::Late,
        Self::ModelFailure,
        Self::UnstableNetwork,
        Self::NoAccelerator,
        Self::CoreUnreachable,
        Self::Overload,
        Self::OptOut,
        Self::Disabled,
        Self::ReceiverNotCapable,
        Self::Content,
        Self::BadInput,
        Self::Probation,
    ];

    /// Name for rows, labels and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quality => "quality",
            Self::Late => "late",
            Self::ModelFailure => "model_failure",
            Self::UnstableNetwork => "unstable_network",
            Self::NoAccelerator => "no_accelerator",
            Self::CoreUnreachable => "core_unreachable",
            Self::Overload => "overload",
            Self::OptOut => "opt_out",
            Self::Disabled => "disabled",
            Self::ReceiverNotCapable => "receiver_not_capable",
            Self::Content => "content",
            Self::BadInput => "bad_input",
            Self::Probation => "probation",
        }
    }

    /// The reason of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_name() {
        for reason in Reason::ALL {
            assert_eq!(Reason::parse(reason.as_str()), Some(reason));
        }
    }
}
