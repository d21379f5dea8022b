//! Metric rows in batches, off the media path.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use auralink_types::MetricRow;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use crate::error::StoreError;
use crate::parents::{KnownSessions, Parents};
use crate::spool::{SPOOL_MAX, Spool};
use crate::store::Store;

/// Rows between the media path and the writer: what may come in while one batch waits for the database's lock.
pub const QUEUE_MAX: usize = 16_384;

/// Most rows in one transaction: enough that what a transaction costs is shared by many, few enough for a statement.
pub const BATCH_MAX: usize = 4000;

/// Longest time for one batch: a database that neither answers nor closes the connection counts as away.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest time a row waits while the database is well.
pub const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// How often a flush tries before it gives up; each try waits for the lock as long as the store does.
const FLUSH_TRIES: u32 = 3;

/// Counts since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriterStats {
    /// Rows in the database.
    pub written: u64,
    /// Rows lost because the queue or the spool was full.
    pub dropped: u64,
    /// Rows that no table would take, those about users erased meanwhile among them.
    pub refused: u64,
}

#[derive(Debug, Default)]
struct Counts {
    written: AtomicU64,
    queue_full: AtomicU64,
    spool_full: AtomicU64,
    refused: AtomicU64,
    spooled: AtomicU64,
}

/// Where the media path leaves its rows. Cloning shares it; when the last clone goes, what waits is written.
#[derive(Clone, Debug)]
pub struct MetricWriter {
    rows: mpsc::Sender<MetricRow>,
    flushes: mpsc::Sender<oneshot::Sender<bool>>,
    counts: Arc<Counts>,
}

impl MetricWriter {
    /// Starts the writer's task on the current tokio runtime.
    pub fn start(store: Store) -> Self {
        Self::with_spool(store, SPOOL_MAX)
    }

    /// Likewise, with a spool of that size.
    pub fn with_spool(store: Store, spool_max: usize) -> Self {
        let (rows, incoming) = mpsc::channel(QUEUE_MAX);
        let (flushes, asked) = mpsc::channel(1);
        let counts = Arc::new(Counts::default());
        let task = Task {
            store,
            spool: Spool::new(spool_max),
            known: KnownSessions::default(),
            counts: Arc::clone(&counts),
        };
        tokio::spawn(task.run(incoming, asked));
        Self {
            rows,
            flushes,
            counts,
        }
    }

    /// Leaves a row; never waits. A row that finds the queue full is dropped and counted; only then `false`.
    pub fn push(&self, row: MetricRow) -> bool {
        let Some(row) = sound(row) else {
            add(&self.counts.refused, 1);
            return true;
        };
        let fits = self.rows.try_send(row).is_ok();
        if !fits {
            add(&self.counts.queue_full, 1);
        }
        fits
    }

    /// Waits until every row pushed before is in the database. `false` when the database would not take them; they
    /// stay in the spool.
    pub async fn flush(&self) -> bool {
        let (done, answer) = oneshot::channel();
        self.flushes.send(done).await.is_ok() && answer.await.unwrap_or(false)
    }

    /// Rows that wait for the database, in the queue and in the spool.
    pub fn waiting(&self) -> usize {
        let queued = self.rows.max_capacity() - self.rows.capacity();
        queued + self.counts.spooled.load(Ordering::Relaxed) as usize
    }

    /// Counts since start.
    pub fn stats(&self) -> WriterStats {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        WriterStats {
            written: read(&self.counts.written),
            dropped: read(&self.counts.queue_full) + read(&self.counts.spool_full),
            refused: read(&self.counts.refused),
        }
    }
}

struct Task {
    store: Store,
    spool: Spool<MetricRow>,
    known: KnownSessions,
    counts: Arc<Counts>,
}

