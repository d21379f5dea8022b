//! Who may open a session: limits by call, tenant and whole, and the load over which nobody may.
//!
//! The order in which load is shed: new sessions are refused first; then frames of running ones that are late go
//! out as they came; nothing of a running session is degraded to make room for a newcomer.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use auralink_wire::proto::SessionKey;

use crate::pool::PoolStats;

/// How much is admitted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Sessions in all.
    pub sessions: usize,
    /// Sessions of one tenant of one peer.
    pub per_tenant: usize,
    /// Sessions of one call.
    pub per_call: usize,
    /// Load of the workers, 0 to 1, from which new sessions are refused.
    pub load: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 2_000,
            per_tenant: 2_000,
            // A call where everybody talks is a meeting of this many.
            per_call: 128,
            // Above it, queues grow faster than they drain when a few streams speak at once.
            load: 0.90,
        }
    }
}

/// Why a session was refused.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum Denied {
    /// The server is leaving.
    #[error("the core is draining; open the session elsewhere")]
    Draining,
    /// One of that key is running.
    #[error("a session of this call and track is running")]
    Duplicate,
    /// The call has enough.
    #[error("the call has {0} sessions, which is the limit")]
    CallFull(usize),
    /// The tenant has enough.
    #[error("the tenant has {0} sessions, which is the limit")]
    TenantFull(usize),
    /// The core has enough.
    #[error("the core has {0} sessions, which is the limit")]
    Full(usize),
    /// The workers are busy.
    #[error("the workers are {0} % busy")]
    Overloaded(u32),
}

/// Whose session it is, for the counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Owner {
    /// Name of the peer by its certificate.
    pub(crate) peer: Arc<str>,
    pub(crate) key: SessionKey,
    pub(crate) decodes: bool,
}

type Tenant = (Arc<str>, String);

#[derive(Debug, Default)]
struct Book {
    owners: HashSet<Owner>,
    tenants: HashMap<Tenant, usize>,
    calls: HashMap<(Tenant, String), usize>,
    refused: u64,
    draining: bool,
}

/// Keeps the counts; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    limits: Limits,
    book: Arc<Mutex<Book>>,
}

/// Admits one session for as long as it lives.
#[derive(Debug)]
pub(crate) struct Ticket {
    owner: Owner,
    admission: Admission,
}

