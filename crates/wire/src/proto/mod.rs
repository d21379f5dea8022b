//! Messages of the gRPC service (`proto/aic/v1`), and what they mean once they are believed.
//!
//! [`v1`] holds what prost made; it is for whoever speaks gRPC and nobody else. Everything that comes in is turned
//! into values with bounds here, and what is out of bounds becomes a [`FieldError`] with the path of the field.

mod config;
mod enums;
mod frame;
mod hints;
mod network;
mod rung;
mod session;

use auralink_types::FieldError;

pub use frame::{
    AudioCoding, AudioFrame, CODED_AUDIO_MAX, Frame, I420_SIDE_MAX, PCM_MAX, PcmFormat, PcmSample, SIDE_MAX,
    VIDEO_MAX, VideoCoding, VideoFrame, VideoShape,
};
pub use hints::{HintSource, HintsWanted};
pub use network::{NetworkReport, SAMPLES_MAX, reports};
pub use session::{
    Change, Choice, Decoding, FIXED_RUNGS_MAX, Governed, KEY_MAX, Opening, PcmOutput, SessionKey,
};

/// What prost made of `proto/aic/v1/aic_compression.proto`; its comments are the documentation.
#[allow(missing_docs, clippy::all, clippy::pedantic, rustdoc::all)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/aic.v1.rs"));
}

/// The file descriptor set of the service, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/aic.v1.bin"));

/// Puts the name of the enclosing field before the error's.
pub fn within(parent: &str, error: FieldError) -> FieldError {
    FieldError::new(format!("{parent}.{}", error.field), error.problem)
}

/// The value, or an error that says it is missing.
fn needed<T>(value: Option<T>, field: &str) -> Result<T, FieldError> {
    value.ok_or_else(|| FieldError::new(field, "must be given"))
}
