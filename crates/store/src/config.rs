//! A user's configuration as it is stored: reading it, and the one transaction that changes it.

use std::time::SystemTime;

use auralink_types::{AicConfig, ConfigChange, FieldError, UserKey};
use serde_json::json;
use uuid::Uuid;

use crate::actor::Actor;
use crate::audit;
use crate::database::Tx;
use crate::error::StoreError;
use crate::names::Named as _;
use crate::outbox::{self, Announcement};
use crate::parents;
use crate::row::Row;
use crate::scoped::Scoped;
use crate::sql::{Sql, int};
use crate::store::Store;
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

impl Scoped {
    /// The stored configuration; `None` when the user never set one.
    pub async fn config(&self) -> Result<Option<StoredConfig>, StoreError> {
        let owner = self.owner()?;
        if owner != self.actor.key {
            self.note_read("config").await?;
        }
        let mut tx = self.read().await?;
        let found = read(&mut tx, &owner).await?;
        tx.commit().await?;
        Ok(found)
    }

    /// Stores a whole configuration, with its audit entry and outbox event, in one transaction.
    pub async fn put_config(&self, config: &AicConfig) -> Result<StoredConfig, StoreError> {
        self.write_config(&Change::Whole(config), None).await
    }

    /// Likewise, but applies the change to what is stored at that moment, so that no concurrent change is lost.
    pub async fn change_config(&self, change: &ConfigChange) -> Result<StoredConfig, StoreError> {
        self.write_config(&Change::Fields(change), None).await
    }

    /// Likewise, if the stored version is the one expected; 0 expects none. Else [`StoreError::Stale`].
    pub async fn change_config_if(
        &self,
        change: &ConfigChange,
        expected: Option<u64>,
    ) -> Result<StoredConfig, StoreError> {
        self.write_config(&Change::Fields(change), expected).await
    }

    /// Stores a whole configuration likewise, if the stored version is the one expected.
    pub async fn put_config_if(
        &self,
        config: &AicConfig,
        expected: Option<u64>,
    ) -> Result<StoredConfig, StoreError> {
        self.write_config(&Change::Whole(config), expected).await
    }

    async fn write_config(
        &self,
        change: &Change<'_>,
        expected: Option<u64>,
    ) -> Result<StoredConfig, StoreError> {
        let owner = self.owner()?;
        let mut tx = self.write().await?;
        let now = Timestamp::from(SystemTime::now());
        let stored = write(&mut tx, &self.actor, &owner, change, expected, now).await?;
        tx.commit().await?;
        Ok(stored)
    }
}

async fn read(tx: &mut Tx, owner: &UserKey) -> Result<Option<StoredConfig>, StoreError> {
    let sql = Sql::new(format!(
        "SELECT {COLUMNS} FROM aic_configs WHERE tenant_id = $1 AND user_id = $2"
    ));
    let found = tx.row(sql.with(&owner.tenant).with(&owner.user)).await?;
    found.as_ref().map(from_row).transpose()
}

/// Configurations with a later revision than that.
pub(crate) async fn written_since(
    tx: &mut Tx,
    revision: u64,
) -> Result<Vec<(UserKey, AicConfig)>, StoreError> {
    let sql = Sql::new(format!("SELECT {COLUMNS} FROM aic_configs WHERE revision > $1"));
    let rows = tx.rows(sql.with(int(revision))).await?;
    configs(&rows)
}

pub(crate) async fn in_force(store: &Store) -> Result<Vec<(UserKey, AicConfig)>, StoreError> {
    let mut tx = store.read().await?;
    let sql = Sql::new(format!(
        "SELECT {COLUMNS} FROM aic_configs WHERE enabled OR opt_out"
    ));
    let rows = tx.rows(sql).await?;
    tx.commit().await?;
    configs(&rows)
}

fn configs(rows: &[Row]) -> Result<Vec<(UserKey, AicConfig)>, StoreError> {
    let stored = rows.iter().map(from_row);
    stored
        .map(|stored| stored.map(|stored| (stored.owner, stored.config)))
        .collect()
}

/// From here to the transaction's end nobody else changes this user's configuration.
pub(crate) async fn lock(tx: &mut Tx, owner: &UserKey) -> Result<(), StoreError> {
    tx.lock(&format!("config {} {}", owner.tenant, owner.user)).await
}

/// What a change does to the configuration that is stored, or to the default.
enum Change<'a> {
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

