//! One worker thread: owns its streams, takes jobs from a bounded queue, reports what became of them.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use auralink_codec::Model;
use auralink_engine::StreamId;
use auralink_types::Rung;

use crate::effort::Pace;
use crate::listener::{Listener, Report};
use crate::round::{Round, Seat};
use crate::stream::{Frame, Stream, Work};

/// Jobs that may wait at a worker: about 100 ms of work at full load. A full queue sheds the new job.
pub(crate) const QUEUE: usize = 1024;
/// A frame this long past its deadline is not coded any more: the backlog must shrink before it helps anybody.
const HOPELESS: Duration = Duration::from_millis(100);
/// How often a stuck worker of fault injection looks whether it was given up.
const STUCK_STEP: Duration = Duration::from_millis(10);

pub(crate) enum Job {
    Open(StreamId, Work, Arc<dyn Listener>),
    SetRungs(StreamId, Vec<Rung>),
    Frame(StreamId, Frame),
    Close(StreamId),
    /// Fault injection: panic.
    Die,
    /// Fault injection: take this long over every frame from now on.
    Stall(Stall),
    /// Fault injection: never come back from this job.
    Stick,
}

/// What a worker shows of itself while it works.
pub(crate) struct Pulse {
    epoch: Instant,
    /// Microseconds from `epoch` to the start of the job in hand, plus one; 0 when there is none.
    busy_since: AtomicU64,
    /// Microseconds spent on jobs so far.
    busy: AtomicU64,
    coded: AtomicU64,
    late: AtomicU64,
    abandoned: AtomicBool,
    ended: AtomicBool,
}

impl Pulse {
    fn new(epoch: Instant) -> Self {
        Self {
            epoch,
            busy_since: AtomicU64::new(0),
            busy: AtomicU64::new(0),
            coded: AtomicU64::new(0),
            late: AtomicU64::new(0),
            abandoned: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        }
    }

    fn micros(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.epoch).as_micros() as u64
    }

    fn begin(&self, now: Instant) {
        self.busy_since.store(self.micros(now) + 1, Ordering::Release);
    }

    fn end(&self, now: Instant) {
        let since = self.busy_since.swap(0, Ordering::AcqRel);
        let spent = (self.micros(now) + 1).saturating_sub(since);
        self.busy.fetch_add(spent, Ordering::Relaxed);
    }

    /// How long the job in hand has taken so far.
    pub(crate) fn busy_for(&self, now: Instant) -> Option<Duration> {
        let since = self.busy_since.load(Ordering::Acquire);
        (since > 0).then(|| Duration::from_micros((self.micros(now) + 1).saturating_sub(since)))
    }

    /// Time spent on jobs so far, the one in hand included.
    pub(crate) fn busy(&self, now: Instant) -> Duration {
        Duration::from_micros(self.busy.load(Ordering::Relaxed)) + self.busy_for(now).unwrap_or_default()
    }

    /// Frames coded and frames given up as hopeless so far.
    pub(crate) fn frames(&self) -> (u64, u64) {
        (
            self.coded.load(Ordering::Relaxed),
            self.late.load(Ordering::Relaxed),
        )
    }

    /// Whether the thread has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }
}

/// Streams whose owners left while the queue was full. The worker lets go of them after the round in hand, or, of those
/// that still wait in the queue to be opened, after that.
pub(crate) type Leavers = Arc<Mutex<Vec<StreamId>>>;

/// The supervisor's end of a worker. Dropping it lets the thread end after the job in hand; nobody waits for that,
/// because a stuck one never gets there.
pub(crate) struct Worker {
    pub(crate) jobs: SyncSender<Job>,
    pub(crate) leavers: Leavers,
    pub(crate) pulse: Arc<Pulse>,
}

impl Worker {
    /// `obituary` is called when the thread has ended, however that came.
    pub(crate) fn start(
        number: usize,
        model: Option<Arc<Model>>,
        epoch: Instant,
        obituary: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = sync_channel(QUEUE);
        let pulse = Arc::new(Pulse::new(epoch));
        let end = End {
            pulse: pulse.clone(),
            obituary: Some(Box::new(obituary)),
        };
        let shown = pulse.clone();
        let leavers = Leavers::default();
        let leaving = leavers.clone();
        std::thread::Builder::new()
            .name(format!("aic-{number}"))
            .spawn(move || {
                // Dropped last, on return and on panic alike.
                let _end = end;
                run(&queue, &leaving, &model, &shown);
            })?;
        Ok(Self { jobs, leavers, pulse })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.pulse.abandoned.store(true, Ordering::Release);
    }
}

struct End {
    pulse: Arc<Pulse>,
    obituary: Option<Box<dyn FnOnce() + Send>>,
}

impl Drop for End {
    fn drop(&mut self) {
        self.pulse.ended.store(true, Ordering::Release);
        if let Some(obituary) = self.obituary.take() {
            obituary();
        }
    }
}

/// A worker's own: the streams, and how it goes about them.
struct Desk<'a> {
    leavers: &'a Mutex<Vec<StreamId>>,
    model: &'a Option<Arc<Model>>,
    pulse: &'a Pulse,
    /// Boxed: they move into each round and back.
    streams: HashMap<StreamId, Box<Seat>>,
    /// Streams opened so far, and the latest of them: they come in the order of their numbers.
    opened: u64,
    latest: StreamId,
    round: Round,
    pace: Pace,
    /// When the round in hand began.
    begun: Instant,
    stall: Option<Stall>,
    /// Frames since the last one that was held up.
    unstalled: u32,
}

