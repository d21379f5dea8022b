//! What the media task needs of AIC: the core behind its trait, the book of policies, and where rows and events go.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use auralink_engine::{Outcome, PolicyBook, ProbeGate, Processor, Refused, StreamId};
use auralink_types::{Event, MetricRow, Rung};
use tokio::sync::{Notify, mpsc};

use crate::participant::TrackKey;
use crate::wall::WallClock;

/// Rows that may wait for the store; beyond it they are dropped and counted.
pub const ROWS: usize = 4096;

/// Events that may wait for whoever keeps books; beyond it they are dropped and counted.
pub const EVENTS: usize = 4096;

/// AIC as the media task sees it.
pub struct Ai {
    /// The AI core.
    pub processor: Box<dyn Processor>,
    /// Notified when the core has something to say.
    pub woken: Arc<Notify>,
    /// Policies by user.
    pub book: Arc<PolicyBook>,
    /// Where metric rows go.
    pub rows: mpsc::Sender<MetricRow>,
    /// Where goes what happens in calls.
    pub events: mpsc::Sender<Event>,
}

impl Ai {
    /// No AI at all: every policy is the default and every stream is refused.
    pub fn none() -> Self {
        let (rows, _) = mpsc::channel(1);
        let (events, _) = mpsc::channel(1);
        Self {
            processor: Box::new(NoCore),
            woken: Arc::new(Notify::new()),
            book: Arc::new(PolicyBook::new()),
            rows,
            events,
        }
    }
}

struct NoCore;

impl Processor for NoCore {
    fn open(&mut self, _: &[Rung]) -> Result<StreamId, Refused> {
        Err(Refused::Unreachable)
    }
    fn set_rungs(&mut self, _: StreamId, _: &[Rung]) -> Result<(), Refused> {
        Err(Refused::Unreachable)
    }
    fn submit(&mut self, _: StreamId, _: auralink_engine::InFrame) -> Result<(), Refused> {
        Err(Refused::Unreachable)
    }
    fn poll(&mut self) -> Option<Outcome> {
        None
    }
    fn close(&mut self, _: StreamId) {}
    fn models(&self) -> Vec<u16> {
        Vec::new()
    }
}

/// The media task's own state around [`Ai`].
pub(crate) struct AiState {
    pub(crate) ai: Ai,
    /// Version of the book when it was last read.
    pub(crate) read: u64,
    /// Whose stream an outcome is about.
    pub(crate) streams: HashMap<StreamId, TrackKey>,
    /// Taps that want to hear of time passing.
    pub(crate) timers: BTreeSet<(Instant, TrackKey)>,
    /// How legs come back to a core that failed.
    pub(crate) gate: ProbeGate,
    /// What rows and events are dated by.
    pub(crate) wall: WallClock,
}

impl AiState {
    pub(crate) fn new(now: Instant, wall: SystemTime, ai: Ai) -> Self {
        Self {
            ai,
            read: 0,
            streams: HashMap::new(),
            timers: BTreeSet::new(),
            gate: ProbeGate::new(),
            wall: WallClock::new(now, wall),
        }
    }

    /// Microseconds since the Unix epoch.
    pub(crate) fn wall_us(&self, now: Instant) -> i64 {
        self.wall.at(now)
    }
}
