//! The AI core in process: workers that decode a publisher's packets once and code them for every rung wanted.
//!
//! Owns worker threads and the codec state of streams. Must never know rooms, sockets or policies: packets come in
//! through [`auralink_engine::Processor`], coded packets come out. A worker that dies takes its streams with it, says
//! so, and is started again.
//!
//! ```
//! use std::sync::Arc;
//! use auralink_aicore::LocalCore;
//! use auralink_engine::Processor as _;
//! use auralink_types::Rung;
//!
//! let mut core = LocalCore::start(1, Arc::new(|| {}));
//! let stream = core.open(&[Rung::Original]).unwrap();
//! core.close(stream);
//! ```
#![forbid(unsafe_code)]

mod coder;
mod core;
mod input;
mod output;
mod stream;
mod worker;

pub use crate::core::{CoreFaults, LocalCore, STREAMS_PER_WORKER};
