//! Alerts: one open row for each key, with its own life from raised to resolved.

use std::time::Duration;

use auralink_types::{AlertKind, SessionId, TenantId, UserId, UserKey};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::database::Tx;
use crate::erasure;
use crate::error::StoreError;
use crate::names::{Named as _, named};
use crate::outbox::{self, Announcement};
use crate::page::{Cursor, Order, Page};
use crate::parents;
use crate::row::Row;
use crate::scoped::Scoped;
use crate::sql::Sql;
use crate::store::Store;
use crate::timestamp::Timestamp;

/// The events that go to webhook endpoints.
pub const ALERT_RAISED: &str = "aic.alert.raised";
/// Likewise, when it is over.
pub const ALERT_RESOLVED: &str = "aic.alert.resolved";

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Somebody should look.
    Warning,
    /// Somebody must look now.
    Critical,
}

named!(Severity {
    Info = "info",
    Warning = "warning",
    Critical = "critical",
});

/// An alert about to be raised.
#[derive(Clone, Debug, PartialEq)]
pub struct NewAlert {
    /// Whose.
    pub tenant: TenantId,
    /// What makes it the same alert as another: one key has one open alert.
    pub key: String,
    /// What it is about.
    pub kind: AlertKind,
    /// How bad it is.
    pub severity: Severity,
    /// The user it concerns, who then sees it; `None` for the tenant as a whole.
    pub user: Option<UserId>,
    /// The session it concerns; left out when it isn't stored.
    pub session: Option<SessionId>,
    /// For people.
    pub message: String,
    /// What was measured.
    pub value: f64,
    /// What it was compared with.
    pub threshold: f64,
}

/// A stored alert.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alert {
    /// Its id.
    pub alert_id: String,
    /// Whose.
    #[serde(skip)]
    pub tenant: TenantId,
    /// The user it concerns.
    pub user_id: Option<UserId>,
    /// The session it concerns.
    pub session_id: Option<SessionId>,
    /// What makes it the same alert as another.
    pub key: String,
    /// What it is about.
    pub kind: AlertKind,
    /// How bad it is.
    pub severity: Severity,
    /// For people.
    pub message: String,
    /// What was measured last.
    pub value: f64,
    /// What it was compared with.
    pub threshold: f64,
    /// How often it was raised while open.
    pub count: u64,
    /// First time.
    pub raised_at: Timestamp,
    /// Last time.
    pub last_seen_at: Timestamp,
    /// When it was over.
    pub resolved_at: Option<Timestamp>,
    /// When somebody took note.
    pub acked_at: Option<Timestamp>,
    /// Who.
    pub acked_by: Option<UserId>,
}

/// What raising an alert did.
#[derive(Clone, Debug, PartialEq)]
pub struct Raised {
    /// As it is stored now.
    pub alert: Alert,
    /// Whether it is a new one, which webhooks hear of.
    pub fresh: bool,
}

/// Whether an alert still holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    /// It holds.
    Open,
    /// It is over.
    Resolved,
}

/// Which alerts are wanted. What is `None` does not narrow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AlertQuery {
    /// Open or resolved.
    pub state: Option<AlertState>,
    /// Only those nobody took note of.
    pub unacked: bool,
    /// About this.
    pub kind: Option<AlertKind>,
    /// After the page that ended here.
    pub cursor: Option<Cursor>,
    /// At most so many, up to [`crate::PAGE_MAX`].
    pub limit: u32,
}

const COLUMNS: &str = "alert_id, tenant_id, user_id, session_id, key, kind, severity, message, value, threshold, count, \
    raised_at_us, last_seen_at_us, resolved_at_us, acked_at_us, acked_by";

const ORDER: Order = Order {
    at: "raised_at_us",
    key: "alert_id",
    numbered: false,
};

