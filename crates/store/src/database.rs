//! The two databases behind one face: transactions that run shared statements on somebody's behalf.

use auralink_types::UserKey;
use sqlx::{AssertSqlSafe, Postgres, Sqlite, Transaction};

use crate::error::StoreError;
use crate::postgres::PostgresPool;
use crate::row::Row;
use crate::sql::{Sql, Value};
use crate::sqlite::SqlitePools;

/// On whose behalf a transaction runs. PostgreSQL takes the role of that name and obeys its policies; for SQLite each
/// statement carries the predicate, as it does for PostgreSQL too.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Who<'a> {
    User(&'a UserKey),
    Operator(&'a UserKey),
    /// The server itself.
    Server,
}

#[derive(Clone, Debug)]
pub(crate) enum Database {
    Sqlite(SqlitePools),
    Postgres(PostgresPool),
}

impl Database {
    /// A transaction that only reads.
    pub(crate) async fn read(&self, who: Who<'_>) -> Result<Tx, StoreError> {
        Ok(match self {
            Self::Sqlite(pools) => Tx::Sqlite(pools.read.begin().await?),
            Self::Postgres(pool) => Tx::of(pool, pool.begin("BEGIN READ ONLY", who).await?),
        })
    }

    /// A transaction that may write. SQLite holds the write lock from its start, so that what it reads cannot change
    /// before it writes; on PostgreSQL statements lock what they must.
    pub(crate) async fn write(&self, who: Who<'_>) -> Result<Tx, StoreError> {
        Ok(match self {
            Self::Sqlite(pools) => Tx::Sqlite(pools.write.begin_with("BEGIN IMMEDIATE").await?),
            Self::Postgres(pool) => Tx::of(pool, pool.begin("BEGIN", who).await?),
        })
    }
}

/// A transaction; what isn't committed is rolled back.
pub(crate) enum Tx {
    Sqlite(Transaction<'static, Sqlite>),
    /// And whether its statements are kept for the next time.
    Postgres(Transaction<'static, Postgres>, bool),
}

macro_rules! query {
    ($sql:ident, $kept:expr) => {{
        // Our own text: `Sql` keeps what users say in its values.
        let mut query = sqlx::query(AssertSqlSafe($sql.text)).persistent($kept);
        for value in $sql.values {
            query = match value {
                Value::Text(text) => query.bind(text),
                Value::Int(int) => query.bind(int),
                Value::Real(real) => query.bind(real),
                Value::Bool(truth) => query.bind(truth),
                Value::Json(json) => query.bind(sqlx::types::Json(json)),
            };
        }
        query
    }};
}

impl Tx {
    fn of(pool: &PostgresPool, tx: Transaction<'static, Postgres>) -> Self {
        Self::Postgres(tx, pool.keeps_statements)
    }

    pub(crate) async fn rows(&mut self, sql: Sql) -> Result<Vec<Row>, StoreError> {
        Ok(match self {
            Self::Sqlite(tx) => {
                let rows = query!(sql, true).fetch_all(&mut **tx).await?;
                rows.into_iter().map(Row::Sqlite).collect()
            }
            Self::Postgres(tx, kept) => {
                let rows = query!(sql, *kept).fetch_all(&mut **tx).await?;
                rows.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    pub(crate) async fn row(&mut self, sql: Sql) -> Result<Option<Row>, StoreError> {
        Ok(match self {
            Self::Sqlite(tx) => query!(sql, true)
                .fetch_optional(&mut **tx)
                .await?
                .map(Row::Sqlite),
            Self::Postgres(tx, kept) => query!(sql, *kept)
                .fetch_optional(&mut **tx)
                .await?
                .map(Row::Postgres),
        })
    }

    /// The one row of a statement that always has one.
    pub(crate) async fn one(&mut self, sql: Sql) -> Result<Row, StoreError> {
        self.row(sql)
            .await?
            .ok_or_else(|| sqlx::Error::RowNotFound.into())
    }

    /// How many rows it changed.
    pub(crate) async fn execute(&mut self, sql: Sql) -> Result<u64, StoreError> {
        Ok(match self {
            Self::Sqlite(tx) => query!(sql, true).execute(&mut **tx).await?.rows_affected(),
            Self::Postgres(tx, kept) => query!(sql, *kept).execute(&mut **tx).await?.rows_affected(),
        })
    }

    /// Waits until no other transaction holds the lock of that name, and holds it to its own end. SQLite has one writer
    /// anyway.
    pub(crate) async fn lock(&mut self, name: &str) -> Result<(), StoreError> {
        if let Self::Postgres(..) = self {
            let sql =
                Sql::new("SELECT 1 AS one FROM (SELECT pg_advisory_xact_lock(hashtextextended($1, 0))) AS l");
            self.row(sql.with(name)).await?;
        }
        Ok(())
    }

    /// Likewise, beside others who share it and against nobody but those who hold it alone.
    pub(crate) async fn lock_shared(&mut self, name: &str) -> Result<(), StoreError> {
        if let Self::Postgres(..) = self {
            let sql = Sql::new(
                "SELECT 1 AS one FROM (SELECT pg_advisory_xact_lock_shared(hashtextextended($1, 0))) AS l",
            );
            self.row(sql.with(name)).await?;
        }
        Ok(())
    }

    /// The select that makes rows of the first value, a list of texts as JSON.
    pub(crate) const fn members(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "SELECT value FROM json_each($1)",
            Self::Postgres(..) => "SELECT jsonb_array_elements_text($1)",
        }
    }

    /// For chores that may take longer than an answer may.
    pub(crate) async fn no_time_limit(&mut self) -> Result<(), StoreError> {
        if let Self::Postgres(..) = self {
            self.row(Sql::new(
                "SELECT set_config('statement_timeout', '0', true) AS set",
            ))
            .await?;
        }
        Ok(())
    }

    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        let done = match self {
            Self::Sqlite(tx) => tx.commit().await,
            Self::Postgres(tx, _) => tx.commit().await,
        };
        Ok(done?)
    }
}
