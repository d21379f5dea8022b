//! What is kept about one user: all of it handed out, or all of it erased (GDPR articles 15, 17 and 20).

use auralink_types::{CallId, UserKey};
use serde::Serialize;
use serde_json::json;
use tokio::sync::mpsc;

use crate::audit::{self, ERASED};
use crate::changes;
use crate::config;
use crate::database::{Database, Tx, Who};
use crate::erasure;
use crate::error::StoreError;
use crate::rollup;
use crate::row::Row;
use crate::scoped::Scoped;
use crate::sql::{Sql, Value};
use crate::timestamp::Timestamp;

/// Rows read at a time.
const CHUNK: u32 = 500;

/// A table with rows about users: which column names him, and what its rows are told apart by.
pub(crate) struct Personal {
    pub(crate) table: &'static str,
    pub(crate) user: &'static str,
    key: &'static [&'static str],
}

const fn personal(table: &'static str, key: &'static [&'static str]) -> Personal {
    Personal {
        table,
        user: "user_id",
        key,
    }
}

/// Every column of every table that names a user. A test compares it with the schema. Rollups come before what they are
/// made of; the audit log comes last, because handing out and erasing are noted there.
pub(crate) const PERSONAL: [Personal; 12] = [
    personal("users", &["user_id"]),
    personal("aic_configs", &["user_id"]),
    personal("call_participants", &["participant_id"]),
    personal("aic_sessions", &["session_id"]),
    personal("aic_usage_hours", &["hour_us", "media", "model_used"]),
    personal("aic_metrics", &["session_id", "ts_us"]),
    personal("aic_alerts", &["alert_id"]),
    Personal {
        table: "aic_alerts",
        user: "acked_by",
        key: &["alert_id"],
    },
    personal("webhook_events", &["event_id"]),
    personal("experiment_exposures", &["experiment_id", "session_id"]),
    personal("audit_log", &["audit_id"]),
    Personal {
        table: "audit_log",
        user: "actor",
        key: &["audit_id"],
    },
];

/// What erasing did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Erased {
    /// Rows that were about him.
    pub rows: u64,
}

impl Scoped {
    /// Every row about the handle's user, one JSON object to a line: `{"table": …, "row": …}`. The receiver sets the
    /// pace; when it is gone, the export ends. Returns the number of lines.
    pub async fn export(&self, lines: mpsc::Sender<String>) -> Result<u64, StoreError> {
        let owner = self.owner()?;
        let mut count = 0;
        self.note("user.export", json!({}), std::time::SystemTime::now().into())
            .await?;
        for personal in &PERSONAL {
            let mut after: Option<Vec<Value>> = None;
            loop {
                // A transaction to a chunk: whoever reads slowly holds none open.
                let mut tx = self.store.database.read(Who::Server).await?;
                let rows = tx.rows(chunk(personal, &owner, after.take())).await?;
                tx.commit().await?;
                for row in &rows {
                    let mut row = row.to_json()?;
                    // What he did to others tells of him; whom he did it to is theirs.
                    if personal.user != "user_id" && row["user_id"] != *owner.user.as_str() {
                        row["user_id"] = serde_json::Value::Null;
                        row["detail"] = serde_json::Value::Null;
                    }
                    let line = json!({ "table": personal.table, "row": row });
                    if lines.send(format!("{line}\n")).await.is_err() {
                        return Ok(count);
                    }
                    count += 1;
                }
                match rows.last() {
                    Some(last) if rows.len() == CHUNK as usize => after = Some(key_of(personal, last)?),
                    _ => break,
                }
            }
        }
        Ok(count)
    }

    /// Erases every row about the handle's user, sums and materialized views included; what is still on its way stays
    /// out when it comes (`erasure`). What stays is a note that somebody was erased, with a keyed hash in place of the
    /// name. Experiments and a tenant's model windows keep figures in which he cannot be made out.
    pub async fn erase(&self, now: Timestamp) -> Result<Erased, StoreError> {
        let owner = self.owner()?;
        // The policies of people allow no deletion; whether he may was settled when the handle was made.
        let mut tx = self.store.write().await?;
        tx.no_time_limit().await?;
        config::lock(&mut tx, &owner).await?;
        erasure::begin(&mut tx).await?;
        let mut rows = 0;
        for personal in &PERSONAL {
            let Personal { table, user, .. } = personal;
            let sql = Sql::new(format!(
                "SELECT count(*) AS rows FROM {table} WHERE tenant_id = $1 AND {user} = $2"
            ));
            rows += tx
                .one(sql.with(&owner.tenant).with(&owner.user))
                .await?
                .count("rows")?;
        }
        let calls = forget(&mut tx, &owner).await?;
        let mut actor = self.actor.clone();
        if actor.key == owner {
            actor.key.user = ERASED.into();
        }
        let names = &self.store.names;
        let subject = names.of_user(&owner);
        let detail = json!({ "rows": rows, "subject": subject });
        audit::append(&mut tx, &actor, &ERASED.into(), "user.erase", detail, now).await?;
        // Last, because all changes of configurations wait for it.
        changes::count(&mut tx).await?;
        for call in &calls {
            erasure::remember(&mut tx, names.of_call(&owner.tenant, call), now).await?;
        }
        erasure::remember(&mut tx, subject, now).await?;
        tx.commit().await?;
        match &self.store.database {
            Database::Sqlite(_) => self.store.scrub_if_small(now).await,
            // After the rest, which lets nobody write: should it fail, who asks again finds it done.
            Database::Postgres(_) => {
                let mut tx = self.store.write().await?;
                tx.no_time_limit().await?;
                rollup::show(&mut tx).await?;
                tx.commit().await?;
            }
        }
        Ok(Erased { rows })
    }
}

