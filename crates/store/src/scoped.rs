//! What people may ask: every statement here carries the actor's predicate.

use std::time::SystemTime;

use auralink_types::{FieldError, UserId, UserKey};

use crate::actor::Actor;
use crate::audit;
use crate::database::{Tx, Who};
use crate::error::StoreError;
use crate::row::Row;
use crate::sql::Sql;
use crate::store::Store;
use crate::timestamp::Timestamp;

/// The store as one actor sees it.
#[derive(Clone, Debug)]
pub struct Scoped {
    pub(crate) store: Store,
    pub(crate) actor: Actor,
    subject: Option<UserId>,
}

impl Scoped {
    pub(crate) fn new(store: Store, actor: Actor) -> Self {
        Self {
            store,
            actor,
            subject: None,
        }
    }

    /// Narrows the handle to one user. Only an operator may name somebody else.
    pub fn about(mut self, user: UserId) -> Result<Self, StoreError> {
        if !self.actor.operator && user != self.actor.key.user {
            return Err(StoreError::Forbidden {
                subject: user.as_str().to_owned(),
            });
        }
        self.subject = Some(user);
        Ok(self)
    }

    /// Whose configuration the handle is about: the user named, else the actor himself.
    pub fn owner(&self) -> Result<UserKey, StoreError> {
        let user = self.subject.as_ref().unwrap_or(&self.actor.key.user);
        if user.as_str().is_empty() {
            return Err(FieldError::new("user_id", "is needed, because the caller has no identity").into());
        }
        Ok(UserKey {
            tenant: self.actor.key.tenant.clone(),
            user: user.clone(),
        })
    }

    /// Refuses what belongs to a tenant as a whole to all but its operators.
    pub(crate) fn operators_only(&self) -> Result<(), StoreError> {
        if self.actor.operator {
            Ok(())
        } else {
            Err(StoreError::OperatorOnly)
        }
    }

    pub(crate) fn who(&self) -> Who<'_> {
        if self.actor.operator {
            Who::Operator(&self.actor.key)
        } else {
            Who::User(&self.actor.key)
        }
    }

    pub(crate) async fn read(&self) -> Result<Tx, StoreError> {
        self.store.database.read(self.who()).await
    }

    pub(crate) async fn write(&self) -> Result<Tx, StoreError> {
        self.store.database.write(self.who()).await
    }

    /// One statement that reads `what`, with a note in the audit log when that is somebody else's.
    pub(crate) async fn rows(&self, what: &str, sql: Sql) -> Result<Vec<Row>, StoreError> {
        self.note_read(what).await?;
        let mut tx = self.read().await?;
        let rows = tx.rows(sql).await?;
        tx.commit().await?;
        Ok(rows)
    }

    /// Of a tenant's own affairs, which are no user's.
    pub(crate) async fn tenant_rows(&self, sql: Sql) -> Result<Vec<Row>, StoreError> {
        self.operators_only()?;
        let mut tx = self.read().await?;
        let rows = tx.rows(sql).await?;
        tx.commit().await?;
        Ok(rows)
    }

    /// Leaves a trace of an operator who looks at other people's rows.
    pub(crate) async fn note_read(&self, what: &str) -> Result<(), StoreError> {
        if !self.actor.operator || self.subject.as_ref() == Some(&self.actor.key.user) {
            return Ok(());
        }
        let about = self.subject.as_ref().map_or("", UserId::as_str);
        audit::note_read(self, about, what, Timestamp::from(SystemTime::now())).await
    }

    /// Isolation: the tenant always, the user unless an operator asks for all of his tenant.
    pub(crate) fn push_predicate(&self, sql: &mut Sql) {
        sql.push("tenant_id = ").bind(&self.actor.key.tenant);
        if let Some(user) = self.narrowed() {
            // An empty name in a row means nobody in particular, and nobody's rows are not those of a nameless caller.
            sql.push(" AND user_id <> '' AND user_id = ").bind(user);
        }
    }

    /// The one user whose rows are wanted; `None` for all of the tenant.
    pub(crate) fn narrowed(&self) -> Option<&UserId> {
        match &self.subject {
            None if self.actor.operator => None,
            None => Some(&self.actor.key.user),
            Some(subject) => Some(subject),
        }
    }
}
