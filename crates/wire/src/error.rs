/// Why bytes are not what they claim to be, or a value does not fit its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The bytes end before the value does.
    #[error("{what} needs {needed} bytes, {got} are there")]
    Truncated {
        /// Part that is cut off.
        what: &'static str,
        /// Bytes needed from its start.
        needed: usize,
        /// Bytes there.
        got: usize,
    },
    /// More bytes than the value has.
    #[error("{what} takes {expected} bytes, {got} are there")]
    Trailing {
        /// Part that ended.
        what: &'static str,
        /// Bytes it takes.
        expected: usize,
        /// Bytes there.
        got: usize,
    },
    /// Not marked as an AIC payload.
    #[error("not an aic payload")]
    NotAic,
    /// A version this build does not read.
    #[error("version {0} of the {1} is unknown")]
    Version(u8, &'static str),
    /// A field outside its range.
    #[error("{field} is {value}, allowed is {min} to {max}")]
    Range {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u32,
        /// Least allowed.
        min: u32,
        /// Most allowed.
        max: u32,
    },
    /// Bits that must be zero are not.
    #[error("reserved bits of the {0} are set")]
    Reserved(&'static str),
}

pub(crate) fn in_range(field: &'static str, value: u32, min: u32, max: u32) -> Result<(), WireError> {
    if (min..=max).contains(&value) {
        Ok(())
    } else {
        Err(WireError::Range {
            field,
            value,
            min,
            max,
        })
    }
}
