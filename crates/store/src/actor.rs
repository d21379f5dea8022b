//! On whose behalf a statement runs.

use auralink_types::UserKey;

/// Who asks, and how far he sees: a user his own rows, an operator every row of his tenant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Actor {
    /// The tenant, past which nobody sees, and the user within it; an operator's user may be empty.
    pub key: UserKey,
    /// Whether he acts for the tenant.
    pub operator: bool,
}

impl Actor {
    /// Who it was, for the records: the user, or the API key of a token that names nobody.
    pub(crate) fn name(&self) -> &str {
        match self.key.user.as_str() {
            "" => self.key.tenant.as_str(),
            user => user,
        }
    }

    /// Name of his role as the audit log has it.
    pub(crate) fn role(&self) -> &'static str {
        if self.operator { "operator" } else { "user" }
    }
}
