//! Janus, the baseline: its process, as much of its API as the video room needs, and a participant of it.

mod api;
mod person;
mod process;

pub use api::Api;
pub use person::{Publisher, Subscriber};
pub use process::{PROGRAM, Process, address};
