//! The users, calls and sessions that other rows hang on.

use std::collections::HashSet;

use auralink_types::{MetricRow, SessionId, UserKey};

use crate::database::Tx;
use crate::error::StoreError;
use crate::sql::Sql;
use crate::timestamp::Timestamp;

/// A row stands for the second before its time.
const SECOND_US: i64 = 1_000_000;

/// Sessions remembered as written: ten times what one machine carries. Past it all are forgotten, which costs one
/// needless insert each.
const KNOWN_MAX: usize = 20_000;

/// A row that names the parent, and the start of its second.
pub(crate) type Parent<'a> = (&'a MetricRow, i64);

/// What a batch needs before its rows; sorted by key, so that two servers lock them in one order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parents<'a> {
    pub(crate) users: Vec<Parent<'a>>,
    pub(crate) calls: Vec<Parent<'a>>,
    pub(crate) sessions: Vec<Parent<'a>>,
}

impl<'a> Parents<'a> {
    /// Leaves those out whose rows are not wanted.
    pub(crate) fn retain(&mut self, wanted: impl Fn(&MetricRow) -> bool) {
        for parents in [&mut self.users, &mut self.calls, &mut self.sessions] {
            parents.retain(|(row, _)| wanted(row));
        }
    }
}

/// Sessions whose parents were written before.
#[derive(Debug, Default)]
pub(crate) struct KnownSessions(HashSet<(UserKey, SessionId)>);

impl KnownSessions {
    /// The parents that may be missing.
    pub(crate) fn missing<'a>(&self, rows: &'a [MetricRow]) -> Parents<'a> {
        let mut seen = HashSet::new();
        let mut sessions: Vec<Parent<'a>> = rows
            .iter()
            .filter(|row| seen.insert((&row.owner, &row.session_id)))
            .filter(|row| !self.0.contains(&(row.owner.clone(), row.session_id.clone())))
            .map(|row| (row, row.ts_us.saturating_sub(SECOND_US)))
            .collect();
        let mut calls = sessions.clone();
        let mut users = sessions.clone();
        sessions.sort_by_key(|(row, start)| (&row.owner.tenant, &row.session_id, *start));
        calls.sort_by_key(|(row, start)| (&row.owner.tenant, &row.call_id, *start));
        calls.dedup_by_key(|(row, _)| (&row.owner.tenant, &row.call_id));
        users.sort_by_key(|(row, start)| (&row.owner, *start));
        users.dedup_by_key(|(row, _)| &row.owner);
        Parents {
            users,
            calls,
            sessions,
        }
    }

    /// They are in the database now.
    pub(crate) fn remember(&mut self, parents: &Parents<'_>) {
        if self.0.len() + parents.sessions.len() > KNOWN_MAX {
            self.0.clear();
        }
        let keys = parents.sessions.iter();
        self.0
            .extend(keys.map(|(row, _)| (row.owner.clone(), row.session_id.clone())));
    }

    /// Somebody has erased one of them.
    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }
}

/// Makes the user's row when it is missing.
pub(crate) async fn ensure_user(tx: &mut Tx, user: &UserKey, at: Timestamp) -> Result<(), StoreError> {
    let sql = Sql::new(
        "INSERT INTO users (tenant_id, user_id, created_at_us) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
    );
    tx.execute(sql.with(&user.tenant).with(&user.user).with(at))
        .await?;
    Ok(())
}