impl Store {
    /// Raises an alert. One that is open already is counted; one that was resolved less than `quiet` ago is opened
    /// again without another event, so that a value around its threshold makes no stream of events.
    pub async fn raise_alert(
        &self,
        new: &NewAlert,
        quiet: Duration,
        now: Timestamp,
    ) -> Result<Raised, StoreError> {
        let mut tx = self.write().await?;
        tx.lock(&format!("alert {} {}", new.tenant, new.key)).await?;
        let known = match see_again(&mut tx, new, quiet, now).await? {
            Some(row) => Some(from_row(&row)?),
            None => None,
        };
        let raised = match known {
            Some(alert) => Raised { alert, fresh: false },
            None => {
                // About somebody erased meanwhile it tells the tenant, and names nobody.
                let key = new.user.as_ref().map(|user| UserKey {
                    tenant: new.tenant.clone(),
                    user: user.clone(),
                });
                let gone = erasure::gone(&mut tx, &self.names, &key).await?;
                let user = key.filter(|key| gone.get(key).is_none_or(|them| !them.bars(now)));
                let alert = insert(&mut tx, new, user.as_ref(), now).await?;
                outbox::enqueue(&mut tx, &event(ALERT_RAISED, &alert, now)).await?;
                Raised { alert, fresh: true }
            }
        };
        tx.commit().await?;
        Ok(raised)
    }

    /// The alert of that key is over; `None` when none was open.
    pub async fn resolve_alert(
        &self,
        tenant: &TenantId,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<Alert>, StoreError> {
        let sql = Sql::new(format!(
            "UPDATE aic_alerts SET resolved_at_us = $3 WHERE tenant_id = $1 AND key = $2 \
             AND resolved_at_us IS NULL RETURNING {COLUMNS}"
        ));
        let mut tx = self.write().await?;
        let found = tx.row(sql.with(tenant).with(key).with(now)).await?;
        let alert = found.as_ref().map(from_row).transpose()?;
        if let Some(alert) = &alert {
            outbox::enqueue(&mut tx, &event(ALERT_RESOLVED, alert, now)).await?;
        }
        tx.commit().await?;
        Ok(alert)
    }

    /// Every open alert of a tenant, oldest first.
    pub async fn open_alerts(&self, tenant: &TenantId) -> Result<Vec<Alert>, StoreError> {
        let sql = Sql::new(format!(
            "SELECT {COLUMNS} FROM aic_alerts WHERE tenant_id = $1 AND resolved_at_us IS NULL \
             ORDER BY raised_at_us, alert_id"
        ));
        let mut tx = self.read().await?;
        let rows = tx.rows(sql.with(tenant)).await?;
        tx.commit().await?;
        rows.iter().map(from_row).collect()
    }
}

impl Scoped {
    /// Alerts, newest first: those that concern the user, or all of an operator's tenant.
    pub async fn alerts(&self, query: &AlertQuery) -> Result<Page<Alert>, StoreError> {
        let mut sql = Sql::new(format!("SELECT {COLUMNS} FROM aic_alerts WHERE "));
        self.push_predicate(&mut sql);
        match query.state {
            Some(AlertState::Open) => sql.push(" AND resolved_at_us IS NULL"),
            Some(AlertState::Resolved) => sql.push(" AND resolved_at_us IS NOT NULL"),
            None => &mut sql,
        };
        if query.unacked {
            sql.push(" AND acked_at_us IS NULL");
        }
        if let Some(kind) = query.kind {
            sql.push(" AND kind = ").bind(kind.to_name());
        }
        ORDER.push(&mut sql, query.cursor.as_ref(), query.limit);
        let rows = self.rows("alerts", sql).await?;
        ORDER.page(&rows, query.limit, from_row)
    }

