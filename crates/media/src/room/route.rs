//! What sessions say, and the straight line of a packet: session, track, legs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::DisconnectReason;
use str0m::media::Mid;
use str0m::rtp::{ExtensionValues, RtpPacket, RtpWrite};

use super::{Cx, Departure, Room};
use crate::arrival::Numbers;
use crate::connection::Route;
use crate::data::Channel;
use crate::leg::{Leg, Source};
use crate::lent::lent;
use crate::line::Use;
use crate::participant::{Participant, Pid, Seat};
use crate::relay::Note;
use crate::session::SessionEvent;
use crate::transport::{Role, TransportId};
use crate::video::{Incoming, KEYFRAME_REQUEST_PAUSE, Selection, VideoFormat, VideoLeg, select};

/// How long somebody is kept whose transport has failed.
const LOST_TRANSPORT: Duration = Duration::from_secs(15);

/// How long somebody is kept who closed a connection and has not said why.
const CLOSED_TRANSPORT: Duration = Duration::from_secs(1);

impl Room {
    pub(super) fn handle_event(&mut self, cx: &mut Cx<'_>, id: TransportId, event: SessionEvent) {
        let pid = id.pid;
        match event {
            SessionEvent::Packet(packet) if id.role == Role::Publisher => self.forward(cx, pid, *packet),
            // The server offers that transport to send on it only.
            SessionEvent::Packet(_) => cx.counters.unfit += 1,
            SessionEvent::Connected => self.connected(id),
            SessionEvent::Lost => self.lost(cx.now, id, LOST_TRANSPORT),
            SessionEvent::Closed => self.closed(cx.now, id),
            SessionEvent::Failed(error) => self.fail(cx, pid, &error),
            SessionEvent::ChannelOpen(channel, label) => {
                let transport = self.transport_mut(id);
                if let (Some(kind), Some(transport)) = (Channel::from_label(&label), transport) {
                    transport.channels.insert(kind, channel);
                    self.flush_backlog(cx, pid);
                }
            }
            SessionEvent::ChannelClosed(channel) => {
                if let Some(transport) = self.transport_mut(id) {
                    transport.channels.retain(|_, known| *known != channel);
                }
            }
            SessionEvent::ChannelDrained => self.flush_backlog(cx, pid),
            SessionEvent::Data(channel, bytes) => self.forward_data(cx, id, channel, &bytes),
            SessionEvent::Keyframe(mid) => self.keyframe_wanted(cx, pid, mid),
            SessionEvent::Downlink(report) => self.downlink_reported(cx, pid, &report),
            SessionEvent::Uplink(report) if id.role == Role::Publisher => {
                self.uplink_reported(cx, pid, &report);
            }
            SessionEvent::Uplink(_) => {}
            SessionEvent::Capacity(capacity) => self.capacity_estimated(cx, pid, capacity),
        }
    }

    /// Media can flow, for the first time or again.
    fn connected(&mut self, id: TransportId) {
        let Some(participant) = self.person_mut(id.pid) else {
            return;
        };
        let Some(connection) = participant.here_mut() else {
            return;
        };
        let Some(transport) = connection.transport_mut(id.role) else {
            return;
        };
        if !transport.session.is_connected() {
            return;
        }
        transport.lost = false;
        // A client with two transports counts as connected with the one on which it hears others.
        if id.role != connection.sending_role() && !connection.sending().session.is_connected() {
            return;
        }
        if connection.socket.is_some() && !connection.transports().any(|(_, transport)| transport.lost) {
            connection.deadline = None;
        }
        if participant.state != proto::participant_info::State::Active {
            participant.state = proto::participant_info::State::Active;
            self.announce(id.pid);
        }
    }

    fn lost(&mut self, now: Instant, id: TransportId, grace: Duration) {
        let Some(connection) = self.connection_mut(id.pid) else {
            return;
        };
        if let Some(transport) = connection.transport_mut(id.role) {
            transport.lost = true;
        }
        let due = now + grace;
        connection.deadline = Some(connection.deadline.map_or(due, |deadline| deadline.min(due)));
    }

    /// The client closed a connection. Without signalling nobody comes back to it; with it the client may be about to
    /// say goodbye, and its word tells why.
    fn closed(&mut self, now: Instant, id: TransportId) {
        if self.connection(id.pid).is_some_and(|c| c.socket.is_some()) {
            self.lost(now, id, CLOSED_TRANSPORT);
        } else {
            self.depart(id.pid, Departure::to_return(DisconnectReason::MediaFailure));
        }
    }

