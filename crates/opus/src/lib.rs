//! Opus (RFC 6716) through libopus 1.6.1, made safe: lengths are checked before C sees them, errors are typed.
//!
//! Owns the encoder and decoder handles and the only `unsafe` they need. Must never know RTP, the AIC payload
//! beyond "not Opus", policies or tokio. The decoder carries libopus' neural parts: deep concealment from
//! complexity 5, LACE from 6, NoLACE from 7.
//!
//! ```
//! use auralink_opus::{Decoder, Encoder, EncoderConfig, packet_samples};
//!
//! let mut encoder = Encoder::new(&EncoderConfig::lean(12_000, 60))?;
//! let mut decoder = Decoder::new(16_000, 1, 7)?;
//! let pcm = vec![0.0f32; 960];
//! let mut packet = [0u8; 1275];
//! let len = encoder.encode(&pcm, &mut packet)?;
//! assert_eq!(packet_samples(&packet[..len], 16_000)?, 960);
//! let mut out = vec![0.0f32; 960];
//! assert_eq!(decoder.decode(&packet[..len], &mut out)?, 960);
//! # Ok::<(), auralink_opus::OpusError>(())
//! ```

mod config;
mod decoder;
mod dred;
mod encoder;
mod error;
mod packet;

pub use config::{Application, Bandwidth, EncoderConfig, FULL_BAND_FROM, Signal};
pub use decoder::Decoder;
pub use dred::Dred;
pub use encoder::Encoder;
pub use error::OpusError;
pub use packet::{MAX_PACKET_MS, packet_channels, packet_has_fec, packet_samples};

/// Bytes that hold any packet the encoder makes (RFC 6716: 1275 bytes per frame, up to six 20 ms frames).
pub const MAX_PACKET_BYTES: usize = 6 * 1276 + 2;

/// Version string of the linked library.
pub fn version() -> &'static str {
    // SAFETY: opus_get_version_string takes nothing and returns a pointer to a NUL-terminated string literal
    // with static lifetime.
    let text = unsafe { std::ffi::CStr::from_ptr(opusic_sys::opus_get_version_string()) };
    text.to_str().unwrap_or("libopus")
}
