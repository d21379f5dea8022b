//! A user's configuration as it is stored: reading it, and the one transaction that changes it.

use auralink_types::{AicConfig, ConfigChange, FieldError, Mode, UserKey};
use serde_json::json;
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{Row as _, Sqlite, SqliteConnection, Transaction};
use uuid::Uuid;

use crate::actor::Actor;
use crate::error::StoreError;
use crate::names::Named as _;
use crate::timestamp::Timestamp;

/// The event that goes to webhook endpoints with every change.
pub const CONFIG_UPDATED: &str = "aic.config.updated";

/// A configuration with what the store knows about it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredConfig {
    /// Stays the same over all changes.
    pub config_id: Uuid,
    /// 1 for the first, one more with each change.
    pub version: u64,
    /// Whose it is.
    pub owner: UserKey,
    /// The configuration.
    pub config: AicConfig,
    /// First change.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
}

const COLUMNS: &str = "tenant_id, user_id, config_id, version, enabled, mode, target_override, floor_override, \
    max_latency_ms, model_type, enable_predictive_compression, enable_perceptual_optimization, opt_out, \
    created_at_us, updated_at_us";

pub(crate) async fn read(
    connection: &mut SqliteConnection,
    owner: &UserKey,
) -> Result<Option<StoredConfig>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM aic_configs WHERE tenant_id = ? AND user_id = ?");
    // The text holds constants alone.
    sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(owner.tenant.as_str())
        .bind(owner.user.as_str())
        .fetch_optional(connection)
        .await?
        .map(|row| from_row(&row))
        .transpose()
}

pub(crate) async fn in_force(pool: &SqlitePool) -> Result<Vec<(UserKey, AicConfig)>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM aic_configs WHERE enabled = 1 OR opt_out = 1");
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(pool).await?;
    let stored = rows.iter().map(from_row);
    stored
        .map(|stored| stored.map(|stored| (stored.owner, stored.config)))
        .collect()
}

/// What a change does to the configuration that is stored, or to the default.
pub(crate) enum Change<'a> {
    Fields(&'a ConfigChange),
    Whole(&'a AicConfig),
}

impl Change<'_> {
    fn apply(&self, prior: &AicConfig) -> Result<AicConfig, FieldError> {
        match self {
            Self::Fields(change) => prior.apply(change),
            Self::Whole(next) => {
                // The same checks as for a change that names every bounded field.
                AicConfig::default().apply(&ConfigChange {
                    target_compression_ratio: next.target_override,
                    min_quality_score: next.floor_override,
                    max_latency_ms: Some(next.max_latency_ms),
                    model_type: Some(next.model_type.clone()),
                    ..ConfigChange::default()
                })?;
                Ok((*next).clone())
            }
        }
    }
}

/// Row, audit entry and outbox rows, in the transaction given.
pub(crate) async fn write(
    tx: &mut Transaction<'static, Sqlite>,
    actor: &Actor,
    owner: &UserKey,
    change: &Change<'_>,
    now: Timestamp,
) -> Result<StoredConfig, StoreError> {
    let prior = read(tx, owner).await?;
    let default = AicConfig::default();
    let before = prior.as_ref().map_or(&default, |prior| &prior.config);
    let config = change.apply(before)?;
    if before.opt_out && !config.opt_out && actor.key != *owner {
        return Err(StoreError::Veto);
    }
    let stored = StoredConfig {
        config_id: prior.as_ref().map_or_else(Uuid::now_v7, |prior| prior.config_id),
        version: prior.as_ref().map_or(1, |prior| prior.version + 1),
        owner: owner.clone(),
        created_at: prior.as_ref().map_or(now, |prior| prior.created_at),
        // A clock that was set back must not make a change look older than the one before.
        updated_at: prior.as_ref().map_or(now, |prior| prior.updated_at.max(now)),
        config,
    };
    upsert(tx, &stored).await?;
    let detail = json!({ "before": prior.map(|prior| prior.config), "after": stored.config });
    sqlx::query(
        "INSERT INTO audit_log (tenant_id, actor, actor_role, action, user_id, detail, at_us) \
         VALUES (?, ?, ?, 'config.write', ?, ?, ?)",
    )
    .bind(owner.tenant.as_str())
    .bind(actor.key.user.as_str())
    .bind(actor.role())
    .bind(owner.user.as_str())
    .bind(detail.to_string())
    .bind(stored.updated_at.as_micros())
    .execute(&mut **tx)
    .await?;
    announce(tx, &stored).await?;
    Ok(stored)
}

