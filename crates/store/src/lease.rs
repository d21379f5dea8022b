//! Which server holds which calls, so that those of one that was killed don't stay open for ever.
//!
//! A server counts beats in a row of its own. Another that sees the count stand still for [`LEASE`], by its own steady
//! clock, so that it doesn't matter what time either believes it is, closes what the dead one held: with the very events
//! that the dead one owed, so that webhooks hear of them too. On SQLite, which is for one server, whatever is open at
//! the start of a server was held by a dead one. A server that only stood still takes its lease again, and its calls get
//! their true ends when they end.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use auralink_types::{Event, EventKind, Objects, SessionRef};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use crate::database::{Database, Tx};
use crate::error::StoreError;
use crate::row::Row;
use crate::sql::{Sql, int};
use crate::store::Store;
use crate::timestamp::Timestamp;

/// A server that has not been heard of for so long is dead. Longer than a database may be busy.
pub const LEASE: Duration = Duration::from_secs(10);

/// How often a server counts a beat and looks at the others'.
const BEAT: Duration = Duration::from_secs(1);

/// What nobody is known to hold, because an earlier version wrote it or only metric rows told of it, is closed when it has
/// shown no sign of life for so long.
pub(crate) const UNHELD: Duration = Duration::from_secs(86_400);

/// A server's lease; while this lives it is renewed.
#[derive(Debug)]
pub struct Lease {
    store: Store,
    id: String,
    task: JoinHandle<()>,
}

impl Lease {
    /// Takes a lease for the server that writes with this store, and begins to look after those of others.
    pub async fn start(store: &Store) -> Result<Self, StoreError> {
        let id = Uuid::now_v7().simple().to_string();
        // A store has one server; a second lease of it is told of the first.
        let id = store.server.get_or_init(|| id).clone();
        let mut watch = Watch::default();
        let others = store.beat(&id).await?;
        if matches!(store.database, Database::Sqlite(_)) {
            for (server, beat) in &others {
                store.bury(server, beat).await?;
            }
            let mut tx = store.write().await?;
            close_unheld(&mut tx, Timestamp::from_micros(i64::MAX)).await?;
            tx.commit().await?;
        } else {
            watch.silent(Instant::now(), others);
        }
        let task = tokio::spawn(keep(store.clone(), id.clone(), watch));
        Ok(Self {
            store: store.clone(),
            id,
            task,
        })
    }

