//! Outbox: events written with what they tell of, and the deliveries that a dispatcher takes from them.
//!
//! Order is kept per endpoint and subject: a delivery is handed out only when none before it is waiting. A delivery
//! taken is leased; who comes back after the lease has run out finds it taken by another.

use std::collections::HashMap;
use std::time::Duration;

use auralink_types::{TenantId, UserId, UserKey};
use serde_json::Value as Json;

use crate::database::Tx;
use crate::error::StoreError;
use crate::parents;
use crate::row::Row;
use crate::sql::Sql;
use crate::store::Store;
use crate::timestamp::Timestamp;
use crate::webhook::wants;

/// Deliveries that may wait for one endpoint: a busy tenant's day. Past it new events are dropped for it and counted,
/// because what waits comes first in order.
pub const OUTBOX_MAX: u64 = 100_000;

/// Events spread over endpoints by one call.
const FAN_OUT_MAX: u32 = 500;

/// Something that webhooks tell.
#[derive(Clone, Debug, PartialEq)]
pub struct Announcement {
    /// The tenant whose endpoints hear of it.
    pub tenant: TenantId,
    /// Whom it is about: erased with him.
    pub user: Option<UserId>,
    /// Order is kept per subject: a call, a session, an alert.
    pub subject: String,
    /// Name of the event.
    pub event: String,
    /// Body of the request.
    pub payload: Json,
    /// When it happened.
    pub at: Timestamp,
}

/// A request to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// Unique in the database.
    pub delivery_id: i64,
    /// The same for every endpoint and every attempt, so that receivers can tell a repetition.
    pub event_id: i64,
    /// The tenant.
    pub tenant: TenantId,
    /// The endpoint.
    pub endpoint_id: String,
    /// Where to.
    pub url: String,
    /// API key whose secret signs.
    pub signing_key: String,
    /// What its order is kept by.
    pub subject: String,
    /// Name of the event.
    pub event: String,
    /// The body, byte for byte the same at every attempt.
    pub payload: String,
    /// When the event was written.
    pub created_at: Timestamp,
    /// How many attempts there were, this one included.
    pub attempts: u32,
    /// Events that the endpoint will never get, since it was last told of such.
    pub dropped: u64,
}