    /// Takes note of an alert; the first to do so is remembered.
    pub async fn acknowledge(&self, alert_id: &str, now: Timestamp) -> Result<Alert, StoreError> {
        let mut sql = Sql::new("UPDATE aic_alerts SET acked_at_us = ");
        sql.bind(now).push(", acked_by = ").bind(self.actor.name());
        sql.push(" WHERE acked_at_us IS NULL AND alert_id = ")
            .bind(alert_id)
            .push(" AND ");
        self.push_predicate(&mut sql);
        let mut found = Sql::new(format!("SELECT {COLUMNS} FROM aic_alerts WHERE alert_id = "));
        found.bind(alert_id).push(" AND ");
        self.push_predicate(&mut found);
        let mut tx = self.write().await?;
        tx.execute(sql).await?;
        let row = tx.row(found).await?;
        let alert = from_row(&row.ok_or(StoreError::Missing { what: "alert" })?)?;
        tx.commit().await?;
        Ok(alert)
    }
}

/// Counts the alert of that key if it is open, or opens it again.
async fn see_again(
    tx: &mut Tx,
    new: &NewAlert,
    quiet: Duration,
    now: Timestamp,
) -> Result<Option<Row>, StoreError> {
    let sql = Sql::new(format!(
        "UPDATE aic_alerts SET count = count + 1, last_seen_at_us = $3, value = $4, severity = $5, message = $6, \
         resolved_at_us = NULL WHERE tenant_id = $1 AND alert_id = (SELECT alert_id FROM aic_alerts \
         WHERE tenant_id = $1 AND key = $2 AND (resolved_at_us IS NULL OR resolved_at_us > $7) \
         ORDER BY resolved_at_us IS NULL DESC, resolved_at_us DESC LIMIT 1) RETURNING {COLUMNS}"
    ));
    let sql = sql
        .with(&new.tenant)
        .with(new.key.as_str())
        .with(now)
        .with(new.value)
        .with(new.severity.to_name())
        .with(new.message.as_str())
        .with(now.minus(quiet));
    tx.row(sql).await
}

async fn insert(
    tx: &mut Tx,
    new: &NewAlert,
    user: Option<&UserKey>,
    now: Timestamp,
) -> Result<Alert, StoreError> {
    if let Some(user) = user {
        parents::ensure_user(tx, user, now).await?;
    }
    let sql = Sql::new(format!(
        "INSERT INTO aic_alerts (alert_id, tenant_id, user_id, session_id, key, kind, severity, message, value, \
         threshold, raised_at_us, last_seen_at_us) VALUES ($1, $2, $3, \
         (SELECT session_id FROM aic_sessions WHERE tenant_id = $2 AND session_id = $4), $5, $6, $7, $8, $9, $10, \
         $11, $11) RETURNING {COLUMNS}"
    ));
    let sql = sql
        .with(format!("AL_{}", Uuid::now_v7().simple()))
        .with(&new.tenant)
        .with(user.map(|key| &key.user))
        .with(new.session.as_ref())
        .with(new.key.as_str())
        .with(new.kind.to_name())
        .with(new.severity.to_name())
        .with(new.message.as_str())
        .with(new.value)
        .with(new.threshold)
        .with(now);
    from_row(&tx.one(sql).await?)
}

fn event(name: &str, alert: &Alert, now: Timestamp) -> Announcement {
    Announcement {
        tenant: alert.tenant.clone(),
        user: alert.user_id.clone(),
        subject: format!("alert:{}", alert.key),
        event: name.to_owned(),
        payload: json!({ "event": name, "at": now, "alert": alert }),
        at: now,
    }
}

fn from_row(row: &Row) -> Result<Alert, StoreError> {
    Ok(Alert {
        alert_id: row.text("alert_id")?,
        tenant: row.text("tenant_id")?.into(),
        user_id: row.maybe_id("user_id")?,
        session_id: row.maybe_id("session_id")?,
        key: row.text("key")?,
        kind: row.named("kind")?,
        severity: row.named("severity")?,
        message: row.text("message")?,
        value: row.get("value")?,
        threshold: row.get("threshold")?,
        count: row.count("count")?,
        raised_at: row.time("raised_at_us")?,
        last_seen_at: row.time("last_seen_at_us")?,
        resolved_at: row.maybe_time("resolved_at_us")?,
        acked_at: row.maybe_time("acked_at_us")?,
        acked_by: row.maybe_id("acked_by")?,
    })
}
