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
mod tests {
    use std::time::Duration;

    use auralink_types::ConfigChange;
    use auralink_types::experiment::Arm;

    use super::*;
    use crate::{Calibration, Network, Situation, choose, wire_bitrate};

    fn on() -> AicConfig {
        AicConfig {
            enabled: true,
            ..AicConfig::default()
        }
    }

    fn people(names: impl IntoIterator<Item = impl ToString>) -> Vec<UserKey> {
        let key = |name: &dyn ToString| UserKey::new("one", name.to_string());
        names.into_iter().map(|name| key(&name)).collect()
    }

    /// Half are in the control arm, which changes nothing or what `control` says; the others in one with that change.
    fn experiment(unit: Unit, control: ConfigChange, treated: ConfigChange) -> Vec<Experiment> {
        let arm = |name: &str, change| Arm {
            name: name.into(),
            weight: 1,
            control: name == "control",
            change,
        };
        let arms = vec![arm("control", control), arm("treated", treated)];
        vec![Experiment::new("e", "one", unit, arms).unwrap()]
    }

    #[test]
    fn an_unknown_user_has_aic_off_and_a_change_is_seen_with_its_version() {
        let book = PolicyBook::new();
        let ada = UserKey::new("devkey", "ada");
        assert!(!book.get(&ada).active);
        book.set(ada.clone(), on()).unwrap();
        assert!(book.get(&ada).active);
        assert_eq!(book.version(), 1);
        assert!(
            !book.get(&UserKey::new("other", "ada")).active,
            "another tenant's ada is somebody else"
        );
    }

    #[test]
    fn some_are_forgotten_and_others_set_at_once() {
        let book = PolicyBook::new();
        let users = people(0..5_000);
        let (old, new) = users.split_at(4_000);
        book.set_all(old.iter().map(|user| (user.clone(), on()))).unwrap();
        let even = |user: &UserKey| user.user.as_str().ends_with(['0', '2', '4', '6', '8']);
        book.amend(even, new.iter().map(|user| (user.clone(), on())))
            .unwrap();
        assert_eq!(book.version(), 2);
        for user in old {
            assert_eq!(book.get(user).active, !even(user), "{user:?}");
        }
        assert!(new.iter().all(|user| book.get(user).active));
        assert_eq!(book.page.load().users, 3_000);
    }

    #[test]
    fn what_does_not_fit_is_refused_as_a_whole_and_changes_of_those_present_always_fit() {
        let book = PolicyBook::new();
        let users = people(0..4);
        book.set(users[0].clone(), on()).unwrap();
        let mut page = Page::clone(&book.page.load());
        page.users = BOOK_CAPACITY - 2;
        book.page.store(Arc::new(page));

        let all = || users.iter().map(|user| (user.clone(), on()));
        assert_eq!(book.set_all(all()), Err(BookFull));
        assert!(
            !book.get(&users[1]).active && book.version() == 1,
            "nobody came in"
        );
        assert_eq!(book.amend(|user| *user == users[2], all()), Err(BookFull));
        book.set_all(all().take(3)).unwrap();
        assert_eq!(book.set(users[3].clone(), on()), Err(BookFull));
        book.set(users[0].clone(), AicConfig::default()).unwrap();
        assert!(!book.get(&users[0]).active);
        book.remove(&users[3]);
        assert_eq!(
            book.set(users[3].clone(), on()),
            Err(BookFull),
            "they were not there"
        );
        book.remove(&users[0]);
        book.set(users[3].clone(), on()).unwrap();
    }

    #[test]
    fn who_sees_one_of_a_set_sees_the_others_too() {
        let book = PolicyBook::new();
        let users = people(["ada", "bob"]);
        let rounds = 2_000_u32;
        let seen = |user| book.get(user).max_latency;
        // Above what the default has, so that it only rises.
        let config = |round| AicConfig {
            max_latency_ms: 100 + round,
            ..on()
        };
        std::thread::scope(|threads| {
            threads.spawn(|| {
                for round in 1..=rounds {
                    let all = users.iter().map(|user| (user.clone(), config(round)));
                    book.set_all(all).unwrap();
                }
            });
            let mut first = Duration::ZERO;
            while first < config(rounds).policy().max_latency {
                first = seen(&users[0]);
                let second = seen(&users[1]);
                assert!(second >= first, "{second:?} after {first:?}");
            }
        });
        assert_eq!(book.version(), u64::from(rounds));
    }

