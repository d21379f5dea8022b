//! How many participants each tenant has, and how fast new ones may come.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use auralink_types::TenantId;
use axum::http::StatusCode;

use super::Refusal;
use crate::config::TenantLimits;

/// Seats of all tenants; there are as many of these as there are API keys. Cloning shares them.
#[derive(Clone)]
pub(super) struct Seats {
    limits: TenantLimits,
    tenants: Arc<Mutex<HashMap<TenantId, Tenant>>>,
    refused: Arc<AtomicU64>,
}

struct Tenant {
    taken: u32,
    /// Joins that may come at once.
    allowance: f64,
    counted: Instant,
}

/// One participant's; given back when it is dropped.
pub(super) struct Seat {
    seats: Seats,
    tenant: TenantId,
}

impl Seats {
    pub(super) fn new(limits: TenantLimits) -> Self {
        Self {
            limits,
            tenants: Arc::default(),
            refused: Arc::default(),
        }
    }

    /// Takes one. A participant who comes back always gets one: he never left, and his old seat is given back soon.
    pub(super) fn take(&self, now: Instant, tenant: &TenantId, back: bool) -> Result<Seat, Refusal> {
        let TenantLimits {
            participants,
            joins_per_second,
        } = self.limits;
        let pace = f64::from(joins_per_second);
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let of_tenant = tenants.entry(tenant.clone()).or_insert(Tenant {
            taken: 0,
            allowance: pace,
            counted: now,
        });
        let passed = now.saturating_duration_since(of_tenant.counted).as_secs_f64();
        of_tenant.allowance = (of_tenant.allowance + passed * pace).min(pace);
        of_tenant.counted = now;
        let problem = if back {
            None
        } else if participants > 0 && of_tenant.taken >= participants {
            Some(format!(
                "the tenant has {participants} participants, which is its limit"
            ))
        } else if joins_per_second > 0 && of_tenant.allowance < 1.0 {
            Some(format!(
                "the tenant may have {joins_per_second} joins a second; try again"
            ))
        } else {
            None
        };
        if let Some(problem) = problem {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, problem));
        }
        of_tenant.allowance = (of_tenant.allowance - 1.0).max(0.0);
        of_tenant.taken += 1;
        Ok(Seat {
            seats: self.clone(),
            tenant: tenant.clone(),
        })
    }

    /// How often one was refused.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut tenants = self.seats.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_tenant) = tenants.get_mut(&self.tenant) {
            of_tenant.taken = of_tenant.taken.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn seats(participants: u32, joins_per_second: u32) -> Seats {
        Seats::new(TenantLimits {
            participants,
            joins_per_second,
        })
    }

    #[test]
    fn a_full_tenant_is_told_so_until_somebody_leaves_and_others_do_not_notice() {
        let (seats, now) = (seats(2, 0), Instant::now());
        let (one, two) = (TenantId::from("one"), TenantId::from("two"));
        let first = seats.take(now, &one, false).ok().unwrap();
        let _second = seats.take(now, &one, false).ok().unwrap();
        let refused = seats.take(now, &one, false).err().unwrap();
        assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
        assert!(refused.text.contains("2 participants"), "{refused}");
        assert!(seats.take(now, &one, true).is_ok(), "who comes back is let in");
        assert!(seats.take(now, &two, false).is_ok());
        drop(first);
        assert!(seats.take(now, &one, false).is_ok());
        assert_eq!(seats.refused(), 1);
    }

    #[test]
    fn joins_come_as_fast_as_allowed_and_no_faster() {
        let (seats, begun) = (seats(0, 5), Instant::now());
        let tenant = TenantId::from("one");
        let joins = |at: f64| {
            let now = begun + Duration::from_secs_f64(at);
            (0..20)
                .filter(|_| seats.take(now, &tenant, false).is_ok())
                .count()
        };
        assert_eq!([joins(0.0), joins(0.1), joins(0.5), joins(60.0)], [5, 0, 2, 5]);
    }

    #[test]
    fn without_limits_nobody_is_refused() {
        let (seats, now) = (seats(0, 0), Instant::now());
        let tenant = TenantId::from("one");
        let taken: Vec<_> = (0..10_000).map(|_| seats.take(now, &tenant, false)).collect();
        assert!(taken.iter().all(Result::is_ok));
    }
}
