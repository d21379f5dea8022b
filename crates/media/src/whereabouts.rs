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

impl Names {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, ShardId>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
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
    shard: ShardId,
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
    pub fn new(shard: ShardId, names: Arc<Names>) -> Self {
        names.lock().retain(|_, at| *at != shard);
        Self {
            shard,
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
        let mut names = self.names.lock();
        names.remove(old);
        if let Some(new) = new {
            names.insert(new.clone(), self.shard);
            self.ufrags.insert(new, id);
            return;
        }
        drop(names);
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

impl Drop for Whereabouts {
    fn drop(&mut self) {
        self.names.lock().retain(|_, at| *at != self.shard);
    }
}
