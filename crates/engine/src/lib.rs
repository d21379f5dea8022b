//! The brain: what goes out on each leg, and when to fall back. Sans-IO.
//!
//! Owns the ladder with its cost and quality model, the network's class, the fallback state machine, the book of
//! policies and the one trait through which media sees the AI ([`Processor`]). Must never know sockets, threads,
//! clocks or codecs.
//!
//! ```
//! use auralink_engine::{Calibration, Network, Situation, choose};
//! use auralink_types::{AicConfig, ConfigChange, Rung};
//!
//! let change = ConfigChange { enabled: Some(true), ..Default::default() };
//! let policy = AicConfig::default().apply(&change).unwrap().policy();
//! let choice = choose(&policy, &Situation::stock(Network::default()), &Calibration::default());
//! assert!(matches!(choice.rung, Rung::Lean(_)));
//! ```
#![forbid(unsafe_code)]

mod book;
mod calibration;
mod cost;
mod damage;
mod experiment;
mod experiment_outcome;
mod fallback;
mod gate;
mod judge;
mod ladder;
mod network;
mod pace;
mod pilot;
mod prediction;
mod prior;
mod processor;
mod video;

pub use book::{BOOK_CAPACITY, BookFull, PolicyBook};
pub use calibration::Calibration;
pub use cost::{EXTENSION_BYTES, wire_bitrate};
pub use damage::after_loss;
pub use experiment::Experiment;
pub use experiment_outcome::{CONFIDENCE, Difference, Sample, UNITS_MIN};
pub use fallback::Phase;
pub use gate::ProbeGate;
pub use judge::Judge;
pub use ladder::{Choice, Situation, bears, choose};
pub use network::{Network, NetworkAnalyzer, NetworkSample, Trend};
pub use pace::Pace;
pub use pilot::{Course, LegPilot, Terms};
pub use prediction::{Prediction, predict};
pub use prior::expected;
pub use processor::{Coded, InFrame, InKind, Outcome, Processor, Refused, StreamId, Wake};
pub use video::{VideoPilot, VideoQuality, VideoSituation, VideoSource};
