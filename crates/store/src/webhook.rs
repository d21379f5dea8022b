//! Webhook endpoints of a tenant.

use auralink_types::FieldError;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::audit;
use crate::error::StoreError;
use crate::row::Row;
use crate::scoped::Scoped;
use crate::sql::Sql;
use crate::timestamp::Timestamp;

/// Endpoints of one tenant.
pub const ENDPOINTS_MAX: usize = 16;

/// Longest URL, in bytes, and most names of events.
const URL_MAX: usize = 2048;
const EVENTS_MAX: usize = 64;

/// Where a tenant's events go.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Endpoint {
    /// Its id.
    pub endpoint_id: String,
    /// Where to.
    pub url: String,
    /// API key whose secret signs.
    pub signing_key: String,
    /// Events wanted; empty for all. `aic.*` is every event that begins with `aic.`.
    pub events: Vec<String>,
    /// Whether it is told anything. While it is not, nothing new is kept for it, and what waits stays.
    pub enabled: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
    /// Events dropped because too many were waiting.
    pub dropped: u64,
    /// Deliveries given up.
    pub lost: u64,
    /// Deliveries that wait.
    pub pending: u64,
}

/// A new endpoint.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewEndpoint {
    /// Where to.
    pub url: String,
    /// API key whose secret signs.
    pub signing_key: String,
    /// Events wanted; empty for all.
    #[serde(default)]
    pub events: Vec<String>,
    /// Whether it is told anything.
    #[serde(default = "yes")]
    pub enabled: bool,
}

const fn yes() -> bool {
    true
}

/// What changes of an endpoint; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EndpointChange {
    /// Where to.
    pub url: Option<String>,
    /// Events wanted.
    pub events: Option<Vec<String>>,
    /// Whether it is told anything.
    pub enabled: Option<bool>,
}

/// Whether an endpoint with this list wants the event.
pub(crate) fn wants(events: &[String], event: &str) -> bool {
    let matches = |wanted: &String| match wanted.strip_suffix('*') {
        Some(prefix) => event.starts_with(prefix),
        None => wanted == event,
    };
    events.is_empty() || events.iter().any(matches)
}

fn check(url: Option<&str>, events: Option<&[String]>) -> Result<(), StoreError> {
    if let Some(url) = url
        && (url.is_empty() || url.len() > URL_MAX || url.contains('\0'))
    {
        return Err(FieldError::new("url", format!("must be 1 to {URL_MAX} bytes")).into());
    }
    let events = events.unwrap_or_default();
    let sound = |event: &String| (1..=64).contains(&event.len()) && !event.contains('\0');
    if events.len() > EVENTS_MAX || !events.iter().all(sound) {
        let problem = format!("must be at most {EVENTS_MAX} names of 1 to 64 bytes");
        return Err(FieldError::new("events", problem).into());
    }
    Ok(())
}

const ENDPOINT: &str = "SELECT p.endpoint_id, p.url, p.signing_key, p.events, p.enabled, p.created_at_us, \
    p.updated_at_us, p.dropped, p.lost, (SELECT count(*) FROM webhook_deliveries d WHERE d.tenant_id = p.tenant_id \
    AND d.endpoint_id = p.endpoint_id AND d.state = 'pending') AS pending FROM webhook_endpoints p \
    WHERE p.tenant_id = $1";

/// For operators.
impl Scoped {
    /// Every endpoint of the tenant, oldest first.
    pub async fn endpoints(&self) -> Result<Vec<Endpoint>, StoreError> {
        let sql = Sql::new(format!("{ENDPOINT} ORDER BY p.created_at_us, p.endpoint_id"));
        let rows = self.tenant_rows(sql.with(&self.actor.key.tenant)).await?;
        rows.iter().map(endpoint).collect()
    }

    /// One of them.
    pub async fn endpoint(&self, id: &str) -> Result<Endpoint, StoreError> {
        let sql = Sql::new(format!("{ENDPOINT} AND p.endpoint_id = $2"));
        let rows = self
            .tenant_rows(sql.with(&self.actor.key.tenant).with(id))
            .await?;
        let found = rows.first().ok_or(StoreError::Missing { what: "endpoint" })?;
        endpoint(found)
    }

