//! Sound files as people have them: WAV in all its dialects, FLAC, Ogg (Opus, Vorbis) and MP3 in, WAV out.
//!
//! Owns how files become mono sound of one sample rate and how they are written. Must never know rooms, packets,
//! codecs of calls or threads. Files are told by their bytes and streamed: memory does not grow with their length.
//!
//! A reader ([`Reader`]) is a decoder, a mix to mono by ITU-R BS.775 that hears antiphase, and a resampler.
//!
//! ```
//! use auralink_audio::{Reader, WavWriter};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("tone.wav");
//! let tone: Vec<f32> = (0..48_000).map(|n| 0.5 * (n as f32 * 0.05).sin()).collect();
//! WavWriter::write_all(&path, 48_000, &tone)?;
//! let mut reader = Reader::open(&path, 16_000)?;
//! assert_eq!(reader.describe(), "WAV, 16 bit, 48000 Hz, mono");
//! let mut second = vec![0.0; 20_000];
//! assert_eq!(reader.read(&mut second)?, 16_000);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod decoder;
mod downmix;
mod error;
mod flac;
mod input;
mod kind;
mod layout;
mod mp3;
mod ogg;
mod opus;
mod output;
mod reader;
mod resample;
mod vorbis;
mod wav;
mod writer;

pub use error::{AudioError, Problem, WriteError};
pub use output::{Output, is_same_file};
pub use reader::{Reader, read_all};
pub use writer::WavWriter;
