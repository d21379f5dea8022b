//! Opening the database, and what the server itself asks of it.

use std::time::{Duration, SystemTime};

use auralink_types::{AicConfig, SessionId, TenantId, UserKey};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Sqlite, Transaction};

use crate::actor::Actor;
use crate::config;
use crate::error::StoreError;
use crate::schema;
use crate::scoped::Scoped;
use crate::timestamp::Timestamp;

/// Longest wait for another process's lock, and for a free connection.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// Readers at a time on a file; SQLite has one writer whatever we do.
const READERS: u32 = 4;

/// The database. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) read: SqlitePool,
    pub(crate) write: SqlitePool,
}

impl Store {
    /// Opens `memory`, or a file given as a path or a `sqlite:` URL, creates it when it isn't there and brings its
    /// schema up to date.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let path = match url.strip_prefix("sqlite:") {
            // What follows a question mark is options of other programs, such as `mode=rwc`.
            Some(rest) => {
                let rest = rest.strip_prefix("//").unwrap_or(rest);
                rest.split_once('?').map_or(rest, |(path, _)| path)
            }
            None => url,
        };
        let options = SqliteConnectOptions::new()
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        // One connection that never retires: a second one would see another, empty memory.
        let single = SqlitePoolOptions::new()
            .min_connections(1)
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .acquire_timeout(BUSY_TIMEOUT);
        let store = if matches!(path, "memory" | ":memory:") {
            let pool = single.connect_with(options.in_memory(true)).await?;
            Self {
                read: pool.clone(),
                write: pool,
            }
        } else {
            let options = options
                .filename(path)
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Normal);
            // The writer comes first: it creates the file and switches it to WAL.
            let write = single.connect_with(options.clone()).await?;
            let readers = SqlitePoolOptions::new()
                .max_connections(READERS)
                .acquire_timeout(BUSY_TIMEOUT);
            Self {
                read: readers.connect_lazy_with(options.pragma("query_only", "ON")),
                write,
            }
        };
        schema::migrator().run(&store.write).await?;
        Ok(store)
    }

    /// The only way in for people: a handle that sees what the actor may see.
    pub fn as_user(&self, actor: Actor) -> Scoped {
        Scoped::new(self.clone(), actor)
    }

    /// Every configuration that the media path must know at start: those enabled, and every opt-out.
    pub async fn enabled_configs(&self) -> Result<Vec<(UserKey, AicConfig)>, StoreError> {
        config::in_force(&self.read).await
    }

    /// Notes that a session has ended. A session that never had a metric row isn't stored.
    pub async fn end_session(
        &self,
        tenant: &TenantId,
        session: &SessionId,
        at: SystemTime,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE aic_sessions SET ended_at_us = ? WHERE tenant_id = ? AND session_id = ?")
            .bind(Timestamp::from(at).as_micros())
            .bind(tenant.as_str())
            .bind(session.as_str())
            .execute(&self.write)
            .await?;
        Ok(())
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1 FROM users LIMIT 1")
            .fetch_optional(&self.read)
            .await?;
        Ok(())
    }

    /// Waits for running statements and closes the database.
    pub async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }

    /// A transaction that holds the write lock from its start, so that what it reads cannot change before it writes.
    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        Ok(self.write.begin_with("BEGIN IMMEDIATE").await?)
    }
}
