//! AuraLink's native client: joins a room by LiveKit signalling, publishes audio from a file, plays what it hears
//! into a file, and counts every byte on the wire both ways.
//!
//! Owns the far end of a call: signalling, the offering peer connection, the sender's pace, the receiver's jitter
//! buffer. Must never know the server's insides: it speaks to it only over the network. Logic is sans-IO
//! ([`session`], [`publish`], [`receive`]); one task drives it.
#![forbid(unsafe_code)]

pub mod answer;
mod codecs;
mod error;
mod jitter;
pub mod neural;
pub mod publish;
pub mod receive;
mod record;
mod resample;
pub mod session;
pub mod signal;
mod source;
mod stretch;
pub mod traffic;
pub mod unit;

pub use codecs::OwnSettings;
pub use error::JoinError;
pub use source::{AtEnd, AudioSource, SAMPLE_RATE, SourceError};