    /// Adds an endpoint; one with the same address, key and events is given back as it is. [`StoreError::Full`] past
    /// [`ENDPOINTS_MAX`].
    pub async fn create_endpoint(&self, new: &NewEndpoint, now: Timestamp) -> Result<Endpoint, StoreError> {
        self.operators_only()?;
        check(Some(&new.url), Some(&new.events))?;
        let tenant = &self.actor.key.tenant;
        let id = format!("WE_{}", Uuid::now_v7().simple());
        let mut tx = self.write().await?;
        tx.lock(&format!("endpoints {tenant}")).await?;
        let rows = tx.rows(Sql::new(ENDPOINT).with(tenant)).await?;
        for found in rows.iter().map(endpoint) {
            let found = found?;
            if (&found.url, &found.signing_key, &found.events) == (&new.url, &new.signing_key, &new.events) {
                return Ok(found);
            }
        }
        let count = Sql::new("SELECT count(*) AS count FROM webhook_endpoints WHERE tenant_id = $1");
        if tx.one(count.with(tenant)).await?.count("count")? >= ENDPOINTS_MAX as u64 {
            return Err(StoreError::Full {
                what: "webhook endpoints",
                most: ENDPOINTS_MAX,
            });
        }
        let sql = Sql::new(
            "INSERT INTO webhook_endpoints (tenant_id, endpoint_id, url, signing_key, events, enabled, \
             created_at_us, updated_at_us) VALUES ($1, $2, $3, $4, $5, $6, $7, $7)",
        );
        let sql = sql
            .with(tenant)
            .with(id.as_str())
            .with(new.url.as_str())
            .with(new.signing_key.as_str())
            .with(json!(new.events))
            .with(new.enabled)
            .with(now);
        tx.execute(sql).await?;
        let detail = json!({ "endpoint_id": id, "url": new.url, "events": new.events });
        audit::append(&mut tx, &self.actor, &"".into(), "webhook.create", detail, now).await?;
        tx.commit().await?;
        self.endpoint(&id).await
    }

    /// Changes an endpoint.
    pub async fn update_endpoint(
        &self,
        id: &str,
        change: &EndpointChange,
        now: Timestamp,
    ) -> Result<Endpoint, StoreError> {
        self.operators_only()?;
        check(change.url.as_deref(), change.events.as_deref())?;
        let mut sql = Sql::new("UPDATE webhook_endpoints SET updated_at_us = ");
        sql.bind(now);
        if let Some(url) = &change.url {
            sql.push(", url = ").bind(url.as_str());
        }
        if let Some(events) = &change.events {
            sql.push(", events = ").bind(json!(events));
        }
        if let Some(enabled) = change.enabled {
            sql.push(", enabled = ").bind(enabled);
        }
        sql.push(" WHERE tenant_id = ").bind(&self.actor.key.tenant);
        sql.push(" AND endpoint_id = ").bind(id);
        let detail = json!({ "endpoint_id": id, "url": change.url, "events": change.events, "enabled": change.enabled });
        self.change_endpoint(sql, "webhook.update", detail, now).await?;
        self.endpoint(id).await
    }

    /// Removes an endpoint and all its deliveries.
    pub async fn delete_endpoint(&self, id: &str, now: Timestamp) -> Result<(), StoreError> {
        self.operators_only()?;
        let sql = Sql::new("DELETE FROM webhook_endpoints WHERE tenant_id = $1 AND endpoint_id = $2");
        let sql = sql.with(&self.actor.key.tenant).with(id);
        self.change_endpoint(sql, "webhook.delete", json!({ "endpoint_id": id }), now)
            .await
    }

    async fn change_endpoint(
        &self,
        sql: Sql,
        action: &str,
        detail: serde_json::Value,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        if tx.execute(sql).await? == 0 {
            return Err(StoreError::Missing { what: "endpoint" });
        }
        audit::append(&mut tx, &self.actor, &"".into(), action, detail, now).await?;
        tx.commit().await
    }
}

fn endpoint(row: &Row) -> Result<Endpoint, StoreError> {
    Ok(Endpoint {
        endpoint_id: row.text("endpoint_id")?,
        url: row.text("url")?,
        signing_key: row.text("signing_key")?,
        events: row.json("events")?,
        enabled: row.get("enabled")?,
        created_at: row.time("created_at_us")?,
        updated_at: row.time("updated_at_us")?,
        dropped: row.count("dropped")?,
        lost: row.count("lost")?,
        pending: row.count("pending")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_events_names_them_by_prefix_or_whole_and_an_empty_one_names_all() {
        let list = |events: &[&str]| events.iter().map(|event| (*event).to_owned()).collect::<Vec<_>>();
        assert!(wants(&[], "room_started"));
        assert!(wants(&list(&["aic.*"]), "aic.alert.raised"));
        assert!(!wants(&list(&["aic.alert"]), "aic.alert.raised"));
        assert!(wants(&list(&["x", "room_started"]), "room_started"));
    }
}
