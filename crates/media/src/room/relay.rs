//! The straight line of a data packet: who sent it is written in, and everybody it is for gets it.

use std::sync::Arc;

use livekit_protocol as proto;
use proto::DisconnectReason;
use str0m::channel::ChannelId;

use super::{Cx, Departure, Room};
use crate::data::{self, Channel, Outgoing};
use crate::participant::Pid;
use crate::relay::Note;
use crate::transport::TransportId;

/// Lossy data is dropped for a receiver with more than this in their buffer.
const LOSSY_BUFFER: usize = 32 << 10;

/// Most bytes of reliable data that wait for one receiver; beyond it they are sent to reconnect.
const RELIABLE_BACKLOG: usize = 4 << 20;

impl Room {
    pub(super) fn forward_data(&mut self, cx: &mut Cx<'_>, from: TransportId, id: ChannelId, bytes: &[u8]) {
        let pid = from.pid;
        if self.take_report(cx, pid, bytes) || self.take_answer(pid, bytes) {
            return;
        }
        let Some(sender) = self.people.get_mut(pid.0) else {
            return;
        };
        let Some(channel) = sender
            .here_mut()
            .and_then(|connection| connection.transport_mut(from.role))
            .into_iter()
            .flat_map(|transport| &transport.channels)
            .find(|(_, known)| **known == id)
            .map(|(kind, _)| *kind)
        else {
            return;
        };
        if !sender.grants.publish_data {
            cx.counters.data_dropped += 1;
            return;
        }
        let from = data::Sender {
            identity: sender.user.user.as_str(),
            sid: sender.sid.as_str(),
            hidden: sender.grants.hidden,
            agent: sender.is_agent(),
        };
        let packet = match data::stamp(bytes, channel, &from) {
            Ok(packet) => packet,
            Err(error) => {
                cx.counters.data_dropped += 1;
                tracing::debug!(participant = %sender.sid, %error, "data packet refused");
                return;
            }
        };
        self.send_out(cx, Some(pid), channel, packet);
    }

    /// Sends a data packet to those whom it is for wherever they are, but for its sender.
    pub(super) fn send_out(
        &mut self,
        cx: &mut Cx<'_>,
        sender: Option<Pid>,
        channel: Channel,
        packet: Outgoing,
    ) {
        self.deliver(cx, sender, channel, &packet);
        if self.has_parts() {
            self.tell_parts(&Note::Data(channel, Arc::new(packet)));
        }
    }

    /// Sends a data packet to those here whom it is for, but for its sender.
    pub(super) fn deliver(
        &mut self,
        cx: &mut Cx<'_>,
        sender: Option<Pid>,
        channel: Channel,
        packet: &data::Outgoing,
    ) {
        for pid in self.everybody().filter(|pid| Some(*pid) != sender) {
            let meant = self
                .person(pid)
                .filter(|person| person.here().is_some())
                .is_some_and(|p| packet.audience.includes(p.user.user.as_str(), p.sid.as_str()));
            if meant {
                self.send_data(cx, pid, channel, &packet.bytes);
            }
        }
    }

    /// Sends a data packet to one participant; reliable ones wait when there is no room.
    pub(super) fn send_data(&mut self, cx: &mut Cx<'_>, pid: Pid, channel: Channel, bytes: &[u8]) {
        let Some(receiver) = self.connection_mut(pid) else {
            return;
        };
        if channel == Channel::Lossy {
            let transport = receiver.sending_mut();
            match transport.channels.get(&channel).copied() {
                Some(channel) if transport.session.buffered(channel) < LOSSY_BUFFER => {
                    // A full buffer is what lossy is for.
                    let _ = transport.session.write(cx.out, channel, bytes);
                    cx.counters.data_out += 1;
                }
                _ => cx.counters.data_dropped += 1,
            }
            return;
        }
        let backlog = &mut receiver.backlog;
        if backlog.bytes + bytes.len() > RELIABLE_BACKLOG {
            tracing::warn!(participant = ?self.person(pid).map(|p| &p.sid), "reliable data backlog is full");
            return self.depart(pid, Departure::to_return(DisconnectReason::StateMismatch));
        }
        backlog.bytes += bytes.len();
        backlog.messages.push_back(bytes.to_vec());
        self.flush_backlog(cx, pid);
    }

    pub(super) fn flush_backlog(&mut self, cx: &mut Cx<'_>, pid: Pid) {
        let Some(receiver) = self.connection_mut(pid) else {
            return;
        };
        let Some(channel) = receiver.sending().channels.get(&Channel::Reliable).copied() else {
            return;
        };
        while let Some(message) = receiver.backlog.messages.pop_front() {
            match receiver.sending_mut().session.write(cx.out, channel, &message) {
                Ok(false) => {
                    receiver.backlog.messages.push_front(message);
                    return;
                }
                Ok(true) => cx.counters.data_out += 1,
                // More than this receiver takes, which is no reason to hold back the rest.
                Err(_) => cx.counters.data_dropped += 1,
            }
            receiver.backlog.bytes -= message.len();
        }
    }
}
