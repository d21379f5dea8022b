//! What the engine decided for one leg, and why.

use crate::reason::Reason;
use crate::rung::Rung;

/// The rung of a leg with the reason that chose it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What goes out.
    pub rung: Rung,
    /// Why it is not the rung that the policy would like, if it is not.
    pub reason: Option<Reason>,
}
