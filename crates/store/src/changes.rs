//! What has changed in the database for the policies of servers, whichever server was told.
//!
//! Servers ask for the revision, a number in one row, several times a second. `LISTEN` would be told at once, but it
//! needs a connection of its own for ever, which PgBouncer in transaction mode cannot give, it loses what is said while
//! a connection is away, and SQLite has none: asking is needed anyway, and is enough.

use std::collections::HashSet;

use auralink_types::{AicConfig, UserKey};

use crate::config;
use crate::database::Tx;
use crate::error::StoreError;
use crate::pseudonym::Pseudonyms;
use crate::sql::{Sql, int};
use crate::store::Store;

/// How much has changed so far; it only rises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision {
    number: u64,
    /// The last one that an experiment made.
    experiments: u64,
}

/// What has changed since a revision.
#[derive(Debug)]
pub struct Changes {
    /// Up to when.
    pub revision: Revision,
    /// Configurations written since, those of disabled users too.
    pub configs: Vec<(UserKey, AicConfig)>,
    /// Whether the running experiments may be others.
    pub experiments: bool,
    erased: HashSet<String>,
    names: Pseudonyms,
}

impl Changes {
    /// Whether anybody was erased.
    pub fn has_erasures(&self) -> bool {
        !self.erased.is_empty()
    }

    /// Whether this user was erased. His configuration, if he has one among the changes, is a new one.
    pub fn erased(&self, user: &UserKey) -> bool {
        self.erased.contains(&self.names.of_user(user))
    }
}

impl Store {
    /// How much has changed so far.
    pub async fn revision(&self) -> Result<Revision, StoreError> {
        let mut tx = self.read().await?;
        let revision = read(&mut tx).await?;
        tx.commit().await?;
        Ok(revision)
    }

    /// What has changed since then.
    pub async fn changes_since(&self, then: Revision) -> Result<Changes, StoreError> {
        let mut tx = self.read().await?;
        // Read first: what comes between this and the rest is seen again by the next who asks, and changes nothing.
        let revision = read(&mut tx).await?;
        let configs = config::written_since(&mut tx, then.number).await?;
        let erased = Sql::new("SELECT subject FROM erasures WHERE revision > $1");
        let erased = tx.rows(erased.with(int(then.number))).await?;
        tx.commit().await?;
        Ok(Changes {
            revision,
            configs,
            experiments: revision.experiments != then.experiments,
            erased: erased
                .iter()
                .map(|row| row.text("subject"))
                .collect::<Result<_, _>>()?,
            names: self.names.clone(),
        })
    }
}

/// Counts a change that no trigger counts. The row stays locked until the change commits, so that revisions are seen in
/// their order.
pub(crate) async fn count(tx: &mut Tx) -> Result<(), StoreError> {
    tx.execute(Sql::new("UPDATE aic_state SET revision = revision + 1"))
        .await?;
    Ok(())
}

async fn read(tx: &mut Tx) -> Result<Revision, StoreError> {
    let sql = Sql::new("SELECT revision, experiments_revision FROM aic_state");
    let row = tx.one(sql).await?;
    Ok(Revision {
        number: row.count("revision")?,
        experiments: row.count("experiments_revision")?,
    })
}
