//! LiveKit access tokens: mint and verify.
//!
//! Owns the claims, their defaults and the checks. Must never know rooms, HTTP or the database: a verified token is
//! a statement about who asks and what they may do, nothing more.
//!
//! ```
//! use std::time::{Duration, SystemTime};
//! use auralink_token::{Claims, KeyRing};
//!
//! let keys = KeyRing::new([("devkey", "secret")]);
//! let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
//! let jwt = keys.mint("devkey", &Claims::join("lobby", "ada"), Duration::from_secs(60), now).unwrap();
//! assert_eq!(keys.verify(&jwt, now).unwrap().claims.identity, "ada");
//! ```
#![forbid(unsafe_code)]

mod claims;
mod keys;

pub use claims::{Claims, VideoGrants};
pub use keys::{KeyRing, LEEWAY, TOKEN_MAX, TokenError, Verified};
