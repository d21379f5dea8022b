//! A server's book of policies follows the database, whichever server was told: an opt-out holds everywhere.

use std::sync::Arc;
use std::time::Duration;

use auralink_engine::{BOOK_CAPACITY, BookFull, PolicyBook};
use auralink_store::{Revision, Store, StoreError};
use auralink_types::TenantId;
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::experiments;

/// How often the database is asked whether anything has changed: a quarter of the second in which an opt-out has to
/// hold, for one row.
pub const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Held from a change's commit, or from reading what others have changed, until it is in the book, so that of two
/// changes the later wins in both places. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Turn(Arc<Mutex<()>>);

impl Turn {
    pub(crate) async fn take(&self) -> MutexGuard<'_, ()> {
        self.0.lock().await
    }
}

/// Keeps the book until this is dropped.
#[derive(Debug)]
pub struct Follower {
    users: usize,
    task: JoinHandle<()>,
}

impl Follower {
    /// Fills the book and starts to follow, on the current tokio runtime.
    pub async fn start(
        store: Store,
        book: Arc<PolicyBook>,
        tenants: Vec<TenantId>,
        turn: Turn,
    ) -> Result<Self, StoreError> {
        // Read before the rest, so that nothing falls between them.
        let seen = store.revision().await?;
        let known = store.enabled_configs().await?;
        let users = known.len();
        book.set_all(known).map_err(full)?;
        experiments::reload(&store, &book, &tenants).await?;
        let following = Following {
            store,
            book,
            tenants,
            turn,
            seen,
        };
        let task = tokio::spawn(following.run());
        Ok(Self { users, task })
    }

    /// Users with a configuration in force at the start.
    pub const fn users(&self) -> usize {
        self.users
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Following {
    store: Store,
    book: Arc<PolicyBook>,
    tenants: Vec<TenantId>,
    turn: Turn,
    seen: Revision,
}

impl Following {
    async fn run(mut self) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut away = false;
        loop {
            look.tick().await;
            let looked = self.look().await;
            // The last good policies go on.
            if let Err(error) = &looked
                && !away
            {
                tracing::warn!(%error, "policies set at other servers are not followed");
            }
            away = looked.is_err();
        }
    }

    async fn look(&mut self) -> Result<(), StoreError> {
        if self.store.revision().await? == self.seen {
            return Ok(());
        }
        let _turn = self.turn.take().await;
        let changes = self.store.changes_since(self.seen).await?;
        let configs = changes.configs.iter().cloned();
        if changes.has_erasures() {
            self.book.amend(|user| changes.erased(user), configs)
        } else {
            self.book.set_all(configs)
        }
        .map_err(full)?;
        if changes.experiments {
            experiments::reload(&self.store, &self.book, &self.tenants).await?;
        }
        self.seen = changes.revision;
        Ok(())
    }
}

fn full(_: BookFull) -> StoreError {
    StoreError::Full {
        what: "users with a policy",
        most: BOOK_CAPACITY,
    }
}