    #[test]
    fn a_running_experiment_changes_the_policy_of_those_with_aic_on_until_it_ends() {
        let book = PolicyBook::new();
        let users = people(0..40);
        book.set_all(users.iter().map(|user| (user.clone(), on())))
            .unwrap();
        let off = ConfigChange {
            enabled: Some(false),
            ..ConfigChange::default()
        };
        let by = |unit| experiment(unit, off.clone(), ConfigChange::default());
        let before = book.version();
        book.set_experiments(&"one".into(), by(Unit::User));
        assert!(
            book.version() > before,
            "media looks at the book only when its version rises"
        );
        let treated = users.iter().filter(|user| book.get(user).active).count();
        assert!((8..32).contains(&treated), "{treated}");
        assert!(users.iter().all(|user| book.get(user).observed));
        assert!(!book.get(&UserKey::new("one", "without")).observed);

        book.set_experiments(&"one".into(), by(Unit::Call));
        assert!(users.iter().all(|user| book.get(user).active), "no call, no arm");
        let arms = |call: &str| {
            let call = CallId::from(call);
            users
                .iter()
                .filter(|user| book.get_in(user, &call).active)
                .count()
        };
        let calls: Vec<_> = (0..20).map(|n| arms(&format!("RM_{n}"))).collect();
        assert!(
            calls.iter().all(|count| *count == 0 || *count == users.len()),
            "{calls:?}"
        );
        assert!(calls.contains(&0) && calls.contains(&users.len()));

        book.set_experiments(&"one".into(), Vec::new());
        assert!(users.iter().all(|user| book.get(user) == on().policy()));
        book.remove(&users[0]);
        assert!(!book.get(&users[0]).active);
    }

    #[test]
    fn an_arm_that_differs_only_in_its_target_gets_other_sound() {
        let book = PolicyBook::new();
        let users = people(0..40);
        book.set_all(users.iter().map(|user| (user.clone(), on())))
            .unwrap();
        let target = 0.65;
        let change = ConfigChange {
            target_compression_ratio: Some(target),
            ..ConfigChange::default()
        };
        book.set_experiments(
            &"one".into(),
            experiment(Unit::User, ConfigChange::default(), change),
        );
        let situation = Situation::stock(Network::default());
        let saved = |user: &UserKey| {
            let choice = choose(&book.get(user), &situation, &Calibration::default());
            let rate = wire_bitrate(choice.rung).unwrap().as_bps() as f64;
            1.0 - rate / situation.reference().as_bps() as f64
        };
        let (treated, control): (Vec<_>, Vec<_>) = users
            .iter()
            .partition(|user| book.get(user).explicit_target.is_some());
        assert!(!treated.is_empty() && !control.is_empty());
        let cheapest = saved(control[0]);
        assert!(control.iter().all(|user| saved(user) == cheapest));
        for user in treated {
            let saved = saved(user);
            assert!((target..cheapest).contains(&saved), "{saved} of {cheapest}");
        }
    }

    #[test]
    fn of_two_experiments_the_later_has_the_last_word_on_what_both_change() {
        let book = PolicyBook::new();
        let ada = UserKey::new("one", "ada");
        book.set(ada.clone(), on()).unwrap();
        let both = |latency, floor| {
            let change = ConfigChange {
                max_latency_ms: Some(latency),
                min_quality_score: floor,
                ..ConfigChange::default()
            };
            experiment(Unit::User, change.clone(), change).remove(0)
        };
        book.set_experiments(&"one".into(), vec![both(50, Some(0.6)), both(90, None)]);
        let policy = book.get(&ada);
        assert_eq!(policy.max_latency, Duration::from_millis(90));
        assert_eq!(policy.floor.value(), 0.6);
    }
}
