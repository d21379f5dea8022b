//! Keyed hashes in place of names that must not stand anywhere any more.
//!
//! A plain hash of a name can be guessed: names are few. These are HMAC-SHA256 under a random key that each database
//! has for itself.

use std::fmt;

use auralink_types::{CallId, TenantId, UserKey};
use aws_lc_rs::hmac;

use crate::error::StoreError;
use crate::row::Row;

/// The database's key. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Pseudonyms(hmac::Key);

impl Pseudonyms {
    pub(crate) fn from_row(row: &Row) -> Result<Self, StoreError> {
        let key = row.text("erasure_key")?;
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes())))
    }

    pub(crate) fn of_user(&self, key: &UserKey) -> String {
        self.hash("user", &key.tenant, key.user.as_str())
    }

    pub(crate) fn of_call(&self, tenant: &TenantId, call: &CallId) -> String {
        self.hash("call", tenant, call.as_str())
    }

    fn hash(&self, kind: &str, tenant: &TenantId, name: &str) -> String {
        let text = format!("{kind}\n{}\n{tenant}\n{name}", tenant.as_str().len());
        let tag = hmac::sign(&self.0, text.as_bytes());
        tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pseudonyms")
    }
}
