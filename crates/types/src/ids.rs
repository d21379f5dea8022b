//! Identifiers. Each is a distinct type so that a track id cannot stand where a room name belongs.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::config::FieldError;

/// Longest name, in characters: what others call long still fits every database's index.
pub const NAME_MAX: usize = 256;

/// The one rule for whatever names somebody or something from outside (identities, rooms, display names): 1 to
/// [`NAME_MAX`] characters, none of them a control character. PostgreSQL stores no U+0000, and a line feed would forge
/// lines wherever a name is shown.
pub fn check_name(field: &str, name: &str) -> Result<(), FieldError> {
    let length = name.chars().count();
    let wrong = if !(1..=NAME_MAX).contains(&length) {
        format!("it has {length}")
    } else if let Some(at) = name.chars().position(char::is_control) {
        format!("the one at {at} is one")
    } else {
        return Ok(());
    };
    let rule = format!("must be 1 to {NAME_MAX} characters, none of them a control character; {wrong}");
    Err(FieldError::new(field, rule))
}

macro_rules! string_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Wraps the text as it is.
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }

            /// The text of the id.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self::new(text)
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self::new(text)
            }
        }
    };
}

string_id!(
    /// A tenant: the API key whose secret signed the token.
    TenantId
);
string_id!(
    /// A user within a tenant: the token's `sub`, LiveKit's participant identity.
    UserId
);
string_id!(
    /// A room's name, unique within a tenant.
    RoomName
);
string_id!(
    /// One life of a room, from first join to last leave; LiveKit's room sid (`RM_…`).
    CallId
);
string_id!(
    /// One participant's stay in a call; LiveKit's participant sid (`PA_…`).
    ParticipantId
);
string_id!(
    /// A published track; LiveKit's track sid (`TR_…`).
    TrackId
);
string_id!(
    /// One AIC session: one published track under AIC in one call (`AS_…`).
    SessionId
);

/// A user together with the tenant they belong to: what configuration and rows are keyed by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UserKey {
    /// The tenant.
    pub tenant: TenantId,
    /// The user within it.
    pub user: UserId,
}

impl UserKey {
    /// Joins the two.
    pub fn new(tenant: impl Into<TenantId>, user: impl Into<UserId>) -> Self {
        Self {
            tenant: tenant.into(),
            user: user.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_a_length_and_no_control_characters_and_may_be_in_any_script() {
        for good in ["a", "Ада Лавлейс", "👩‍🚀", "a b", &"名".repeat(NAME_MAX)] {
            check_name("sub", good).unwrap();
        }
        for bad in [
            "",
            "a\0",
            "a\nb",
            "\u{1b}[31m",
            "\u{7f}",
            "\u{85}",
            &"x".repeat(NAME_MAX + 1),
        ] {
            let error = check_name("sub", bad).unwrap_err();
            assert_eq!(error.field, "sub");
            assert!(!error.problem.contains(char::is_control), "{error}");
        }
    }
}
