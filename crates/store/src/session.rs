//! AIC sessions with their totals.

use auralink_types::{CallId, Media, SessionId, TrackId, UserKey};

use crate::error::StoreError;
use crate::page::{Cursor, Order, Page, push_span};
use crate::row::Row;
use crate::savings::Traffic;
use crate::scoped::Scoped;
use crate::sql::Sql;
use crate::timestamp::Timestamp;

/// One published track under AIC in one call, with totals that outlive its metric rows.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredSession {
    /// Its id.
    pub session_id: SessionId,
    /// The publisher.
    pub owner: UserKey,
    /// The call.
    pub call_id: CallId,
    /// The published track.
    pub track_id: TrackId,
    /// Kind of media.
    pub media: Media,
    /// First frame.
    pub started_at: Timestamp,
    /// Last frame; absent while it lives.
    pub ended_at: Option<Timestamp>,
    /// Traffic over all its seconds.
    pub traffic: Traffic,
    /// Mean quality score over the seconds that have one.
    pub quality_score: Option<f64>,
    /// Mean over its seconds of a frame's median time in compression, milliseconds.
    pub latency_ms: Option<f64>,
    /// Fallbacks begun.
    pub fallbacks: u64,
    /// Newest metric row.
    pub last_metric_at: Option<Timestamp>,
}

/// Which sessions are wanted. What is `None` does not narrow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionQuery {
    /// Of this call.
    pub call_id: Option<CallId>,
    /// Started at this time or later.
    pub from: Option<Timestamp>,
    /// Started before this time.
    pub to: Option<Timestamp>,
    /// After the page that ended here.
    pub cursor: Option<Cursor>,
    /// At most so many, up to [`crate::PAGE_MAX`].
    pub limit: u32,
}

const ORDER: Order = Order {
    at: "started_at_us",
    key: "session_id",
    numbered: false,
};

impl Scoped {
    /// One session; `None` when there is none, or it isn't the actor's to see.
    pub async fn session(&self, id: &SessionId) -> Result<Option<StoredSession>, StoreError> {
        let mut sql = Sql::new("SELECT * FROM aic_sessions WHERE session_id = ");
        sql.bind(id).push(" AND ");
        self.push_call_predicate(&mut sql);
        let rows = self.rows_of_calls("sessions", sql).await?;
        rows.first().map(from_row).transpose()
    }

    /// Sessions, newest first.
    pub async fn sessions(&self, query: &SessionQuery) -> Result<Page<StoredSession>, StoreError> {
        let mut sql = Sql::new("SELECT * FROM aic_sessions WHERE ");
        self.push_call_predicate(&mut sql);
        if let Some(call) = &query.call_id {
            sql.push(" AND call_id = ").bind(call);
        }
        push_span(&mut sql, "started_at_us", query.from, query.to);
        ORDER.push(&mut sql, query.cursor.as_ref(), query.limit);
        let rows = self.rows_of_calls("sessions", sql).await?;
        ORDER.page(&rows, query.limit, from_row)
    }
}

/// Sum by count; `None` when nothing was counted.
pub(crate) fn mean(sum: f64, count: u64) -> Option<f64> {
    (count > 0).then(|| sum / count as f64)
}

fn from_row(row: &Row) -> Result<StoredSession, StoreError> {
    Ok(StoredSession {
        session_id: row.text("session_id")?.into(),
        owner: row.owner()?,
        call_id: row.text("call_id")?.into(),
        track_id: row.text("track_id")?.into(),
        media: row.named("media")?,
        started_at: row.time("started_at_us")?,
        ended_at: row.maybe_time("ended_at_us")?,
        traffic: Traffic::from_row(row)?,
        quality_score: mean(row.get("quality_sum")?, row.count("quality_count")?),
        latency_ms: mean(row.get("latency_sum")?, row.count("latency_count")?),
        fallbacks: row.count("fallbacks")?,
        last_metric_at: row.maybe_time("last_metric_us")?,
    })
}
