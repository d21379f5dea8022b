//! Where a room is: on which shards of this server, and who sits on which.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use auralink_types::{CallId, UserId};

use crate::participant::RoomKey;
use crate::settings::Settings;

/// Number of a shard, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub usize);

/// Knows where each room is, and where the next one begins.
pub trait Directory: Send + Sync {
    /// A claim on a place in that room: where they are already, or where there is room for them.
    fn claim(&self, room: &RoomKey, who: &UserId) -> Claim;

    /// Where somebody sits in that room, if they do.
    fn seat(&self, room: &RoomKey, who: &UserId) -> Option<ShardId>;

    /// On which shards that room has begun.
    fn parts(&self, room: &RoomKey) -> Vec<ShardId>;

    /// How many rooms there are, each counted once on however many shards it is.
    fn rooms(&self) -> usize;
}

/// The shards of one server: a new room begins on the one with the fewest claims, and goes on there until it is too large.
#[derive(Clone)]
pub struct LeastBusy {
    table: Arc<Mutex<Table>>,
    /// Claims on one room on one shard beyond which the next are given another; 0 for never.
    split_at: usize,
}

struct Table {
    rooms: HashMap<RoomKey, Seats>,
    /// Claims on each shard.
    busy: Vec<usize>,
}

/// Where the people of one room sit.
#[derive(Default)]
struct Seats {
    /// The life of the room, while it has one on any shard.
    call: Option<Call>,
    parts: BTreeMap<ShardId, Places>,
    people: HashMap<UserId, (ShardId, usize)>,
}

/// One room on one shard.
#[derive(Default)]
struct Places {
    claims: usize,
    begun: bool,
}

/// One life of a room, the same in all of its parts.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its id for clients and books, `RM_…`.
    pub sid: CallId,
    /// When it began, milliseconds since the Unix epoch.
    pub created_at_ms: i64,
    /// What it was created with.
    pub settings: Settings,
}

/// Somebody's interest in a place in a room, from the moment they knock: as long as they have it, they are found there.
pub struct Claim {
    directory: LeastBusy,
    room: RoomKey,
    who: UserId,
    shard: ShardId,
}

/// A part of a room that has begun on a shard.
pub struct Part {
    directory: LeastBusy,
    room: RoomKey,
    shard: ShardId,
    call: Call,
    ended: bool,
}