impl Admission {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            book: Arc::default(),
        }
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// Admits a session, or says why not.
    pub(crate) fn admit(&self, owner: Owner, workers: &PoolStats) -> Result<Ticket, Denied> {
        let mut book = self.lock();
        if let Some(denied) = book.denial(&owner, &self.limits, workers) {
            return Err(denied);
        }
        let tenant = tenant_of(&owner);
        *book.tenants.entry(tenant.clone()).or_default() += 1;
        *book.calls.entry((tenant, owner.key.call.clone())).or_default() += 1;
        book.owners.insert(owner.clone());
        drop(book);
        Ok(Ticket {
            owner,
            admission: self.clone(),
        })
    }

    /// Counts a session that was not opened, whoever refused it.
    pub(crate) fn counting<T, E>(&self, opened: Result<T, E>) -> Result<T, E> {
        if opened.is_err() {
            self.lock().refused += 1;
        }
        opened
    }

    /// From now on nobody is admitted.
    pub(crate) fn drain(&self) {
        self.lock().draining = true;
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.lock().draining
    }

    /// Sessions running, and sessions refused so far.
    pub(crate) fn counts(&self) -> (usize, u64) {
        let book = self.lock();
        (book.owners.len(), book.refused)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Book> {
        // Counts stay usable whatever happened to a thread that held them.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tenant_of(owner: &Owner) -> Tenant {
    (owner.peer.clone(), owner.key.tenant.clone())
}

impl Book {
    fn denial(&self, owner: &Owner, limits: &Limits, workers: &PoolStats) -> Option<Denied> {
        let tenant = tenant_of(owner);
        let of_tenant = self.tenants.get(&tenant).copied().unwrap_or(0);
        let call = (tenant, owner.key.call.clone());
        let of_call = self.calls.get(&call).copied().unwrap_or(0);
        if self.draining {
            Some(Denied::Draining)
        } else if self.owners.contains(owner) {
            Some(Denied::Duplicate)
        } else if of_call >= limits.per_call {
            Some(Denied::CallFull(limits.per_call))
        } else if of_tenant >= limits.per_tenant {
            Some(Denied::TenantFull(limits.per_tenant))
        } else if self.owners.len() >= limits.sessions {
            Some(Denied::Full(limits.sessions))
        } else if workers.load > limits.load {
            Some(Denied::Overloaded((workers.load * 100.0).round() as u32))
        } else {
            None
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut book = self.admission.lock();
        let tenant = tenant_of(&self.owner);
        book.owners.remove(&self.owner);
        lower(&mut book.calls, (tenant.clone(), self.owner.key.call.clone()));
        lower(&mut book.tenants, tenant);
    }
}

fn lower<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: K) {
    if let std::collections::hash_map::Entry::Occupied(mut entry) = counts.entry(key) {
        *entry.get_mut() = entry.get().saturating_sub(1);
        if *entry.get() == 0 {
            entry.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(peer: &str, tenant: &str, call: &str, track: usize) -> Owner {
        Owner {
            peer: peer.into(),
            key: SessionKey {
                tenant: tenant.into(),
                call: call.into(),
                track: track.to_string(),
            },
            decodes: false,
        }
    }

    fn admission() -> Admission {
        Admission::new(Limits {
            sessions: 6,
            per_tenant: 4,
            per_call: 2,
            load: 0.9,
        })
    }

    const IDLE: PoolStats = PoolStats {
        streams: 0,
        streams_max: 512,
        workers: 1,
        workers_wanted: 1,
        load: 0.0,
        frames_coded: 0,
        frames_late: 0,
        replaced: 0,
    };

    #[test]
    fn each_limit_refuses_the_newest_and_a_place_given_back_is_taken_again() {
        let admission = admission();
        let admit = |owner| admission.counting(admission.admit(owner, &IDLE));
        let mut held = vec![admit(owner("m", "t", "a", 1)).unwrap()];
        assert_eq!(admit(owner("m", "t", "a", 1)).unwrap_err(), Denied::Duplicate);
        held.push(admit(owner("m", "t", "a", 2)).unwrap());
        assert_eq!(admit(owner("m", "t", "a", 3)).unwrap_err(), Denied::CallFull(2));
        held.push(admit(owner("m", "t", "b", 1)).unwrap());
        held.push(admit(owner("m", "t", "b", 2)).unwrap());
        assert_eq!(admit(owner("m", "t", "c", 1)).unwrap_err(), Denied::TenantFull(4));
        // Another peer's tenant of the same name is another tenant.
        held.push(admit(owner("n", "t", "a", 1)).unwrap());
        held.push(admit(owner("n", "t", "a", 2)).unwrap());
        assert_eq!(admit(owner("o", "u", "a", 1)).unwrap_err(), Denied::Full(6));
        assert_eq!(admission.counts(), (6, 4));
        held.clear();
        assert_eq!(admission.counts().0, 0);
        admit(owner("m", "t", "a", 1)).unwrap();
        let book = admission.lock();
        assert!(
            book.tenants.is_empty() && book.calls.is_empty(),
            "nothing is left behind"
        );
    }

    #[test]
    fn a_busy_core_refuses_newcomers_and_a_leaving_one_everybody() {
        let admission = admission();
        let busy = PoolStats { load: 0.93, ..IDLE };
        let refused = admission.admit(owner("m", "t", "a", 1), &busy);
        assert_eq!(refused.unwrap_err(), Denied::Overloaded(93));
        let at_the_limit = PoolStats { load: 0.9, ..IDLE };
        admission.admit(owner("m", "t", "a", 1), &at_the_limit).unwrap();
        admission.drain();
        let refused = admission.admit(owner("m", "t", "a", 1), &IDLE);
        assert_eq!(refused.unwrap_err(), Denied::Draining);
    }
}
