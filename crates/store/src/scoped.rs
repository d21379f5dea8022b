//! What people may ask: every statement here carries the actor's predicate.

use std::time::{Duration, SystemTime};

use auralink_types::{AicConfig, ConfigChange, FieldError, Media, SessionId, UserId, UserKey};
use sqlx::{QueryBuilder, Row as _, Sqlite};

use crate::actor::Actor;
use crate::config::{self, Change, StoredConfig};
use crate::error::StoreError;
use crate::metric::{MetricCursor, MetricPage, MetricQuery, PAGE_MAX};
use crate::metric_sql;
use crate::names::Named as _;
use crate::savings::{BandwidthSavings, Traffic};
use crate::session::StoredSession;
use crate::store::Store;
use crate::timestamp::Timestamp;

/// The store as one actor sees it.
#[derive(Clone, Debug)]
pub struct Scoped {
    store: Store,
    actor: Actor,
    subject: Option<UserId>,
}

impl Scoped {
    pub(crate) fn new(store: Store, actor: Actor) -> Self {
        Self {
            store,
            actor,
            subject: None,
        }
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

    /// The stored configuration; `None` when the user never set one.
    pub async fn config(&self) -> Result<Option<StoredConfig>, StoreError> {
        let owner = self.owner()?;
        let mut connection = self.store.read.acquire().await?;
        config::read(&mut connection, &owner).await
    }

    /// Stores a whole configuration, with its audit entry and outbox rows, in one transaction.
    pub async fn put_config(&self, config: &AicConfig) -> Result<StoredConfig, StoreError> {
        self.write_config(&Change::Whole(config)).await
    }

    /// Likewise, but applies the change to what is stored at that moment, so that no concurrent change is lost.
    pub async fn change_config(&self, change: &ConfigChange) -> Result<StoredConfig, StoreError> {
        self.write_config(&Change::Fields(change)).await
    }

    async fn write_config(&self, change: &Change<'_>) -> Result<StoredConfig, StoreError> {
        let owner = self.owner()?;
        let mut tx = self.store.begin().await?;
        let now = Timestamp::from(SystemTime::now());
        let stored = config::write(&mut tx, &self.actor, &owner, change, now).await?;
        tx.commit().await?;
        Ok(stored)
    }

    /// One page of metric rows, newest first.
    pub async fn metrics(&self, query: &MetricQuery) -> Result<MetricPage, StoreError> {
        let limit = query.limit.clamp(1, PAGE_MAX);
        let mut sql = QueryBuilder::new(metric_sql::SELECT);
        self.push_predicate(&mut sql);
        if let Some(call) = &query.call_id {
            sql.push(" AND call_id = ").push_bind(call.as_str().to_owned());
        }
        if let Some(from) = query.from {
            sql.push(" AND ts_us >= ").push_bind(from.as_micros());
        }
        if let Some(to) = query.to {
            sql.push(" AND ts_us < ").push_bind(to.as_micros());
        }
        if let Some(MetricCursor { ts_us, metric_id }) = query.cursor {
            sql.push(" AND (ts_us, metric_id) < (").push_bind(ts_us);
            sql.push(", ").push_bind(metric_id).push(")");
        }
        sql.push(" ORDER BY ts_us DESC, metric_id DESC LIMIT ");
        sql.push_bind(i64::from(limit) + 1);
        let found = sql.build().fetch_all(&self.store.read).await?;
        let wanted = limit as usize;
        let rows = found
            .iter()
            .take(wanted)
            .map(metric_sql::from_row)
            .collect::<Result<Vec<_>, _>>()?;
        let next = rows
            .last()
            .filter(|_| found.len() > wanted)
            .map(|last| MetricCursor {
                ts_us: last.row.ts_us,
                metric_id: last.metric_id,
            });
        Ok(MetricPage { rows, next })
    }

    /// One session; `None` when there is none, or it isn't the actor's to see.
    pub async fn session(&self, id: &SessionId) -> Result<Option<StoredSession>, StoreError> {
        let mut sql = QueryBuilder::new("SELECT * FROM aic_sessions WHERE session_id = ");
        sql.push_bind(id.as_str().to_owned()).push(" AND ");
        self.push_predicate(&mut sql);
        let found = sql.build().fetch_optional(&self.store.read).await?;
        found.as_ref().map(session_from_row).transpose()
    }

    /// What was saved over the last so many days, at that price.
    pub async fn bandwidth_savings(
        &self,
        days: u32,
        price_per_gb: f64,
    ) -> Result<BandwidthSavings, StoreError> {
        let span = Duration::from_secs(u64::from(days) * 86_400);
        let since = Timestamp::from(SystemTime::now()).minus(span);
        let mut sql = QueryBuilder::new(
            "SELECT coalesce(sum(original_bandwidth_kbps), 0.0) AS original, \
             coalesce(sum(compressed_bandwidth_kbps), 0.0) AS compressed, \
             coalesce(sum(frames), 0) AS frames, count(*) AS seconds FROM aic_metrics WHERE ",
        );
        self.push_predicate(&mut sql);
        sql.push(" AND ts_us >= ").push_bind(since.as_micros());
        let row = sql.build().fetch_one(&self.store.read).await?;
        let traffic = Traffic {
            original_kbit: row.try_get("original")?,
            compressed_kbit: row.try_get("compressed")?,
            frames: row.try_get::<i64, _>("frames")?.unsigned_abs(),
            seconds: row.try_get::<i64, _>("seconds")?.unsigned_abs(),
        };
        Ok(BandwidthSavings::new(traffic, days, price_per_gb))
    }

    /// Isolation: the tenant always, the user unless an operator asks for all of his tenant.
    fn push_predicate(&self, sql: &mut QueryBuilder<Sqlite>) {
        sql.push("tenant_id = ")
            .push_bind(self.actor.key.tenant.as_str().to_owned());
        let user = match &self.subject {
            None if self.actor.operator => return,
            None => &self.actor.key.user,
            Some(subject) => subject,
        };
        sql.push(" AND user_id = ").push_bind(user.as_str().to_owned());
    }
}

fn session_from_row(row: &sqlx::sqlite::SqliteRow) -> Result<StoredSession, StoreError> {
    let text = |column: &'static str| row.try_get::<String, _>(column);
    let count = |column: &'static str| row.try_get::<i64, _>(column).map(i64::unsigned_abs);
    let time = |column: &'static str| {
        row.try_get::<Option<i64>, _>(column)
            .map(|micros| micros.map(Timestamp::from_micros))
    };
    let scored = count("quality_count")?;
    let quality: f64 = row.try_get("quality_sum")?;
    Ok(StoredSession {
        session_id: text("session_id")?.into(),
        owner: UserKey::new(text("tenant_id")?, text("user_id")?),
        call_id: text("call_id")?.into(),
        track_id: text("track_id")?.into(),
        media: Media::read("media", &text("media")?)?,
        started_at: Timestamp::from_micros(row.try_get("started_at_us")?),
        ended_at: time("ended_at_us")?,
        traffic: Traffic {
            original_kbit: row.try_get("original_kbit")?,
            compressed_kbit: row.try_get("compressed_kbit")?,
            frames: count("frames")?,
            seconds: count("seconds")?,
        },
        quality_score: (scored > 0).then(|| quality / scored as f64),
        fallbacks: count("fallbacks")?,
        last_metric_at: time("last_metric_us")?,
    })
}
