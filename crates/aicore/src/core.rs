//! The supervisor: spreads streams over workers, notices a worker's death, starts it again.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use auralink_codec::Model;
use auralink_engine::{InFrame, Outcome, Processor, Refused, StreamId, Wake};
use auralink_types::{Reason, Rung};

use crate::worker::{Job, Worker};

/// Streams a worker takes at most; the next one is refused.
pub const STREAMS_PER_WORKER: usize = 512;
/// Outcomes that may wait to be polled.
const OUTCOMES: usize = 8192;
/// First pause before a dead worker is started again; doubles up to the last while it keeps dying.
const RESTART_FIRST: Duration = Duration::from_millis(200);
const RESTART_LAST: Duration = Duration::from_secs(30);
/// A worker that lived this long is forgiven its earlier deaths.
const HEALTHY_AFTER: Duration = Duration::from_secs(30);

struct Slot {
    worker: Option<Worker>,
    streams: usize,
    started: Instant,
    /// Not before this instant.
    restart_at: Instant,
    pause: Duration,
}

/// Faults to inject, for tests and the demo. Shared with whoever holds [`LocalCore::faults`].
#[derive(Clone, Default)]
pub struct CoreFaults {
    wanted: Arc<Mutex<Vec<Fault>>>,
}

enum Fault {
    Kill { down_for: Duration },
    Stall { per_frame: Duration },
}

impl CoreFaults {
    /// Lets every worker thread panic, and keeps it from being started again for so long.
    pub fn kill_workers(&self, down_for: Duration) {
        self.push(Fault::Kill { down_for });
    }

    /// Lets every frame take that much longer from now on; zero heals.
    pub fn stall(&self, per_frame: Duration) {
        self.push(Fault::Stall { per_frame });
    }

    fn push(&self, fault: Fault) {
        self.wanted
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push(fault);
    }

    fn take(&self) -> Vec<Fault> {
        std::mem::take(
            &mut *self
                .wanted
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        )
    }
}

/// The AI core in this process.
pub struct LocalCore {
    slots: Vec<Slot>,
    placed: HashMap<StreamId, usize>,
    outcomes: Receiver<Outcome>,
    reporter: SyncSender<Outcome>,
    obituaries: Vec<Outcome>,
    next_id: u64,
    model: Option<Arc<Model>>,
    wake: Wake,
    faults: CoreFaults,
}

#[allow(
    clippy::disallowed_methods,
    reason = "the supervisor is a driver: it owns threads and their clock"
)]
impl LocalCore {
    /// Starts so many workers, at least one. `wake` is called, from their threads, when there is something to poll.
    pub fn start(workers: usize, wake: Wake) -> Self {
        let model = match Model::builtin() {
            Ok(model) => Some(model),
            Err(error) => {
                tracing::error!(%error, "the speech model cannot be used: Opus only");
                None
            }
        };
        let (reporter, outcomes) = sync_channel(OUTCOMES);
        let now = Instant::now();
        let slot = || Slot {
            worker: None,
            streams: 0,
            started: now,
            restart_at: now,
            pause: RESTART_FIRST,
        };
        let mut core = Self {
            slots: std::iter::repeat_with(slot).take(workers.max(1)).collect(),
            placed: HashMap::new(),
            outcomes,
            reporter,
            obituaries: Vec::new(),
            next_id: 1,
            model,
            wake,
            faults: CoreFaults::default(),
        };
        core.supervise(now);
        core
    }

    /// A handle for injecting faults.
    pub fn faults(&self) -> CoreFaults {
        self.faults.clone()
    }

