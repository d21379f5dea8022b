//! The service as its callers see it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../bench/mod.rs"]
mod bench;

mod advice;
mod protocol;
mod sound;
