//! Transports in the server's tables: found by ICE name and address, drained, and taken out.

use std::net::SocketAddr;
use std::time::Instant;

use str0m::ice::StunMessage;

use super::Core;
use crate::participant::Pid;
use crate::transport::{Role, Transport, TransportId};

/// Most addresses remembered per session; an old one falls out.
const MAX_ADDRESSES: usize = 16;

impl Core {
    pub(super) fn transport_mut(&mut self, id: TransportId) -> Option<&mut Transport> {
        self.people.get_mut(&id.pid)?.transport_mut(id.role)
    }

    /// STUN requests carry the session's name; everything else is known by its address.
    pub(super) fn owner_of(&mut self, source: SocketAddr, datagram: &[u8]) -> Option<TransportId> {
        const STUN_FIRST_BYTE_MAX: u8 = 3;
        if datagram
            .first()
            .is_some_and(|first| *first <= STUN_FIRST_BYTE_MAX)
        {
            let message = StunMessage::parse(datagram).ok()?;
            if let Some((local, _)) = message.split_username() {
                let id = *self.ufrags.get(local)?;
                self.remember_address(id, source);
                return Some(id);
            }
        }
        self.addresses.get(&source).copied()
    }

    fn remember_address(&mut self, id: TransportId, source: SocketAddr) {
        if self.addresses.get(&source) == Some(&id) {
            return;
        }
        let Some(transport) = self
            .people
            .get_mut(&id.pid)
            .and_then(|p| p.transport_mut(id.role))
        else {
            return;
        };
        if transport.addresses.len() == MAX_ADDRESSES {
            let oldest = transport.addresses.remove(0);
            if self.addresses.get(&oldest) == Some(&id) {
                self.addresses.remove(&oldest);
            }
        }
        transport.addresses.push(source);
        self.addresses.insert(source, id);
    }

    /// Registers a transport under the ICE name it has now: an ICE restart changes it.
    pub(super) fn register_name(&mut self, id: TransportId) {
        let Some(transport) = self
            .people
            .get_mut(&id.pid)
            .and_then(|p| p.transport_mut(id.role))
        else {
            return;
        };
        let name = transport.session.ufrag();
        self.ufrags.remove(&transport.ufrag);
        self.ufrags.insert(name.clone(), id);
        transport.ufrag = name;
    }

    /// The candidate a peer must have sent to: one socket serves them all and doesn't say which.
    pub(super) fn local_address(&self, source: SocketAddr) -> SocketAddr {
        let candidates = &self.sessions.candidates;
        let family = || candidates.iter().filter(|c| c.is_ipv4() == source.is_ipv4());
        let near = family().find(|c| c.ip() == source.ip());
        let same_scope = || family().find(|c| c.ip().is_loopback() == source.ip().is_loopback());
        let best = near.or_else(same_scope).or_else(|| candidates.first());
        // A server has at least one candidate: its constructor sees to it.
        *best.unwrap_or(&source)
    }

    /// Takes everything a session has to say.
    pub(super) fn drain(&mut self, now: Instant, id: TransportId) {
        let Some(transport) = self
            .people
            .get_mut(&id.pid)
            .and_then(|p| p.transport_mut(id.role))
        else {
            return;
        };
        let events = &mut self.events;
        let drained = transport
            .session
            .drain(&mut self.transmits, |event| events.push_back((id, event)));
        let due = transport.session.due();
        if transport.timer != Some(due) {
            if let Some(old) = transport.timer.replace(due) {
                self.timers.remove(&(old, id));
            }
            self.timers.insert((due, id));
        }
        if let Err(error) = drained {
            self.fail(now, id.pid, &error);
        }
    }

    /// Takes a transport out of every table, after its last words.
    pub(super) fn close_transport(&mut self, pid: Pid, role: Role, transport: &mut Transport) {
        let id = TransportId { pid, role };
        transport.session.close();
        // What else it says concerns nobody any more.
        let _ = transport.session.drain(&mut self.transmits, |_| {});
        if let Some(due) = transport.timer {
            self.timers.remove(&(due, id));
        }
        self.ufrags.remove(&transport.ufrag);
        for address in &transport.addresses {
            if self.addresses.get(address) == Some(&id) {
                self.addresses.remove(address);
            }
        }
    }
}
