//! What calls cost without AIC, from the control arms of running experiments.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use auralink_engine::{PolicyBook, UNITS_MIN};
use auralink_store::{Store, StoreError};
use auralink_types::{Bitrate, MetricRow, SavingsBasis, TenantId};

/// Mean whole-wire rate of each running experiment's control arm, by experiment, once it has [`UNITS_MIN`] units.
/// Cloning shares it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Baselines(Arc<RwLock<HashMap<String, Bitrate>>>);

impl Baselines {
    /// Brings the rates up to what the store has.
    pub(crate) async fn reload(&self, store: &Store, tenants: &[TenantId]) -> Result<(), StoreError> {
        let mut rates = HashMap::new();
        for experiment in store.running_experiments().await? {
            if !tenants.contains(&experiment.tenant) {
                continue;
            }
            let wire = store.control_outcome(&experiment).await?.map(|arm| arm.wire_kbps);
            if let Some(wire) = wire.filter(|wire| wire.n >= UNITS_MIN) {
                let rate = Bitrate::bps((wire.mean * 1000.0).round() as u64);
                rates.insert(experiment.experiment_id, rate);
            }
        }
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = rates;
        Ok(())
    }

    /// Counts a row from the control arm where so far it counts from a preset. A row of the control arm itself is what
    /// others are counted from, and stays.
    pub(crate) fn apply(&self, book: &PolicyBook, row: &mut MetricRow) {
        if row.savings_basis != SavingsBasis::Preset {
            return;
        }
        let rates = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if rates.is_empty() {
            return;
        }
        let running = book.experiments(&row.owner.tenant);
        let mut treated = running.iter().filter(|experiment| {
            let arm = experiment.arm_of(&row.owner, &row.call_id);
            !experiment.arms()[arm].control
        });
        if let Some(rate) = treated.find_map(|experiment| rates.get(experiment.id())) {
            row.original_bandwidth_kbps = rate.as_kbps();
            row.savings_basis = SavingsBasis::Experiment;
        }
    }
}
