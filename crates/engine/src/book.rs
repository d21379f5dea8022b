//! The book of policies: written after a configuration was committed, read by every tick of the media path.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use auralink_types::experiment::Unit;
use auralink_types::{AicConfig, CallId, Policy, TenantId, UserKey};

use crate::experiment::Experiment;

/// Users with a policy of their own at most. Beyond it a new user is refused, never an old one forgotten: a
/// forgotten opt-out would be a broken promise.
pub const BOOK_CAPACITY: usize = 1_000_000;

/// The book has no room for another user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the policy book holds {BOOK_CAPACITY} users already")]
pub struct BookFull;

#[derive(Default)]
struct Page {
    version: u64,
    /// Sharing the policies keeps a copy of the map cheap.
    policies: HashMap<UserKey, Arc<Policy>>,
    /// Running ones, oldest first; where two change the same thing the later has the last word.
    experiments: HashMap<TenantId, Arc<[Experiment]>>,
}

impl Page {
    /// A copy to change; what it shares keeps it cheap.
    fn next(&self) -> Self {
        Self {
            version: self.version + 1,
            policies: self.policies.clone(),
            experiments: self.experiments.clone(),
        }
    }
}

/// Policies by user, one coherent snapshot at a time.
#[derive(Default)]
pub struct PolicyBook {
    page: ArcSwap<Page>,
    writer: Mutex<()>,
}

impl PolicyBook {
    /// An empty book: everybody has the default policy, AIC off.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets one user's policy.
    pub fn set(&self, user: UserKey, policy: Policy) -> Result<(), BookFull> {
        self.set_all([(user, policy)])
    }

    /// Sets several at once: readers see all of them or none.
    pub fn set_all(&self, policies: impl IntoIterator<Item = (UserKey, Policy)>) -> Result<(), BookFull> {
        self.amend(|_| false, policies)
    }

    /// Forgets some users, who have the default policy again, and sets others, at once.
    pub fn amend(
        &self,
        forgotten: impl Fn(&UserKey) -> bool,
        policies: impl IntoIterator<Item = (UserKey, Policy)>,
    ) -> Result<(), BookFull> {
        let _turn = self.turn();
        let old = self.page.load();
        let mut next = old.next();
        next.policies.retain(|user, _| !forgotten(user));
        for (user, policy) in policies {
            next.policies.insert(user, Arc::new(policy));
        }
        if next.policies.len() > BOOK_CAPACITY {
            return Err(BookFull);
        }
        self.page.store(Arc::new(next));
        Ok(())
    }

    /// Forgets a user: he has the default policy again.
    pub fn remove(&self, user: &UserKey) {
        let _turn = self.turn();
        let mut next = self.page.load().next();
        next.policies.remove(user);
        self.page.store(Arc::new(next));
    }

    /// Replaces a tenant's running experiments, whose arms then change what [`Self::get`] answers.
    pub fn set_experiments(&self, tenant: &TenantId, running: Vec<Experiment>) {
        let _turn = self.turn();
        let mut next = self.page.load().next();
        if running.is_empty() {
            next.experiments.remove(tenant);
        } else {
            next.experiments.insert(tenant.clone(), running.into());
        }
        self.page.store(Arc::new(next));
    }

    /// A tenant's running experiments.
    pub fn experiments(&self, tenant: &TenantId) -> Arc<[Experiment]> {
        let page = self.page.load();
        page.experiments
            .get(tenant)
            .map_or_else(|| Arc::from([]), Arc::clone)
    }

    /// The user's policy, with his arms of experiments that assign by user; the default, AIC off, when he has none.
    pub fn get(&self, user: &UserKey) -> Policy {
        self.policy(user, None)
    }

    /// The user's policy in a call, with the arms of all experiments.
    pub fn get_in(&self, user: &UserKey, call: &CallId) -> Policy {
        self.policy(user, Some(call))
    }

    fn policy(&self, user: &UserKey, call: Option<&CallId>) -> Policy {
        let page = self.page.load();
        let Some(base) = page.policies.get(user) else {
            return AicConfig::default().policy();
        };
        let mut policy = (**base).clone();
        for experiment in page
            .experiments
            .get(&user.tenant)
            .into_iter()
            .flat_map(|running| running.iter())
        {
            let unit = match (experiment.unit(), call) {
                (Unit::User, _) => user.user.as_str(),
                (Unit::Call, Some(call)) => call.as_str(),
                (Unit::Call, None) => continue,
            };
            policy = experiment.policy(&policy, experiment.assign(unit));
        }
        policy
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        // A writer that panicked left the page whole, because it is swapped last.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rises with every change.
    pub fn version(&self) -> u64 {
        self.page.load().version
    }
}

#[cfg(test)]
mod tests {
    use auralink_types::ConfigChange;
    use auralink_types::experiment::Arm;

    use super::*;

    #[test]
    fn an_unknown_user_has_aic_off_and_a_change_is_seen_with_its_version() {
        let book = PolicyBook::new();
        let ada = UserKey::new("devkey", "ada");
        assert!(!book.get(&ada).active);
        let policy = Policy {
            active: true,
            ..AicConfig::default().policy()
        };
        book.set(ada.clone(), policy).unwrap();
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
        let on = Policy {
            active: true,
            ..AicConfig::default().policy()
        };
        let [ada, bob, eve] = ["ada", "bob", "eve"].map(|user| UserKey::new("one", user));
        book.set_all([(ada.clone(), on.clone()), (bob.clone(), on.clone())])
            .unwrap();
        book.amend(|user| *user != bob, [(eve.clone(), on)]).unwrap();
        assert_eq!(book.version(), 2);
        assert_eq!(
            [&ada, &bob, &eve].map(|user| book.get(user).active),
            [false, true, true]
        );
    }

    #[test]
    fn a_running_experiment_changes_the_policy_of_those_with_aic_on_until_it_ends() {
        let book = PolicyBook::new();
        let on = ConfigChange {
            enabled: Some(true),
            ..ConfigChange::default()
        };
        let config = AicConfig::default().apply(&on).unwrap();
        let users: Vec<_> = (0..40)
            .map(|n| UserKey::new("one", format!("user-{n}")))
            .collect();
        book.set_all(users.iter().map(|user| (user.clone(), config.policy())))
            .unwrap();
        let off = ConfigChange {
            enabled: Some(false),
            ..ConfigChange::default()
        };
        let arm = |name: &str, change| Arm {
            name: name.into(),
            weight: 1,
            control: name == "control",
            change,
        };
        let by = |id: &str, unit| {
            let arms = vec![
                arm("control", off.clone()),
                arm("treated", ConfigChange::default()),
            ];
            Experiment::new(id, "one", unit, arms).unwrap()
        };
        let before = book.version();
        book.set_experiments(&"one".into(), vec![by("e", Unit::User)]);
        assert!(
            book.version() > before,
            "media looks at the book only when its version rises"
        );
        let treated = users.iter().filter(|user| book.get(user).active).count();
        assert!((8..32).contains(&treated), "{treated}");
        assert!(users.iter().all(|user| book.get(user).observed));
        assert!(!book.get(&UserKey::new("one", "without")).observed);

        book.set_experiments(&"one".into(), vec![by("e", Unit::Call)]);
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
        assert!(users.iter().all(|user| book.get(user) == config.policy()));
        book.remove(&users[0]);
        assert!(!book.get(&users[0]).active);
    }
}
