//! Partitions of `aic_metrics`, one for each day: made ahead, dropped when their time has come.

use sqlx::AssertSqlSafe;
use time::OffsetDateTime;

use super::PostgresPool;
use crate::error::StoreError;
use crate::timestamp::Timestamp;

/// Days made ahead: what a server that nobody restarts may miss of its housekeeping.
const DAYS_AHEAD: i64 = 3;

/// Days behind: rows that waited in a spool.
const DAYS_BEHIND: i64 = 1;

const DAY_US: i64 = 86_400_000_000;

impl PostgresPool {
    /// Makes the partitions around `now` that are missing. A day for which the default partition already holds rows
    /// stays there.
    pub(crate) async fn make_partitions(&self, now: Timestamp) -> Result<(), StoreError> {
        let today = now.as_micros().div_euclid(DAY_US);
        let missing = self.days(today - DAYS_BEHIND, today + DAYS_AHEAD).await?;
        for day in missing {
            self.make_partition(day).await?;
        }
        Ok(())
    }

    async fn days(&self, first: i64, last: i64) -> Result<Vec<i64>, StoreError> {
        let mut missing = Vec::new();
        let mut tx = self.begin_as_owner().await?;
        for day in first..=last {
            let known: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
                .persistent(false)
                .bind(name(day))
                .fetch_one(&mut *tx)
                .await?;
            if !known {
                missing.push(day);
            }
        }
        tx.commit().await?;
        Ok(missing)
    }

    /// As the login role, which owns the table.
    pub(crate) async fn make_partition(&self, day: i64) -> Result<(), StoreError> {
        let (name, from, to) = (name(day), day * DAY_US, (day + 1) * DAY_US);
        let mut tx = self.begin_as_owner().await?;
        // Another server may be at it.
        sqlx::raw_sql("SELECT pg_advisory_xact_lock(hashtextextended('partitions', 0))")
            .execute(&mut *tx)
            .await?;
        for sql in [
            format!(
                "CREATE TABLE IF NOT EXISTS {name} PARTITION OF aic_metrics FOR VALUES FROM ({from}) TO ({to})"
            ),
            // Reached through its parent, whose policies hold; by its own name by nobody.
            format!("ALTER TABLE {name} ENABLE ROW LEVEL SECURITY"),
            format!("ALTER TABLE {name} FORCE ROW LEVEL SECURITY"),
        ] {
            match sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(&mut *tx)
                .await
                .map_err(StoreError::from)
            {
                Ok(_) => {}
                Err(StoreError::Refused(error)) => {
                    tracing::warn!(%error, partition = name, "the default partition keeps this day");
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        tx.commit().await?;
        Ok(())
    }

    /// Drops every day that ended before `before`; returns how many.
    pub(crate) async fn drop_partitions(&self, before: Timestamp) -> Result<u64, StoreError> {
        let oldest = name(before.as_micros().div_euclid(DAY_US));
        let mut tx = self.begin_as_owner().await?;
        // Names sort as their days do.
        let old: Vec<String> = sqlx::query_scalar(
            "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
             WHERE i.inhparent = 'aic_metrics'::regclass AND c.relname ~ '^aic_metrics_p[0-9]{8}$' \
             AND c.relname < $1",
        )
        .persistent(false)
        .bind(oldest)
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;
        for name in &old {
            // One at a time: each waits for whoever reads the table.
            let mut tx = self.begin_as_owner().await?;
            sqlx::raw_sql(AssertSqlSafe(format!("DROP TABLE IF EXISTS {name}")))
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
        }
        Ok(old.len() as u64)
    }
}

/// Of a day counted from the epoch.
fn name(day: i64) -> String {
    let date = OffsetDateTime::from_unix_timestamp(day.saturating_mul(86_400))
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
        .date();
    format!(
        "aic_metrics_p{:04}{:02}{:02}",
        date.year(),
        u8::from(date.month()),
        date.day()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_named_after_its_day() {
        assert_eq!(name(0), "aic_metrics_p19700101");
        assert_eq!(name(20_782), "aic_metrics_p20261125");
    }
}
