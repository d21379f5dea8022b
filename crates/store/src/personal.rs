//! What is kept about one user: all of it handed out, or all of it erased (GDPR articles 15, 17 and 20).

use auralink_types::UserKey;
use serde::Serialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use crate::audit::{self, ERASED};
use crate::database::{Database, Tx, Who};
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

    /// Erases every row about the handle's user, sums and materialized views included. What stays is a note that
    /// somebody was erased, with a hash in place of the name. Experiments and a tenant's model windows keep figures in
    /// which he cannot be made out.
    pub async fn erase(&self, now: Timestamp) -> Result<Erased, StoreError> {
        let owner = self.owner()?;
        // The policies of people allow no deletion; whether he may was settled when the handle was made.
        let mut tx = self.store.write().await?;
        tx.no_time_limit().await?;
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
        forget(&mut tx, &owner).await?;
        let mut actor = self.actor.clone();
        if actor.key == owner {
            actor.key.user = ERASED.into();
        }
        let name = format!("{}\n{}", owner.tenant, owner.user);
        let detail = json!({ "rows": rows, "subject_sha256": format!("{:x}", Sha256::digest(name)) });
        audit::append(&mut tx, &actor, &ERASED.into(), "user.erase", detail, now).await?;
        if matches!(self.store.database, Database::Postgres(_)) {
            rollup::show(&mut tx).await?;
        }
        tx.commit().await?;
        Ok(Erased { rows })
    }
}

async fn forget(tx: &mut Tx, owner: &UserKey) -> Result<(), StoreError> {
    let both = |text: &str| Sql::new(text).with(&owner.tenant).with(&owner.user);
    // A call that was his alone goes with him, and what was told of it: its room may bear his name.
    let alone = "tenant_id = $1 AND EXISTS (SELECT 1 FROM call_participants p WHERE p.tenant_id = calls.tenant_id \
        AND p.call_id = calls.call_id AND p.user_id = $2 UNION ALL SELECT 1 FROM aic_sessions s \
        WHERE s.tenant_id = calls.tenant_id AND s.call_id = calls.call_id AND s.user_id = $2) \
        AND NOT EXISTS (SELECT 1 FROM call_participants p WHERE p.tenant_id = calls.tenant_id \
        AND p.call_id = calls.call_id AND p.user_id <> $2) \
        AND NOT EXISTS (SELECT 1 FROM aic_sessions s WHERE s.tenant_id = calls.tenant_id \
        AND s.call_id = calls.call_id AND s.user_id <> $2)";
    tx.execute(both(&format!(
        "DELETE FROM webhook_events WHERE tenant_id = $1 AND subject IN (SELECT call_id FROM calls WHERE {alone})"
    )))
    .await?;
    tx.execute(both(&format!("DELETE FROM calls WHERE {alone}")))
        .await?;
    // Foreign keys take along all that hangs on him.
    tx.execute(both("DELETE FROM users WHERE tenant_id = $1 AND user_id = $2"))
        .await?;
    tx.execute(both(
        "DELETE FROM audit_log WHERE tenant_id = $1 AND user_id = $2",
    ))
    .await?;
    let renamed = |table: &str, column: &str| {
        let text = format!("UPDATE {table} SET {column} = $3 WHERE tenant_id = $1 AND {column} = $2");
        both(&text).with(ERASED)
    };
    tx.execute(renamed("audit_log", "actor")).await?;
    tx.execute(renamed("aic_alerts", "acked_by")).await?;
    Ok(())
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
