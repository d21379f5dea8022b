//! Webhooks in LiveKit's style: the body's hash is in a token that the tenant's API key signed.

mod backoff;
pub(crate) mod dispatcher;
pub(crate) mod event;
mod letter;
mod reach;

pub use backoff::ATTEMPTS_MAX;
pub use dispatcher::{Dispatcher, IN_FLIGHT_MAX, SEND_TIMEOUT};
pub use reach::Reach;
