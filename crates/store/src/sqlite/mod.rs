//! SQLite: a file, or memory. One writer, several readers, no set-up.

pub(crate) mod metrics;
mod scrub;

use std::pin::Pin;
use std::time::Duration;

use sqlx::SqliteConnection;
use sqlx::pool::PoolConnectionMetadata;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use crate::error::StoreError;
use crate::schema::{self, Pending};

/// Longest wait for another process's lock, and for a free connection.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// Pause before a connection that was refused is asked for again.
const BUSY_RETRY: Duration = Duration::from_millis(10);

/// Readers at a time on a file; SQLite has one writer whatever we do.
const READERS: u32 = 4;

/// The writer's page cache, in KiB as SQLite has it: the upper levels of all indexes, so that a row costs no reads.
const WRITER_CACHE: &str = "-65536";

/// Pages in the log before it is written back: about 16 MB, a second of the fastest writing.
const CHECKPOINT_PAGES: &str = "4000";

#[derive(Clone, Debug)]
pub(crate) struct SqlitePools {
    pub(crate) read: SqlitePool,
    pub(crate) write: SqlitePool,
}

impl SqlitePools {
    /// Opens the file, or memory without one, creates it when it isn't there and brings its schema up to date.
    pub(crate) async fn open(file: Option<&str>) -> Result<Self, StoreError> {
        // One connection that never retires: a second one would see another, empty memory.
        let single = SqlitePoolOptions::new()
            .min_connections(1)
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .acquire_timeout(BUSY_TIMEOUT);
        let pools = if let Some(file) = file {
            let options = options()
                .filename(file)
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Normal);
            // The writer comes first: it creates the file and switches it to WAL.
            let writer = options
                .clone()
                .pragma("cache_size", WRITER_CACHE)
                .pragma("wal_autocheckpoint", CHECKPOINT_PAGES);
            let write = connect(&single.after_release(sound), &writer).await?;
            let readers = SqlitePoolOptions::new()
                .max_connections(READERS)
                .acquire_timeout(BUSY_TIMEOUT);
            Self {
                read: readers.connect_lazy_with(options.pragma("query_only", "ON")),
                write,
            }
        } else {
            let pool = single.connect_with(options().in_memory(true)).await?;
            Self {
                read: pool.clone(),
                write: pool,
            }
        };
        // Under the write lock, because two servers may start at once; all migrations or none.
        let mut tx = pools.write.begin_with("BEGIN IMMEDIATE").await?;
        schema::sqlite().run_direct(None, &mut *tx, false).await?;
        tx.commit().await?;
        Ok(pools)
    }

    pub(crate) async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }
}

/// Whether a connection given back may be used again. When the disk is full SQLite rolls back by itself; the pool, whose
/// own rollback then fails, would think it in a transaction for ever.
fn sound(
    connection: &mut SqliteConnection,
    _: PoolConnectionMetadata,
) -> Pin<Box<dyn Future<Output = sqlx::Result<bool>> + Send + '_>> {
    use sqlx::Connection as _;
    Box::pin(async move {
        // A rollback may be under way; the answer to a ping comes after it.
        connection.ping().await?;
        Ok(!connection.is_in_transaction())
    })
}

/// SQLite doesn't wait for the lock when two servers switch a new file to WAL at once: it refuses one of them, which
/// then asks again.
async fn connect(pool: &SqlitePoolOptions, options: &SqliteConnectOptions) -> Result<SqlitePool, StoreError> {
    let asking = async {
        loop {
            let pool = pool.clone().connect_with(options.clone()).await;
            match pool.map_err(StoreError::from) {
                Err(StoreError::Busy) => tokio::time::sleep(BUSY_RETRY).await,
                done => return done,
            }
        }
    };
    tokio::time::timeout(BUSY_TIMEOUT, asking)
        .await
        .unwrap_or(Err(StoreError::Busy))
}

/// Migrations that the file, or memory without one, lacks; it is left as it is.
pub(crate) async fn pending(file: Option<&str>) -> Result<Vec<Pending>, StoreError> {
    let Some(file) = file.filter(|file| std::path::Path::new(file).exists()) else {
        return Ok(schema::pending(&schema::sqlite(), &[])?);
    };
    use sqlx::Connection as _;
    let mut connection = SqliteConnection::connect_with(&options().filename(file).read_only(true)).await?;
    Ok(schema::pending_in(&schema::sqlite(), &mut connection).await?)
}

fn options() -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .foreign_keys(true)
        // What is deleted is overwritten; see `scrub` for what that leaves.
        .pragma("secure_delete", "ON")
        .busy_timeout(BUSY_TIMEOUT)
}