    /// Gives the lease back; what the server has left open is closed.
    pub async fn end(self) -> Result<(), StoreError> {
        self.task.abort();
        let now = Timestamp::from(SystemTime::now());
        self.store.wind_up(&self.id, now).await?;
        let mut tx = self.store.write().await?;
        let sql = Sql::new("DELETE FROM aic_servers WHERE server_id = $1");
        tx.execute(sql.with(self.id.as_str())).await?;
        tx.commit().await
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What another server has counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Beat {
    count: u64,
    /// When, by its own clock.
    at: Timestamp,
}

/// How long others have stood still. Sans-IO.
#[derive(Debug, Default)]
struct Watch(HashMap<String, (u64, Instant)>);

impl Watch {
    /// Those that are dead by now.
    fn silent(&mut self, now: Instant, others: Vec<(String, Beat)>) -> Vec<(String, Beat)> {
        let before = std::mem::take(&mut self.0);
        let mut dead = Vec::new();
        for (server, beat) in others {
            let since = match before.get(&server) {
                Some((count, since)) if *count == beat.count => *since,
                _ => now,
            };
            self.0.insert(server.clone(), (beat.count, since));
            if now.saturating_duration_since(since) >= LEASE {
                dead.push((server, beat));
            }
        }
        dead
    }
}

async fn keep(store: Store, id: String, mut watch: Watch) {
    let mut tick = tokio::time::interval(BEAT);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut away = false;
    loop {
        tick.tick().await;
        let looked = look(&store, &id, &mut watch).await;
        if let Err(error) = &looked
            && !away
        {
            tracing::warn!(%error, "the server's lease is not renewed");
        }
        away = looked.is_err();
    }
}

async fn look(store: &Store, id: &str, watch: &mut Watch) -> Result<(), StoreError> {
    let others = store.beat(id).await?;
    for (server, beat) in watch.silent(Instant::now(), others) {
        if store.claim(&server, beat).await? {
            tracing::warn!(server, "a server died; what it held is closed");
            store.bury(&server, &beat).await?;
        }
    }
    Ok(())
}

/// `columns` of what is open among `table`, whose calls, `c`, the server held. A call lived until its last metric row, or
/// until its server was last heard of.
fn open(server: &str, seen: Timestamp, columns: &str, table: &str, condition: &str) -> Sql {
    Sql::new(format!(
        "SELECT c.tenant_id, c.call_id, c.room, {columns}, (SELECT max(t) FROM (SELECT c.started_at_us AS t \
         UNION ALL SELECT $2 UNION ALL SELECT last_metric_us FROM aic_sessions WHERE tenant_id = c.tenant_id \
         AND call_id = c.call_id) AS signs) AS last_us FROM {table} WHERE {condition} AND c.server_id = $1"
    ))
    .with(server)
    .with(seen)
}

impl Store {
    /// Counts a beat; answers with those of all other servers.
    async fn beat(&self, id: &str) -> Result<Vec<(String, Beat)>, StoreError> {
        let mut tx = self.write().await?;
        let sql = Sql::new(
            "INSERT INTO aic_servers (server_id, beats, beat_at_us) VALUES ($1, 0, $2) \
             ON CONFLICT (server_id) DO UPDATE SET beats = aic_servers.beats + 1, beat_at_us = excluded.beat_at_us",
        );
        tx.execute(sql.with(id).with(Timestamp::from(SystemTime::now())))
            .await?;
        let sql = Sql::new("SELECT server_id, beats, beat_at_us FROM aic_servers WHERE server_id <> $1");
        let rows = tx.rows(sql.with(id)).await?;
        tx.commit().await?;
        let beat = |row: &Row| {
            let beat = Beat {
                count: row.count("beats")?,
                at: row.time("beat_at_us")?,
            };
            Ok((row.text("server_id")?, beat))
        };
        rows.iter().map(beat).collect()
    }

    /// Takes it on to close what a dead server held. Of several servers one does it; should that one die as well, the
    /// next does it when the lease has run out again.
    async fn claim(&self, server: &str, beat: Beat) -> Result<bool, StoreError> {
        let sql = Sql::new("UPDATE aic_servers SET beats = beats + 1 WHERE server_id = $1 AND beats = $2");
        let mut tx = self.write().await?;
        let claimed = tx.execute(sql.with(server).with(int(beat.count))).await?;
        tx.commit().await?;
        Ok(claimed == 1)
    }

    /// Closes what a dead server held, and forgets it.
    async fn bury(&self, server: &str, beat: &Beat) -> Result<(), StoreError> {
        self.wind_up(server, beat.at).await?;
        let sql = Sql::new("DELETE FROM aic_servers WHERE server_id = $1 AND beat_at_us = $2");
        let mut tx = self.write().await?;
        tx.execute(sql.with(server).with(beat.at)).await?;
        tx.commit().await
    }

    /// Tells what a server owed: sessions that ended, participants who left, calls that are over.
    async fn wind_up(&self, server: &str, seen: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.read().await?;
        let sessions = open(
            server,
            seen,
            "s.session_id, s.track_id, s.user_id, s.media, coalesce(s.last_metric_us, s.started_at_us) AS end_us",
            "calls c JOIN aic_sessions s ON s.tenant_id = c.tenant_id AND s.call_id = c.call_id",
            "s.ended_at_us IS NULL",
        );
        let participants = open(
            server,
            seen,
            "p.participant_id, p.user_id, p.joined_at_us AS end_us",
            "calls c JOIN call_participants p ON p.tenant_id = c.tenant_id AND p.call_id = c.call_id",
            "p.left_at_us IS NULL",
        );
        let calls = open(
            server,
            seen,
            "c.started_at_us AS end_us",
            "calls c",
            "c.ended_at_us IS NULL",
        );
        let mut owed = Vec::new();
        for row in tx.rows(sessions).await? {
            let session = SessionRef {
                session_id: row.text("session_id")?.into(),
                track_id: row.text("track_id")?.into(),
                user: row.text("user_id")?.into(),
                media: row.named("media")?,
            };
            // A session ended with its last row.
            owed.push(event(&row, row.int("end_us")?, EventKind::SessionEnded(session))?);
        }
        for row in tx.rows(participants).await? {
            let kind = EventKind::ParticipantLeft {
                user: row.text("user_id")?.into(),
                participant: row.text("participant_id")?.into(),
            };
            owed.push(event(&row, row.int("last_us")?.max(row.int("end_us")?), kind)?);
        }
        for row in tx.rows(calls).await? {
            owed.push(event(&row, row.int("last_us")?, EventKind::CallEnded)?);
        }
        tx.commit().await?;
        for event in &owed {
            self.record(event).await?;
        }
        if !owed.is_empty() {
            tracing::info!(count = owed.len(), "what a server had left open is closed");
        }
        Ok(())
    }
}

/// Closes what is open in calls that nobody is known to hold and that have shown no sign of life since then. Webhooks
/// don't hear of it: it may be long ago.
pub(crate) async fn close_unheld(tx: &mut Tx, before: Timestamp) -> Result<(), StoreError> {
    let sql = Sql::new(
        "UPDATE aic_sessions SET ended_at_us = coalesce(last_metric_us, started_at_us) WHERE ended_at_us IS NULL \
         AND started_at_us < $1 AND coalesce(last_metric_us, started_at_us) < $1 AND EXISTS (SELECT 1 FROM calls c \
         WHERE c.tenant_id = aic_sessions.tenant_id AND c.call_id = aic_sessions.call_id AND c.server_id IS NULL)",
    );
    tx.execute(sql.with(before)).await?;
    let sql = Sql::new(
        "UPDATE calls SET ended_at_us = coalesce((SELECT max(s.ended_at_us) FROM aic_sessions s \
         WHERE s.tenant_id = calls.tenant_id AND s.call_id = calls.call_id), started_at_us) \
         WHERE ended_at_us IS NULL AND server_id IS NULL AND started_at_us < $1 \
         AND NOT EXISTS (SELECT 1 FROM aic_sessions s WHERE s.tenant_id = calls.tenant_id \
         AND s.call_id = calls.call_id AND s.ended_at_us IS NULL)",
    );
    tx.execute(sql.with(before)).await?;
    let sql = Sql::new(
        "UPDATE call_participants SET left_at_us = (SELECT CASE WHEN c.ended_at_us > joined_at_us \
         THEN c.ended_at_us ELSE joined_at_us END FROM calls c \
         WHERE c.tenant_id = call_participants.tenant_id AND c.call_id = call_participants.call_id) \
         WHERE left_at_us IS NULL AND EXISTS (SELECT 1 FROM calls c WHERE c.tenant_id = call_participants.tenant_id \
         AND c.call_id = call_participants.call_id AND c.server_id IS NULL AND c.ended_at_us < $1)",
    );
    tx.execute(sql.with(before)).await?;
    Ok(())
}

fn event(row: &Row, ts_us: i64, kind: EventKind) -> Result<Event, StoreError> {
    Ok(Event {
        ts_us,
        tenant: row.text("tenant_id")?.into(),
        call_id: row.text("call_id")?.into(),
        room: row.text("room")?.into(),
        kind,
        // The room went with its server.
        objects: Objects::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(count: u64) -> Vec<(String, Beat)> {
        let at = Timestamp::from_micros(0);
        vec![("other".into(), Beat { count, at })]
    }

    #[test]
    fn a_server_is_dead_when_its_count_has_stood_still_for_the_lease_whatever_its_clock_says() {
        let (mut watch, from) = (Watch::default(), Instant::now());
        assert_eq!(watch.silent(from, beat(7)), []);
        assert_eq!(watch.silent(from + LEASE / 2, beat(8)), []);
        assert_eq!(watch.silent(from + LEASE, beat(8)), []);
        assert_eq!(watch.silent(from + LEASE / 2 + LEASE, beat(8)), beat(8));
        assert_eq!(watch.silent(from + LEASE * 2, beat(9)), [], "it lives after all");
        assert_eq!(watch.silent(from + LEASE * 3, Vec::new()), []);
        assert_eq!(watch.silent(from + LEASE * 4, beat(9)), [], "seen anew");
    }
}
