//! Experiments between the store, which keeps them, and the book, which makes running calls obey them.

use auralink_engine::{Experiment, PolicyBook};
use auralink_store::{Store, StoreError};
use auralink_types::TenantId;

/// Brings the book up to what runs in the store, for these tenants.
pub async fn reload(store: &Store, book: &PolicyBook, tenants: &[TenantId]) -> Result<(), StoreError> {
    let running = store.running_experiments().await?;
    for tenant in tenants {
        let theirs = running.iter().filter(|experiment| experiment.tenant == *tenant);
        let made: Result<Vec<_>, _> = theirs
            .map(|found| {
                Experiment::new(
                    &found.experiment_id,
                    tenant.as_str(),
                    found.unit,
                    found.arms.clone(),
                )
            })
            .collect();
        book.set_experiments(tenant, made?);
    }
    Ok(())
}
