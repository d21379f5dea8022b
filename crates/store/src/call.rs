//! Calls and who was in them: kept from the events of media, read by people.

use std::collections::HashMap;

use auralink_types::{CallId, Event, EventKind, RoomName, SessionRef, UserId, UserKey};
use serde::Serialize;

use crate::database::Tx;
use crate::erasure;
use crate::error::StoreError;
use crate::names::Named as _;
use crate::outbox::{self, Announcement};
use crate::page::{Cursor, Order, Page, push_span};
use crate::parents;
use crate::row::Row;
use crate::scoped::Scoped;
use crate::sql::Sql;
use crate::store::Store;
use crate::timestamp::Timestamp;

/// One life of a room.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StoredCall {
    /// Its id.
    pub call_id: CallId,
    /// The room's name; empty while only metric rows know of the call.
    pub room: RoomName,
    /// First join.
    pub started_at: Timestamp,
    /// Last leave; absent while it lives.
    pub ended_at: Option<Timestamp>,
    /// Stays of participants, everybody's: who was in a call knows how many were.
    pub participants: u64,
    /// AIC sessions that the actor may see.
    pub sessions: u64,
}

/// Which calls are wanted. What is `None` does not narrow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CallQuery {
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
    key: "call_id",
    numbered: false,
};

impl Store {
    /// Keeps what happened in a call, and tells webhooks, in one transaction. The rows are the same however often it
    /// is told; webhooks hear of it each time.
    pub async fn record(&self, event: &Event) -> Result<(), StoreError> {
        if let EventKind::Redated { by_us } = event.kind {
            return self.redate(event, by_us).await;
        }
        let at = Timestamp::from_micros(event.ts_us);
        let mut tx = self.write().await?;
        let Some(event) = &erasure::admit(&mut tx, &self.names, event).await? else {
            return tx.commit().await;
        };
        ensure_call(&mut tx, event, at, self.server.get()).await?;
        if let Some(user) = event.kind.user() {
            parents::ensure_user(&mut tx, &owner(event, user), at).await?;
        }
        keep(&mut tx, event, at).await?;
        outbox::enqueue(&mut tx, &announcement(event, at)).await?;
        tx.commit().await
    }
}

impl Scoped {
    /// Calls, newest first: those the user was in, all of a room's for its admin, or all of an operator's tenant.
    pub async fn calls(&self, query: &CallQuery) -> Result<Page<StoredCall>, StoreError> {
        let one = self.narrowed().filter(|_| self.whole_room().is_none());
        let mut sql = Sql::new(
            "SELECT call_id, room, started_at_us, ended_at_us, (SELECT count(*) FROM aic_sessions s \
             WHERE s.tenant_id = c.tenant_id AND s.call_id = c.call_id",
        );
        if let Some(user) = one {
            sql.push(" AND s.user_id = ").bind(user);
        }
        sql.push(") AS sessions FROM calls c WHERE tenant_id = ")
            .bind(&self.actor.key.tenant);
        if let Some(room) = self.whole_room() {
            sql.push(" AND room = ").bind(room);
        }
        if let Some(user) = one {
            sql.push(
                " AND EXISTS (SELECT 1 FROM call_participants p WHERE p.tenant_id = c.tenant_id \
                 AND p.call_id = c.call_id AND p.user_id = ",
            )
            .bind(user)
            .push(")");
        }
        push_span(&mut sql, "started_at_us", query.from, query.to);
        ORDER.push(&mut sql, query.cursor.as_ref(), query.limit);
        let rows = self.rows_of_calls("calls", sql).await?;
        let mut page = ORDER.page(&rows, query.limit, from_row)?;
        self.count_participants(&mut page.rows).await?;
        Ok(page)
    }

    /// Counts as the server, because no policy shows a user the stays of others; that there were some is theirs to know.
    async fn count_participants(&self, calls: &mut [StoredCall]) -> Result<(), StoreError> {
        if calls.is_empty() {
            return Ok(());
        }
        let mut sql = Sql::new("SELECT call_id, count(*) AS stays FROM call_participants WHERE tenant_id = ");
        sql.bind(&self.actor.key.tenant).push(" AND call_id IN (");
        for (at, call) in calls.iter().enumerate() {
            sql.push(if at > 0 { ", " } else { "" }).bind(&call.call_id);
        }
        sql.push(") GROUP BY call_id");
        let mut tx = self.store.read().await?;
        let counted = tx.rows(sql).await?;
        tx.commit().await?;
        let mut stays = HashMap::new();
        for row in &counted {
            stays.insert(row.text("call_id")?, row.count("stays")?);
        }
        for call in calls {
            call.participants = stays.get(call.call_id.as_str()).copied().unwrap_or_default();
        }
        Ok(())
    }
}

