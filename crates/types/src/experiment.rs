//! A/B experiments as everybody speaks of them: what is assigned, the arms, and what they must be like.

use serde::{Deserialize, Serialize};

use crate::config::{AicConfig, ConfigChange, FieldError};

/// Fewest and most arms of one experiment.
pub const ARMS: std::ops::RangeInclusive<usize> = 2..=8;
/// Largest weight of an arm.
pub const WEIGHT_MAX: u32 = 1000;
/// Longest name of an arm or an experiment, in bytes.
pub const NAME_MAX: usize = 64;

/// What is assigned to an arm as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "schema", schema(as = UnitName))]
pub enum Unit {
    /// A user keeps their arm over all calls.
    #[default]
    User,
    /// Everybody in a call shares its arm.
    Call,
}

impl Unit {
    /// Name in rows and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Call => "call",
        }
    }

    /// The unit of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::User, Self::Call]
            .into_iter()
            .find(|unit| unit.as_str() == name)
    }
}

/// One arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Arm {
    /// Unique in its experiment.
    #[cfg_attr(feature = "schema", schema(min_length = 1, max_length = 64))]
    pub name: String,
    /// Share of the units, relative to the other arms' weights.
    #[serde(default = "one")]
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 1000))]
    pub weight: u32,
    /// Whether the others are compared with it. The first arm is the control when none says so.
    #[serde(default)]
    pub control: bool,
    /// What it changes for a user who has AIC on. An opt-out is in no experiment.
    #[serde(default)]
    pub change: ConfigChange,
}

const fn one() -> u32 {
    1
}

/// Checks the arms of an experiment.
pub fn check_arms(arms: &[Arm]) -> Result<(), FieldError> {
    if !ARMS.contains(&arms.len()) {
        let problem = format!("must be {} to {}, got {}", ARMS.start(), ARMS.end(), arms.len());
        return Err(FieldError::new("arms", problem));
    }
    for (at, arm) in arms.iter().enumerate() {
        let field = |name: &str| format!("arms[{at}].{name}");
        check_name(&field("name"), &arm.name)?;
        if arms[..at].iter().any(|earlier| earlier.name == arm.name) {
            let problem = format!("{:?} is there twice", arm.name);
            return Err(FieldError::new(field("name"), problem));
        }
        if !(1..=WEIGHT_MAX).contains(&arm.weight) {
            let problem = format!("must be 1 to {WEIGHT_MAX}, got {}", arm.weight);
            return Err(FieldError::new(field("weight"), problem));
        }
        if arm.change.opt_out.is_some() {
            let problem = "an opt-out is the user's own and in no experiment";
            return Err(FieldError::new(field("change.opt_out"), problem));
        }
        AicConfig::default()
            .apply(&arm.change)
            .map_err(|error| FieldError::new(field(&format!("change.{}", error.field)), error.problem))?;
    }
    let controls = arms.iter().filter(|arm| arm.control).count();
    if controls != 1 {
        let problem = format!("one of them must be the control, got {controls}");
        return Err(FieldError::new("arms", problem));
    }
    Ok(())
}

/// Checks the name of an experiment or an arm.
pub fn check_name(field: &str, name: &str) -> Result<(), FieldError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_. ".contains(c);
    if name.trim().is_empty() || name.len() > NAME_MAX || !name.chars().all(plain) {
        let problem = format!("must be 1 to {NAME_MAX} letters, digits, spaces or - _ .");
        return Err(FieldError::new(field, problem));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn every_mistake_in_the_arms_is_named() {
        let refused = |arms: Vec<Arm>| check_arms(&arms).unwrap_err().field;
        let plain = |name: &str| arm(name, 1, ConfigChange::default());
        assert_eq!(refused(vec![plain("a"), plain("b")]), "arms", "no control");
        assert_eq!(refused(vec![plain("a")]), "arms");
        assert_eq!(refused((0..9).map(|n| plain(&n.to_string())).collect()), "arms");
        assert_eq!(refused(vec![plain("a"), plain("a")]), "arms[1].name");
        assert_eq!(refused(vec![plain(""), plain("a")]), "arms[0].name");
        assert_eq!(
            refused(vec![plain("a"), arm("b", 0, ConfigChange::default())]),
            "arms[1].weight"
        );
        let late = ConfigChange {
            max_latency_ms: Some(999),
            ..ConfigChange::default()
        };
        assert_eq!(
            refused(vec![plain("a"), arm("b", 1, late)]),
            "arms[1].change.max_latency_ms"
        );
        let veto = ConfigChange {
            opt_out: Some(false),
            ..ConfigChange::default()
        };
        assert_eq!(
            refused(vec![plain("a"), arm("b", 1, veto)]),
            "arms[1].change.opt_out"
        );
    }
}
