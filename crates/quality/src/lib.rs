//! How good the audio is and how much the wire was spared: distances, the online estimator, expected quality of
//! each rung, whole-wire accounting.
//!
//! Owns measures and the arithmetic of savings. Must never know codecs, sockets, clocks or policies: it gets
//! samples and byte counts and answers with numbers.
//!
//! ```
//! use auralink_quality::Estimator;
//!
//! let speech: Vec<f32> = (0..48_000).map(|n| 0.2 * (n as f32 * 0.05).sin() * (n as f32 * 0.001).sin()).collect();
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
