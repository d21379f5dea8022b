//! The book of policies: written after a configuration was committed, read by every tick of the media path.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use auralink_types::experiment::Unit;
use auralink_types::{AicConfig, CallId, Policy, TenantId, UserKey};

use crate::experiment::Experiment;

/// Users with a configuration of their own at most. Beyond it a new user is refused, never an old one forgotten: a
/// forgotten opt-out would be a broken promise.
pub const BOOK_CAPACITY: usize = 1_000_000;

/// A change copies the list of shards and each shard that it touches; in a full book one has about 500 users.
const SHARDS: usize = 2_048;

/// The book has no room for another user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the policy book holds {BOOK_CAPACITY} users already")]
pub struct BookFull;

type Shard = HashMap<UserKey, Arc<AicConfig>>;

/// All that the book says at one time. A copy shares whatever is not changed in it.
#[derive(Clone)]
struct Page {
    version: u64,
    users: usize,
    hasher: RandomState,
    shards: Box<[Arc<Shard>]>,
    /// Running ones, oldest first; where two change the same thing the later has the last word.
    experiments: Arc<HashMap<TenantId, Arc<[Experiment]>>>,
}

impl Page {
    fn empty() -> Self {
        Self {
            version: 0,
            users: 0,
            hasher: RandomState::new(),
            shards: vec![Arc::default(); SHARDS].into(),
            experiments: Arc::default(),
        }
    }

    fn shard_of(&self, user: &UserKey) -> usize {
        // Below the number of shards, which fits.
        (self.hasher.hash_one(user) % SHARDS as u64) as usize
    }

    fn config(&self, user: &UserKey) -> Option<&AicConfig> {
        self.shards[self.shard_of(user)].get(user).map(Arc::as_ref)
    }

    fn set_all(&mut self, configs: impl IntoIterator<Item = (UserKey, AicConfig)>) -> Result<(), BookFull> {
        for (user, config) in configs {
            let shard = self.shard_of(&user);
            let before = Arc::make_mut(&mut self.shards[shard]).insert(user, Arc::new(config));
            self.users += usize::from(before.is_none());
            if self.users > BOOK_CAPACITY {
                return Err(BookFull);
            }
        }
        Ok(())
    }

    fn remove(&mut self, user: &UserKey) {
        let shard = self.shard_of(user);
        let before = Arc::make_mut(&mut self.shards[shard]).remove(user);
        self.users -= usize::from(before.is_some());
    }

    fn forget(&mut self, forgotten: impl Fn(&UserKey) -> bool) {
        for shard in &mut self.shards {
            if shard.keys().any(&forgotten) {
                let before = shard.len();
                let shard = Arc::make_mut(shard);
                shard.retain(|user, _| !forgotten(user));
                self.users -= before - shard.len();
            }
        }
    }
}

/// The page that comes next. Other writers wait meanwhile; readers see the old one until it is turned.
struct Draft<'a> {
    book: &'a PolicyBook,
    page: Page,
    _turn: MutexGuard<'a, ()>,
}

impl Draft<'_> {
    fn publish(mut self) {
        self.page.version += 1;
        self.book.page.store(Arc::new(self.page));
    }
}

/// Configurations by user, one coherent snapshot at a time.
pub struct PolicyBook {
    page: ArcSwap<Page>,
    writer: Mutex<()>,
}

impl Default for PolicyBook {
    fn default() -> Self {
        Self::new()
    }
}

impl PolicyBook {
    /// An empty book: everybody has the default policy, AIC off.
    pub fn new() -> Self {
        Self {
            page: ArcSwap::from_pointee(Page::empty()),
            writer: Mutex::new(()),
        }
    }

    /// Sets one user's configuration.
    pub fn set(&self, user: UserKey, config: AicConfig) -> Result<(), BookFull> {
        self.set_all([(user, config)])
    }

    /// Sets several at once: readers see all of them or none.
    pub fn set_all(&self, configs: impl IntoIterator<Item = (UserKey, AicConfig)>) -> Result<(), BookFull> {
        let mut draft = self.draft();
        draft.page.set_all(configs)?;
        draft.publish();
        Ok(())
    }

    /// Forgets some users, who have the default policy again, and sets others, at once. Asks about everybody in the book.
    pub fn amend(
        &self,
        forgotten: impl Fn(&UserKey) -> bool,
        configs: impl IntoIterator<Item = (UserKey, AicConfig)>,
    ) -> Result<(), BookFull> {
        let mut draft = self.draft();
        draft.page.forget(forgotten);
        draft.page.set_all(configs)?;
        draft.publish();
        Ok(())
    }

    /// Forgets a user: they have the default policy again.
    pub fn remove(&self, user: &UserKey) {
        let mut draft = self.draft();
        draft.page.remove(user);
        draft.publish();
    }

    /// Replaces a tenant's running experiments, whose arms then change what [`Self::get`] answers.
    pub fn set_experiments(&self, tenant: &TenantId, running: Vec<Experiment>) {
        let mut draft = self.draft();
        let experiments = Arc::make_mut(&mut draft.page.experiments);
        if running.is_empty() {
            experiments.remove(tenant);
        } else {
            experiments.insert(tenant.clone(), running.into());
        }
        draft.publish();
    }

    /// A tenant's running experiments.
    pub fn experiments(&self, tenant: &TenantId) -> Arc<[Experiment]> {
        let page = self.page.load();
        page.experiments
            .get(tenant)
            .map_or_else(|| Arc::from([]), Arc::clone)
    }

    /// The user's policy, with their arms of experiments that assign by user; the default, AIC off, when they have none.
    pub fn get(&self, user: &UserKey) -> Policy {
        self.policy(user, None)
    }

    /// The user's policy in a call, with the arms of all experiments.
    pub fn get_in(&self, user: &UserKey, call: &CallId) -> Policy {
        self.policy(user, Some(call))
    }

    fn policy(&self, user: &UserKey, call: Option<&CallId>) -> Policy {
        let page = self.page.load();
        let Some(own) = page.config(user) else {
            return AicConfig::default().policy();
        };
        let mut laid: Option<AicConfig> = None;
        let running = page.experiments.get(&user.tenant);
        for experiment in running.into_iter().flat_map(|running| running.iter()) {
            let unit = match (experiment.unit(), call) {
                (Unit::User, _) => user.user.as_str(),
                (Unit::Call, Some(call)) => call.as_str(),
                (Unit::Call, None) => continue,
            };
            let below = laid.as_ref().unwrap_or(own);
            laid = experiment.lay(experiment.assign(unit), below).or(laid);
        }
        Policy {
            // Rows of an arm without AIC are the baseline of the others.
            observed: laid.is_some(),
            ..laid.as_ref().unwrap_or(own).policy()
        }
    }

    fn draft(&self) -> Draft<'_> {
        // A writer that panicked left the page whole, because it is swapped last.
        let turn = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        Draft {
            book: self,
            page: Page::clone(&self.page.load()),
            _turn: turn,
        }
    }

    /// Rises with every change.
    pub fn version(&self) -> u64 {
        self.page.load().version
    }
}

#[cfg(test)]
mod tests;
