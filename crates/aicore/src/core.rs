//! The AI core in this process, as media sees it.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Weak};
use std::time::Duration;

use auralink_engine::{InFrame, Outcome, Processor, Refused, StreamId, Wake};
use auralink_types::Rung;

use crate::listener::{Listener, Report};
use crate::pool::{Handle, Pool, PoolStats};
use crate::stream::{Frame, Work};
use crate::worker::{Job, Stall};

/// Outcomes that may wait to be polled.
const OUTCOMES: usize = 8192;

/// Faults to inject, for tests and the demo.
#[derive(Clone, Default)]
pub struct CoreFaults {
    pool: Weak<Pool>,
}

impl CoreFaults {
    /// Lets every worker thread panic, and keeps it from being started again for so long.
    pub fn kill_workers(&self, down_for: Duration) {
        self.inject(down_for, || Job::Die);
    }

    /// Lets one frame in `every` take that much longer from now on; zero heals.
    pub fn stall(&self, time: Duration, every: NonZeroU32) {
        self.inject(Duration::ZERO, || Job::Stall(Stall { time, every }));
    }

    /// Lets every worker thread get stuck for ever.
    pub fn stick_workers(&self) {
        self.inject(Duration::ZERO, || Job::Stick);
    }

    fn inject(&self, down_for: Duration, job: impl Fn() -> Job) {
        if let Some(pool) = self.pool.upgrade() {
            pool.inject(down_for, job);
        }
    }
}

/// The AI core in this process. Its workers may be shared: [`LocalCore::share`].
pub struct LocalCore {
    pool: Arc<Pool>,
    streams: HashMap<StreamId, Handle>,
    outcomes: Receiver<Outcome>,
    listener: Arc<dyn Listener>,
}

/// Workers that several owners of streams share.
#[derive(Clone)]
pub struct Workers {
    pub(crate) pool: Arc<Pool>,
}

impl Workers {
    /// Starts so many worker threads, at least one.
    pub fn start(count: usize) -> Self {
        Self {
            pool: Pool::start(count),
        }
    }

    /// How they stand.
    pub fn stats(&self) -> PoolStats {
        self.pool.stats()
    }

    /// A handle for injecting faults.
    pub fn faults(&self) -> CoreFaults {
        CoreFaults {
            pool: Arc::downgrade(&self.pool),
        }
    }
}

impl LocalCore {
    /// Starts so many workers, at least one. `wake` is called, from their threads, when there is something to poll.
    pub fn start(workers: usize, wake: Wake) -> Self {
        Self::on(&Workers::start(workers), wake)
    }

    /// The same on workers that others use as well.
    pub fn on(workers: &Workers, wake: Wake) -> Self {
        let (reporter, outcomes) = sync_channel(OUTCOMES);
        let listener = Arc::new(Reporter { reporter, wake });
        Self {
            pool: workers.pool.clone(),
            streams: HashMap::new(),
            outcomes,
            listener,
        }
    }

    /// A handle for injecting faults.
    pub fn faults(&self) -> CoreFaults {
        self.share().faults()
    }

    /// The workers, for other owners of streams.
    pub fn share(&self) -> Workers {
        Workers {
            pool: self.pool.clone(),
        }
    }
}

struct Reporter {
    reporter: SyncSender<Outcome>,
    wake: Wake,
}

impl Listener for Reporter {
    /// A full outcome queue means nobody polls: the outcome is dropped and the deadline does the rest.
    fn report(&self, stream: StreamId, report: Report) {
        let reporter = &self.reporter;
        match report {
            Report::Done { done, compute } => {
                for packet in done.coded {
                    let _ = reporter.try_send(Outcome::Coded { stream, packet });
                }
                let _ = reporter.try_send(Outcome::Took { stream, compute });
            }
            Report::Failed(reason) => {
                let _ = reporter.try_send(Outcome::Failed { stream, reason });
            }
        }
    }

    fn wake(&self) {
        (self.wake)();
    }
}

impl Processor for LocalCore {
    fn open(&mut self, rungs: &[Rung]) -> Result<StreamId, Refused> {
        let handle = self
            .pool
            .open(Work::Code(rungs.to_vec()), self.listener.clone())?;
        let id = handle.id;
        self.streams.insert(id, handle);
        Ok(id)
    }

    fn set_rungs(&mut self, stream: StreamId, rungs: &[Rung]) -> Result<(), Refused> {
        let handle = self.streams.get(&stream).ok_or(Refused::UnknownStream)?;
        handle.set_rungs(rungs)
    }

    fn submit(&mut self, stream: StreamId, frame: InFrame) -> Result<(), Refused> {
        let handle = self.streams.get(&stream).ok_or(Refused::UnknownStream)?;
        handle.submit(Frame {
            source: frame.kind.into(),
            timestamp: frame.timestamp,
            payload: frame.payload,
            deadline: frame.deadline,
        })
    }

    fn poll(&mut self) -> Option<Outcome> {
        let outcome = self.outcomes.try_recv().ok()?;
        if let Outcome::Failed { stream, .. } = &outcome {
            self.streams.remove(stream);
        }
        Some(outcome)
    }

    fn close(&mut self, stream: StreamId) {
        self.streams.remove(&stream);
    }

    fn models(&self) -> Vec<u16> {
        self.pool.model().iter().map(|model| model.id().0).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use auralink_engine::{InFrame, InKind};
    use auralink_types::{Neural, NeuralRate, PacketTime};

    use super::*;

    const NEURAL: Rung = Rung::Neural(Neural {
        rate: NeuralRate::Kbps6,
        packet: PacketTime::Ms20,
        copies: 0,
    });

    fn frame(number: u64) -> InFrame {
        InFrame {
            kind: InKind::Opus,
            timestamp: 960 * number,
            payload: Arc::from([0xf8, 0xff, 0xfe]),
            deadline: Instant::now(),
        }
    }

    fn fill_the_queue(core: &mut LocalCore, stream: StreamId) {
        let mut number = 0;
        while core.submit(stream, frame(number)).is_ok() {
            number += 1;
        }
    }

    fn wait_until_nobody_is_held(core: &LocalCore) {
        let begun = Instant::now();
        // Each stream that a worker holds holds the listener.
        while Arc::strong_count(&core.listener) > 1 {
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "the worker keeps its coders"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[test]
    fn a_stream_that_leaves_while_the_queue_is_full_is_let_go() {
        let mut core = LocalCore::start(1, Arc::new(|| {}));
        let stream = core.open(&[NEURAL]).unwrap();
        core.faults().stall(Duration::from_millis(1), NonZeroU32::MIN);
        fill_the_queue(&mut core, stream);
        core.close(stream);
        wait_until_nobody_is_held(&core);
    }

    #[test]
    fn a_stream_that_leaves_before_a_busy_worker_has_opened_it_is_let_go() {
        let mut core = LocalCore::start(1, Arc::new(|| {}));
        let busy = core.open(&[NEURAL]).unwrap();
        core.faults().stall(Duration::from_millis(50), NonZeroU32::MIN);
        core.submit(busy, frame(0)).unwrap();
        core.submit(busy, frame(1)).unwrap();
        core.faults().stall(Duration::ZERO, NonZeroU32::MIN);
        let stream = core.open(&[NEURAL]).unwrap();
        fill_the_queue(&mut core, stream);
        core.close(stream);
        core.close(busy);
        wait_until_nobody_is_held(&core);
    }
}
