//! How good the audio is and how much the wire was spared: distances, the online estimator, expected quality of
//! each rung, whole-wire accounting.
//!
//! Owns measures and the arithmetic of savings. Must never know codecs, sockets, clocks or policies: it gets
//! samples and byte counts and answers with numbers.
//!
//! ```
//! use auralink_quality::Estimator;
//!
//! // Something like a voice: a buzz in syllables, breath between them.
//! let voice = |n: u32| {
//!     let t = n as f32 / 16_000.0;
//!     let buzz: f32 = (1..25).map(|k| (754.0 * k as f32 * t).sin() / k as f32).sum();
//!     let breath = f32::from((n.wrapping_mul(2_654_435_761) >> 16) as i16) / 32_768.0;
//!     let syllable = (25.0 * t).sin().max(0.0);
//!     0.15 * syllable * buzz + 0.02 * (1.0 - syllable) * breath
//! };
//! let speech: Vec<f32> = (0..48_000).map(voice).collect();
//! let mut estimator = Estimator::with_delay(0);
//! for frame in speech.chunks(320) {
//!     estimator.push(frame, frame);
//! }
//! assert!(estimator.estimate().unwrap().value() > 4.3);
//! ```
#![forbid(unsafe_code)]

mod align;
mod bands;
mod content;
mod estimate;
pub mod expected;
mod expected_table;
mod hearing;
mod mel;
mod network;
mod perception;
mod regression;
pub mod savings;
mod snr;
mod spectrum;
mod texture;

pub use content::{Content, ContentDetector};
pub use estimate::{Estimator, SAMPLE_RATE};
pub use expected::{neural_mos, opus_mos};
pub use mel::log_mel_distance;
pub use perception::Features;
pub use snr::segmental_snr;
