//! The book of policies: written after a configuration was committed, read by every tick of the media path.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;

use arc_swap::ArcSwap;
use auralink_types::{AicConfig, Policy, UserKey};

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
        // A writer that panicked left the page whole, because it is swapped last.
        let _turn = self
            .writer
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let old = self.page.load();
        let mut next = Page {
            version: old.version + 1,
            policies: old.policies.clone(),
        };
        for (user, policy) in policies {
            next.policies.insert(user, Arc::new(policy));
        }
        if next.policies.len() > BOOK_CAPACITY {
            return Err(BookFull);
        }
        self.page.store(Arc::new(next));
        Ok(())
    }

    /// The user's policy; the default, AIC off, when he has none.
    pub fn get(&self, user: &UserKey) -> Policy {
        match self.page.load().policies.get(user) {
            Some(policy) => (**policy).clone(),
            None => AicConfig::default().policy(),
        }
    }

    /// Rises with every change.
    pub fn version(&self) -> u64 {
        self.page.load().version
    }
}

#[cfg(test)]
mod tests {
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
}
