//! The pool of workers: spreads streams over them, watches them, replaces the dead and the stuck.

use std::collections::HashMap;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::Thread;
use std::time::{Duration, Instant};

use auralink_codec::Model;
use auralink_engine::{Refused, StreamId};
use auralink_types::{Reason, Rung};

use crate::listener::Listener;
use crate::stream::{Frame, Work};
use crate::worker::{Job, Leavers, Pulse, Worker};

/// Streams a worker takes at most; the next one is refused.
pub(crate) const STREAMS_PER_WORKER: usize = 512;
/// First pause before a dead worker is started again; doubles up to the last while it keeps dying.
const RESTART_FIRST: Duration = Duration::from_millis(200);
const RESTART_LAST: Duration = Duration::from_secs(30);
/// A worker that lived this long is forgiven its earlier deaths.
const HEALTHY_AFTER: Duration = Duration::from_secs(30);
/// How often the workers are looked at.
const WATCH_EVERY: Duration = Duration::from_millis(50);
/// A worker that takes this long over one job is stuck. A frame takes milliseconds; a machine that is out of breath
/// may stop a thread for some hundred.
const STUCK_AFTER: Duration = Duration::from_secs(2);
/// Stuck threads that are kept at most: they cannot be ended, and each holds its streams' memory. Past it a stuck
/// worker is not replaced until one of them ends.
const ABANDONED_MAX: usize = 4;
/// Length of a measurement of the load.
const LOAD_EVERY: Duration = Duration::from_millis(500);

/// How a pool stands.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PoolStats {
    /// Streams open now.
    pub streams: usize,
    /// Most that are taken.
    pub streams_max: usize,
    /// Workers alive.
    pub workers: usize,
    /// Workers there should be.
    pub workers_wanted: usize,
    /// Share of the workers' time that went into jobs lately, 0 to 1.
    pub load: f64,
    /// Frames coded since the start.
    pub frames_coded: u64,
    /// Frames given up because they were hopelessly late, since the start.
    pub frames_late: u64,
    /// Workers replaced since the start, because they died or got stuck.
    pub replaced: u64,
}

struct Slot {
    worker: Option<Worker>,
    streams: usize,
    started: Instant,
    /// Not before this instant.
    restart_at: Instant,
    pause: Duration,
}

struct Inner {
    slots: Vec<Slot>,
    placed: HashMap<StreamId, (usize, Arc<dyn Listener>)>,
    abandoned: Vec<Arc<Pulse>>,
    next_id: u64,
    replaced: u64,
    /// Frames of workers that are gone: coded, late.
    past: (u64, u64),
    load: f64,
    load_from: (Instant, Duration),
}

/// Workers and their streams, shared by everybody who has some.
pub(crate) struct Pool {
    inner: Mutex<Inner>,
    model: Option<Arc<Model>>,
    epoch: Instant,
    watch: OnceLock<Thread>,
}

/// A stream's owner has this; dropping it closes the stream.
pub(crate) struct Handle {
    pub(crate) id: StreamId,
    jobs: SyncSender<Job>,
    leavers: Leavers,
    pool: Arc<Pool>,
}

impl Handle {
    /// Hands over one frame; its report comes to the listener.
    pub(crate) fn submit(&self, frame: Frame) -> Result<(), Refused> {
        self.send(Job::Frame(self.id, frame))
    }

    /// Changes the rungs; those kept are not disturbed.
    pub(crate) fn set_rungs(&self, rungs: &[Rung]) -> Result<(), Refused> {
        self.send(Job::SetRungs(self.id, rungs.to_vec()))
    }

    fn send(&self, job: Job) -> Result<(), Refused> {
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => Refused::Full,
            TrySendError::Disconnected(_) => Refused::UnknownStream,
        })
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let close = || self.jobs.try_send(Job::Close(self.id));
        if let Err(TrySendError::Full(_)) = close() {
            let mut leavers = self.leavers.lock().unwrap_or_else(PoisonError::into_inner);
            leavers.push(self.id);
            drop(leavers);
            // The worker may have emptied its queue just before. If not, it has jobs to take, and looks at the leavers.
            let _ = close();
        }
        self.pool.forget(self.id);
    }
}

