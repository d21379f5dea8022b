//! The WebRTC media server: LiveKit signalling, rooms, and the forwarding of media and data.
//!
//! Owns the UDP socket, peer connections, signalling sockets and who gets which packet. Must never know the store,
//! REST or models: AI is seen through the tap alone. All state is in one sans-IO core; the driver
//! feeds it datagrams, commands and time.
//!
//! ```no_run
//! # async fn run() -> Result<(), auralink_media::StartError> {
//! use std::sync::Arc;
//! use auralink_media::{MediaConfig, MediaServer};
//! use auralink_token::KeyRing;
//!
//! let keys = Arc::new(KeyRing::new([("devkey", "secret")]));
//! let server = MediaServer::start(MediaConfig::loopback(keys)).await?;
//! let _routes: axum::Router = server.router();
//! # Ok(()) }
//! ```
#![forbid(unsafe_code)]

mod ai;
mod arena;
mod arrival;
mod command;
mod config;
mod connection;
mod data;
mod directory;
mod held;
mod leg;
mod lent;
mod line;
mod matching;
mod metrics;
mod outbox;
mod participant;
mod profile;
mod quality;
mod relay;
mod room;
mod sdp;
mod sequence;
mod server;
mod session;
mod settings;
mod shard;
mod signal;
mod speaking;
mod subscription;
mod switchboard;
pub mod tap;
mod track;
mod transport;
mod twirp;
mod verb;
mod video;
mod wall;
mod whereabouts;

pub use ai::{Ai, CoreError, EVENTS, OpenCore, ROWS};
pub use config::{MediaConfig, RoomRules, TenantLimits};
pub use metrics::{Counters, Stats};
pub use server::{MediaServer, StartError};
#[doc(hidden)]
pub use twirp::read_any as read_any_twirp_body;