impl Task {
    async fn run(
        mut self,
        mut incoming: mpsc::Receiver<MetricRow>,
        mut asked: mpsc::Receiver<oneshot::Sender<bool>>,
    ) {
        let mut tick = tokio::time::interval(FLUSH_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut away = false;
        let mut fresh = Vec::with_capacity(BATCH_MAX);
        loop {
            tokio::select! {
                ask = asked.recv() => {
                    let Some(done) = ask else { break };
                    self.drain(&mut incoming);
                    away = !self.insist().await;
                    // Who asked may be gone; the rows are written all the same.
                    let _ = done.send(!away);
                }
                count = incoming.recv_many(&mut fresh, BATCH_MAX) => {
                    if count == 0 {
                        break;
                    }
                    fresh.drain(..).for_each(|row| self.spool.push(row));
                    self.note_spool();
                    // While the database is away only the tick tries again.
                    if !away && self.spool.len() >= BATCH_MAX {
                        away = !self.write_out().await;
                    }
                }
                _ = tick.tick() => away = !self.write_out().await,
            }
        }
        self.drain(&mut incoming);
        self.insist().await;
    }

    fn drain(&mut self, incoming: &mut mpsc::Receiver<MetricRow>) {
        while let Ok(row) = incoming.try_recv() {
            self.spool.push(row);
        }
        self.note_spool();
    }

    async fn insist(&mut self) -> bool {
        for _ in 0..FLUSH_TRIES {
            if self.write_out().await {
                return true;
            }
        }
        false
    }

    /// Writes all that waits; `false` when the database is away.
    async fn write_out(&mut self) -> bool {
        let written = self.write_batches().await;
        self.note_spool();
        written
    }

    async fn write_batches(&mut self) -> bool {
        while self.spool.len() > 0 {
            let batch = self.spool.take(BATCH_MAX);
            match self.write(&batch).await {
                Ok(written) => self.count(written, batch.len()),
                Err(error) if error.is_transient() => return self.give_back(batch, &error),
                // One bad row must not cost its neighbours.
                Err(_) => {
                    if let Err((rest, error)) = self.write_singly(batch).await {
                        return self.give_back(rest, &error);
                    }
                }
            }
        }
        true
    }

    /// One batch in one transaction. Parents known from before are not written again, unless one has been erased since.
    async fn write(&mut self, rows: &[MetricRow]) -> Result<usize, StoreError> {
        let mut parents = self.known.missing(rows);
        let mut done = self.write_with(rows, parents.clone()).await;
        if matches!(done, Err(StoreError::Refused(_))) {
            self.known.forget();
            parents = self.known.missing(rows);
            done = self.write_with(rows, parents.clone()).await;
        }
        if done.is_ok() {
            self.known.remember(&parents);
        }
        done
    }

    async fn write_with(&self, rows: &[MetricRow], parents: Parents<'_>) -> Result<usize, StoreError> {
        let writing = self.store.write_metrics(rows, parents);
        tokio::time::timeout(WRITE_TIMEOUT, writing)
            .await
            .unwrap_or(Err(StoreError::Busy))
    }

    async fn write_singly(&mut self, batch: Vec<MetricRow>) -> Result<(), (Vec<MetricRow>, StoreError)> {
        let mut rows = batch.into_iter();
        while let Some(row) = rows.next() {
            match self.write(std::slice::from_ref(&row)).await {
                Ok(written) => self.count(written, 1),
                Err(error) if error.is_transient() => {
                    return Err((std::iter::once(row).chain(rows).collect(), error));
                }
                Err(error) => {
                    tracing::warn!(%error, session = %row.session_id, "metric row refused");
                    add(&self.counts.refused, 1);
                }
            }
        }
        Ok(())
    }

    fn count(&self, written: usize, of: usize) {
        add(&self.counts.written, written as u64);
        add(&self.counts.refused, (of - written) as u64);
    }

    fn give_back(&mut self, batch: Vec<MetricRow>, error: &StoreError) -> bool {
        self.spool.give_back(batch);
        self.note_spool();
        tracing::warn!(%error, waiting = self.spool.len(), "metric rows wait for the database");
        false
    }

    fn note_spool(&self) {
        self.counts
            .spool_full
            .store(self.spool.dropped(), Ordering::Relaxed);
        let waiting = self.spool.len() as u64;
        self.counts.spooled.store(waiting, Ordering::Relaxed);
    }
}

fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}

/// The row as it may be stored: a rate that is not a finite number, a time before the epoch, an owner without a name or a
/// name that PostgreSQL cannot hold refuses it; any other broken figure is left out.
fn sound(mut row: MetricRow) -> Option<MetricRow> {
    let rates = row.original_bandwidth_kbps.is_finite() && row.compressed_bandwidth_kbps.is_finite();
    let names = [
        row.owner.tenant.as_str(),
        row.owner.user.as_str(),
        row.call_id.as_str(),
        row.session_id.as_str(),
        row.track_id.as_str(),
        row.model_used.as_str(),
    ];
    let named = !row.owner.tenant.as_str().is_empty() && !row.owner.user.as_str().is_empty();
    if !rates || !named || row.ts_us < 0 || names.iter().any(|name| name.contains('\0')) {
        return None;
    }
    for value in [
        &mut row.inference_latency_ms,
        &mut row.inference_latency_p99_ms,
        &mut row.quality_score,
        &mut row.psnr_db,
    ] {
        *value = value.filter(|value| value.is_finite());
    }
    row.prediction = row.prediction.filter(|it| {
        [it.quality_score, it.compression_ratio, it.confidence]
            .iter()
            .all(|value| value.is_finite())
    });
    Some(row)
}
