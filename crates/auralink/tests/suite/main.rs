//! The program as it is run: processes of our own, real calls through them, and what becomes of those when something
//! goes wrong.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod ai_faults;
mod api_faults;
mod call;
mod clock;
mod configuration_faults;
mod database_faults;
mod erasure;
mod load;
mod operations;
mod opt_out;
mod pauses;
mod postgres;
mod privacy;
mod remote_core;
mod servers;
mod sound_files;
