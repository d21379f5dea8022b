//! What participants show of themselves, and how much of it there may be.

use std::collections::{BTreeMap, HashMap};

use auralink_types::{AIC_ATTRIBUTES, FieldError, check_name};

/// Most attributes of one participant.
const MAX_ATTRIBUTES: usize = 100;

/// Longest metadata, and most bytes of all attributes together.
pub const MAX_TEXT: usize = 64 << 10;

/// Name, metadata and attributes, as the application sets them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Shown name.
    pub name: String,
    /// Application's own text.
    pub metadata: String,
    /// Application's own pairs.
    pub attributes: BTreeMap<String, String>,
}

/// A change that participants ask for; what is empty stays, and an attribute with an empty value goes.
#[derive(Clone, Debug, Default)]
pub struct ProfileChange {
    /// New name.
    pub name: String,
    /// New metadata.
    pub metadata: String,
    /// New values of attributes.
    pub attributes: HashMap<String, String>,
}

/// Why a change was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// Their token does not say so.
    #[error("{0} may be changed only with the grant canUpdateOwnMetadata")]
    NotAllowed(&'static str),
    /// Over [`MAX_TEXT`].
    #[error("{0} would have {1} bytes, at most {MAX_TEXT} are accepted")]
    TooLong(&'static str, usize),
    /// Nobody can be called so.
    #[error(transparent)]
    Name(#[from] FieldError),
    /// Over [`MAX_ATTRIBUTES`].
    #[error("there would be {0} attributes, at most {MAX_ATTRIBUTES} are accepted")]
    TooMany(usize),
}

impl ProfileChange {
    /// Takes out what only somebody with the grant may change: what the token signed stays as it is. What a client says
    /// of its own abilities (`aic.…`) is nobody else's to grant. The error names the first thing taken out.
    pub fn restrict(&mut self) -> Result<(), ProfileError> {
        let before = self.attributes.len();
        self.attributes.retain(|key, _| key.starts_with(AIC_ATTRIBUTES));
        let refused = if !std::mem::take(&mut self.metadata).is_empty() {
            "metadata"
        } else if !std::mem::take(&mut self.name).is_empty() {
            "name"
        } else if self.attributes.len() < before {
            "attributes"
        } else {
            return Ok(());
        };
        self.name.clear();
        Err(ProfileError::NotAllowed(refused))
    }
}

impl Profile {
    /// Makes a change in full or not at all.
    pub fn apply(&mut self, change: ProfileChange) -> Result<(), ProfileError> {
        if !change.name.is_empty() {
            check_name("name", &change.name)?;
        }
        if change.metadata.len() > MAX_TEXT {
            return Err(ProfileError::TooLong("metadata", change.metadata.len()));
        }
        let mut attributes = self.attributes.clone();
        for (key, value) in change.attributes {
            if value.is_empty() {
                attributes.remove(&key);
            } else {
                attributes.insert(key, value);
            }
        }
        if attributes.len() > MAX_ATTRIBUTES {
            return Err(ProfileError::TooMany(attributes.len()));
        }
        let bytes = attributes
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum();
        if bytes > MAX_TEXT {
            return Err(ProfileError::TooLong("attributes", bytes));
        }
        self.attributes = attributes;
        for (own, new) in [
            (&mut self.name, change.name),
            (&mut self.metadata, change.metadata),
        ] {
            if !new.is_empty() {
                *own = new;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect()
    }

    fn signed() -> Profile {
        Profile {
            name: "Ada".into(),
            metadata: "signed".into(),
            attributes: [("role".to_owned(), "student".to_owned())].into(),
        }
    }

    #[test]
    fn what_the_token_signed_is_not_changed_without_the_grant() {
        let mut change = ProfileChange {
            name: "Bob".into(),
            metadata: "forged".into(),
            attributes: pairs(&[("role", "teacher"), ("aic.models", "8007")]),
        };
        assert_eq!(change.restrict(), Err(ProfileError::NotAllowed("metadata")));
        let mut profile = signed();
        profile.apply(change).unwrap();
        assert_eq!(
            (profile.name.as_str(), profile.metadata.as_str()),
            ("Ada", "signed")
        );
        assert_eq!(profile.attributes["role"], "student");
        assert_eq!(profile.attributes["aic.models"], "8007");
    }

    #[test]
    fn a_client_may_always_say_what_it_can_decode() {
        let mut change = ProfileChange {
            attributes: pairs(&[("aic.models", "8007")]),
            ..Default::default()
        };
        assert_eq!(change.restrict(), Ok(()));
        assert_eq!(change.attributes.len(), 1);
    }

    #[test]
    fn too_much_is_refused_whole_and_says_what() {
        let mut profile = signed();
        let long = "x".repeat(MAX_TEXT + 1);
        for (change, error) in [
            (
                ProfileChange {
                    metadata: long.clone(),
                    ..Default::default()
                },
                ProfileError::TooLong("metadata", MAX_TEXT + 1),
            ),
            (
                ProfileChange {
                    attributes: pairs(&[("k", &long[1..])]),
                    ..Default::default()
                },
                ProfileError::TooLong("attributes", MAX_TEXT + 1 + "rolestudent".len()),
            ),
        ] {
            assert_eq!(profile.apply(change), Err(error));
        }
        let many = (0..101).map(|n| (n.to_string(), "v".to_owned())).collect();
        let change = ProfileChange {
            attributes: many,
            ..Default::default()
        };
        assert_eq!(profile.apply(change), Err(ProfileError::TooMany(102)));
        assert_eq!(profile, signed());
    }

    #[test]
    fn a_name_that_no_token_may_sign_is_taken_from_nobody() {
        let mut profile = signed();
        for bad in ["a\nb", &"x".repeat(300)] {
            let change = ProfileChange {
                name: bad.into(),
                ..Default::default()
            };
            let error = profile.apply(change).unwrap_err();
            assert!(error.to_string().starts_with("name"), "{error}");
        }
        assert_eq!(profile, signed());
    }

    #[test]
    fn an_empty_value_takes_an_attribute_away() {
        let mut profile = signed();
        let change = ProfileChange {
            attributes: pairs(&[("role", "")]),
            ..Default::default()
        };
        profile.apply(change).unwrap();
        assert!(profile.attributes.is_empty());
    }
}