async fn upsert(tx: &mut Transaction<'static, Sqlite>, stored: &StoredConfig) -> Result<(), StoreError> {
    let StoredConfig { owner, config, .. } = stored;
    sqlx::query(
        "INSERT INTO users (tenant_id, user_id, created_at_us) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind(owner.tenant.as_str())
    .bind(owner.user.as_str())
    .bind(stored.created_at.as_micros())
    .execute(&mut **tx)
    .await?;
    sqlx::query(
        "INSERT INTO aic_configs (tenant_id, user_id, config_id, version, enabled, mode, target_override, \
         floor_override, max_latency_ms, model_type, enable_predictive_compression, \
         enable_perceptual_optimization, opt_out, created_at_us, updated_at_us) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
         ON CONFLICT (tenant_id, user_id) DO UPDATE SET version = excluded.version, enabled = excluded.enabled, \
         mode = excluded.mode, target_override = excluded.target_override, \
         floor_override = excluded.floor_override, max_latency_ms = excluded.max_latency_ms, \
         model_type = excluded.model_type, \
         enable_predictive_compression = excluded.enable_predictive_compression, \
         enable_perceptual_optimization = excluded.enable_perceptual_optimization, \
         opt_out = excluded.opt_out, updated_at_us = excluded.updated_at_us",
    )
    .bind(owner.tenant.as_str())
    .bind(owner.user.as_str())
    .bind(stored.config_id.to_string())
    .bind(i64::try_from(stored.version).unwrap_or(i64::MAX))
    .bind(config.enabled)
    .bind(config.mode.to_name())
    .bind(config.target_override)
    .bind(config.floor_override)
    .bind(config.max_latency_ms)
    .bind(&config.model_type)
    .bind(config.enable_predictive_compression)
    .bind(config.enable_perceptual_optimization)
    .bind(config.opt_out)
    .bind(stored.created_at.as_micros())
    .bind(stored.updated_at.as_micros())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// One outbox row for each endpoint of the tenant that wants the event; an empty list of events means all.
async fn announce(tx: &mut Transaction<'static, Sqlite>, stored: &StoredConfig) -> Result<(), StoreError> {
    let payload = json!({
        "event": CONFIG_UPDATED,
        "at": stored.updated_at.rfc3339(),
        "config_id": stored.config_id,
        "version": stored.version,
        "user_id": stored.owner.user,
        "enabled": stored.config.enabled,
        "mode": stored.config.mode,
        "opt_out": stored.config.opt_out,
    });
    sqlx::query(
        "INSERT INTO webhook_deliveries (tenant_id, endpoint_id, event, payload, created_at_us, next_attempt_at_us) \
         SELECT tenant_id, endpoint_id, ?1, ?2, ?3, ?3 FROM webhook_endpoints WHERE tenant_id = ?4 AND enabled = 1 \
         AND (json_array_length(events) = 0 OR EXISTS (SELECT 1 FROM json_each(events) WHERE value = ?1))",
    )
    .bind(CONFIG_UPDATED)
    .bind(payload.to_string())
    .bind(stored.updated_at.as_micros())
    .bind(stored.owner.tenant.as_str())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn from_row(row: &SqliteRow) -> Result<StoredConfig, StoreError> {
    let id: String = row.try_get("config_id")?;
    let mode: String = row.try_get("mode")?;
    let tenant: String = row.try_get("tenant_id")?;
    let user: String = row.try_get("user_id")?;
    let version: i64 = row.try_get("version")?;
    Ok(StoredConfig {
        config_id: Uuid::parse_str(&id).map_err(|_| StoreError::Corrupt {
            column: "config_id",
            value: id,
        })?,
        version: version.unsigned_abs(),
        owner: UserKey::new(tenant, user),
        config: AicConfig {
            enabled: row.try_get("enabled")?,
            mode: Mode::read("mode", &mode)?,
            target_override: row.try_get("target_override")?,
            floor_override: row.try_get("floor_override")?,
            max_latency_ms: row.try_get("max_latency_ms")?,
            model_type: row.try_get("model_type")?,
            enable_predictive_compression: row.try_get("enable_predictive_compression")?,
            enable_perceptual_optimization: row.try_get("enable_perceptual_optimization")?,
            opt_out: row.try_get("opt_out")?,
        },
        created_at: Timestamp::from_micros(row.try_get("created_at_us")?),
        updated_at: Timestamp::from_micros(row.try_get("updated_at_us")?),
    })
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