    /// Buries dead workers, starts those whose pause is over, injects faults that were asked for.
    fn supervise(&mut self, now: Instant) {
        for fault in self.faults.take() {
            for slot in &mut self.slots {
                let Some(worker) = &slot.worker else { continue };
                match fault {
                    Fault::Kill { down_for } => {
                        let _ = worker.jobs.try_send(Job::Die);
                        slot.restart_at = now + down_for;
                    }
                    Fault::Stall { per_frame } => {
                        let _ = worker.jobs.try_send(Job::Stall(per_frame));
                    }
                }
            }
        }
        for (number, slot) in self.slots.iter_mut().enumerate() {
            if slot.worker.as_ref().is_some_and(|worker| !worker.is_alive()) {
                slot.worker = None;
                slot.streams = 0;
                if now.duration_since(slot.started) >= HEALTHY_AFTER {
                    slot.pause = RESTART_FIRST;
                }
                slot.restart_at = slot.restart_at.max(now + slot.pause);
                slot.pause = (slot.pause * 2).min(RESTART_LAST);
                tracing::error!(worker = number, "AI worker died; its streams go to bypass");
                let lost: Vec<StreamId> = self
                    .placed
                    .iter()
                    .filter(|(_, at)| **at == number)
                    .map(|(id, _)| *id)
                    .collect();
                for stream in lost {
                    self.placed.remove(&stream);
                    self.obituaries.push(Outcome::Failed {
                        stream,
                        reason: Reason::CoreUnreachable,
                    });
                }
            }
            if slot.worker.is_none() && now >= slot.restart_at {
                match Worker::start(
                    number,
                    self.model.clone(),
                    self.reporter.clone(),
                    self.wake.clone(),
                ) {
                    Ok(worker) => {
                        slot.worker = Some(worker);
                        slot.started = now;
                    }
                    Err(error) => {
                        tracing::error!(%error, worker = number, "AI worker does not start");
                        slot.restart_at = now + slot.pause;
                    }
                }
            }
        }
    }

    fn send(&mut self, stream: StreamId, job: Job) -> Result<(), Refused> {
        let number = *self.placed.get(&stream).ok_or(Refused::UnknownStream)?;
        let worker = self.slots[number].worker.as_ref().ok_or(Refused::Unreachable)?;
        worker.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => Refused::Full,
            TrySendError::Disconnected(_) => Refused::Unreachable,
        })
    }
}

#[allow(clippy::disallowed_methods, reason = "see above")]
impl Processor for LocalCore {
    fn open(&mut self, rungs: &[Rung]) -> Result<StreamId, Refused> {
        self.supervise(Instant::now());
        let alive = self.slots.iter().enumerate().filter(|(_, s)| s.worker.is_some());
        let (number, slot) = alive.min_by_key(|(_, s)| s.streams).ok_or(Refused::Unreachable)?;
        if slot.streams >= STREAMS_PER_WORKER {
            return Err(Refused::Full);
        }
        let stream = StreamId(self.next_id);
        self.next_id += 1;
        self.placed.insert(stream, number);
        if let Err(refused) = self.send(stream, Job::Open(stream, rungs.to_vec())) {
            self.placed.remove(&stream);
            return Err(refused);
        }
        self.slots[number].streams += 1;
        Ok(stream)
    }

    fn set_rungs(&mut self, stream: StreamId, rungs: &[Rung]) -> Result<(), Refused> {
        self.send(stream, Job::SetRungs(stream, rungs.to_vec()))
    }

    fn submit(&mut self, stream: StreamId, frame: InFrame) -> Result<(), Refused> {
        self.send(stream, Job::Frame(stream, frame))
    }

    fn poll(&mut self) -> Option<Outcome> {
        self.supervise(Instant::now());
        if let Ok(outcome) = self.outcomes.try_recv() {
            if let Outcome::Failed { stream, .. } = &outcome
                && let Some(number) = self.placed.remove(stream)
            {
                self.slots[number].streams = self.slots[number].streams.saturating_sub(1);
            }
            return Some(outcome);
        }
        self.obituaries.pop()
    }

    fn close(&mut self, stream: StreamId) {
        let _ = self.send(stream, Job::Close(stream));
        if let Some(number) = self.placed.remove(&stream) {
            self.slots[number].streams = self.slots[number].streams.saturating_sub(1);
        }
    }

    fn models(&self) -> Vec<u16> {
        self.model.iter().map(|model| model.id().0).collect()
    }
}
