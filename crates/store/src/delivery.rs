//! What has become of a tenant's webhook deliveries, and sending them again.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::audit;
use crate::error::StoreError;
use crate::names::{Named as _, named};
use crate::page::{Cursor, Order, Page};
use crate::row::Row;
use crate::scoped::Scoped;
use crate::sql::Sql;
use crate::timestamp::Timestamp;

/// How far a delivery has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// It waits for its turn or for another attempt.
    Pending,
    /// The endpoint took it.
    Delivered,
    /// It was given up.
    Lost,
}

named!(DeliveryState {
    Pending = "pending",
    Delivered = "delivered",
    Lost = "lost",
});

/// A delivery as an operator sees it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeliveryRecord {
    /// Unique in the database.
    pub delivery_id: i64,
    /// Where to.
    pub endpoint_id: String,
    /// Name of the event.
    pub event: String,
    /// What its order is kept by.
    pub subject: String,
    /// How far it has come.
    pub state: DeliveryState,
    /// Attempts begun.
    pub attempts: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// Not tried again before.
    pub next_attempt_at: Timestamp,
    /// When the endpoint took it.
    pub delivered_at: Option<Timestamp>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

/// Which deliveries are wanted. What is `None` does not narrow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeliveryQuery {
    /// To this endpoint.
    pub endpoint_id: Option<String>,
    /// As far as this.
    pub state: Option<DeliveryState>,
    /// After the page that ended here.
    pub cursor: Option<Cursor>,
    /// At most so many, up to [`crate::PAGE_MAX`].
    pub limit: u32,
}

const DELIVERIES: Order = Order {
    at: "created_at_us",
    key: "delivery_id",
    numbered: true,
};

/// For operators.
impl Scoped {
    /// Deliveries, newest first.
    pub async fn deliveries(&self, query: &DeliveryQuery) -> Result<Page<DeliveryRecord>, StoreError> {
        let mut sql = Sql::new(
            "SELECT * FROM (SELECT d.delivery_id, d.endpoint_id, e.event, d.subject, d.state, d.attempts, \
             d.created_at_us, d.next_attempt_at_us, d.delivered_at_us, d.last_error FROM webhook_deliveries d \
             JOIN webhook_events e ON e.event_id = d.event_id WHERE d.tenant_id = ",
        );
        sql.bind(&self.actor.key.tenant);
        if let Some(id) = &query.endpoint_id {
            sql.push(" AND d.endpoint_id = ").bind(id.as_str());
        }
        if let Some(state) = query.state {
            sql.push(" AND d.state = ").bind(state.to_name());
        }
        sql.push(") AS found WHERE 1 = 1");
        DELIVERIES.push(&mut sql, query.cursor.as_ref(), query.limit);
        let rows = self.tenant_rows(sql).await?;
        DELIVERIES.page(&rows, query.limit, delivery)
    }

    /// Sends one delivery again, whatever has become of it.
    pub async fn replay(&self, delivery_id: i64, now: Timestamp) -> Result<(), StoreError> {
        let mut sql = again(now);
        sql.push(" WHERE tenant_id = ").bind(&self.actor.key.tenant);
        sql.push(" AND delivery_id = ").bind(delivery_id);
        match self
            .replay_all(sql, json!({ "delivery_id": delivery_id }), now)
            .await?
        {
            0 => Err(StoreError::Missing { what: "delivery" }),
            _ => Ok(()),
        }
    }

    /// Sends every delivery to an endpoint again that was made at `from` or later and no longer waits, in order.
    /// Returns how many.
    pub async fn replay_since(
        &self,
        endpoint_id: &str,
        from: Timestamp,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        self.endpoint(endpoint_id).await?;
        let mut sql = again(now);
        sql.push(" WHERE tenant_id = ").bind(&self.actor.key.tenant);
        sql.push(" AND endpoint_id = ").bind(endpoint_id);
        sql.push(" AND state <> 'pending' AND created_at_us >= ")
            .bind(from);
        let detail = json!({ "endpoint_id": endpoint_id, "from": from });
        self.replay_all(sql, detail, now).await
    }

    async fn replay_all(
        &self,
        sql: Sql,
        detail: serde_json::Value,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        self.operators_only()?;
        let mut tx = self.write().await?;
        let count = tx.execute(sql).await?;
        audit::append(&mut tx, &self.actor, &"".into(), "webhook.replay", detail, now).await?;
        tx.commit().await?;
        Ok(count)
    }
}

/// A delivery at its beginning. The attempts go on counting: they tell a late answer from a present one.
fn again(now: Timestamp) -> Sql {
    let mut sql = Sql::new(
        "UPDATE webhook_deliveries SET state = 'pending', leased_until_us = 0, next_attempt_at_us = ",
    );
    sql.bind(now);
    sql
}

fn delivery(row: &Row) -> Result<DeliveryRecord, StoreError> {
    Ok(DeliveryRecord {
        delivery_id: row.int("delivery_id")?,
        endpoint_id: row.text("endpoint_id")?,
        event: row.text("event")?,
        subject: row.text("subject")?,
        state: row.named("state")?,
        attempts: u32::try_from(row.int("attempts")?).unwrap_or(u32::MAX),
        created_at: row.time("created_at_us")?,
        next_attempt_at: row.time("next_attempt_at_us")?,
        delivered_at: row.maybe_time("delivered_at_us")?,
        last_error: row.get("last_error")?,
    })
}
