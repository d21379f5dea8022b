//! Opening the database, and what the server itself asks of it.

use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use auralink_types::{AicConfig, MetricRow, SessionId, TenantId, UserKey};

use crate::actor::Actor;
use crate::config;
use crate::database::{Database, Tx, Who};
use crate::erasure;
use crate::error::StoreError;
use crate::location::Location;
use crate::parents::Parents;
use crate::postgres::{self, PostgresPool};
use crate::pseudonym::Pseudonyms;
use crate::schema::Pending;
use crate::scoped::Scoped;
use crate::sql::Sql;
use crate::sqlite::{self, SqlitePools};
use crate::timestamp::Timestamp;

/// What can be chosen when a database is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// Connections to PostgreSQL at a time; SQLite has its own rule.
    pub connections: u32,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { connections: 10 }
    }
}

/// The database. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) database: Database,
    pub(crate) names: Pseudonyms,
    /// The server that writes, once it has a lease.
    pub(crate) server: Arc<OnceLock<String>>,
}

impl Store {
    /// Opens `memory`, a file given as a path or a `sqlite:` URL, or a `postgres:` URL, and brings its schema up to
    /// date. A file that isn't there is made; a PostgreSQL database must exist.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        Self::open_with(url, &StoreOptions::default()).await
    }

    /// Likewise, with options.
    pub async fn open_with(url: &str, options: &StoreOptions) -> Result<Self, StoreError> {
        let database = match Location::parse(url)? {
            Location::Postgres(url) => {
                Database::Postgres(PostgresPool::open(url, options.connections.max(1)).await?)
            }
            Location::File(path) => Database::Sqlite(SqlitePools::open(Some(path)).await?),
            Location::Memory => Database::Sqlite(SqlitePools::open(None).await?),
        };
        let mut tx = database.read(Who::Server).await?;
        let state = tx.one(Sql::new("SELECT erasure_key FROM aic_state")).await?;
        tx.commit().await?;
        Ok(Self {
            names: Pseudonyms::from_row(&state)?,
            database,
            server: Arc::default(),
        })
    }

    /// The migrations that a database lacks; it is left as it is. An error when it is newer than this program, or one
    /// of its migrations was another.
    pub async fn pending(url: &str) -> Result<Vec<Pending>, StoreError> {
        match Location::parse(url)? {
            Location::Postgres(url) => postgres::pending(url).await,
            Location::File(path) => sqlite::pending(Some(path)).await,
            Location::Memory => sqlite::pending(None).await,
        }
    }

    /// The only way in for people: a handle that sees what the actor may see.
    pub fn as_user(&self, actor: Actor) -> Scoped {
        Scoped::new(self.clone(), actor)
    }

    /// Every configuration that the media path must know at start: those enabled, and every opt-out.
    pub async fn enabled_configs(&self) -> Result<Vec<(UserKey, AicConfig)>, StoreError> {
        config::in_force(self).await
    }

    /// Notes that a session has ended. A session that never had a metric row isn't stored.
    pub async fn end_session(
        &self,
        tenant: &TenantId,
        session: &SessionId,
        at: SystemTime,
    ) -> Result<(), StoreError> {
        let sql =
            Sql::new("UPDATE aic_sessions SET ended_at_us = $1 WHERE tenant_id = $2 AND session_id = $3")
                .with(Timestamp::from(at))
                .with(tenant)
                .with(session);
        let mut tx = self.write().await?;
        tx.execute(sql).await?;
        tx.commit().await
    }

    /// Whether the database takes a change; this one changes nothing.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let sql = match &self.database {
            // A lock on the row is written as a change is, and nobody waits for it.
            Database::Postgres(_) => "SELECT watermark_us FROM aic_rollup_state FOR UPDATE SKIP LOCKED",
            Database::Sqlite(_) => "UPDATE aic_rollup_state SET watermark_us = watermark_us",
        };
        let mut tx = self.write().await?;
        tx.execute(Sql::new(sql)).await?;
        tx.commit().await
    }

    /// Waits for running statements and closes the database.
    pub async fn close(&self) {
        match &self.database {
            Database::Sqlite(pools) => pools.close().await,
            Database::Postgres(postgres) => postgres.pool.close().await,
        }
    }

    /// Writes the rows, and those of the parents that may be missing, in one transaction; what is about somebody erased
    /// stays out. Returns how many rows were welcome.
    pub(crate) async fn write_metrics(
        &self,
        rows: &[MetricRow],
        mut parents: Parents<'_>,
    ) -> Result<usize, StoreError> {
        let mut tx = self.write().await?;
        let gone = erasure::gone(&mut tx, &self.names, rows.iter().map(|row| &row.owner)).await?;
        let welcome = |row: &MetricRow| {
            let them = gone.get(&row.owner);
            them.is_none_or(|them| !them.bars(Timestamp::from_micros(row.ts_us)))
        };
        let rows: Vec<&MetricRow> = rows.iter().filter(|row| welcome(row)).collect();
        parents.retain(welcome);
        let count = rows.len();
        match &mut tx {
            Tx::Sqlite(tx) => sqlite::metrics::write(tx, &rows, &parents).await?,
            Tx::Postgres(tx, _) => postgres::metrics::write(tx, rows, &parents).await?,
        }
        tx.commit().await?;
        Ok(count)
    }

    /// As the server itself.
    pub(crate) async fn read(&self) -> Result<Tx, StoreError> {
        self.database.read(Who::Server).await
    }

    /// Likewise.
    pub(crate) async fn write(&self) -> Result<Tx, StoreError> {
        self.database.write(Who::Server).await
    }
}

/// A database's URL as it may be shown and logged: without its password, wherever that stands.
pub fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = place.split('/').next().unwrap_or_default();
    let place = match authority.rsplit_once('@') {
        Some((login, host)) => {
            let user = login.split(':').next().unwrap_or_default();
            format!("{user}@{host}{}", &place[authority.len()..])
        }
        None => place.to_owned(),
    };
    let shown: Vec<&str> = query
        .split('&')
        .filter(|pair| !pair.is_empty() && !pair.to_ascii_lowercase().starts_with("password="))
        .collect();
    let mark = if shown.is_empty() { "" } else { "?" };
    format!("{scheme}://{place}{mark}{}", shown.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        for (url, shown) in [
            (
                "postgres://ada:s3cret@db:5432/aura?sslmode=require",
                "postgres://ada@db:5432/aura?sslmode=require",
            ),
            ("postgres://ada:s3:c@ret@db/aura", "postgres://ada@db/aura"),
            ("postgres://db/aura", "postgres://db/aura"),
            (
                "postgres://db/aura?user=ada&password=s3cret&sslmode=require",
                "postgres://db/aura?user=ada&sslmode=require",
            ),
            ("postgres://db/aura?Password=s3@cret", "postgres://db/aura"),
            ("sqlite:///tmp/a@b:c.db", "sqlite:///tmp/a@b:c.db"),
            ("auralink.db", "auralink.db"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}
