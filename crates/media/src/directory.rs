//! Where a room is: on which shard of this server.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::participant::RoomKey;

/// Number of a shard, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub usize);

/// Knows where each room is, and where the next one begins.
pub trait Directory: Send + Sync {
    /// A claim on the place where that room is, or is to begin.
    fn claim(&self, room: &RoomKey) -> Claim;
}

/// The shards of one server: a new room begins on the one with the fewest claims.
#[derive(Clone)]
pub struct LeastBusy {
    table: Arc<Mutex<Table>>,
}

struct Table {
    /// Where each room is, and the claims on it.
    rooms: HashMap<RoomKey, (ShardId, usize)>,
    /// Claims on each shard.
    busy: Vec<usize>,
}

/// Somebody's interest in a room's place. The room and each participant hold one, from the moment they knock: as long as
/// anybody does, the room stays where it is.
pub struct Claim {
    directory: LeastBusy,
    room: RoomKey,
    shard: ShardId,
}

impl LeastBusy {
    /// A directory of so many shards, at least one.
    pub fn new(shards: usize) -> Self {
        let table = Table {
            rooms: HashMap::new(),
            busy: vec![0; shards.max(1)],
        };
        Self {
            table: Arc::new(Mutex::new(table)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Nothing in here panics half-way.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, room: RoomKey) -> Claim {
        let mut table = self.lock();
        let Table { rooms, busy } = &mut *table;
        let least = || {
            let shards = busy.iter().enumerate();
            shards
                .min_by_key(|(_, claims)| **claims)
                .map_or(0, |(shard, _)| shard)
        };
        let (shard, claims) = rooms.entry(room.clone()).or_insert_with(|| (ShardId(least()), 0));
        *claims += 1;
        let shard = *shard;
        busy[shard.0] += 1;
        drop(table);
        Claim {
            directory: self.clone(),
            room,
            shard,
        }
    }
}

impl Directory for LeastBusy {
    fn claim(&self, room: &RoomKey) -> Claim {
        self.take(room.clone())
    }
}

impl Claim {
    /// Where the room is.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// Which room it is.
    pub fn room(&self) -> &RoomKey {
        &self.room
    }
}

impl Clone for Claim {
    fn clone(&self) -> Self {
        self.directory.take(self.room.clone())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut table = self.directory.lock();
        table.busy[self.shard.0] -= 1;
        if let Some((_, claims)) = table.rooms.get_mut(&self.room) {
            *claims -= 1;
            if *claims == 0 {
                table.rooms.remove(&self.room);
            }
        }
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim")
            .field("room", &self.room)
            .field("shard", &self.shard)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use auralink_types::{RoomName, TenantId};

    use super::*;

    fn room(name: &str) -> RoomKey {
        RoomKey {
            tenant: TenantId::from("tenant"),
            name: RoomName::from(name),
        }
    }

    #[test]
    fn rooms_are_spread_by_how_many_are_in_them() {
        let directory = LeastBusy::new(2);
        let full: Vec<_> = (0..5).map(|_| directory.claim(&room("full"))).collect();
        let others: Vec<_> = (0..4)
            .map(|n| directory.claim(&room(&format!("small {n}"))))
            .collect();
        assert!(full.iter().all(|claim| claim.shard() == ShardId(0)));
        assert!(others.iter().all(|claim| claim.shard() == ShardId(1)));
    }

    #[test]
    fn a_room_stays_where_it_is_while_anybody_claims_it_and_is_placed_anew_afterwards() {
        let directory = LeastBusy::new(2);
        let first = directory.claim(&room("a"));
        let of_room = first.clone();
        let elsewhere: Vec<_> = (0..3).map(|_| directory.claim(&room("b"))).collect();
        drop(first);
        let other = directory.claim(&room("c"));
        assert_eq!(directory.claim(&room("a")).shard(), of_room.shard());
        assert_eq!(other.shard(), of_room.shard());
        drop((of_room, other, elsewhere));
        let table = directory.lock();
        assert!(table.rooms.is_empty());
        assert_eq!(table.busy, [0, 0]);
    }
}
