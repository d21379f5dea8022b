//! The straight line of a packet: session, track, legs; and of a data packet.

use std::sync::Arc;
use std::time::Instant;

use livekit_protocol as proto;
use proto::DisconnectReason;
use str0m::format::{Codec, PayloadParams};
use str0m::media::Mid;
use str0m::rtp::{ExtensionValues, RtpPacket, RtpWrite};

use super::Core;
use crate::arrival::Numbers;
use crate::data::Channel;
use crate::line::Leg;
use crate::participant::{Participant, Pid};
use crate::session::SessionEvent;
use crate::subscription::Subscription;
use crate::track::LegTo;
use crate::transport::{Role, TransportId};
use crate::video::{Incoming, KEYFRAME_REQUEST_PAUSE, VideoFormat, VideoLeg, choose};

impl Core {
    pub(super) fn handle_event(&mut self, now: Instant, id: TransportId, event: SessionEvent) {
        let pid = id.pid;
        match event {
            SessionEvent::Packet(packet) if id.role == Role::Publisher => self.forward(now, pid, &packet),
            // The server offers that transport to send on it only.
            SessionEvent::Packet(_) => self.counters.unfit += 1,
            SessionEvent::Connected => self.connected(id),
            SessionEvent::Lost => self.lost(now, id),
            SessionEvent::Closed => self.closed(now, id),
            SessionEvent::ChannelOpen(channel, label) => {
                if let (Some(kind), Some(transport)) = (Channel::from_label(&label), self.transport_mut(id)) {
                    transport.channels.insert(kind, channel);
                    self.flush_backlog(now, pid);
                }
            }
            SessionEvent::ChannelClosed(channel) => {
                if let Some(transport) = self.transport_mut(id) {
                    transport.channels.retain(|_, known| *known != channel);
                }
            }
            SessionEvent::ChannelDrained => self.flush_backlog(now, pid),
            SessionEvent::Data(channel, bytes) => self.forward_data(now, id, channel, &bytes),
            SessionEvent::Keyframe(mid) => self.keyframe_wanted(now, pid, mid),
            SessionEvent::Downlink(report) => self.downlink_reported(now, pid, &report),
            SessionEvent::Uplink(report) if id.role == Role::Publisher => {
                self.uplink_reported(now, pid, &report);
            }
            SessionEvent::Uplink(_) => {}
            SessionEvent::Capacity(capacity) => self.capacity_estimated(now, pid, capacity),
        }
    }

    /// Media can flow, for the first time or again.
    fn connected(&mut self, id: TransportId) {
        let Some(transport) = self.transport_mut(id) else {
            return;
        };
        if !transport.session.is_connected() {
            return;
        }
        transport.lost = false;
        let Some(participant) = self.people.get_mut(&id.pid) else {
            return;
        };
        // A client with two transports counts as connected with the one on which it hears others.
        if id.role != participant.sending_role() && !participant.sending().session.is_connected() {
            return;
        }
        if participant.socket.is_some() && !participant.transports().any(|(_, transport)| transport.lost) {
            participant.deadline = None;
        }
        if participant.state != proto::participant_info::State::Active {
            participant.state = proto::participant_info::State::Active;
            self.announce(id.pid);
        }
    }

    fn lost(&mut self, now: Instant, id: TransportId) {
        if let Some(transport) = self.transport_mut(id) {
            transport.lost = true;
        }
        if let Some(participant) = self.people.get_mut(&id.pid) {
            participant
                .deadline
                .get_or_insert(now + super::tick::LOST_TRANSPORT);
        }
    }

    /// The client closed a connection, or it failed for good. Without signalling nobody comes back to it; with it the
    /// client may be about to say goodbye, and its word tells why.
    fn closed(&mut self, now: Instant, id: TransportId) {
        let Some(participant) = self.people.get_mut(&id.pid) else {
            return;
        };
        if participant.socket.is_none() {
            return self.remove(now, id.pid, DisconnectReason::MediaFailure, None);
        }
        let soon = now + super::tick::CLOSED_TRANSPORT;
        participant.deadline = Some(participant.deadline.map_or(soon, |deadline| deadline.min(soon)));
        self.lost(now, id);
    }

