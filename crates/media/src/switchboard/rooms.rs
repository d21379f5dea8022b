//! How rooms begin and end on a shard, who is let into them, and what they hear from other shards.

use std::time::Instant;

use auralink_types::CallId;
use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::leave_request::Action;

use super::{MAX_PARTICIPANTS, Switchboard};
use crate::command::{Command, Join};
use crate::directory::{Call, Claim, ShardId};
use crate::participant::RoomId;
use crate::relay::Letter;
use crate::room::{Cx, Room, new_sid, refuse};
use crate::settings::Settings;
use crate::signal;

impl Switchboard {
    pub(super) fn join(&mut self, now: Instant, mut join: Join) {
        if self.closing {
            return refuse(&join.queue, DisconnectReason::ServerShutdown, Action::Reconnect);
        }
        if self.people() >= MAX_PARTICIPANTS {
            return refuse(&join.queue, DisconnectReason::JoinFailure, Action::Disconnect);
        }
        let id = match self.names.get(join.claim.room()) {
            Some(id) => *id,
            None => self.begin(now, &join.claim, Settings::default(), join.now_ms),
        };
        let socket = join.socket;
        if self.rooms.get(id.0).is_some_and(|room| room.is_meeting(now)) {
            return self.held.hold(id, socket, Command::Join(Box::new(join)));
        }
        let offer = join.request.publisher_offer.take();
        let tracks = std::mem::take(&mut join.request.add_track_requests);
        let joined = self.in_room(now, id, None, |room, cx| {
            let (pid, ice) = room.join(cx, join)?;
            for track in tracks {
                signal::add_track(room, cx, pid, track);
            }
            room.start(cx, pid, ice, offer);
            room.settle(cx);
            Some(pid)
        });
        if let Some(pid) = joined.flatten() {
            self.sockets.insert(socket, (id, pid));
        }
    }

    pub(super) fn begin(&mut self, now: Instant, claim: &Claim, settings: Settings, now_ms: i64) -> RoomId {
        let id = RoomId(self.rooms.next_handle());
        let begun = claim.begin(|| Call {
            sid: CallId::new(new_sid("RM_")),
            created_at_ms: now_ms,
            settings,
        });
        let mut cx = Cx {
            now,
            out: &mut self.out,
            ai: &mut self.ai,
            counters: &mut self.counters,
            sessions: &self.sessions,
        };
        let key = claim.room().clone();
        let room = Room::begin(&mut cx, id, begun);
        self.rooms.insert(room);
        self.names.insert(key, id);
        id
    }

    /// Letters from another shard.
    pub fn handle_letters(&mut self, now: Instant, from: ShardId, letters: Vec<Letter>) {
        for Letter { room, note } in letters {
            if let Some(id) = self.names.get(&room).copied() {
                self.in_room(now, id, None, |room, cx| room.handle_note(cx, from, note));
            }
        }
        self.let_in(now);
    }

    /// Does what was held of those whose rooms have met their other parts.
    pub(super) fn let_in(&mut self, now: Instant) {
        let meeting = |id: RoomId| self.rooms.get(id.0).is_some_and(|room| room.is_meeting(now));
        for command in self.held.release(|id| !meeting(id)) {
            self.handle_command(now, command);
        }
    }

    /// Another shard has died: what was there of our rooms is gone.
    pub fn handle_death(&mut self, now: Instant, of: ShardId) {
        self.in_every_room(now, |room, cx| {
            room.lose_part(cx, of);
            room.settle(cx);
        });
    }

    /// Letters to another shard were lost: what both know of each other's rooms is told anew.
    pub fn meet_anew(&mut self, now: Instant, shard: ShardId) {
        self.in_every_room(now, |room, cx| {
            room.greet_part(cx, shard);
            room.settle(cx);
        });
    }

    /// Ends the calls of the rooms that have stayed empty, or of all empty ones; they end when the last one left.
    pub(super) fn end_calls(&mut self, now: Instant, all: bool) {
        let ended: Vec<(RoomId, Instant)> = self
            .rooms
            .iter()
            .filter_map(|(handle, room)| {
                let since = if all { room.empty_since } else { room.over(now) };
                Some((RoomId(handle), since?))
            })
            .collect();
        for (id, since) in ended {
            self.in_room(now, id, None, |room, cx| room.end(cx, since));
            if let Some(room) = self.rooms.remove(id.0) {
                self.names.remove(room.key());
            }
        }
    }
}
