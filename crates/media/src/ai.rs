//! What the media task needs of AIC: the core behind its trait, the book of policies, and where rows and events go.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use auralink_engine::{Outcome, PolicyBook, ProbeGate, Processor, Refused, StreamId, Wake};
use auralink_types::{Event, MetricRow, Rung};
use tokio::sync::mpsc;

use crate::participant::TrackKey;
use crate::wall::WallClock;

/// Rows that may wait for the store; beyond it they are dropped and counted.
pub const ROWS: usize = 4096;

/// Events that may wait for whoever keeps books; beyond it they are dropped and counted.
pub const EVENTS: usize = 4096;

/// Opens a way to the AI core, which calls that when there is something to poll. Each shard has one of its own.
pub type OpenCore = Arc<dyn Fn(Wake) -> Result<Box<dyn Processor>, CoreError> + Send + Sync>;

/// Why there is no way to the AI core.
pub type CoreError = Box<dyn std::error::Error + Send + Sync>;

/// AIC as the media server sees it.
#[derive(Clone)]
pub struct Ai {
    /// The AI core.
    pub core: OpenCore,
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
            core: Arc::new(|_| Ok(Box::new(NoCore))),
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

/// AIC as one shard has it.
pub struct AiState {
    /// The way to the AI core.
    pub processor: Box<dyn Processor>,
    /// Policies by user.
    pub book: Arc<PolicyBook>,
    /// Where metric rows go.
    pub rows: mpsc::Sender<MetricRow>,
    /// Where goes what happens in calls.
    pub events: mpsc::Sender<Event>,
    /// Version of the book when it was last read.
    pub read: u64,
    /// Whose stream an outcome is about.
    pub streams: HashMap<StreamId, TrackKey>,
    /// Taps that want to hear of time passing.
    pub timers: BTreeSet<(Instant, TrackKey)>,
    /// How legs come back to a core that failed.
    pub gate: ProbeGate,
    /// What rows and events are dated by.
    pub wall: WallClock,
}

impl AiState {
    /// With a way to the core; without one every stream is refused.
    pub fn new(now: Instant, wall: SystemTime, ai: &Ai, processor: Option<Box<dyn Processor>>) -> Self {
        Self {
            processor: processor.unwrap_or_else(|| Box::new(NoCore)),
            book: ai.book.clone(),
            rows: ai.rows.clone(),
            events: ai.events.clone(),
            read: 0,
            streams: HashMap::new(),
            timers: BTreeSet::new(),
            gate: ProbeGate::new(),
            wall: WallClock::new(now, wall),
        }
    }

    /// Microseconds since the Unix epoch.
    pub fn wall_us(&self, now: Instant) -> i64 {
        self.wall.at(now)
    }
}
