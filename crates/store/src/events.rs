//! Events of calls on their way into the store, off the media path.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use auralink_types::Event;
use tokio::sync::{mpsc, oneshot};

use crate::store::Store;
use crate::writer::WriterStats;

/// Events that may wait for the database. When full, new ones are dropped and counted: what waits comes first in order.
pub const EVENT_QUEUE_MAX: usize = 4096;

/// Waits between tries while the database is away: the first, and the longest.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MOST: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
struct Counts {
    written: AtomicU64,
    dropped: AtomicU64,
    refused: AtomicU64,
}

enum Item {
    Event(Box<Event>),
    Flush(oneshot::Sender<bool>),
}

/// Where events are left. Cloning shares it; when the last clone goes, what waits is tried once more.
#[derive(Clone, Debug)]
pub struct EventWriter {
    items: mpsc::Sender<Item>,
    counts: Arc<Counts>,
}

impl EventWriter {
    /// Starts the writer's task on the current tokio runtime.
    pub fn start(store: Store) -> Self {
        let (items, incoming) = mpsc::channel(EVENT_QUEUE_MAX);
        let counts = Arc::new(Counts::default());
        tokio::spawn(run(store, incoming, Arc::clone(&counts)));
        Self { items, counts }
    }

    /// Leaves an event; never waits. One that finds the queue full is dropped and counted.
    pub fn push(&self, event: Event) {
        if self.items.try_send(Item::Event(Box::new(event))).is_err() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until every event pushed before has been tried. `false` when the database would not take one; it is tried
    /// again later.
    pub async fn flush(&self) -> bool {
        let (done, answer) = oneshot::channel();
        self.items.send(Item::Flush(done)).await.is_ok() && answer.await.unwrap_or(false)
    }

    /// Events that wait for the database.
    pub fn waiting(&self) -> usize {
        self.items.max_capacity() - self.items.capacity()
    }

    /// Counts since start.
    pub fn stats(&self) -> WriterStats {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        WriterStats {
            written: read(&self.counts.written),
            dropped: read(&self.counts.dropped),
            refused: read(&self.counts.refused),
        }
    }
}

async fn run(store: Store, mut incoming: mpsc::Receiver<Item>, counts: Arc<Counts>) {
    let mut waiting: VecDeque<Event> = VecDeque::new();
    let mut pause = RETRY_FIRST;
    loop {
        // While something waits here, the channel is what fills up, except for flushes, which must be answered.
        let item = if waiting.is_empty() {
            incoming.recv().await
        } else {
            tokio::time::sleep(pause).await;
            match incoming.try_recv() {
                Ok(item) => Some(item),
                Err(mpsc::error::TryRecvError::Disconnected) => None,
                Err(mpsc::error::TryRecvError::Empty) => {
                    pause = next_pause(write(&store, &mut waiting, &counts).await, pause);
                    continue;
                }
            }
        };
        match item {
            Some(Item::Event(event)) => {
                if waiting.len() == EVENT_QUEUE_MAX {
                    counts.dropped.fetch_add(1, Ordering::Relaxed);
                } else {
                    waiting.push_back(*event);
                }
                pause = next_pause(write(&store, &mut waiting, &counts).await, pause);
            }
            Some(Item::Flush(done)) => {
                let written = write(&store, &mut waiting, &counts).await;
                // Who asked may be gone.
                let _ = done.send(written);
            }
            None => {
                write(&store, &mut waiting, &counts).await;
                return;
            }
        }
    }
}

fn next_pause(written: bool, pause: Duration) -> Duration {
    if written {
        RETRY_FIRST
    } else {
        (pause * 2).min(RETRY_MOST)
    }
}

/// Writes what waits, in order; `false` when the database is away.
async fn write(store: &Store, waiting: &mut VecDeque<Event>, counts: &Counts) -> bool {
    while let Some(event) = waiting.front() {
        match store.record(event).await {
            Ok(()) => counts.written.fetch_add(1, Ordering::Relaxed),
            Err(error) if error.is_transient() => {
                tracing::warn!(%error, waiting = waiting.len(), "events wait for the database");
                return false;
            }
            Err(error) => {
                tracing::warn!(%error, event = event.kind.name(), "event refused");
                counts.refused.fetch_add(1, Ordering::Relaxed)
            }
        };
        waiting.pop_front();
    }
    true
}
