//! AuraLink's native client: joins a room by LiveKit signalling, publishes audio from a file, plays what it hears
//! into a file, and counts every byte on the wire both ways.
//!
//! Owns the far end of a call: signalling, the offering peer connection, the sender's pace, the receiver's jitter
//! buffer. Must never know the server's insides: it speaks to it only over the network. Logic is sans-IO
//! ([`session`], [`publish`], [`receive`]); one task drives it.
//!
//! ```no_run
//! use auralink_client::{AtEnd, AudioSource, Client, ClientOptions, Hearing};
//!
//! # async fn example(token: String) -> Result<(), auralink_client::JoinError> {
//! let mut options = ClientOptions::new("ws://127.0.0.1:7880", token);
//! options.publish = Some(AudioSource::open("speech.wav".as_ref(), AtEnd::Loop)?);
//! options.hearing = Hearing::Record("heard.wav".into());
//! let client = Client::join(options).await?;
//! tokio::time::sleep(std::time::Duration::from_secs(10)).await;
//! let report = client.leave().await?;
//! println!("{:.1} kbps up", report.steady.up_wire_kbps);
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

pub mod answer;
mod client;
mod codecs;
mod driver;
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
mod trial;
mod trust;
pub mod unit;

pub use client::{Client, ClientEvent, ClientOptions, Hearing, Report, Stats, TrackReport};
pub use codecs::OwnSettings;
pub use driver::facing;
pub use error::JoinError;
pub use source::{AtEnd, AudioSource, SAMPLE_RATE, made_up_voice};
pub use trust::TrustError;