fn owner(event: &Event, user: &UserId) -> UserKey {
    UserKey {
        tenant: event.tenant.clone(),
        user: user.clone(),
    }
}

/// A metric row may have made the call before, without the room's name and with the time of its own second.
async fn ensure_call(
    tx: &mut Tx,
    event: &Event,
    at: Timestamp,
    server: Option<&String>,
) -> Result<(), StoreError> {
    let sql = Sql::new(
        "INSERT INTO calls (tenant_id, call_id, room, started_at_us, server_id) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (tenant_id, call_id) DO UPDATE SET room = excluded.room, \
         server_id = coalesce(calls.server_id, excluded.server_id), started_at_us = \
         CASE WHEN excluded.started_at_us < calls.started_at_us THEN excluded.started_at_us \
         ELSE calls.started_at_us END WHERE calls.room <> excluded.room \
         OR excluded.started_at_us < calls.started_at_us OR calls.server_id IS NULL",
    );
    let sql = sql
        .with(&event.tenant)
        .with(&event.call_id)
        .with(&event.room)
        .with(at)
        .with(server.map(String::as_str));
    tx.execute(sql).await?;
    Ok(())
}

async fn keep(tx: &mut Tx, event: &Event, at: Timestamp) -> Result<(), StoreError> {
    let tenant = &event.tenant;
    let sql = match &event.kind {
        EventKind::CallStarted
        | EventKind::TrackPublished { .. }
        | EventKind::TrackUnpublished { .. }
        | EventKind::Redated { .. }
        | EventKind::FallbackTriggered { .. }
        | EventKind::FallbackRecovered { .. } => {
            return Ok(());
        }
        EventKind::CallEnded => {
            Sql::new("UPDATE calls SET ended_at_us = $3 WHERE tenant_id = $1 AND call_id = $2")
                .with(tenant)
                .with(&event.call_id)
                .with(at)
        }
        EventKind::ParticipantJoined { user, participant } => Sql::new(
            "INSERT INTO call_participants (tenant_id, participant_id, call_id, user_id, joined_at_us) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
        )
        .with(tenant)
        .with(participant)
        .with(&event.call_id)
        .with(user)
        .with(at),
        EventKind::ParticipantLeft { participant, .. } => Sql::new(
            "UPDATE call_participants SET left_at_us = $3 WHERE tenant_id = $1 AND participant_id = $2",
        )
        .with(tenant)
        .with(participant)
        .with(at),
        EventKind::SessionStarted(session) => start(event, session, at),
        EventKind::SessionEnded(session) => {
            Sql::new("UPDATE aic_sessions SET ended_at_us = $3 WHERE tenant_id = $1 AND session_id = $2")
                .with(tenant)
                .with(&session.session_id)
                .with(at)
        }
    };
    tx.execute(sql).await?;
    Ok(())
}

fn start(event: &Event, session: &SessionRef, at: Timestamp) -> Sql {
    Sql::new(
        "INSERT INTO aic_sessions (tenant_id, session_id, user_id, call_id, track_id, media, started_at_us) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
    )
    .with(&event.tenant)
    .with(&session.session_id)
    .with(&session.user)
    .with(&event.call_id)
    .with(&session.track_id)
    .with(session.media.to_name())
    .with(at)
}

/// What webhooks hear. The listener of a fallback stays out: the event is kept, and erased, with the publisher.
fn announcement(event: &Event, at: Timestamp) -> Announcement {
    let mut payload = serde_json::to_value(event).unwrap_or_default();
    if let Some(object) = payload.as_object_mut() {
        object.remove("listener");
        object.insert("at".to_owned(), at.rfc3339().into());
    }
    Announcement {
        tenant: event.tenant.clone(),
        user: event.kind.user().cloned(),
        subject: event.call_id.to_string(),
        event: event.kind.name().to_owned(),
        payload,
        at,
    }
}

fn from_row(row: &Row) -> Result<StoredCall, StoreError> {
    Ok(StoredCall {
        call_id: row.text("call_id")?.into(),
        room: row.text("room")?.into(),
        started_at: row.time("started_at_us")?,
        ended_at: row.maybe_time("ended_at_us")?,
        participants: 0,
        sessions: row.count("sessions")?,
    })
}