/// Writes an event in the transaction of what it tells of.
pub(crate) async fn enqueue(tx: &mut Tx, announcement: &Announcement) -> Result<(), StoreError> {
    let Announcement {
        tenant,
        user,
        subject,
        event,
        payload,
        at,
    } = announcement;
    if let Some(user) = user {
        let key = UserKey {
            tenant: tenant.clone(),
            user: user.clone(),
        };
        parents::ensure_user(tx, &key, *at).await?;
    }
    let sql = Sql::new(
        "INSERT INTO webhook_events (tenant_id, user_id, subject, event, payload, created_at_us) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    );
    let sql = sql
        .with(tenant)
        .with(user.as_ref())
        .with(subject.as_str())
        .with(event.as_str())
        .with(payload.to_string())
        .with(*at);
    tx.execute(sql).await?;
    Ok(())
}

impl Store {
    /// Writes an event that belongs to no other row.
    pub async fn announce(&self, announcement: &Announcement) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        enqueue(&mut tx, announcement).await?;
        tx.commit().await
    }

    /// Takes deliveries that are due, the oldest of each endpoint and subject alone, and leases them.
    pub async fn claim_deliveries(
        &self,
        now: Timestamp,
        lease: Duration,
        limit: u32,
    ) -> Result<Vec<Delivery>, StoreError> {
        // Mostly there is nothing to do, and that must not cost the write lock.
        let told = "SELECT 1 AS one FROM webhook_events WHERE fanned_out_at_us IS NULL LIMIT 1";
        let mut tx = self.read().await?;
        let nothing = tx.row(Sql::new(told)).await?.is_none() && tx.rows(due(now)).await?.is_empty();
        tx.commit().await?;
        if nothing {
            return Ok(Vec::new());
        }
        let mut tx = self.write().await?;
        fan_out(&mut tx, now).await?;
        tx.commit().await?;
        let mut tx = self.write().await?;
        let mut claimed: Vec<Row> = Vec::new();
        for endpoint in tx.rows(due(now)).await? {
            let room = limit.saturating_sub(claimed.len() as u32);
            // Who finds a row locked by another dispatcher looks at it again afterwards, and finds it leased.
            let claim = Sql::new(
                "UPDATE webhook_deliveries SET attempts = attempts + 1, leased_until_us = $2 \
                 WHERE state = 'pending' AND leased_until_us <= $1 AND delivery_id IN (\
                 SELECT d.delivery_id FROM webhook_deliveries d WHERE d.tenant_id = $4 AND d.endpoint_id = $5 \
                 AND d.state = 'pending' AND d.next_attempt_at_us <= $1 AND d.leased_until_us <= $1 AND NOT EXISTS (\
                 SELECT 1 FROM webhook_deliveries e WHERE e.tenant_id = $4 AND e.endpoint_id = $5 \
                 AND e.subject = d.subject AND e.state = 'pending' AND e.delivery_id < d.delivery_id) \
                 ORDER BY d.delivery_id LIMIT $3) RETURNING delivery_id",
            );
            let claim = claim.with(now).with(now.plus(lease)).with(room);
            let claim = claim
                .with(endpoint.text("tenant_id")?)
                .with(endpoint.text("endpoint_id")?);
            claimed.extend(tx.rows(claim).await?);
        }
        let mut deliveries = Vec::with_capacity(claimed.len());
        for row in &claimed {
            let sql = Sql::new(
                "SELECT d.delivery_id, d.event_id, d.tenant_id, d.endpoint_id, p.url, p.signing_key, d.subject, \
                 e.event, e.payload, e.created_at_us, d.attempts, p.dropped + p.lost - p.told AS dropped FROM webhook_deliveries d \
                 JOIN webhook_events e ON e.event_id = d.event_id \
                 JOIN webhook_endpoints p ON p.tenant_id = d.tenant_id AND p.endpoint_id = d.endpoint_id \
                 WHERE d.delivery_id = $1",
            );
            // Erased between the two statements: nobody is told.
            if let Some(row) = tx.row(sql.with(row.int("delivery_id")?)).await? {
                deliveries.push(from_row(&row)?);
            }
        }
        tx.commit().await?;
        deliveries.sort_by_key(|delivery| delivery.delivery_id);
        Ok(deliveries)
    }

    /// Deliveries that wait, of all endpoints.
    pub async fn deliveries_waiting(&self) -> Result<u64, StoreError> {
        let sql = Sql::new("SELECT count(*) AS waiting FROM webhook_deliveries WHERE state = 'pending'");
        let mut tx = self.read().await?;
        let row = tx.row(sql).await?;
        tx.commit().await?;
        row.map_or(Ok(0), |row| row.count("waiting"))
    }

    /// The endpoint took it. `false` when the lease had run out and another has it now.
    pub async fn delivered(&self, delivery: &Delivery, now: Timestamp) -> Result<bool, StoreError> {
        let sql = Sql::new(
            "UPDATE webhook_deliveries SET state = 'delivered', delivered_at_us = $3, last_error = NULL \
             WHERE delivery_id = $1 AND attempts = $2 AND state = 'pending'",
        );
        let mut tx = self.write().await?;
        let changed = tx
            .execute(sql.with(delivery.delivery_id).with(delivery.attempts).with(now))
            .await?;
        if changed == 1 && delivery.dropped > 0 {
            let sql = Sql::new(
                "UPDATE webhook_endpoints SET told = told + $3 WHERE tenant_id = $1 AND endpoint_id = $2",
            );
            let sql = sql.with(&delivery.tenant).with(delivery.endpoint_id.as_str());
            tx.execute(sql.with(i64::try_from(delivery.dropped).unwrap_or(i64::MAX)))
                .await?;
        }
        tx.commit().await?;
        Ok(changed == 1)
    }

    /// The endpoint did not take it: it is tried again at `next`, or given up and counted as lost, and the next in
    /// order goes on. `false` as for [`Store::delivered`].
    pub async fn delivery_failed(
        &self,
        delivery: &Delivery,
        error: &str,
        next: Option<Timestamp>,
    ) -> Result<bool, StoreError> {
        let sql = Sql::new(
            "UPDATE webhook_deliveries SET state = $3, last_error = $4, leased_until_us = 0, \
             next_attempt_at_us = coalesce($5, next_attempt_at_us) \
             WHERE delivery_id = $1 AND attempts = $2 AND state = 'pending'",
        );
        let state = if next.is_some() { "pending" } else { "lost" };
        let sql = sql
            .with(delivery.delivery_id)
            .with(delivery.attempts)
            .with(state)
            .with(error)
            .with(next);
        let mut tx = self.write().await?;
        let changed = tx.execute(sql).await?;
        if changed == 1 && next.is_none() {
            let sql = Sql::new(
                "UPDATE webhook_endpoints SET lost = lost + 1 WHERE tenant_id = $1 AND endpoint_id = $2",
            );
            tx.execute(sql.with(&delivery.tenant).with(delivery.endpoint_id.as_str()))
                .await?;
        }
        tx.commit().await?;
        Ok(changed == 1)
    }
}

