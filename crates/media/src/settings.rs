//! What a room was created with, in one place.

use std::time::Duration;

/// How long a room is kept that nobody has joined yet, as LiveKit has it.
const EMPTY_TIMEOUT: u32 = 300;

/// How long it is kept after the last one left, as LiveKit has it: its id survives a reload of the page.
const DEPARTURE_TIMEOUT: u32 = 20;

/// What a room was created with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Seconds it is kept before the first one joins.
    pub empty_timeout: u32,
    /// Seconds it is kept after the last one left.
    pub departure_timeout: u32,
    /// Most people in it; 0 sets no limit.
    pub max_participants: u32,
    /// Application's own text.
    pub metadata: String,
    /// How long receivers are to hold pictures back.
    pub playout_delay: Option<PlayoutDelay>,
    /// Whether sound and pictures of one source are to be played in step.
    pub sync_streams: bool,
}

/// Bounds of the time that receivers hold pictures back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlayoutDelay {
    /// At least so long.
    pub min: Duration,
    /// At most so long.
    pub max: Duration,
}

/// Longest delay that packets can tell: 12 bits of hundredths of a second.
const MAX_PLAYOUT_DELAY_MS: u32 = 40_950;

/// Upper bound for rooms that name a lower one alone, as LiveKit has it.
const USUAL_MAX_MS: u32 = 10_000;

impl PlayoutDelay {
    /// The bounds of those milliseconds, where 0 is left open; `None` without any, an error says what is wrong with them.
    pub fn of(min_ms: u32, max_ms: u32) -> Result<Option<Self>, String> {
        if min_ms == 0 && max_ms == 0 {
            return Ok(None);
        }
        let max_ms = if max_ms == 0 {
            USUAL_MAX_MS.max(min_ms)
        } else {
            max_ms
        };
        if min_ms > max_ms || max_ms > MAX_PLAYOUT_DELAY_MS {
            let rule = format!("must be at most the upper bound, and that at most {MAX_PLAYOUT_DELAY_MS} ms");
            return Err(format!("{rule}; got {min_ms} to {max_ms}"));
        }
        let [min, max] = [min_ms, max_ms].map(|ms| Duration::from_millis(ms.into()));
        Ok(Some(Self { min, max }))
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            empty_timeout: EMPTY_TIMEOUT,
            departure_timeout: DEPARTURE_TIMEOUT,
            max_participants: 0,
            metadata: String::new(),
            playout_delay: None,
            sync_streams: false,
        }
    }
}

impl Settings {
    /// How long the room is kept without people: it depends on whether there were any.
    pub fn kept_empty(&self, occupied: bool) -> Duration {
        let seconds = if occupied {
            self.departure_timeout
        } else {
            self.empty_timeout
        };
        Duration::from_secs(seconds.into())
    }
}