impl Pool {
    /// Starts so many workers, at least one, and the thread that watches them.
    pub(crate) fn start(workers: usize) -> Arc<Self> {
        let model = match Model::builtin() {
            Ok(model) => Some(model),
            Err(error) => {
                tracing::error!(%error, "the speech model cannot be used: Opus only");
                None
            }
        };
        let now = Instant::now();
        let slot = || Slot {
            worker: None,
            streams: 0,
            started: now,
            restart_at: now,
            pause: RESTART_FIRST,
        };
        let pool = Arc::new(Self {
            inner: Mutex::new(Inner {
                slots: std::iter::repeat_with(slot).take(workers.max(1)).collect(),
                placed: HashMap::new(),
                abandoned: Vec::new(),
                next_id: 1,
                replaced: 0,
                past: (0, 0),
                load: 0.0,
                load_from: (now, Duration::ZERO),
            }),
            model,
            epoch: now,
            watch: OnceLock::new(),
        });
        pool.supervise(now);
        let weak = Arc::downgrade(&pool);
        let watching = std::thread::Builder::new()
            .name("aic-watch".into())
            .spawn(move || watch(&weak));
        match watching {
            Ok(thread) => {
                let _ = pool.watch.set(thread.thread().clone());
            }
            Err(error) => tracing::error!(%error, "nobody watches the AI workers"),
        }
        pool
    }

    /// The built-in model, if it can be used.
    pub(crate) fn model(&self) -> Option<&Arc<Model>> {
        self.model.as_ref()
    }

    /// Opens a stream at the worker that has fewest.
    pub(crate) fn open(self: &Arc<Self>, work: Work, listener: Arc<dyn Listener>) -> Result<Handle, Refused> {
        let mut inner = self.lock();
        let alive = inner
            .slots
            .iter()
            .enumerate()
            .filter_map(|(number, slot)| Some((number, slot.streams, slot.worker.as_ref()?)));
        let (number, streams, worker) = alive
            .min_by_key(|(_, streams, _)| *streams)
            .ok_or(Refused::Unreachable)?;
        let (jobs, leavers) = (worker.jobs.clone(), worker.leavers.clone());
        if streams >= STREAMS_PER_WORKER {
            return Err(Refused::Full);
        }
        let id = StreamId(inner.next_id);
        let opened = jobs.try_send(Job::Open(id, work, listener.clone()));
        opened.map_err(|error| match error {
            TrySendError::Full(_) => Refused::Full,
            TrySendError::Disconnected(_) => Refused::Unreachable,
        })?;
        inner.next_id += 1;
        inner.slots[number].streams += 1;
        inner.placed.insert(id, (number, listener));
        Ok(Handle {
            id,
            jobs,
            leavers,
            pool: self.clone(),
        })
    }

    /// How it stands.
    pub(crate) fn stats(&self) -> PoolStats {
        let inner = self.lock();
        let alive = || inner.slots.iter().filter_map(|slot| slot.worker.as_ref());
        let (coded, late) = alive().fold(inner.past, |(coded, late), worker| {
            let (more, lates) = worker.pulse.frames();
            (coded + more, late + lates)
        });
        PoolStats {
            streams: inner.placed.len(),
            streams_max: inner.slots.len() * STREAMS_PER_WORKER,
            workers: alive().count(),
            workers_wanted: inner.slots.len(),
            load: inner.load,
            frames_coded: coded,
            frames_late: late,
            replaced: inner.replaced,
        }
    }

    /// Sends every worker a job of fault injection, and keeps those that die of it down for so long.
    pub(crate) fn inject(&self, down_for: Duration, job: impl Fn() -> Job) {
        let until = Instant::now() + down_for;
        for slot in &mut self.lock().slots {
            if let Some(worker) = &slot.worker {
                let _ = worker.jobs.try_send(job());
                slot.restart_at = slot.restart_at.max(until);
            }
        }
    }

