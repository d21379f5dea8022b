//! Whose a datagram is: a transport's by its ICE name or its address, or another shard's.
//!
//! All shards of a server share one port, and the system spreads datagrams over their sockets by address, without knowing
//! who is on which shard. STUN requests carry the ICE name of whom they are for; what else comes from the same address
//! belongs to the same.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use str0m::ice::StunMessage;

use crate::directory::ShardId;
use crate::transport::TransportId;

/// Most addresses remembered per transport; an old one falls out.
const MAX_ADDRESSES: usize = 16;

/// Most addresses of other shards' people that are remembered anew between two calls of [`Whereabouts::age`].
const MAX_STRANGERS: usize = 1 << 16;

/// The shard of every ICE name in use on this server.
#[derive(Default)]
pub struct Names {
    shards: Mutex<HashMap<String, ShardId>>,
}

/// An ICE name that datagrams for this shard may carry from now on, until it is dropped.
pub struct Announced {
    names: Arc<Names>,
    name: String,
}

impl Names {
    /// Announces a name. To be done before any client is told of it: their first check may come to another shard's socket
    /// while this one is still busy, and lost it costs a quarter of a second.
    pub fn announce(self: &Arc<Self>, name: &str, shard: ShardId) -> Announced {
        self.lock().insert(name.to_owned(), shard);
        Announced {
            names: self.clone(),
            name: name.to_owned(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, ShardId>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        self.names.lock().remove(&self.name);
    }
}

/// Whose a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// A transport's of this shard.
    Ours(TransportId),
    /// Another shard's.
    Theirs(ShardId),
    /// Nobody's we know.
    Nobodys,
}

/// What one shard knows.
pub struct Whereabouts {
    names: Arc<Names>,
    ufrags: HashMap<String, TransportId>,
    addresses: HashMap<SocketAddr, TransportId>,
    /// The addresses of each transport, oldest first.
    seen_at: HashMap<TransportId, Vec<SocketAddr>>,
    /// Where other shards' people were heard from lately, and before that.
    strangers: [HashMap<SocketAddr, ShardId>; 2],
}

impl Whereabouts {
    /// Of a shard without transports.
    pub fn new(names: Arc<Names>) -> Self {
        Self {
            names,
            ufrags: HashMap::new(),
            addresses: HashMap::new(),
            seen_at: HashMap::new(),
            strangers: Default::default(),
        }
    }

    /// A transport's ICE name has changed; the first is empty, and without a new one it is over.
    pub fn rename(&mut self, id: TransportId, old: &str, new: Option<String>) {
        self.ufrags.remove(old);
        if let Some(new) = new {
            self.ufrags.insert(new, id);
            return;
        }
        for address in self.seen_at.remove(&id).unwrap_or_default() {
            if self.addresses.get(&address) == Some(&id) {
                self.addresses.remove(&address);
            }
        }
    }

    /// STUN requests carry the transport's name; everything else is known by its address.
    pub fn whose(&mut self, source: SocketAddr, datagram: &[u8]) -> Whose {
        const STUN_FIRST_BYTE_MAX: u8 = 3;
        if datagram
            .first()
            .is_some_and(|first| *first <= STUN_FIRST_BYTE_MAX)
        {
            let Ok(message) = StunMessage::parse(datagram) else {
                return Whose::Nobodys;
            };
            if let Some((name, _)) = message.split_username() {
                return self.named(source, name);
            }
        }
        if let Some(id) = self.addresses.get(&source) {
            return Whose::Ours(*id);
        }
        let [lately, before] = &mut self.strangers;
        if let Some(shard) = lately.get(&source) {
            return Whose::Theirs(*shard);
        }
        match before.remove(&source) {
            Some(shard) => {
                lately.insert(source, shard);
                Whose::Theirs(shard)
            }
            None => Whose::Nobodys,
        }
    }

    /// To be called about once a minute: who isn't heard from between two calls is forgotten. ICE checks come far more often
    /// (RFC 7675).
    pub fn age(&mut self) {
        self.strangers.swap(0, 1);
        self.strangers[0].clear();
    }

    fn named(&mut self, source: SocketAddr, name: &str) -> Whose {
        if let Some(id) = self.ufrags.get(name).copied() {
            self.remember(id, source);
            return Whose::Ours(id);
        }
        let Some(shard) = self.names.lock().get(name).copied() else {
            return Whose::Nobodys;
        };
        // Whoever used this address before has gone over to the other shard.
        self.addresses.remove(&source);
        let lately = &mut self.strangers[0];
        if lately.len() < MAX_STRANGERS {
            lately.insert(source, shard);
        }
        Whose::Theirs(shard)
    }