    fn forward(&mut self, now: Instant, pid: Pid, packet: &RtpPacket) {
        self.counters.packets_in += 1;
        let Some(publisher) = self.people.get_mut(&pid) else {
            return;
        };
        let Some(mid) = packet
            .header
            .ext_vals
            .mid
            .or_else(|| publisher.publisher.session.mid_of(packet.header.ssrc))
        else {
            self.counters.unfit += 1;
            return;
        };
        let Some((params, red)) = publisher.publisher.session.format_of(packet.header.payload_type) else {
            self.counters.unfit += 1;
            return;
        };
        let params = *params;
        let rid = publisher
            .publisher
            .session
            .rid_of(packet.header.ssrc)
            .map(|rid| rid.to_string());
        let Some(track) = publisher.track_on(mid) else {
            return;
        };
        let layer = match &rid {
            Some(rid) => track
                .layers
                .iter()
                .position(|l| l.rid.as_deref() == Some(rid.as_str()))
                .unwrap_or(0),
            None => 0,
        };
        let Some(arriving) = track.layers.get_mut(layer) else {
            return;
        };
        let header = &packet.header;
        let clock = params.spec().clock_rate.get();
        let came = (*packet.seq_no, header.timestamp);
        let Some(numbers) = arriving.arrival.number(now, header.ssrc, came, clock) else {
            self.counters.unfit += 1;
            return;
        };
        if packet.payload.is_empty() {
            self.counters.empty += 1;
        } else {
            arriving.seen = Some(now);
            if !track.seen {
                track.seen = true;
                track.comes_as(params.spec().codec);
                self.show_live_tracks(now, pid);
            }
        }
        if params.spec().codec.is_audio() {
            self.tap_packet(now, pid, mid, (&params, red), packet, numbers);
        } else {
            self.forward_video(now, pid, mid, &params, (layer, numbers), packet);
        }
    }

    fn forward_video(
        &mut self,
        now: Instant,
        pid: Pid,
        mid: Mid,
        params: &PayloadParams,
        (layer, numbers): (usize, Numbers),
        packet: &RtpPacket,
    ) {
        let format = match params.spec().codec {
            Codec::Vp8 => VideoFormat::Vp8,
            Codec::H264 => VideoFormat::H264,
            _ => VideoFormat::Opaque,
        };
        let Some(track) = self.people.get_mut(&pid).and_then(|p| p.track_on(mid)) else {
            return;
        };
        let targets = [0, 1, 2].map(|ceiling| choose(&track.layers, ceiling, now));
        let legs = std::mem::take(&mut track.legs);
        let incoming = Incoming {
            layer,
            numbers,
            payload: &packet.payload,
        };
        let mut keyframes: u64 = 0;
        for leg in &legs {
            let Some(subscriber) = self.people.get_mut(&leg.pid) else {
                continue;
            };
            let ceiling = subscription_of(subscriber, leg.mid).map(|s| s.ceiling.min(2));
            let Some(ceiling) = ceiling.filter(|_| wants(subscriber, leg.mid)) else {
                continue;
            };
            let pt = subscriber.sending().session.payload_type(leg.mid, params, false);
            let target = targets[ceiling];
            let Some(line) = subscriber.sending_line_mut(leg.mid) else {
                continue;
            };
            if !matches!(line.outgoing.leg, Leg::Video(_)) {
                let fresh = VideoLeg::new(format, line.outgoing.next_seq, line.outgoing.last);
                line.outgoing.leg = Leg::Video(Box::new(fresh));
            }
            let Leg::Video(video) = &mut line.outgoing.leg else {
                continue;
            };
            let rewritten = video.handle(now, target, incoming);
            if let Some(target) = target
                && video.current() != Some(target)
            {
                keyframes |= 1 << target;
            }
            let Some(rewritten) = rewritten else { continue };
            let Some(pt) = pt else {
                self.counters.unfit += 1;
                continue;
            };
            let extensions = ExtensionValues {
                video_orientation: packet.header.ext_vals.video_orientation,
                ..Default::default()
            };
            let mut write = RtpWrite::new(
                pt,
                rewritten.seq.into(),
                rewritten.timestamp,
                packet.timestamp,
                packet.payload.clone(),
            )
            .marker(packet.header.marker)
            .nackable(true)
            .ext_vals(extensions);
            if let Some(patch) = rewritten.patch {
                write = write.vp8_patch(patch);
            }
            self.write(now, *leg, write);
        }
        self.return_legs(pid, mid, legs);
        for layer in (0..64).filter(|layer| keyframes & 1 << layer != 0) {
            self.request_keyframe(now, pid, mid, layer);
        }
    }

