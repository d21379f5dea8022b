//! Neural speech codec: model file, streaming encoder and decoder.
//!
//! Owns the network and its bitstream (10-bit codes, 18 residual levels, 50 frames a second at 16 kHz). Must never
//! know packets, threads or files: bytes of a model come in, frames go through. Compiles to wasm.
//!
//! One [`Encoder`] or [`Decoder`] is one stream; [`Batch`] takes the frames of many at once, which costs less of the
//! processor. The inner loops are chosen for the processor when a model is loaded ([`Kernel`]).
//!
//! Causal MDCT-domain codec with a linear skip path (docs/speech-model.md). Every prefix of a frame's levels decodes:
//! 3, 6, 12, 18 levels are 1.5, 3, 6, 9 kbps.
//!
//! ```
//! use auralink_codec::{Decoder, Encoder, FRAME_SAMPLES, Model};
//!
//! let model = Model::builtin().unwrap();
//! let (mut encoder, mut decoder) = (Encoder::new(model.clone()), Decoder::new(model));
//! let mut codes = [0u16; 12];
//! let mut pcm = [0.0f32; FRAME_SAMPLES];
//! encoder.encode(&[0.0; FRAME_SAMPLES], &mut codes);
//! decoder.decode(&codes, &mut pcm).unwrap();
//! assert!(pcm.iter().all(|s| s.abs() < 1e-3));
//! ```

#![deny(unsafe_code)]
#![warn(clippy::undocumented_unsafe_blocks)]

mod batch;
mod companding;
mod decoder;
mod encoder;
pub mod file;
#[allow(unsafe_code)]
mod kernels;
mod mdct;
mod model;
mod network;
mod noise;
mod pauses;
mod search;
mod weights;

use std::time::Duration;

pub use batch::Batch;
pub use decoder::{DecodeError, DecodeJob, Decoder, Received};
pub use encoder::{EncodeJob, Encoder};
pub use kernels::Kernel;
pub use model::{Manifest, Model, ModelError, ModelId};
pub use noise::NOISE_CODES;
pub use pauses::{Frame, NOISE_INTERVAL};
pub use search::Beam;

/// Samples per second.
pub const SAMPLE_RATE: u32 = 16_000;
/// Samples per frame: 20 ms.
pub const FRAME_SAMPLES: usize = 320;
/// Residual quantiser levels at most.
pub const LEVELS_MAX: usize = 18;
/// Bits of one code.
pub const BITS_PER_LEVEL: u32 = 10;
/// Entries of one codebook.
pub const ENTRIES: usize = 1 << BITS_PER_LEVEL;
/// Frame plus MDCT overlap: how late the output is against the input.
pub const DELAY: Duration = Duration::from_millis(30);
/// The part of [`DELAY`] by which decoded samples lag the frame they stand for: one hop.
pub const OUTPUT_LAG_SAMPLES: usize = HOP;

pub(crate) const HOP: usize = FRAME_SAMPLES / 2;
pub(crate) const LATENT: usize = 64;