    fn forward(&mut self, cx: &mut Cx<'_>, pid: Pid, packet: RtpPacket) {
        cx.counters.packets_in += 1;
        let Some(Participant { tracks, seat, .. }) = self.people.get_mut(pid.0) else {
            return;
        };
        let Seat::Here(connection) = seat else { return };
        let Some(route) = connection.route(tracks, &packet.header) else {
            cx.counters.unfit += 1;
            return;
        };
        let Some(track) = tracks.get_mut(route.track) else {
            return;
        };
        if track.silenced {
            return;
        }
        let Some(layer) = track.layers.get_mut(route.layer) else {
            return;
        };
        let header = &packet.header;
        let clock = route.params.spec().clock_rate.get();
        let came = (*packet.seq_no, header.timestamp);
        let Some(numbers) = layer.arrival.number(cx.now, header.ssrc, came, clock) else {
            cx.counters.unfit += 1;
            return;
        };
        cx.counters.empty += u64::from(packet.payload.is_empty());
        let relayed = track.relay.wanted().next().is_some();
        self.carry(cx, pid, &route, &packet, numbers);
        if relayed {
            self.relay(cx, pid, &route, numbers, packet);
        }
    }

    /// Lets a packet out to those here who want its track, whether it came from here or from another part of the room.
    pub(super) fn carry(
        &mut self,
        cx: &mut Cx<'_>,
        pid: Pid,
        route: &Route,
        packet: &RtpPacket,
        numbers: Numbers,
    ) {
        let tracks = self.people.get_mut(pid.0).map(|publisher| &mut publisher.tracks);
        let Some(track) = tracks.and_then(|tracks| tracks.get_mut(route.track)) else {
            return;
        };
        let Some(layer) = track.layers.get_mut(route.layer) else {
            return;
        };
        if !packet.payload.is_empty() {
            layer.seen = Some(cx.now);
            if !track.seen {
                track.seen = true;
                track.comes_as(route.params.spec().codec);
                self.show_live_tracks(cx, pid);
            }
        }
        if route.params.spec().codec.is_audio() {
            self.tap_packet(cx, pid, route, packet, numbers);
        } else {
            self.forward_video(cx, pid, route, packet, numbers);
        }
    }

    fn forward_video(
        &mut self,
        cx: &mut Cx<'_>,
        pid: Pid,
        route: &Route,
        packet: &RtpPacket,
        numbers: Numbers,
    ) {
        let picture = VideoFormat::of(route.params.spec().codec).read(&packet.payload);
        let incoming = Incoming {
            layer: route.layer,
            numbers,
            payload: &packet.payload,
            picture,
        };
        let at = route.track;
        let take = |room: &mut Self| {
            let track = room.people.get_mut(pid.0)?.tracks.get_mut(at)?;
            Some((std::mem::take(&mut track.layers), std::mem::take(&mut track.legs)))
        };
        let put = |room: &mut Self, taken| {
            let publisher = room.people.get_mut(pid.0);
            if let Some(track) = publisher.and_then(|p| p.tracks.get_mut(at)) {
                (track.layers, track.legs) = taken;
            }
        };
        let keyframes = lent(self, take, put, |room, (layers, legs)| {
            let layer = layers.get_mut(route.layer);
            if let Some(layer) = layer.filter(|_| !packet.payload.is_empty()) {
                layer.cadence.hear(numbers.timestamp, picture.temporal.level);
            }
            let mut keyframes: u64 = 0;
            for leg in legs {
                let selection = select(layers, leg.wish, cx.now);
                let to = leg.to;
                let sent = room.contained(cx, to, |room, cx| {
                    room.send_video(cx, leg, route, (selection, &incoming), packet)
                });
                let needs_keyframe = sent.unwrap_or(false);
                if let Some(selection) = selection.filter(|_| needs_keyframe) {
                    keyframes |= 1 << selection.layer;
                }
            }
            keyframes
        });
        let keyframes = keyframes.unwrap_or(0);
        for layer in (0..64).filter(|layer| keyframes & 1 << layer != 0) {
            self.request_keyframe(cx, pid, route.track, layer);
        }
    }

