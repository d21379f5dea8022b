//! What people may ask: every statement here carries the actor's predicate.

use auralink_types::{FieldError, RoomName, UserId, UserKey};
use serde_json::json;

use crate::actor::Actor;
use crate::audit;
use crate::database::{Tx, Who};
use crate::error::StoreError;
use crate::row::Row;
use crate::sql::Sql;
use crate::store::Store;

/// The store as one actor sees it.
#[derive(Clone, Debug)]
pub struct Scoped {
    pub(crate) store: Store,
    pub(crate) actor: Actor,
    subject: Option<UserId>,
    room: Option<RoomName>,
}

impl Scoped {
    pub(crate) fn new(store: Store, actor: Actor) -> Self {
        Self {
            store,
            actor,
            subject: None,
            room: None,
        }
    }

    /// Shows every call of one room with its sessions and metric rows in place of the actor's own: for a room's admin.
    /// Everything else stays as it is, and with [`Self::about`] it is one user's rows again.
    pub fn in_room(mut self, room: RoomName) -> Self {
        self.room = Some(room);
        self
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
        self.read_as(self.who(), sql).await
    }

    /// Likewise of calls and what hangs on them. No policy of PostgreSQL knows a room's admin: they read as operators do,
    /// and the statement keeps them to their room.
    pub(crate) async fn rows_of_calls(&self, what: &str, sql: Sql) -> Result<Vec<Row>, StoreError> {
        let Some(room) = self.whole_room() else {
            return self.rows(what, sql).await;
        };
        let who = Who::Operator(&self.actor.key);
        audit::note_read(self, who, "", what, json!({ "room": room })).await?;
        self.read_as(who, sql).await
    }

    async fn read_as(&self, who: Who<'_>, sql: Sql) -> Result<Vec<Row>, StoreError> {
        let mut tx = self.store.database.read(who).await?;
        let rows = tx.rows(sql).await?;
        tx.commit().await?;
        Ok(rows)
    }

    /// Of a tenant's own affairs, which are no user's.
    pub(crate) async fn tenant_rows(&self, sql: Sql) -> Result<Vec<Row>, StoreError> {
        self.operators_only()?;
        self.read_as(self.who(), sql).await
    }

    /// Leaves a trace of an operator who looks at other people's rows.
    pub(crate) async fn note_read(&self, what: &str) -> Result<(), StoreError> {
        if !self.actor.operator || self.subject.as_ref() == Some(&self.actor.key.user) {
            return Ok(());
        }
        let about = self.subject.as_ref().map_or("", UserId::as_str);
        audit::note_read(self, self.who(), about, what, json!({})).await
    }

    /// Isolation: the tenant always, the user unless an operator asks for all of his tenant.
    pub(crate) fn push_predicate(&self, sql: &mut Sql) {
        sql.push("tenant_id = ").bind(&self.actor.key.tenant);
        if let Some(user) = self.narrowed() {
            // An empty name in a row means nobody in particular, and nobody's rows are not those of a nameless caller.
            sql.push(" AND user_id <> '' AND user_id = ").bind(user);
        }
    }

    /// Likewise for what hangs on calls, by the column `call_id`: a room's admin sees all of the room's.
    pub(crate) fn push_call_predicate(&self, sql: &mut Sql) {
        let Some(room) = self.whole_room() else {
            return self.push_predicate(sql);
        };
        let tenant = &self.actor.key.tenant;
        sql.push("tenant_id = ").bind(tenant);
        sql.push(" AND call_id IN (SELECT call_id FROM calls WHERE tenant_id = ")
            .bind(tenant);
        sql.push(" AND room = ").bind(room).push(")");
    }

    /// The room whose calls are wanted, whoever was in them.
    pub(crate) fn whole_room(&self) -> Option<&RoomName> {
        self.room.as_ref().filter(|_| self.subject.is_none())
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
