//! The bytes AuraLink puts on the wire: the AIC payload, its RTP header extension, and RED (RFC 2198),
//! and the messages of the gRPC service.
//!
//! Owns layouts, limits and errors; `docs/protocol.md` is the same in prose and carries the test vectors. Must
//! never know sockets, clocks, codecs or tokio. Every parser takes any bytes and answers with a value or a
//! [`WireError`].
//!
//! ```
//! use auralink_wire::aic::{AicPacket, is_aic};
//!
//! let mut packet = AicPacket::new(0x0001, 6, 3);
//! packet.restart(1000, false);
//! packet.push_frame(&[1, 2, 3, 4, 5, 6])?;
//! packet.push_copy(&[7, 8, 9])?;
//! let mut payload = Vec::new();
//! packet.write(&mut payload)?;
//! assert!(is_aic(&payload));
//! let back = AicPacket::parse(&payload)?;
//! assert_eq!(back.frame(0), [1, 2, 3, 4, 5, 6]);
//! assert_eq!(back.copy(0), (999, &[7, 8, 9][..]));
//! # Ok::<(), auralink_wire::WireError>(())
//! ```
#![forbid(unsafe_code)]

pub mod aic;
mod bits;
mod error;
pub mod extension;
pub mod proto;
pub mod red;

pub use error::WireError;
