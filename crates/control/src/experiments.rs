//! Experiments between the store, which keeps them, and the book, which makes running calls obey them.

use auralink_engine::{Experiment, PolicyBook};
use auralink_store::{Arm, Store, StoreError, Unit};
use auralink_types::{FieldError, TenantId};

/// The experiment as the engine assigns it.
pub(crate) fn in_engine(id: &str, tenant: &str, unit: Unit, arms: &[Arm]) -> Result<Experiment, FieldError> {
    let unit = match unit {
        Unit::User => auralink_engine::Unit::User,
        Unit::Call => auralink_engine::Unit::Call,
    };
    let arms = arms.iter().map(|arm| auralink_engine::Arm {
        name: arm.name.clone(),
        weight: arm.weight,
        control: arm.control,
        change: arm.change.clone(),
    });
    Experiment::new(id, tenant, unit, arms.collect())
}

/// Brings the book up to what runs in the store, for these tenants.
pub async fn reload(store: &Store, book: &PolicyBook, tenants: &[TenantId]) -> Result<(), StoreError> {
    let running = store.running_experiments().await?;
    for tenant in tenants {
        let theirs = running.iter().filter(|experiment| experiment.tenant == *tenant);
        let made: Result<Vec<_>, _> = theirs
            .map(|found| in_engine(&found.experiment_id, tenant.as_str(), found.unit, &found.arms))
            .collect();
        book.set_experiments(tenant, made?);
    }
    Ok(())
}
