//! The database of a server, and what writes to it by itself.

use anyhow::Context as _;
use auralink_store::{EventWriter, Housekeeping, Lease, MetricWriter, Store, StoreOptions, without_password};

use crate::config::ServeConfig;

/// The database with its writers.
pub struct Record {
    pub store: Store,
    /// Takes metric rows.
    pub rows: MetricWriter,
    /// Takes what happens.
    pub events: EventWriter,
    lease: Lease,
    _housekeeping: Housekeeping,
}

impl Record {
    /// Opens it and takes the server's lease.
    pub async fn open(config: &ServeConfig) -> anyhow::Result<Self> {
        let options = StoreOptions {
            connections: config.database_connections,
        };
        let store = Store::open_with(&config.database, &options)
            .await
            .with_context(|| format!("database: cannot open {}", without_password(&config.database)))?;
        let housekeeping = Housekeeping::start(store.clone(), config.retention);
        let lease = Lease::start(&store)
            .await
            .context("database: cannot take a lease")?;
        Ok(Self {
            rows: MetricWriter::start(store.clone()),
            events: EventWriter::start(store.clone()),
            store,
            lease,
            _housekeeping: housekeeping,
        })
    }

    /// Writes what still waits, and lets go.
    pub async fn close(self) {
        self.rows.flush().await;
        self.events.flush().await;
        if let Err(error) = self.lease.end().await {
            tracing::warn!(%error, "the server's lease was not given back");
        }
        self.store.close().await;
    }
}
