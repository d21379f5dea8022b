//! What a tenant's own servers ask: to which room it goes, and which rooms there are.

use std::time::Instant;

use livekit_protocol as proto;

use super::Switchboard;
use crate::verb::{Asked, Listed, Trouble, Verb};

/// Most rooms of one shard: a tenant's server that creates them without end is stopped here.
const MAX_ROOMS: usize = 50_000;

impl Switchboard {
    pub(super) fn asked(&mut self, now: Instant, asked: Asked) {
        let Asked {
            room,
            place,
            verb,
            now_ms,
            reply,
        } = asked;
        let known = self.names.get(&room).copied();
        let id = match (known, &verb, place) {
            (Some(id), ..) => Ok(id),
            (None, Verb::Open(_), Some(_)) if self.closing => Err(Trouble::Closing),
            (None, Verb::Open(_), Some(_)) if self.rooms.len() >= MAX_ROOMS => Err(Trouble::TooMany("rooms")),
            (None, Verb::Open(settings), Some(place)) => {
                Ok(self.begin(now, &place, settings.clone(), now_ms))
            }
            (None, ..) => Err(Trouble::NoRoom),
        };
        match id {
            Ok(id) => {
                let over = matches!(verb, Verb::Delete);
                self.in_room(now, id, None, |room, cx| room.carry_out(cx, verb, reply));
                if over {
                    self.end_calls(now, false);
                }
            }
            Err(trouble) => {
                // Whoever asked may be gone.
                let _ = reply.send(Err(trouble));
            }
        }
    }

    pub(super) fn list(&self, listed: Listed) {
        let Listed { tenant, names, reply } = listed;
        let rooms = self.rooms.values().filter(|room| {
            room.key().tenant == tenant && (names.is_empty() || names.contains(&room.key().name))
        });
        let rooms: Vec<proto::Room> = rooms.map(|room| room.info()).collect();
        // Whoever asked may be gone.
        let _ = reply.send(rooms);
    }
}