    fn forget(&self, id: StreamId) {
        let mut inner = self.lock();
        if let Some((number, _)) = inner.placed.remove(&id) {
            let slot = &mut inner.slots[number];
            slot.streams = slot.streams.saturating_sub(1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while it is held but a broken invariant; the counts stay usable even then.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Buries the dead, gives up the stuck, starts those whose pause is over, measures the load.
    fn supervise(self: &Arc<Self>, now: Instant) {
        let mut inner = self.lock();
        inner.abandoned.retain(|pulse| !pulse.has_ended());
        let mut lost = Vec::new();
        for number in 0..inner.slots.len() {
            if let Some(why) = inner.trouble(number, now) {
                lost.extend(inner.bury(number, now, why));
            }
            self.revive(&mut inner, number, now);
        }
        inner.measure(now);
        drop(inner);
        // Listeners may open streams at once: not while the lock is held.
        for (id, listener) in lost {
            listener.fail(id, Reason::CoreUnreachable);
        }
    }

    fn revive(self: &Arc<Self>, inner: &mut Inner, number: usize, now: Instant) {
        let crowded = inner.abandoned.len() >= ABANDONED_MAX;
        let slot = &mut inner.slots[number];
        if slot.worker.is_some() || now < slot.restart_at || crowded {
            return;
        }
        let weak = Arc::downgrade(self);
        let obituary = move || {
            if let Some(thread) = weak.upgrade().and_then(|pool| pool.watch.get().cloned()) {
                thread.unpark();
            }
        };
        match Worker::start(number, self.model.clone(), self.epoch, obituary) {
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

impl Inner {
    /// What is wrong with a worker.
    fn trouble(&self, number: usize, now: Instant) -> Option<&'static str> {
        let pulse = &self.slots[number].worker.as_ref()?.pulse;
        if pulse.has_ended() {
            Some("died")
        } else if pulse.busy_for(now).is_some_and(|time| time >= STUCK_AFTER) {
            Some("got stuck")
        } else {
            None
        }
    }

    /// Takes a worker out; gives the streams that are lost with it.
    fn bury(&mut self, number: usize, now: Instant, why: &str) -> Vec<(StreamId, Arc<dyn Listener>)> {
        let slot = &mut self.slots[number];
        if let Some(worker) = slot.worker.take() {
            let (coded, late) = worker.pulse.frames();
            self.past = (self.past.0 + coded, self.past.1 + late);
            if !worker.pulse.has_ended() {
                self.abandoned.push(worker.pulse.clone());
            }
        }
        slot.streams = 0;
        if now.duration_since(slot.started) >= HEALTHY_AFTER {
            slot.pause = RESTART_FIRST;
        }
        slot.restart_at = slot.restart_at.max(now + slot.pause);
        slot.pause = (slot.pause * 2).min(RESTART_LAST);
        self.replaced += 1;
        let here: Vec<StreamId> = self
            .placed
            .iter()
            .filter(|(_, (at, _))| *at == number)
            .map(|(id, _)| *id)
            .collect();
        let streams = here.len();
        tracing::error!(
            worker = number,
            streams,
            "AI worker {why}; its streams go to bypass"
        );
        here.into_iter()
            .filter_map(|id| Some((id, self.placed.remove(&id)?.1)))
            .collect()
    }

    fn measure(&mut self, now: Instant) {
        let alive = self.slots.iter().filter_map(|slot| slot.worker.as_ref());
        let (count, busy) = alive.fold((0u32, Duration::ZERO), |(count, busy), worker| {
            (count + 1, busy + worker.pulse.busy(now))
        });
        let (from, before) = self.load_from;
        let time = now.saturating_duration_since(from);
        if time >= LOAD_EVERY {
            // A worker that was replaced in between takes its time along: less than before, for once.
            let spent = busy.saturating_sub(before).as_secs_f64();
            self.load = (spent / (time.as_secs_f64() * f64::from(count.max(1)))).min(1.0);
            self.load_from = (now, busy);
        }
    }
}

fn watch(pool: &Weak<Pool>) {
    while let Some(pool) = pool.upgrade() {
        pool.supervise(Instant::now());
        drop(pool);
        std::thread::park_timeout(WATCH_EVERY);
    }
}
