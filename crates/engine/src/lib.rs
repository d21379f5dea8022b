//! The brain: what goes out on each leg, and when to fall back. Sans-IO.
//!
//! Owns the ladder, the network's class, the fallback state machine, the book of policies and the one trait through
//! which media sees the AI ([`Processor`]). Must never know sockets, threads, clocks or codecs.
//!
//! ```
//! use auralink_engine::{Ladder, Receiver, Wishes};
//! use auralink_types::{AicConfig, ConfigChange, Mode, Rung};
//!
//! let change = ConfigChange { enabled: Some(true), mode: Some(Mode::Adaptive), ..Default::default() };
//! let policy = AicConfig::default().apply(&change).unwrap().policy();
//! let choice = Ladder::default().choose(&Wishes::of(&policy), &Receiver::default());
//! assert!(matches!(choice.rung, Rung::Lean(_)));
//! ```
#![forbid(unsafe_code)]

mod book;
mod fallback;
mod ladder;
mod network;
mod processor;

pub use book::{BOOK_CAPACITY, BookFull, PolicyBook};
pub use fallback::{Fallback, Phase};
pub use ladder::{Choice, Expected, Ladder, Receiver, Wishes, wire_bitrate};
pub use network::{NetworkAnalyzer, NetworkSample};
pub use processor::{Coded, InFrame, InKind, Outcome, Processor, Refused, StreamId, Wake};
