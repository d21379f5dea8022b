//! The one place where the API asks for the time, so that tests can set it.

use std::fmt;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// One reading of both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For tokens and rows; may be set back.
    pub wall: SystemTime,
    /// For everything that counts time.
    pub steady: Instant,
}

/// Where the time comes from.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Now + Send + Sync>);

impl Clock {
    /// The machine's clocks.
    pub fn system() -> Self {
        Self::from_fn(|| Now {
            wall: SystemTime::now(),
            steady: Instant::now(),
        })
    }

    /// A clock of the caller's.
    pub fn from_fn(read: impl Fn() -> Now + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// What time it is.
    pub fn now(&self) -> Now {
        (self.0)()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