/// Endpoints for which something is due, who has waited longest first. Looked for endpoint by endpoint: what waits for one
/// that was disabled waits until it is enabled again, and is not read meanwhile.
fn due(now: Timestamp) -> Sql {
    let sql = Sql::new(
        "SELECT tenant_id, endpoint_id FROM (SELECT p.tenant_id, p.endpoint_id, (\
         SELECT min(d.next_attempt_at_us) FROM webhook_deliveries d WHERE d.tenant_id = p.tenant_id \
         AND d.endpoint_id = p.endpoint_id AND d.state = 'pending' AND d.leased_until_us <= $1) AS due_us \
         FROM webhook_endpoints p WHERE p.enabled) AS endpoints WHERE due_us <= $1 ORDER BY due_us",
    );
    sql.with(now)
}

/// An endpoint that hears events, as one round of spreading them sees it.
struct Hearing {
    endpoint_id: String,
    events: Vec<String>,
    pending: u64,
}

/// Makes a delivery of each waiting event for each endpoint that wants it and has room. An event that waits for nobody
/// goes at once.
async fn fan_out(tx: &mut Tx, now: Timestamp) -> Result<(), StoreError> {
    tx.lock("webhook fan-out").await?;
    let waiting = Sql::new(
        "SELECT event_id, tenant_id, event, subject FROM webhook_events WHERE fanned_out_at_us IS NULL \
         ORDER BY event_id LIMIT $1",
    );
    let mut tenants: HashMap<String, Vec<Hearing>> = HashMap::new();
    for row in tx.rows(waiting.with(FAN_OUT_MAX)).await? {
        let (tenant, event) = (row.text("tenant_id")?, row.text("event")?);
        if !tenants.contains_key(&tenant) {
            let hearing = hearing(tx, &tenant).await?;
            tenants.insert(tenant.clone(), hearing);
        }
        let mut waited_for = false;
        let endpoints = tenants.get_mut(&tenant).into_iter().flatten();
        for endpoint in endpoints.filter(|endpoint| wants(&endpoint.events, &event)) {
            let sql = if endpoint.pending < OUTBOX_MAX {
                endpoint.pending += 1;
                waited_for = true;
                Sql::new(
                    "INSERT INTO webhook_deliveries (tenant_id, endpoint_id, event_id, subject, state, \
                     created_at_us, next_attempt_at_us) VALUES ($1, $2, $3, $4, 'pending', $5, $5)",
                )
                .with(tenant.as_str())
                .with(endpoint.endpoint_id.as_str())
                .with(row.int("event_id")?)
                .with(row.text("subject")?)
                .with(now)
            } else {
                Sql::new(
                    "UPDATE webhook_endpoints SET dropped = dropped + 1 WHERE tenant_id = $1 AND endpoint_id = $2",
                )
                .with(tenant.as_str())
                .with(endpoint.endpoint_id.as_str())
            };
            tx.execute(sql).await?;
        }
        let done = if waited_for {
            Sql::new("UPDATE webhook_events SET fanned_out_at_us = $2 WHERE event_id = $1")
                .with(row.int("event_id")?)
                .with(now)
        } else {
            Sql::new("DELETE FROM webhook_events WHERE event_id = $1").with(row.int("event_id")?)
        };
        tx.execute(done).await?;
    }
    Ok(())
}

async fn hearing(tx: &mut Tx, tenant: &str) -> Result<Vec<Hearing>, StoreError> {
    let sql = Sql::new(
        "SELECT endpoint_id, events, (SELECT count(*) FROM webhook_deliveries d WHERE d.tenant_id = p.tenant_id \
         AND d.endpoint_id = p.endpoint_id AND d.state = 'pending') AS pending \
         FROM webhook_endpoints p WHERE tenant_id = $1 AND enabled ORDER BY endpoint_id",
    );
    let rows = tx.rows(sql.with(tenant)).await?;
    let hearing = |row: &Row| {
        Ok(Hearing {
            endpoint_id: row.text("endpoint_id")?,
            events: row.json("events")?,
            pending: row.count("pending")?,
        })
    };
    rows.iter().map(hearing).collect()
}

fn from_row(row: &Row) -> Result<Delivery, StoreError> {
    Ok(Delivery {
        delivery_id: row.int("delivery_id")?,
        event_id: row.int("event_id")?,
        tenant: row.text("tenant_id")?.into(),
        endpoint_id: row.text("endpoint_id")?,
        url: row.text("url")?,
        signing_key: row.text("signing_key")?,
        subject: row.text("subject")?,
        event: row.text("event")?,
        payload: row.text("payload")?,
        created_at: row.time("created_at_us")?,
        attempts: u32::try_from(row.int("attempts")?).unwrap_or(u32::MAX),
        dropped: row.count("dropped")?,
    })
}