    fn remember(&mut self, id: TransportId, source: SocketAddr) {
        if self.addresses.insert(source, id) == Some(id) {
            return;
        }
        let seen_at = self.seen_at.entry(id).or_default();
        if seen_at.len() == MAX_ADDRESSES {
            let oldest = seen_at.remove(0);
            if self.addresses.get(&oldest) == Some(&id) {
                self.addresses.remove(&oldest);
            }
        }
        seen_at.push(source);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Handle;
    use crate::participant::{Pid, RoomId};
    use crate::transport::Role;

    const ELSEWHERE: ShardId = ShardId(1);
    const RTP: &[u8] = &[0x80, 111, 0, 1];

    fn transport() -> TransportId {
        let handle = Handle::from_number(0);
        TransportId {
            room: RoomId(handle),
            pid: Pid(handle),
            role: Role::Publisher,
        }
    }

    /// A binding request for that name (RFC 8489 sections 5 and 14), with an integrity that only its receiver can check.
    fn check_for(name: &str) -> Vec<u8> {
        let user = format!("{name}:them");
        let padded = user.len().next_multiple_of(4);
        let mut attributes = vec![0, 6, 0, user.len() as u8];
        attributes.extend(user.as_bytes());
        attributes.resize(4 + padded, 0);
        // PRIORITY and MESSAGE-INTEGRITY.
        attributes.extend([0, 0x24, 0, 4, 1, 1, 1, 1]);
        attributes.extend([0, 8, 0, 20]);
        attributes.extend([9; 20]);
        let mut bytes = vec![0, 1, 0, attributes.len() as u8, 0x21, 0x12, 0xa4, 0x42];
        bytes.extend([7; 12]);
        bytes.extend(attributes);
        bytes
    }

    fn from(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    #[test]
    fn a_check_tells_whose_an_address_is_and_media_from_there_follows_it() {
        let names = Arc::new(Names::default());
        let mut whereabouts = Whereabouts::new(names.clone());
        let _theirs = names.announce("theirs", ELSEWHERE);
        whereabouts.rename(transport(), "", Some("ours".into()));
        assert_eq!(whereabouts.whose(from(1), RTP), Whose::Nobodys);
        assert_eq!(
            whereabouts.whose(from(1), &check_for("ours")),
            Whose::Ours(transport())
        );
        assert_eq!(whereabouts.whose(from(1), RTP), Whose::Ours(transport()));
        let theirs = Whose::Theirs(ELSEWHERE);
        assert_eq!(whereabouts.whose(from(2), &check_for("theirs")), theirs);
        assert_eq!(whereabouts.whose(from(2), RTP), theirs);
        assert_eq!(whereabouts.whose(from(3), &check_for("unknown")), Whose::Nobodys);
        // The same address, taken over by somebody on the other shard, and back.
        assert_eq!(whereabouts.whose(from(1), &check_for("theirs")), theirs);
        assert_eq!(whereabouts.whose(from(1), RTP), theirs);
        whereabouts.whose(from(1), &check_for("ours"));
        assert_eq!(whereabouts.whose(from(1), RTP), Whose::Ours(transport()));
        whereabouts.rename(transport(), "ours", None);
        assert_eq!(whereabouts.whose(from(1), &check_for("ours")), Whose::Nobodys);
    }

    #[test]
    fn a_name_is_known_everywhere_from_its_announcement_to_its_end() {
        let names = Arc::new(Names::default());
        let mut other = Whereabouts::new(names.clone());
        let announced = names.announce("name", ELSEWHERE);
        assert_eq!(other.whose(from(1), &check_for("name")), Whose::Theirs(ELSEWHERE));
        drop(announced);
        assert_eq!(other.whose(from(2), &check_for("name")), Whose::Nobodys);
    }

    #[test]
    fn who_is_heard_at_the_wrong_socket_is_remembered_as_long_as_they_are_heard() {
        let names = Arc::new(Names::default());
        let mut whereabouts = Whereabouts::new(names.clone());
        let _theirs = names.announce("theirs", ELSEWHERE);
        for port in [1, 2] {
            whereabouts.whose(from(port), &check_for("theirs"));
        }
        for _ in 0..5 {
            whereabouts.age();
            assert_eq!(whereabouts.whose(from(1), RTP), Whose::Theirs(ELSEWHERE));
        }
        assert_eq!(whereabouts.whose(from(2), RTP), Whose::Nobodys);
    }
}
