//! One worker thread: owns its streams, takes jobs from a bounded queue, reports outcomes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use auralink_codec::Model;
use auralink_engine::{InFrame, Outcome, StreamId, Wake};
use auralink_types::Rung;

use crate::stream::Stream;

/// Jobs that may wait at a worker: about 100 ms of work at full load. A full queue sheds the new job.
pub(crate) const QUEUE: usize = 1024;

pub(crate) enum Job {
    Open(StreamId, Vec<Rung>),
    SetRungs(StreamId, Vec<Rung>),
    Frame(StreamId, InFrame),
    Close(StreamId),
    /// Fault injection: panic.
    Die,
    /// Fault injection: take this long over every frame from now on.
    Stall(Duration),
}

/// The supervisor's end of a worker.
pub(crate) struct Worker {
    pub(crate) jobs: SyncSender<Job>,
    alive: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    pub(crate) fn start(
        number: usize,
        model: Option<Arc<Model>>,
        outcomes: SyncSender<Outcome>,
        wake: Wake,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = sync_channel(QUEUE);
        let alive = Arc::new(AtomicBool::new(true));
        let obituary = Obituary {
            alive: alive.clone(),
            wake: wake.clone(),
        };
        let thread = std::thread::Builder::new()
            .name(format!("aic-{number}"))
            .spawn(move || {
                // Dropped last, on return and on panic alike.
                let _obituary = obituary;
                run(queue, model, outcomes, wake);
            })?;
        Ok(Self {
            jobs,
            alive,
            thread: Some(thread),
        })
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Acquire)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Without its sender the thread ends after the job in hand; a panic was reported by the obituary.
        let (unused, _) = sync_channel(1);
        self.jobs = unused;
        if let Some(thread) = self.thread.take().filter(|_| !std::thread::panicking()) {
            let _ = thread.join();
        }
    }
}

/// Tells of a worker's end, however it came.
struct Obituary {
    alive: Arc<AtomicBool>,
    wake: Wake,
}

impl Drop for Obituary {
    fn drop(&mut self) {
        self.alive.store(false, Ordering::Release);
        (self.wake)();
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "a worker is a driver: it measures the time it takes"
)]
fn run(jobs: Receiver<Job>, model: Option<Arc<Model>>, outcomes: SyncSender<Outcome>, wake: Wake) {
    let mut streams: HashMap<StreamId, Stream> = HashMap::new();
    let mut coded = Vec::new();
    let mut stall = Duration::ZERO;
    // A full outcome queue means nobody polls: the outcome is dropped and the deadline does the rest.
    let tell = |outcome| {
        let _ = outcomes.try_send(outcome);
    };
    for job in jobs {
        match job {
            Job::Open(id, rungs) => match Stream::new(&rungs, model.clone()) {
                Ok(stream) => {
                    streams.insert(id, stream);
                }
                Err(reason) => tell(Outcome::Failed { stream: id, reason }),
            },
            Job::SetRungs(id, rungs) => {
                if let Some(Err(reason)) = streams.get_mut(&id).map(|s| s.set_rungs(&rungs)) {
                    streams.remove(&id);
                    tell(Outcome::Failed { stream: id, reason });
                }
            }
            Job::Frame(id, frame) => {
                let begin = std::time::Instant::now();
                if !stall.is_zero() {
                    std::thread::sleep(stall);
                }
                // A frame that is late already would only make the next one late as well: it is decoded still, to
                // keep the decoder's memory, but its outcome is judged by the tap.
                let Some(stream) = streams.get_mut(&id) else {
                    continue;
                };
                match stream.handle_frame(&frame, &mut coded) {
                    Ok(()) => {
                        for packet in coded.drain(..) {
                            tell(Outcome::Coded { stream: id, packet });
                        }
                        tell(Outcome::Took {
                            stream: id,
                            compute: begin.elapsed(),
                        });
                    }
                    Err(reason) => {
                        coded.clear();
                        streams.remove(&id);
                        tell(Outcome::Failed { stream: id, reason });
                    }
                }
                wake();
                continue;
            }
            Job::Close(id) => {
                streams.remove(&id);
                continue;
            }
            Job::Die => panic!("worker killed by fault injection"),
            Job::Stall(time) => {
                stall = time;
                continue;
            }
        }
        wake();
    }
}
