//! A/B experiments: what an arm changes, and who belongs to which arm.
//!
//! The arm of a unit follows from the experiment's salt and the unit's name alone. Nothing is stored, so every node, and
//! every restart, agrees; the exposure log says who really met their arm.

use auralink_types::experiment::{Arm, Unit, check_arms};
use auralink_types::{AicConfig, CallId, FieldError, TenantId, UserKey};
use sha2::{Digest as _, Sha256};

/// A running experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct Experiment {
    id: String,
    tenant: TenantId,
    unit: Unit,
    arms: Vec<Arm>,
    total: u64,
}

impl Experiment {
    /// Checks the arms. The id is the salt: two experiments divide the same people independently.
    pub fn new(
        id: impl Into<String>,
        tenant: impl Into<TenantId>,
        unit: Unit,
        arms: Vec<Arm>,
    ) -> Result<Self, FieldError> {
        check_arms(&arms)?;
        Ok(Self {
            id: id.into(),
            tenant: tenant.into(),
            unit,
            total: arms.iter().map(|arm| u64::from(arm.weight)).sum(),
            arms,
        })
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whose it is.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// What is assigned.
    pub const fn unit(&self) -> Unit {
        self.unit
    }

    /// Its arms, in the order that decides who belongs where.
    pub fn arms(&self) -> &[Arm] {
        &self.arms
    }

    /// Index of the arm of a unit, the same for ever.
    pub(crate) fn assign(&self, unit: &str) -> usize {
        let mut hash = Sha256::new();
        hash.update(self.id.as_bytes());
        // Ids hold no zero byte, so no two pairs run together into one text.
        hash.update([0]);
        hash.update(unit.as_bytes());
        let digest = hash.finalize();
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        // The remainder favours the first units of weight by at most 8000 in 2^64.
        let mut point = u64::from_be_bytes(first) % self.total;
        for (at, arm) in self.arms.iter().enumerate() {
            match point.checked_sub(u64::from(arm.weight)) {
                Some(rest) => point = rest,
                None => return at,
            }
        }
        0
    }

    /// The arm of a user in a call.
    pub fn arm_of(&self, user: &UserKey, call: &CallId) -> usize {
        self.assign(match self.unit {
            Unit::User => user.user.as_str(),
            Unit::Call => call.as_str(),
        })
    }

    /// What a user's configuration becomes in that arm, by the rules for a change of the stored one; `None` for those who
    /// have AIC off, or have vetoed it: they are in no experiment.
    pub(crate) fn lay(&self, arm: usize, config: &AicConfig) -> Option<AicConfig> {
        let arm = self.arms.get(arm).filter(|_| config.active())?;
        // An arm was checked when it was made; one that could not be applied would change nothing.
        Some(config.apply(&arm.change).unwrap_or_else(|_| config.clone()))
    }
}

#[cfg(test)]
mod tests {
    use auralink_types::{ConfigChange, Mode};

    use super::*;

    /// The arm of that name; `control` is the control.
    fn arm(name: &str, weight: u32, change: ConfigChange) -> Arm {
        Arm {
            name: name.into(),
            weight,
            control: name == "control",
            change,
        }
    }

    fn off() -> ConfigChange {
        ConfigChange {
            enabled: Some(false),
            ..ConfigChange::default()
        }
    }

    fn experiment(id: &str, weights: [u32; 2]) -> Experiment {
        let arms = vec![
            arm("control", weights[0], off()),
            arm("treated", weights[1], ConfigChange::default()),
        ];
        Experiment::new(id, "one", Unit::User, arms).unwrap()
    }

    #[test]
    fn a_unit_keeps_its_arm_and_the_arms_get_their_shares() {
        let experiment = experiment("e1", [1, 3]);
        let arms: Vec<_> = (0..20_000)
            .map(|n| experiment.assign(&format!("user-{n}")))
            .collect();
        assert_eq!(arms[7], experiment.assign("user-7"));
        let control = arms.iter().filter(|arm| **arm == 0).count();
        // A quarter of 20,000 is 5000; its standard deviation is 61.
        assert!((4750..5250).contains(&control), "{control}");
    }

    #[test]
    fn the_assignment_is_pinned_so_that_an_upgrade_moves_nobody() {
        let experiment = experiment("0199", [1, 1]);
        let arms: Vec<_> = ["ada", "bob", "cleo", "dan", "eve", "finn"]
            .map(|user| experiment.assign(user))
            .into();
        assert_eq!(arms, PINNED);
    }

    /// Of SHA-256 over the id, a zero byte and the name, the first eight bytes, big-endian, modulo two.
    const PINNED: [usize; 6] = [1, 0, 0, 0, 1, 0];

    #[test]
    fn two_experiments_divide_the_same_people_independently() {
        let (one, two) = (experiment("e1", [1, 1]), experiment("e2", [1, 1]));
        let users = (0..10_000).map(|n| format!("user-{n}"));
        let both = users.filter(|user| one.assign(user) == two.assign(user)).count();
        assert!((4750..5250).contains(&both), "{both}");
    }

    #[test]
    fn everybody_in_a_call_shares_its_arm() {
        let mut experiment = experiment("e1", [1, 1]);
        experiment.unit = Unit::Call;
        for n in 0..50 {
            let call = CallId::from(format!("RM_{n}"));
            let (ada, bob) = (UserKey::new("one", "ada"), UserKey::new("one", "bob"));
            assert_eq!(experiment.arm_of(&ada, &call), experiment.arm_of(&bob, &call));
        }
    }

    #[test]
    fn an_arm_changes_what_it_names_and_touches_nobody_without_aic() {
        let on = ConfigChange {
            enabled: Some(true),
            max_latency_ms: Some(7),
            ..ConfigChange::default()
        };
        let base = AicConfig::default().apply(&on).unwrap();
        let aggressive = ConfigChange {
            mode: Some(Mode::Aggressive),
            ..ConfigChange::default()
        };
        let arms = vec![arm("control", 1, off()), arm("hard", 1, aggressive)];
        let experiment = Experiment::new("e", "one", Unit::User, arms).unwrap();
        assert!(!experiment.lay(0, &base).unwrap().active());
        let hard = AicConfig {
            mode: Mode::Aggressive,
            ..base.clone()
        };
        assert_eq!(experiment.lay(1, &base), Some(hard));

        let out = ConfigChange {
            opt_out: Some(true),
            ..on
        };
        for untouched in [
            AicConfig::default(),
            AicConfig::default().apply(&out).unwrap(),
            base.apply(&off()).unwrap(),
        ] {
            assert_eq!(experiment.lay(1, &untouched), None);
        }
    }
}