    /// Sends what goes out on a leg for a packet; whether it takes a keyframe to get to what is selected.
    fn send_video(
        &mut self,
        cx: &mut Cx<'_>,
        leg: &mut Leg,
        route: &Route,
        (selection, incoming): (Option<Selection>, &Incoming<'_>),
        packet: &RtpPacket,
    ) -> bool {
        let delay = self.settings().playout_delay;
        let Some(subscriber) = self.connection_mut(leg.to) else {
            return false;
        };
        let session = &mut subscriber.sending_mut().session;
        if leg.paused || !session.is_connected() {
            return false;
        }
        let pt = leg.video_type(session, &route.params);
        if !matches!(leg.outgoing.source, Source::Video(_)) {
            let fresh = VideoLeg::new(leg.outgoing.next_seq, leg.outgoing.last);
            leg.outgoing.source = Source::Video(Box::new(fresh));
        }
        let Source::Video(video) = &mut leg.outgoing.source else {
            return false;
        };
        let rewritten = video.handle(cx.now, selection, incoming);
        let needs_keyframe = selection.is_some_and(|selection| video.needs_keyframe(cx.now, selection));
        let Some(rewritten) = rewritten else {
            return needs_keyframe;
        };
        let Some(pt) = pt else {
            cx.counters.unfit += 1;
            return needs_keyframe;
        };
        let extensions = ExtensionValues {
            video_orientation: packet.header.ext_vals.video_orientation,
            play_delay_min: delay.map(|delay| delay.min.into()),
            play_delay_max: delay.map(|delay| delay.max.into()),
            ..Default::default()
        };
        let payload = match rewritten.hollow {
            true => Arc::default(),
            false => packet.payload.clone(),
        };
        let (seq, timestamp) = (rewritten.seq.into(), rewritten.timestamp);
        let mut write = RtpWrite::new(pt, seq, timestamp, packet.timestamp, payload)
            .marker(packet.header.marker && !rewritten.hollow)
            .nackable(!rewritten.hollow)
            .ext_vals(extensions);
        if let Some(patch) = rewritten.patch {
            write = write.vp8_patch(patch);
        }
        self.write(cx, leg, write);
        needs_keyframe
    }

    pub(super) fn write(&mut self, cx: &mut Cx<'_>, leg: &Leg, packet: RtpWrite) {
        let Some(subscriber) = self.connection_mut(leg.to) else {
            return;
        };
        let session = &mut subscriber.sending_mut().session;
        if session.write_media(cx.out, leg.mid, leg.ssrc, packet) {
            cx.counters.packets_out += 1;
        } else {
            cx.counters.unsent += 1;
        }
    }

    /// A subscriber lost too much: the publisher of the layer they get must start afresh.
    fn keyframe_wanted(&mut self, cx: &mut Cx<'_>, pid: Pid, mid: Mid) {
        let Some(subscriber) = self.connection(pid) else {
            return;
        };
        let line = subscriber.sending().lines.iter().find(|line| line.mid == mid);
        let Some(Use::Send(id)) = line.map(|line| &line.usage) else {
            return;
        };
        let (Some(subscription), id) = (subscriber.subscriptions.get(id), id.clone()) else {
            return;
        };
        let publisher = subscription.publisher;
        let tracks = self.person_mut(publisher).map(|p| &mut p.tracks);
        let Some((at, track)) = tracks
            .into_iter()
            .flatten()
            .enumerate()
            .find(|(_, track)| track.id == id)
        else {
            return;
        };
        let layer = match track.leg_mut(pid).map(|leg| &leg.outgoing.source) {
            Some(Source::Video(video)) => video.current().unwrap_or(0),
            _ => 0,
        };
        self.request_keyframe(cx, publisher, at, layer);
    }

    pub(super) fn request_keyframe(&mut self, cx: &mut Cx<'_>, pid: Pid, track: usize, layer: usize) {
        let Some(Participant { tracks, seat, .. }) = self.people.get_mut(pid.0) else {
            return;
        };
        let Some(track) = tracks.get_mut(track) else {
            return;
        };
        let (id, at) = (track.id.clone(), layer);
        let Some(layer) = track.layers.get_mut(layer) else {
            return;
        };
        let lately = |at: Instant| cx.now.saturating_duration_since(at) < KEYFRAME_REQUEST_PAUSE;
        if layer.asked.is_some_and(lately) {
            return;
        }
        match seat {
            Seat::Here(connection) => {
                let Some(ssrc) = layer.arrival.ssrc() else { return };
                connection
                    .publisher
                    .session
                    .request_keyframe(cx.now, cx.out, ssrc);
            }
            Seat::Elsewhere(shard) => self.parts.write_to(*shard, Note::Keyframe(id, at)),
        }
        layer.asked = Some(cx.now);
        cx.counters.keyframe_requests += 1;
    }
}