/// An injected fault: one frame in `every` takes `time` longer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stall {
    pub time: Duration,
    pub every: NonZeroU32,
}

fn run(jobs: &Receiver<Job>, leavers: &Mutex<Vec<StreamId>>, model: &Option<Arc<Model>>, pulse: &Pulse) {
    let mut desk = Desk {
        leavers,
        model,
        pulse,
        streams: HashMap::new(),
        opened: 0,
        latest: StreamId(0),
        round: Round::new(model.clone()),
        pace: Pace::new(Instant::now()),
        begun: Instant::now(),
        stall: None,
        unstalled: 0,
    };
    // What waits is done in one go, so that frames of many streams are coded together; nobody waits for company.
    while let Ok(first) = jobs.recv() {
        desk.begin();
        let mut next = Some(first);
        while let Some(job) = next {
            // An abandoned worker's streams have been told already.
            if pulse.is_abandoned() {
                return;
            }
            desk.take(job);
            next = (!desk.round.is_full()).then(|| jobs.try_recv().ok()).flatten();
        }
        if desk.round.is_full() {
            desk.pace.note_crowd();
        }
        desk.finish_round();
        desk.end();
    }
}

impl Desk<'_> {
    fn begin(&mut self) {
        self.begun = Instant::now();
        self.pulse.begin(self.begun);
    }

    fn end(&mut self) {
        let mut leavers = self.leavers.lock().unwrap_or_else(PoisonError::into_inner);
        leavers.retain(|id| self.streams.remove(id).is_none() && id.0 > self.latest.0);
        drop(leavers);
        let now = Instant::now();
        self.pulse.end(now);
        self.pace.note(self.begun, now);
    }

    /// Ends the round while more is waiting: who is never idle is not stuck.
    fn next_round(&mut self) {
        self.finish_round();
        self.end();
        self.begin();
    }

    fn take(&mut self, job: Job) {
        match job {
            Job::Frame(id, frame) => return self.take_frame(id, &frame),
            // Everything else comes after the frames before it.
            _ => self.next_round(),
        }
        match job {
            Job::Frame(..) => {}
            Job::Open(id, work, listener) => self.open(id, &work, listener),
            Job::SetRungs(id, rungs) => {
                let Some(seat) = self.streams.get_mut(&id) else {
                    return;
                };
                if let Err(reason) = seat.stream.set_rungs(&rungs)
                    && let Some(seat) = self.streams.remove(&id)
                {
                    seat.listener.fail(id, reason);
                }
            }
            Job::Close(id) => {
                self.streams.remove(&id);
            }
            Job::Die => panic!("worker killed by fault injection"),
            Job::Stall(stall) => self.stall = (!stall.time.is_zero()).then_some(stall),
            Job::Stick => {
                while !self.pulse.is_abandoned() {
                    std::thread::sleep(STUCK_STEP);
                }
            }
        }
    }

    fn open(&mut self, id: StreamId, work: &Work, listener: Arc<dyn Listener>) {
        self.latest = id;
        match Stream::new(work, self.model.clone()) {
            Ok(stream) => {
                self.opened += 1;
                let number = self.opened;
                let seat = Seat {
                    stream,
                    listener,
                    number,
                };
                self.streams.insert(id, Box::new(seat));
            }
            Err(reason) => listener.fail(id, reason),
        }
    }

    /// Puts a frame into the round; one round has one frame of a stream.
    fn take_frame(&mut self, id: StreamId, frame: &Frame) {
        if self.round.has(id) {
            self.next_round();
        }
        let Some(mut seat) = self.streams.remove(&id) else {
            return;
        };
        if let Some(stall) = self.stall {
            self.unstalled += 1;
            if self.unstalled >= stall.every.get() {
                self.unstalled = 0;
                std::thread::sleep(stall.time);
            }
        }
        let now = Instant::now();
        let hopeless = now > frame.deadline + HOPELESS;
        let taken = if hopeless {
            Ok(seat.stream.handle_late(frame))
        } else {
            seat.stream.take(frame, self.pace.effort(now, seat.number))
        };
        let count = if hopeless {
            &self.pulse.late
        } else {
            &self.pulse.coded
        };
        count.fetch_add(1, Ordering::Relaxed);
        self.round.push(id, seat, taken);
    }

    /// Codes what the round has, and says what became of it.
    fn finish_round(&mut self) {
        self.round.code();
        // The frames' streams have been told already.
        if self.pulse.is_abandoned() {
            return;
        }
        let mut to_wake: Vec<Arc<dyn Listener>> = Vec::new();
        for (id, seat, done) in self.round.drain() {
            let (report, stays) = match done {
                Ok(done) => {
                    let compute = self.begun.elapsed();
                    (Report::Done { done, compute }, true)
                }
                Err(reason) => (Report::Failed(reason), false),
            };
            seat.listener.report(id, report);
            // Often one owner has all of them.
            if to_wake
                .last()
                .is_none_or(|last| !Arc::ptr_eq(last, &seat.listener))
            {
                to_wake.push(seat.listener.clone());
            }
            if stays {
                self.streams.insert(id, seat);
            }
        }
        to_wake.iter().for_each(|listener| listener.wake());
    }
}