impl LeastBusy {
    /// A directory of so many shards, at least one, on which a room is split beyond so many claims.
    pub fn new(shards: usize, split_at: usize) -> Self {
        let table = Table {
            rooms: HashMap::new(),
            busy: vec![0; shards.max(1)],
        };
        Self {
            table: Arc::new(Mutex::new(table)),
            split_at,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Nothing in here panics half-way.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Where the next one comes: to a part that has room, else to a new one, else where it is least crowded.
    fn place(&self, room: &RoomKey, split_at: usize) -> ShardId {
        let empty = BTreeMap::new();
        let parts = self.rooms.get(room).map_or(&empty, |seats| &seats.parts);
        let least = |shards: &mut dyn Iterator<Item = ShardId>| shards.min_by_key(|shard| self.busy[shard.0]);
        let roomy = |places: &Places| split_at == 0 || places.claims < split_at;
        let mut open = parts
            .iter()
            .filter(|(_, places)| roomy(places))
            .map(|(shard, _)| *shard);
        let mut fresh = (0..self.busy.len())
            .map(ShardId)
            .filter(|shard| !parts.contains_key(shard));
        let mut all = (0..self.busy.len()).map(ShardId);
        least(&mut open)
            .or_else(|| least(&mut fresh))
            .or_else(|| least(&mut all))
            .unwrap_or(ShardId(0))
    }

    fn release(&mut self, room: &RoomKey, shard: ShardId) {
        self.busy[shard.0] -= 1;
        let Some(seats) = self.rooms.get_mut(room) else {
            return;
        };
        if let Some(places) = seats.parts.get_mut(&shard) {
            places.claims -= 1;
            if places.claims == 0 {
                seats.parts.remove(&shard);
            }
        }
        if seats.parts.is_empty() {
            self.rooms.remove(room);
        }
    }
}

impl Directory for LeastBusy {
    fn claim(&self, room: &RoomKey, who: &UserId) -> Claim {
        let mut table = self.lock();
        let known = table.rooms.get(room).and_then(|seats| seats.people.get(who));
        let shard = match known {
            Some((shard, _)) => *shard,
            None => table.place(room, self.split_at),
        };
        let seats = table.rooms.entry(room.clone()).or_default();
        seats.parts.entry(shard).or_default().claims += 1;
        seats.people.entry(who.clone()).or_insert((shard, 0)).1 += 1;
        table.busy[shard.0] += 1;
        drop(table);
        Claim {
            directory: self.clone(),
            room: room.clone(),
            who: who.clone(),
            shard,
        }
    }

    fn seat(&self, room: &RoomKey, who: &UserId) -> Option<ShardId> {
        let table = self.lock();
        table.rooms.get(room)?.people.get(who).map(|(shard, _)| *shard)
    }

    fn parts(&self, room: &RoomKey) -> Vec<ShardId> {
        let table = self.lock();
        let parts = table.rooms.get(room).into_iter().flat_map(|seats| &seats.parts);
        let begun = parts.filter(|(_, places)| places.begun);
        begun.map(|(shard, _)| *shard).collect()
    }

    fn rooms(&self) -> usize {
        self.lock()
            .rooms
            .values()
            .filter(|seats| seats.call.is_some())
            .count()
    }
}

impl Claim {
    /// On which shard the place is.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// Which room it is.
    pub fn room(&self) -> &RoomKey {
        &self.room
    }

    /// Begins the room's part on that shard, and its life if it has none, with what `fresh` makes.
    pub fn begin(&self, fresh: impl FnOnce() -> Call) -> Begun {
        let mut table = self.directory.lock();
        table.busy[self.shard.0] += 1;
        let seats = table.rooms.entry(self.room.clone()).or_default();
        let first = seats.call.is_none();
        let call = seats.call.get_or_insert_with(fresh).clone();
        let places = seats.parts.entry(self.shard).or_default();
        places.claims += 1;
        places.begun = true;
        let others = seats.parts.iter().filter(|(shard, _)| **shard != self.shard);
        Begun {
            first,
            others: others.map(|(shard, places)| (*shard, places.begun)).collect(),
            part: Part {
                directory: self.directory.clone(),
                room: self.room.clone(),
                shard: self.shard,
                call,
                ended: false,
            },
        }
    }
}

/// What there is to know when a part of a room begins.
pub struct Begun {
    /// The part.
    pub part: Part,
    /// Whether the room's life begins with it.
    pub first: bool,
    /// Where the room is about to be as well, and whether it is already.
    pub others: Vec<(ShardId, bool)>,
}

impl Part {
    /// Which room it is.
    pub fn room(&self) -> &RoomKey {
        &self.room
    }

    /// The room's life.
    pub fn call(&self) -> &Call {
        &self.call
    }

    /// Changes the room's metadata, also for parts that begin later.
    pub fn describe(&mut self, metadata: String) {
        let mut table = self.directory.lock();
        let seats = table.rooms.get_mut(&self.room);
        if let Some(call) = seats.and_then(|seats| seats.call.as_mut()) {
            call.settings.metadata.clone_from(&metadata);
        }
        self.call.settings.metadata = metadata;
    }

    /// Ends it; whether the room's life ends with it, because it was the last.
    pub fn end(&mut self) -> bool {
        if std::mem::replace(&mut self.ended, true) {
            return false;
        }
        let mut table = self.directory.lock();
        let mut last = false;
        if let Some(seats) = table.rooms.get_mut(&self.room) {
            if let Some(places) = seats.parts.get_mut(&self.shard) {
                places.begun = false;
            }
            last = !seats.parts.values().any(|places| places.begun);
            if last {
                seats.call = None;
            }
        }
        table.release(&self.room, self.shard);
        last
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.end();
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut table = self.directory.lock();
        if let Some(seats) = table.rooms.get_mut(&self.room)
            && let Some((_, claims)) = seats.people.get_mut(&self.who)
        {
            *claims -= 1;
            if *claims == 0 {
                seats.people.remove(&self.who);
            }
        }
        table.release(&self.room, self.shard);
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim")
            .field("room", &self.room)
            .field("who", &self.who)
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

    fn claims(directory: &LeastBusy, name: &str, people: std::ops::Range<usize>) -> Vec<Claim> {
        let claim = |n: usize| directory.claim(&room(name), &UserId::new(format!("{n}")));
        people.map(claim).collect()
    }

    fn call() -> Call {
        Call {
            sid: CallId::new("RM_1"),
            created_at_ms: 0,
            settings: Settings::default(),
        }
    }

    #[test]
    fn rooms_are_spread_by_how_many_are_in_them() {
        let directory = LeastBusy::new(2, 0);
        let full = claims(&directory, "full", 0..5);
        let others: Vec<_> = (0..4)
            .flat_map(|n| claims(&directory, &format!("small {n}"), 0..1))
            .collect();
        assert!(full.iter().all(|claim| claim.shard() == ShardId(0)));
        assert!(others.iter().all(|claim| claim.shard() == ShardId(1)));
    }

    #[test]
    fn a_room_stays_where_it_is_while_anybody_claims_it_and_is_placed_anew_afterwards() {
        let directory = LeastBusy::new(2, 0);
        let mut first = claims(&directory, "a", 0..1);
        let of_room = first[0].begin(call);
        let elsewhere = claims(&directory, "b", 0..3);
        first.clear();
        let other = claims(&directory, "c", 0..1);
        assert_eq!(claims(&directory, "a", 1..2)[0].shard(), of_room.part.shard);
        assert_eq!(other[0].shard(), of_room.part.shard);
        drop((of_room, other, elsewhere));
        let table = directory.lock();
        assert!(table.rooms.is_empty());
        assert_eq!(table.busy, [0, 0]);
    }

    #[test]
    fn a_room_too_large_for_one_shard_goes_on_on_the_next_and_everybody_is_found_where_they_were() {
        let directory = LeastBusy::new(2, 3);
        let busy = claims(&directory, "other", 0..1);
        let people = claims(&directory, "large", 0..8);
        let shards: Vec<usize> = people.iter().map(|claim| claim.shard().0).collect();
        assert_eq!(shards[..6], [1, 1, 1, 0, 0, 0]);
        assert_ne!(shards[6], shards[7], "all are full: evenly");
        for (n, claim) in people.iter().enumerate() {
            assert_eq!(claims(&directory, "large", n..n + 1)[0].shard(), claim.shard());
        }
        drop((busy, people));
        assert!(directory.lock().rooms.is_empty());
    }

    #[test]
    fn a_room_has_one_life_from_its_first_part_to_its_last() {
        let directory = LeastBusy::new(2, 1);
        let people = claims(&directory, "large", 0..2);
        let first = people[0].begin(call);
        let second = people[1].begin(|| panic!("the room has a life"));
        assert!(first.first && !second.first);
        assert_eq!(first.others, [(ShardId(1), false)]);
        assert_eq!(second.others, [(ShardId(0), true)]);
        let (mut first, mut second) = (first.part, second.part);
        assert_eq!(first.call().sid, second.call().sid);
        assert!(!first.end() && !first.end());
        assert!(second.end());
        assert!(people[0].begin(call).first);
    }
}
