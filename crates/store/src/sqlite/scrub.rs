//! Nothing of what was erased is left in the file.
//!
//! `secure_delete` overwrites what is deleted, but not the copies that SQLite leaves in the gaps of its pages when it
//! moves rows between them, and the log keeps old pages until it is written back. So the file is written anew, and the
//! log emptied.

use sqlx::{Row as _, SqliteConnection};

use crate::database::Database;
use crate::error::StoreError;
use crate::sql::Sql;
use crate::store::Store;
use crate::timestamp::Timestamp;

/// Largest file that is written anew while the one who erases waits: less than a second.
const AT_ONCE: i64 = 64 << 20;

impl Store {
    /// For one who has just erased. A large file, or one that cannot be written anew now, waits for
    /// [`Store::scrub_if_due`].
    pub(crate) async fn scrub_if_small(&self, now: Timestamp) {
        let Database::Sqlite(pools) = &self.database else {
            return;
        };
        let scrubbed = async {
            let mut connection = pools.write.acquire().await?;
            let bytes = sqlx::query("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
                .fetch_one(&mut *connection)
                .await?
                .try_get::<i64, _>(0)?;
            if bytes > AT_ONCE {
                return truncate_log(&mut connection).await;
            }
            scrub(&mut connection).await?;
            drop(connection);
            self.scrubbed(now).await
        };
        if let Err(error) = scrubbed.await {
            tracing::warn!(%error, "what was erased is overwritten in the file later");
        }
    }

    /// Now and then: when somebody was erased since the file was last written anew.
    pub(crate) async fn scrub_if_due(&self, now: Timestamp) -> Result<(), StoreError> {
        let Database::Sqlite(pools) = &self.database else {
            return Ok(());
        };
        let mut tx = self.read().await?;
        let due =
            Sql::new("SELECT 1 AS one FROM erasures, aic_state WHERE erased_at_us > scrubbed_at_us LIMIT 1");
        let due = tx.row(due).await?.is_some();
        tx.commit().await?;
        if due {
            let mut connection = pools.write.acquire().await?;
            scrub(&mut connection).await?;
            drop(connection);
            self.scrubbed(now).await?;
        }
        Ok(())
    }

    async fn scrubbed(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        tx.execute(Sql::new("UPDATE aic_state SET scrubbed_at_us = $1").with(now))
            .await?;
        tx.commit().await
    }
}

async fn scrub(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    sqlx::query("VACUUM").execute(&mut *connection).await?;
    truncate_log(connection).await
}

/// Waits as long as for any lock for readers who still need the log; what they keep goes with the next erasure.
async fn truncate_log(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let busy = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
        .fetch_one(connection)
        .await?
        .try_get::<i64, _>(0)?;
    if busy != 0 {
        tracing::warn!("somebody still reads from the database's log, which could not be emptied");
    }
    Ok(())
}
