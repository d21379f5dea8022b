//! Those who were erased do not come back by rows that were still on their way.
//!
//! Everything that media tells enters here. Of a user who was erased nothing may enter that happened before, nor
//! anything later, until he comes back of his own accord: by joining a call or by setting a configuration, which is what
//! makes his row in `users` again. A call that went with him may be told of again when others come into it, without the
//! name of its room. What is remembered of him for that is a keyed hash and the time.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use auralink_types::{CallId, Event, EventKind, TenantId, UserKey};

use crate::audit::ERASED;
use crate::database::Tx;
use crate::error::StoreError;
use crate::pseudonym::Pseudonyms;
use crate::sql::Sql;
use crate::store::Store;
use crate::timestamp::Timestamp;

/// How long an erasure is remembered: longer than rows wait for a database that is away, and than calls last.
pub(crate) const REMEMBERED: Duration = Duration::from_secs(30 * 86_400);

/// Held by whoever erases, shared by whoever writes what media tells: a row is in before the erasure, or meets it.
const LOCK: &str = "erasures";

/// An erased user.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gone {
    at: Timestamp,
    /// He has come back.
    back: bool,
}

impl Gone {
    /// Whether what happened to him at that time must stay out.
    pub(crate) fn bars(&self, at: Timestamp) -> bool {
        at <= self.at || !self.back
    }
}

/// Nobody writes until this transaction has ended.
pub(crate) async fn begin(tx: &mut Tx) -> Result<(), StoreError> {
    tx.lock(LOCK).await
}

/// Remembers a user or a call as erased. Servers hear of it by the revision.
pub(crate) async fn remember(tx: &mut Tx, subject: String, now: Timestamp) -> Result<(), StoreError> {
    let sql = Sql::new(
        "INSERT INTO erasures (subject, erased_at_us, revision) \
         SELECT $1, $2, revision FROM aic_state WHERE revision >= 0 \
         ON CONFLICT (subject) DO UPDATE SET erased_at_us = excluded.erased_at_us, revision = excluded.revision",
    );
    tx.execute(sql.with(subject).with(now)).await?;
    Ok(())
}

/// Who of these was erased.
pub(crate) async fn gone<'u>(
    tx: &mut Tx,
    names: &Pseudonyms,
    users: impl IntoIterator<Item = &'u UserKey>,
) -> Result<HashMap<UserKey, Gone>, StoreError> {
    tx.lock_shared(LOCK).await?;
    let mut gone = HashMap::new();
    // Mostly nobody was, and a batch of rows names a thousand users.
    if tx
        .row(Sql::new("SELECT 1 AS one FROM erasures LIMIT 1"))
        .await?
        .is_none()
    {
        return Ok(gone);
    }
    let users: HashSet<&UserKey> = users.into_iter().collect();
    let subjects: HashMap<String, &UserKey> = users
        .into_iter()
        .map(|user| (names.of_user(user), user))
        .collect();
    let mut sql = Sql::new("SELECT subject, erased_at_us FROM erasures WHERE subject IN (");
    sql.push(tx.members()).push(")");
    let list = serde_json::Value::from_iter(subjects.keys().map(String::as_str));
    for row in tx.rows(sql.with(list)).await? {
        // Only what was asked for is answered.
        let Some(user) = subjects.get(&row.text("subject")?) else {
            continue;
        };
        let here = Sql::new("SELECT 1 AS one FROM users WHERE tenant_id = $1 AND user_id = $2");
        let here = tx.row(here.with(&user.tenant).with(&user.user)).await?;
        let them = Gone {
            at: row.time("erased_at_us")?,
            back: here.is_some(),
        };
        gone.insert((*user).clone(), them);
    }
    Ok(gone)
}

impl Store {
    /// The keyed hash of a user who was erased and has not come back.
    pub(crate) async fn erased(&self, tenant: &TenantId, user: &str) -> Result<Option<String>, StoreError> {
        if user.is_empty() {
            return Ok(None);
        }
        let key = UserKey::new(tenant.as_str(), user);
        let mut tx = self.read().await?;
        let gone = gone(&mut tx, &self.names, [&key]).await?;
        tx.commit().await?;
        let away = gone.get(&key).is_some_and(|them| !them.back);
        Ok(away.then(|| self.names.of_user(&key)))
    }
}

/// The event as it may be kept and told; `None` when nothing of it may be.
pub(crate) async fn admit<'e>(
    tx: &mut Tx,
    names: &Pseudonyms,
    event: &'e Event,
) -> Result<Option<Cow<'e, Event>>, StoreError> {
    let key = |user: &str| UserKey::new(event.tenant.as_str(), user);
    let user = event.kind.user().map(|user| key(user.as_str()));
    // A room may bear a user's name.
    let namesake = key(event.room.as_str());
    let gone = gone(tx, names, user.iter().chain([&namesake])).await?;
    if let Some(them) = user.as_ref().and_then(|user| gone.get(user)) {
        let at = Timestamp::from_micros(event.ts_us);
        let comes = matches!(event.kind, EventKind::ParticipantJoined { .. }) && at > them.at;
        if !comes && them.bars(at) {
            forget_empty(tx, names, &event.tenant, &event.call_id, them.at).await?;
            return Ok(None);
        }
    }
    let call = Sql::new("SELECT 1 AS one FROM erasures WHERE subject = $1");
    let call = call.with(names.of_call(&event.tenant, &event.call_id));
    let erased_call = tx.row(call).await?.is_some();
    if erased_call && user.is_none() && !known(tx, &event.tenant, &event.call_id).await? {
        return Ok(None);
    }
    if erased_call || gone.get(&namesake).is_some_and(|them| !them.back) {
        let mut event = event.clone();
        event.room = ERASED.into();
        event.objects.room = None;
        return Ok(Some(Cow::Owned(event)));
    }
    Ok(Some(Cow::Borrowed(event)))
}

async fn known(tx: &mut Tx, tenant: &TenantId, call: &CallId) -> Result<bool, StoreError> {
    let sql = Sql::new("SELECT 1 AS one FROM calls WHERE tenant_id = $1 AND call_id = $2");
    Ok(tx.row(sql.with(tenant).with(call)).await?.is_some())
}

/// A call of which only somebody erased is known goes the way of those that were erased with him.
async fn forget_empty(
    tx: &mut Tx,
    names: &Pseudonyms,
    tenant: &TenantId,
    call: &CallId,
    at: Timestamp,
) -> Result<(), StoreError> {
    let both = |text: &str| Sql::new(text).with(tenant).with(call);
    let people = both(
        "SELECT 1 AS one FROM call_participants WHERE tenant_id = $1 AND call_id = $2 \
         UNION ALL SELECT 1 FROM aic_sessions WHERE tenant_id = $1 AND call_id = $2",
    );
    if tx.row(people).await?.is_some() {
        return Ok(());
    }
    remember(tx, names.of_call(tenant, call), at).await?;
    tx.execute(both(
        "DELETE FROM webhook_events WHERE tenant_id = $1 AND subject = $2",
    ))
    .await?;
    tx.execute(both("DELETE FROM calls WHERE tenant_id = $1 AND call_id = $2"))
        .await?;
    Ok(())
}
