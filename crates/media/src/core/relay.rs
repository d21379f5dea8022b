//! The straight line of a data packet: who sent it is written in, and everybody it is for gets it.

use std::time::Instant;

use auralink_types::UserKey;
use livekit_protocol as proto;
use proto::DisconnectReason;
use str0m::channel::ChannelId;

use super::Core;
use crate::data::{self, Channel};
use crate::participant::Pid;
use crate::transport::TransportId;

/// Lossy data is dropped for a receiver with more than this in his buffer.
const LOSSY_BUFFER: usize = 32 << 10;

/// Most bytes of reliable data that wait for one receiver; beyond it he is sent to reconnect.
const RELIABLE_BACKLOG: usize = 4 << 20;

impl Core {
    pub(super) fn forward_data(&mut self, now: Instant, from: TransportId, id: ChannelId, bytes: &[u8]) {
        let pid = from.pid;
        let Some(sender) = self.people.get_mut(&pid) else {
            return;
        };
        let Some(channel) = sender
            .transport_mut(from.role)
            .into_iter()
            .flat_map(|transport| &transport.channels)
            .find(|(_, known)| **known == id)
            .map(|(kind, _)| *kind)
        else {
            return;
        };
        if !sender.grants.publish_data {
            self.counters.data_dropped += 1;
            return;
        }
        let from = data::Sender {
            identity: sender.user.user.as_str(),
            sid: sender.sid.as_str(),
            hidden: sender.grants.hidden,
            agent: sender.is_agent(),
        };
        let stamped = data::stamp(bytes, channel, &from);
        let packet = match stamped {
            Ok(packet) => packet,
            Err(error) => {
                self.counters.data_dropped += 1;
                tracing::debug!(participant = %sender.sid, %error, "data packet refused");
                return;
            }
        };
        let Some(room) = self.rooms.get(&sender.room) else {
            return;
        };
        for other in room.participants.clone() {
            let Some(receiver) = self.people.get(&other) else {
                continue;
            };
            let UserKey { user, .. } = &receiver.user;
            let meant = packet.audience.includes(user.as_str(), receiver.sid.as_str());
            if other != pid && meant {
                self.send_data(now, other, channel, &packet.bytes);
            }
        }
    }

    /// Sends a data packet to one participant; reliable ones wait when there is no room.
    pub(super) fn send_data(&mut self, now: Instant, pid: Pid, channel: Channel, bytes: &[u8]) {
        let Some(receiver) = self.people.get_mut(&pid) else {
            return;
        };
        let id = TransportId {
            pid,
            role: receiver.sending_role(),
        };
        let transport = receiver.sending_mut();
        let open = transport.channels.get(&channel).copied();
        if channel == Channel::Lossy {
            match open {
                Some(channel) if transport.session.buffered(channel) < LOSSY_BUFFER => {
                    // A full buffer is what lossy is for.
                    let _ = transport.session.write(channel, bytes);
                    self.counters.data_out += 1;
                    self.drain(now, id);
                }
                _ => self.counters.data_dropped += 1,
            }
            return;
        }
        let backlog = &mut receiver.backlog;
        if backlog.bytes + bytes.len() > RELIABLE_BACKLOG {
            tracing::warn!(participant = %receiver.sid, "reliable data backlog is full");
            let action = Some(proto::leave_request::Action::Reconnect);
            return self.remove(now, pid, DisconnectReason::StateMismatch, action);
        }
        backlog.bytes += bytes.len();
        backlog.messages.push_back(bytes.to_vec());
        self.flush_backlog(now, pid);
    }

    pub(super) fn flush_backlog(&mut self, now: Instant, pid: Pid) {
        let Some(receiver) = self.people.get_mut(&pid) else {
            return;
        };
        let id = TransportId {
            pid,
            role: receiver.sending_role(),
        };
        let Some(channel) = receiver.sending().channels.get(&Channel::Reliable).copied() else {
            return;
        };
        let mut wrote = false;
        while let Some(message) = receiver.backlog.messages.pop_front() {
            match receiver.sending_mut().session.write(channel, &message) {
                Ok(false) => {
                    receiver.backlog.messages.push_front(message);
                    break;
                }
                Ok(true) => {
                    self.counters.data_out += 1;
                    wrote = true;
                }
                // More than this receiver takes, which is no reason to hold back the rest.
                Err(_) => self.counters.data_dropped += 1,
            }
            receiver.backlog.bytes -= message.len();
        }
        if wrote {
            self.drain(now, id);
        }
    }
}
