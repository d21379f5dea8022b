//! The audit log: who changed what, and who looked at whose rows.

use std::time::{Duration, SystemTime};

use auralink_types::UserId;
use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::actor::Actor;
use crate::database::{Tx, Who};
use crate::error::StoreError;
use crate::page::{Cursor, Order, Page, push_span};
use crate::row::Row;
use crate::scoped::Scoped;
use crate::sql::Sql;
use crate::timestamp::Timestamp;

/// Stands in the log for a user who has been erased.
pub(crate) const ERASED: &str = "(erased)";

/// Looks of one actor at the same rows within this time are one entry: a dashboard asks every second.
const SAME_LOOK: Duration = Duration::from_secs(60);

/// One entry.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AuditEntry {
    /// Unique in the database.
    pub audit_id: i64,
    /// Who did it; the API key, where the token named nobody.
    pub actor: String,
    /// As what: `user`, `operator` or `server`.
    pub actor_role: String,
    /// What he did, such as `config.write` or `read.metrics`.
    pub action: String,
    /// Whom it was about; empty for the tenant as a whole.
    pub user_id: String,
    /// More about it.
    pub detail: Json,
    /// When.
    pub at: Timestamp,
}

/// Which entries are wanted. What is `None` does not narrow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AuditQuery {
    /// At this time or later.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub to: Option<Timestamp>,
    /// After the page that ended here.
    pub cursor: Option<Cursor>,
    /// At most so many, up to [`crate::PAGE_MAX`].
    pub limit: u32,
}

const ORDER: Order = Order {
    at: "at_us",
    key: "audit_id",
    numbered: true,
};

impl Scoped {
    /// Entries about the actor, about the user an operator named, or about all of his tenant.
    pub async fn audit(&self, query: &AuditQuery) -> Result<Page<AuditEntry>, StoreError> {
        let mut sql = Sql::new(
            "SELECT audit_id, actor, actor_role, action, user_id, detail, at_us FROM audit_log WHERE ",
        );
        self.push_predicate(&mut sql);
        push_span(&mut sql, "at_us", query.from, query.to);
        ORDER.push(&mut sql, query.cursor.as_ref(), query.limit);
        let rows = self.rows("audit", sql).await?;
        ORDER.page(&rows, query.limit, from_row)
    }

    /// Adds an entry about the handle's user; about the tenant when an operator named none.
    pub async fn note(&self, action: &str, detail: Json, now: Timestamp) -> Result<(), StoreError> {
        let nobody = UserId::from("");
        let about = self.narrowed().unwrap_or(&nobody);
        let mut tx = self.write().await?;
        append(&mut tx, &self.actor, about, action, detail, now).await?;
        tx.commit().await
    }
}

/// One entry, in the transaction of what it tells of.
pub(crate) async fn append(
    tx: &mut Tx,
    actor: &Actor,
    about: &UserId,
    action: &str,
    detail: Json,
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = Sql::new(
        "INSERT INTO audit_log (tenant_id, actor, actor_role, action, user_id, detail, at_us) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    );
    let sql = sql
        .with(&actor.key.tenant)
        .with(actor.name())
        .with(actor.role())
        .with(action)
        .with(about)
        .with(detail)
        .with(now);
    tx.execute(sql).await?;
    Ok(())
}

/// An entry for a look at somebody else's rows, unless there is a recent one. Whoever was erased is not named anew.
pub(crate) async fn note_read(
    scope: &Scoped,
    who: Who<'_>,
    about: &str,
    what: &str,
    detail: Json,
) -> Result<(), StoreError> {
    let now = Timestamp::from(SystemTime::now());
    let action = format!("read.{what}");
    let (about, detail) = match scope.store.erased(&scope.actor.key.tenant, about).await? {
        Some(subject) => (ERASED, json!({ "subject": subject })),
        None => (about, detail),
    };
    let recent = Sql::new(
        "SELECT 1 AS one FROM audit_log WHERE tenant_id = $1 AND user_id = $2 AND at_us > $3 AND actor = $4 \
         AND action = $5 AND detail = $6 LIMIT 1",
    );
    let recent = recent
        .with(&scope.actor.key.tenant)
        .with(about)
        .with(now.minus(SAME_LOOK))
        .with(scope.actor.name())
        .with(action.as_str())
        .with(detail.clone());
    let mut tx = scope.store.database.read(who).await?;
    let found = tx.row(recent).await?;
    tx.commit().await?;
    if found.is_some() {
        return Ok(());
    }
    let mut tx = scope.store.database.write(who).await?;
    let about = UserId::from(about);
    append(&mut tx, &scope.actor, &about, &action, detail, now).await?;
    tx.commit().await
}

fn from_row(row: &Row) -> Result<AuditEntry, StoreError> {
    Ok(AuditEntry {
        audit_id: row.int("audit_id")?,
        actor: row.text("actor")?,
        actor_role: row.text("actor_role")?,
        action: row.text("action")?,
        user_id: row.text("user_id")?,
        detail: row.json("detail")?,
        at: row.time("at_us")?,
    })
}
