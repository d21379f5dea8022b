//! Enumerations, both ways. An unknown number is refused by name, never taken for the default.

use auralink_types::{FieldError, Mode, NetworkClass, Reason};

use super::v1;

impl From<Reason> for v1::Reason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Quality => Self::Quality,
            Reason::Late => Self::Late,
            Reason::ModelFailure => Self::ModelFailure,
            Reason::UnstableNetwork => Self::UnstableNetwork,
            Reason::NoAccelerator => Self::NoAccelerator,
            Reason::CoreUnreachable => Self::CoreUnreachable,
            Reason::Overload => Self::Overload,
            Reason::OptOut => Self::OptOut,
            Reason::Disabled => Self::Disabled,
            Reason::ReceiverNotCapable => Self::ReceiverNotCapable,
            Reason::Content => Self::Content,
            Reason::BadInput => Self::BadInput,
            Reason::Probation => Self::Probation,
        }
    }
}

impl TryFrom<v1::Reason> for Reason {
    type Error = FieldError;

    fn try_from(reason: v1::Reason) -> Result<Self, FieldError> {
        Ok(match reason {
            v1::Reason::Quality => Self::Quality,
            v1::Reason::Late => Self::Late,
            v1::Reason::ModelFailure => Self::ModelFailure,
            v1::Reason::UnstableNetwork => Self::UnstableNetwork,
            v1::Reason::NoAccelerator => Self::NoAccelerator,
            v1::Reason::CoreUnreachable => Self::CoreUnreachable,
            v1::Reason::Overload => Self::Overload,
            v1::Reason::OptOut => Self::OptOut,
            v1::Reason::Disabled => Self::Disabled,
            v1::Reason::ReceiverNotCapable => Self::ReceiverNotCapable,
            v1::Reason::Content => Self::Content,
            v1::Reason::BadInput => Self::BadInput,
            v1::Reason::Probation => Self::Probation,
            v1::Reason::Unspecified | v1::Reason::NoTranscoder => {
                return Err(FieldError::new(
                    "reason",
                    format!("{} is no reason of a leg", reason.as_str_name()),
                ));
            }
        })
    }
}

impl From<NetworkClass> for v1::NetworkClass {
    fn from(class: NetworkClass) -> Self {
        match class {
            NetworkClass::Unknown => Self::Unspecified,
            NetworkClass::Good => Self::Good,
            NetworkClass::Fair => Self::Fair,
            NetworkClass::Poor => Self::Poor,
            NetworkClass::Bad => Self::Bad,
        }
    }
}

impl From<Mode> for v1::Mode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Conservative => Self::Conservative,
            Mode::Adaptive => Self::Adaptive,
            Mode::Aggressive => Self::Aggressive,
            Mode::Off => Self::Off,
        }
    }
}

/// The mode with that number.
pub(super) fn mode(number: i32) -> Result<Mode, FieldError> {
    Ok(
        match v1::Mode::try_from(number).map_err(|_| unknown("mode", number))? {
            v1::Mode::Unspecified => Mode::default(),
            v1::Mode::Conservative => Mode::Conservative,
            v1::Mode::Adaptive => Mode::Adaptive,
            v1::Mode::Aggressive => Mode::Aggressive,
            v1::Mode::Off => Mode::Off,
        },
    )
}

/// The codec with that number, which must be told.
pub(super) fn codec(number: i32) -> Result<v1::Codec, FieldError> {
    match v1::Codec::try_from(number) {
        Ok(v1::Codec::Unspecified) => Err(FieldError::new("codec", "must be given")),
        Ok(codec) => Ok(codec),
        Err(_) => Err(unknown("codec", number)),
    }
}

fn unknown(field: &str, number: i32) -> FieldError {
    FieldError::new(field, format!("there is no value {number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_goes_there_and_back() {
        for reason in Reason::ALL {
            assert_eq!(Reason::try_from(v1::Reason::from(reason)), Ok(reason));
        }
        for other in [v1::Reason::Unspecified, v1::Reason::NoTranscoder] {
            assert_eq!(Reason::try_from(other).unwrap_err().field, "reason");
        }
    }

    #[test]
    fn every_mode_goes_there_and_back_and_an_unknown_number_is_refused() {
        for known in Mode::ALL {
            assert_eq!(mode(v1::Mode::from(known) as i32), Ok(known));
        }
        assert_eq!(mode(99).unwrap_err().field, "mode");
        assert_eq!(codec(99).unwrap_err().field, "codec");
        assert_eq!(codec(0).unwrap_err().field, "codec");
    }
}