    pub(super) fn write(&mut self, now: Instant, leg: LegTo, packet: RtpWrite) {
        let Some(subscriber) = self.people.get_mut(&leg.pid) else {
            return;
        };
        let id = TransportId {
            pid: leg.pid,
            role: subscriber.sending_role(),
        };
        match subscriber.sending_mut().session.send(now, leg.mid, packet) {
            Ok(true) => {
                self.counters.packets_out += 1;
                self.drain(now, id);
            }
            Ok(false) => self.counters.unsent += 1,
            Err(error) => self.fail(now, leg.pid, &error),
        }
    }

    /// The legs were taken out for the walk; ones that a failure removed meanwhile stay away.
    fn return_legs(&mut self, pid: Pid, mid: Mid, mut legs: Vec<LegTo>) {
        legs.retain(|leg| self.people.contains_key(&leg.pid));
        if let Some(track) = self.people.get_mut(&pid).and_then(|p| p.track_on(mid)) {
            track.legs = legs;
        }
    }

    /// A subscriber lost too much: the publisher of the layer he gets must start afresh.
    fn keyframe_wanted(&mut self, now: Instant, pid: Pid, mid: Mid) {
        let Some(subscriber) = self.people.get_mut(&pid) else {
            return;
        };
        let publisher = subscription_of(subscriber, mid).map(|s| s.publisher);
        let layer = match subscriber.sending_line_mut(mid).map(|line| &line.outgoing.leg) {
            Some(Leg::Video(leg)) => leg.current().unwrap_or(0),
            _ => 0,
        };
        let Some(publisher) = publisher else { return };
        let leg = LegTo { pid, mid };
        let on = self
            .people
            .get(&publisher)
            .and_then(|p| p.tracks.iter().find(|t| t.legs.contains(&leg)))
            .and_then(|track| track.mid);
        if let Some(on) = on {
            self.request_keyframe(now, publisher, on, layer);
        }
    }

    fn request_keyframe(&mut self, now: Instant, pid: Pid, mid: Mid, layer: usize) {
        let Some(publisher) = self.people.get_mut(&pid) else {
            return;
        };
        let Some(layer) = publisher
            .track_on(mid)
            .and_then(|track| track.layers.get_mut(layer))
        else {
            return;
        };
        if layer
            .asked
            .is_some_and(|at| now.saturating_duration_since(at) < KEYFRAME_REQUEST_PAUSE)
        {
            return;
        }
        let Some(ssrc) = layer.arrival.ssrc() else { return };
        layer.asked = Some(now);
        let session = &mut publisher.publisher.session;
        session.request_keyframe(ssrc);
        self.counters.keyframe_requests += 1;
        let advanced = session.advance(now);
        if let Err(error) = advanced {
            return self.fail(now, pid, &error);
        }
        let role = Role::Publisher;
        self.drain(now, TransportId { pid, role });
    }
}

fn subscription_of(subscriber: &Participant, mid: Mid) -> Option<&Subscription> {
    subscriber.subscriptions.values().find(|s| s.mid == Some(mid))
}

pub(super) fn wants(subscriber: &Participant, mid: Mid) -> bool {
    subscriber.sending().session.is_connected()
        && subscription_of(subscriber, mid).is_some_and(|s| s.is_wanted() && !s.disabled)
}

/// What RED (RFC 2198) wraps: the last block.
pub(super) fn red_primary(payload: &[u8]) -> Option<Arc<[u8]>> {
    let mut at = 0;
    let mut redundant = 0usize;
    while payload.get(at)? & 0x80 != 0 {
        let header = payload.get(at..at + 4)?;
        redundant += usize::from(u16::from_be_bytes([header[2] & 0x03, header[3]]));
        at += 4;
    }
    let primary = payload.get(at + 1 + redundant..)?;
    (!primary.is_empty()).then(|| primary.into())
}

#[cfg(test)]
mod tests {
    use super::red_primary;

    #[test]
    fn the_last_block_of_red_is_what_it_wraps() {
        let packet = [0xef, 0, 0, 2, 0x6f, 1, 2, 7, 8, 9];
        assert_eq!(red_primary(&packet).as_deref(), Some(&[7, 8, 9][..]));
        for length in 0..8 {
            assert_eq!(red_primary(&packet[..length]), None);
        }
        assert_eq!(red_primary(&[0x6f, 5]).as_deref(), Some(&[5][..]));
    }
}