/// Row, audit entry and outbox event, in the transaction given.
async fn write(
    tx: &mut Tx,
    actor: &Actor,
    owner: &UserKey,
    change: &Change<'_>,
    expected: Option<u64>,
    now: Timestamp,
) -> Result<StoredConfig, StoreError> {
    // What is read next must not change before it is written.
    lock(tx, owner).await?;
    let prior = read(tx, owner).await?;
    let current = prior.as_ref().map_or(0, |prior| prior.version);
    if expected.is_some_and(|expected| expected != current) {
        return Err(StoreError::Stale { current });
    }
    let default = AicConfig::default();
    let before = prior.as_ref().map_or(&default, |prior| &prior.config);
    let config = change.apply(before)?;
    if before.opt_out && !config.opt_out && actor.key != *owner {
        return Err(StoreError::Veto);
    }
    // The same again is no change: no version, no audit entry, no event.
    if let Some(prior) = prior.as_ref().filter(|prior| prior.config == config) {
        return Ok(prior.clone());
    }
    let stored = StoredConfig {
        config_id: prior.as_ref().map_or_else(Uuid::now_v7, |prior| prior.config_id),
        version: current + 1,
        owner: owner.clone(),
        created_at: prior.as_ref().map_or(now, |prior| prior.created_at),
        // A clock that was set back must not make a change look older than the one before.
        updated_at: prior.as_ref().map_or(now, |prior| prior.updated_at.max(now)),
        config,
    };
    upsert(tx, &stored).await?;
    let detail = json!({ "before": prior.map(|prior| prior.config), "after": stored.config });
    audit::append(tx, actor, &owner.user, "config.write", detail, stored.updated_at).await?;
    announce(tx, &stored).await?;
    Ok(stored)
}

async fn upsert(tx: &mut Tx, stored: &StoredConfig) -> Result<(), StoreError> {
    let StoredConfig { owner, config, .. } = stored;
    parents::ensure_user(tx, owner, stored.created_at).await?;
    let sql = Sql::new(format!(
        "INSERT INTO aic_configs ({COLUMNS}) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) \
         ON CONFLICT (tenant_id, user_id) DO UPDATE SET version = excluded.version, enabled = excluded.enabled, \
         mode = excluded.mode, target_override = excluded.target_override, \
         floor_override = excluded.floor_override, max_latency_ms = excluded.max_latency_ms, \
         model_type = excluded.model_type, \
         enable_predictive_compression = excluded.enable_predictive_compression, \
         enable_perceptual_optimization = excluded.enable_perceptual_optimization, \
         opt_out = excluded.opt_out, updated_at_us = excluded.updated_at_us"
    ));
    let sql = sql
        .with(&owner.tenant)
        .with(&owner.user)
        .with(stored.config_id.to_string())
        .with(int(stored.version))
        .with(config.enabled)
        .with(config.mode.to_name())
        .with(config.target_override)
        .with(config.floor_override)
        .with(config.max_latency_ms)
        .with(config.model_type.as_str())
        .with(config.enable_predictive_compression)
        .with(config.enable_perceptual_optimization)
        .with(config.opt_out)
        .with(stored.created_at)
        .with(stored.updated_at);
    tx.execute(sql).await?;
    Ok(())
}

async fn announce(tx: &mut Tx, stored: &StoredConfig) -> Result<(), StoreError> {
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
    let announcement = Announcement {
        tenant: stored.owner.tenant.clone(),
        user: Some(stored.owner.user.clone()),
        subject: format!("config:{}", stored.config_id),
        event: CONFIG_UPDATED.to_owned(),
        payload,
        at: stored.updated_at,
    };
    outbox::enqueue(tx, &announcement).await
}

fn from_row(row: &Row) -> Result<StoredConfig, StoreError> {
    let id = row.text("config_id")?;
    Ok(StoredConfig {
        config_id: Uuid::parse_str(&id).map_err(|_| StoreError::Corrupt {
            column: "config_id",
            value: id,
        })?,
        version: row.count("version")?,
        owner: row.owner()?,
        config: AicConfig {
            enabled: row.get("enabled")?,
            mode: row.named("mode")?,
            target_override: row.get("target_override")?,
            floor_override: row.get("floor_override")?,
            max_latency_ms: u32::try_from(row.int("max_latency_ms")?).unwrap_or(u32::MAX),
            model_type: row.text("model_type")?,
            enable_predictive_compression: row.get("enable_predictive_compression")?,
            enable_perceptual_optimization: row.get("enable_perceptual_optimization")?,
            opt_out: row.get("opt_out")?,
        },
        created_at: row.time("created_at_us")?,
        updated_at: row.time("updated_at_us")?,
    })
}
