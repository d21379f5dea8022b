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
    /// What the people in it were last told of their number.
    pub told: Headcount,
    /// When the last one left; it goes after a while unless somebody joins.
    pub empty_since: Option<Instant>,
}

/// How many are in a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headcount {
    participants: u32,
    publishers: u32,
    recording: bool,
}

impl Headcount {
    /// What a description of the room says.
    pub fn of(info: &proto::Room) -> Self {
        Self {
            participants: info.num_participants,
            publishers: info.num_publishers,
            recording: info.active_recording,
        }
    }
}

impl Room {
    /// How clients see it, but for the people in it.
    pub fn info(&self) -> proto::Room {
        proto::Room {
            sid: self.sid.as_str().into(),
            name: self.name.clone(),
            creation_time: self.created_at_ms / 1000,
            creation_time_ms: self.created_at_ms,
            ..Default::default()
        }
    }
}