/// Returns the calls that went with him and of which more will be told.
async fn forget(tx: &mut Tx, owner: &UserKey) -> Result<Vec<CallId>, StoreError> {
    let both = |text: &str| Sql::new(text).with(&owner.tenant).with(&owner.user);
    // A call that was his alone goes with him, and what was told of it: its room may bear his name.
    let alone = "tenant_id = $1 AND EXISTS (SELECT 1 FROM call_participants p WHERE p.tenant_id = calls.tenant_id \
        AND p.call_id = calls.call_id AND p.user_id = $2 UNION ALL SELECT 1 FROM aic_sessions s \
        WHERE s.tenant_id = calls.tenant_id AND s.call_id = calls.call_id AND s.user_id = $2) \
        AND NOT EXISTS (SELECT 1 FROM call_participants p WHERE p.tenant_id = calls.tenant_id \
        AND p.call_id = calls.call_id AND p.user_id <> $2) \
        AND NOT EXISTS (SELECT 1 FROM aic_sessions s WHERE s.tenant_id = calls.tenant_id \
        AND s.call_id = calls.call_id AND s.user_id <> $2)";
    let open = both(&format!(
        "SELECT call_id FROM calls WHERE {alone} AND ended_at_us IS NULL"
    ));
    let open = tx.rows(open).await?;
    // Others were in a call whose room bears his name: it stays without.
    let named = "tenant_id = $1 AND room = $2";
    for calls in [alone, named] {
        tx.execute(both(&format!(
            "DELETE FROM webhook_events WHERE tenant_id = $1 AND subject IN (SELECT call_id FROM calls WHERE {calls})"
        )))
        .await?;
    }
    tx.execute(both(&format!("DELETE FROM calls WHERE {alone}")))
        .await?;
    tx.execute(both(&format!("UPDATE calls SET room = $3 WHERE {named}")).with(ERASED))
        .await?;
    // Foreign keys take along all that hangs on him.
    tx.execute(both("DELETE FROM users WHERE tenant_id = $1 AND user_id = $2"))
        .await?;
    // Looks at a room tell its name.
    tx.execute(both(
        "DELETE FROM audit_log WHERE tenant_id = $1 AND (user_id = $2 OR detail ->> 'room' = $2)",
    ))
    .await?;
    let renamed = |table: &str, column: &str| {
        let text = format!("UPDATE {table} SET {column} = $3 WHERE tenant_id = $1 AND {column} = $2");
        both(&text).with(ERASED)
    };
    tx.execute(renamed("audit_log", "actor")).await?;
    tx.execute(renamed("aic_alerts", "acked_by")).await?;
    let calls = open.iter().map(|row| Ok(row.text("call_id")?.into()));
    calls.collect()
}

fn chunk(personal: &Personal, owner: &UserKey, after: Option<Vec<Value>>) -> Sql {
    let Personal { table, user, key } = personal;
    let mut sql = Sql::new(format!("SELECT * FROM {table} WHERE tenant_id = "));
    sql.bind(&owner.tenant);
    sql.push(&format!(" AND {user} = ")).bind(&owner.user);
    let key = key.join(", ");
    if let Some(after) = after {
        sql.push(&format!(" AND ({key}) > ("));
        for (number, value) in after.into_iter().enumerate() {
            if number > 0 {
                sql.push(", ");
            }
            sql.bind(value);
        }
        sql.push(")");
    }
    sql.push(&format!(" ORDER BY {key} LIMIT ")).bind(CHUNK);
    sql
}

fn key_of(personal: &Personal, row: &Row) -> Result<Vec<Value>, StoreError> {
    let value = |column: &&str| {
        Ok(
            match column.ends_with("_us") || matches!(*column, "event_id" | "audit_id") {
                true => row.int(column)?.into(),
                false => row.text(column)?.into(),
            },
        )
    };
    personal.key.iter().map(value).collect()
}
