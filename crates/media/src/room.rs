//! A room: who is in it.

use std::time::Instant;

use auralink_types::CallId;
use livekit_protocol as proto;

use crate::participant::Pid;

/// One life of a room.
#[derive(Debug)]
pub struct Room {
    /// Its id, `RM_…`.
    pub sid: CallId,
    /// Its name.
    pub name: String,
    /// When it began, milliseconds since the Unix epoch.
    pub created_at_ms: i64,
    /// Who is in it, in the order of joining.
    pub participants: Vec<Pid>,
    /// When the last one left; it goes after a while unless somebody joins.
    pub empty_since: Option<Instant>,
}

impl Room {
    /// How clients see it.
    pub fn info(&self) -> proto::Room {
        proto::Room {
            sid: self.sid.as_str().into(),
            name: self.name.clone(),
            creation_time: self.created_at_ms / 1000,
            creation_time_ms: self.created_at_ms,
            num_participants: self.participants.len() as u32,
            ..Default::default()
        }
    }
}
