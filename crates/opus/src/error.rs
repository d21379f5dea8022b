use std::ffi::c_int;

/// What went wrong with Opus, and with which value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpusError {
    /// A setting outside what Opus takes.
    #[error("{field} is {value}: {expected}")]
    Config {
        /// The setting.
        field: &'static str,
        /// Its value.
        value: u64,
        /// What is accepted.
        expected: &'static str,
    },
    /// The samples are not exactly one packet.
    #[error("pcm holds {got} samples, one packet takes {expected}")]
    PcmLength {
        /// Samples given, all channels together.
        got: usize,
        /// Samples of one packet, all channels together.
        expected: usize,
    },
    /// The output slice does not hold the packet's audio.
    #[error("output holds {got} samples, {needed} are needed")]
    OutputTooSmall {
        /// Samples the slice holds, all channels together.
        got: usize,
        /// Samples needed, all channels together.
        needed: usize,
    },
    /// A concealment length Opus cannot make.
    #[error(
        "{samples} samples per channel cannot be concealed at {sample_rate} Hz: a multiple of 2.5 ms up to 120 ms"
    )]
    ConcealLength {
        /// Samples per channel asked for.
        samples: usize,
        /// Rate of the decoder.
        sample_rate: u32,
    },
    /// Not an Opus packet (an AIC payload is none by design).
    #[error("not an opus packet of {len} bytes: {why}")]
    InvalidPacket {
        /// Bytes given.
        len: usize,
        /// Rule broken.
        why: &'static str,
    },
    /// libopus refused.
    #[error("{call} failed: {} ({code})", code_name(*.code))]
    Library {
        /// Function or control request.
        call: &'static str,
        /// Its return value.
        code: c_int,
    },
}

fn code_name(code: c_int) -> &'static str {
    match code {
        opusic_sys::OPUS_BAD_ARG => "bad argument",
        opusic_sys::OPUS_BUFFER_TOO_SMALL => "buffer too small",
        opusic_sys::OPUS_INTERNAL_ERROR => "internal error",
        opusic_sys::OPUS_INVALID_PACKET => "corrupted packet",
        opusic_sys::OPUS_UNIMPLEMENTED => "not implemented",
        opusic_sys::OPUS_INVALID_STATE => "invalid state",
        opusic_sys::OPUS_ALLOC_FAIL => "out of memory",
        _ => "unknown error",
    }
}

/// The non-negative return value of a libopus call, or its error.
pub(crate) fn check(call: &'static str, code: c_int) -> Result<usize, OpusError> {
    usize::try_from(code).map_err(|_| OpusError::Library { call, code })
}
