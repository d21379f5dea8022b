//! Which track sits on which line of the transport that sends to a participant, and what descriptions say about it.

use std::collections::HashMap;

use auralink_types::TrackId;
use livekit_protocol as proto;
use str0m::media::Mid;

use super::{Cx, Room};
use crate::connection::Connection;
use crate::leg::Leg;
use crate::line::{Line, Use};
use crate::participant::{Participant, Pid};
use crate::sdp::{LineKind, SendTerms, Terms};
use crate::subscription::Subscription;
use crate::transport::Transport;

impl Room {
    /// Frees lines whose track is no longer wanted and gives idle ones to tracks that wait.
    pub(super) fn assign_lines(&mut self, cx: &mut Cx<'_>, pid: Pid) {
        let Some(connection) = self.connection_mut(pid) else {
            return;
        };
        let Connection {
            publisher,
            subscriber,
            subscriptions,
            streams_once,
            ..
        } = connection;
        let Transport { lines, session, .. } = subscriber.as_mut().unwrap_or(publisher);
        for line in lines.iter_mut() {
            if let Use::Send(track) = &line.usage
                && !subscriptions.get(track).is_some_and(Subscription::keeps_line)
            {
                if let Some(subscription) = subscriptions.get_mut(track) {
                    subscription.left |= subscription.mid.take().is_some();
                }
                line.usage = Use::Cooling;
            }
        }
        for (track, subscription) in subscriptions.iter_mut().filter(|(_, s)| s.is_wanted()) {
            subscription.let_go = false;
            let held = |line: &&Line| line.usage == Use::Send(track.clone());
            subscription.mid = lines.iter().find(held).map(|line| line.mid);
            if subscription.mid.is_some() {
                continue;
            }
            let free = |line: &&mut Line| line.is_free() && subscription.fits(track, line, *streams_once);
            if let Some(line) = lines.iter_mut().find(free) {
                line.carry(track.clone(), session, cx.out);
                subscription.mid = Some(line.mid);
            }
        }
    }

    /// The lines whose packets go with no header extension but `mid`.
    pub(super) fn bare_lines(&self, pid: Pid, lines: &[Line]) -> Vec<Mid> {
        let Some(participant) = self.person(pid) else {
            return Vec::new();
        };
        lines
            .iter()
            .filter(|line| line.kind == LineKind::Audio && self.goes_bare(participant, line))
            .map(|line| line.mid)
            .collect()
    }

    fn goes_bare(&self, participant: &Participant, line: &Line) -> bool {
        match &line.usage {
            Use::Receive => participant
                .tracks
                .iter()
                .any(|t| t.mid == Some(line.mid) && t.steering.active),
            Use::Send(track) => participant
                .here()
                .and_then(|connection| connection.subscriptions.get(track))
                .and_then(|s| self.person(s.publisher))
                .is_some_and(|p| p.tracks.iter().any(|t| t.id == *track && t.steering.active)),
            Use::Idle | Use::Cooling => false,
        }
    }

    /// What a description says about each of these lines.
    pub(super) fn terms(&self, pid: Pid, lines: &[Line]) -> HashMap<String, Terms> {
        let Some((participant, connection)) = self.person(pid).and_then(|p| Some((p, p.here()?))) else {
            return HashMap::new();
        };
        let of = |line: &Line| match &line.usage {
            Use::Idle | Use::Cooling => Terms::Inactive,
            Use::Receive => {
                let track = participant
                    .tracks
                    .iter()
                    .find(|track| track.mid == Some(line.mid));
                Terms::Receive(track.map_or_else(Default::default, |track| track.terms()))
            }
            Use::Send(track) => {
                let subscription = connection.subscriptions.get(track);
                let publisher = subscription.and_then(|s| self.person(s.publisher));
                let stereo = publisher
                    .and_then(|p| p.tracks.iter().find(|t| t.id == *track))
                    .is_some_and(|track| track.is_stereo());
                let owner = publisher.map_or("", |p| p.sid.as_str());
                Terms::Send(SendTerms {
                    stream: line.stream_id(owner, track, connection.streams_once),
                    track: track.as_str().into(),
                    stereo,
                    ssrcs: line.stream,
                })
            }
        };
        lines
            .iter()
            .map(|line| (line.mid.to_string(), of(line)))
            .collect()
    }

    /// The client has a new description of what it is sent: packets flow on the lines it names and stop on the others.
    /// What the description could not say yet makes the transport stale.
    pub(super) fn lines_agreed(&mut self, cx: &mut Cx<'_>, pid: Pid) {
        let Some(connection) = self.connection_mut(pid) else {
            return;
        };
        // Lines that were `inactive` just now may be taken next time.
        let mut freed = false;
        for line in &mut connection.sending_mut().lines {
            if line.usage == Use::Cooling {
                line.usage = Use::Idle;
                freed = true;
            }
        }
        let waits = connection
            .subscriptions
            .values()
            .any(|s| s.is_wanted() && s.mid.is_none());
        if freed && waits {
            self.renegotiate(pid);
        }
        self.connect_legs(cx, pid);
    }

    /// Makes the legs of what is sent on agreed lines, each resolved once and for all.
    fn connect_legs(&mut self, cx: &mut Cx<'_>, pid: Pid) {
        let Some(connection) = self.connection_mut(pid) else {
            return;
        };
        let Connection {
            publisher,
            subscriber,
            subscriptions,
            ..
        } = connection;
        let transport = subscriber.as_mut().unwrap_or(publisher);
        let mut fresh: Vec<(Leg, Subscription, TrackId)> = Vec::new();
        for line in &mut transport.lines {
            if line.stream.is_none() {
                line.stream = transport.session.stream_on(line.mid);
            }
            let Use::Send(track) = &line.usage else { continue };
            let Some(subscription) = subscriptions.get(track).filter(|s| s.is_wanted()) else {
                continue;
            };
            let Some((ssrc, _)) = line.stream else { continue };
            let leg = Leg::new(pid, line.mid, ssrc, &transport.session, subscription);
            fresh.push((leg, *subscription, track.clone()));
        }
        for (leg, subscription, id) in fresh {
            let Some(track) = self.published_mut(subscription.publisher, &id) else {
                continue;
            };
            let same = |known: &&mut Leg| (known.mid, known.ssrc) == (leg.mid, leg.ssrc);
            let known = track.leg_mut(pid).filter(same).is_some();
            if !known {
                track.legs.retain(|other| other.to != pid);
                track.legs.push(leg);
                let serial = track.serial;
                self.legs_changed(cx, subscription.publisher, serial);
            }
            self.subscribed(subscription.publisher, &id);
        }
    }
}

/// Whether a client notices a media stream once for each of its lines and no second time: LiveKit's native one since its
/// protocol 18, on a peer connection on which the server offers.
pub(super) fn notices_streams_once(client: &proto::ClientInfo) -> bool {
    use proto::client_info::Sdk;
    const SINCE: i32 = 18;
    client.protocol >= SINCE
        && matches!(
            client.sdk(),
            Sdk::Rust | Sdk::Python | Sdk::Node | Sdk::Cpp | Sdk::Unity
        )
}

/// Kind of a track's line.
const fn kind_of(video: bool) -> LineKind {
    if video { LineKind::Video } else { LineKind::Audio }
}

/// Lines to ask for: what is wanted beyond those there are, audio and video, and some ahead, so that a room that fills
/// does not ask for each one.
pub(super) fn missing_lines(connection: &Connection) -> (u32, u32) {
    let lines = &connection.sending().lines;
    let ahead = |missing: u32, video: bool| {
        let there = lines.iter().filter(|line| line.kind == kind_of(video)).count() as u32;
        if missing == 0 {
            0
        } else {
            missing.max((there / 4).min(MOST_AHEAD))
        }
    };
    let (audio, video) = wanted_lines(connection);
    (ahead(audio, false), ahead(video, true))
}

/// Most lines asked for ahead: each costs its client memory and every description some bytes.
const MOST_AHEAD: u32 = 16;

/// Lines that are wanted beyond those there are, audio and video.
fn wanted_lines(connection: &Connection) -> (u32, u32) {
    let missing = |video: bool| {
        let wanted = connection
            .subscriptions
            .values()
            .filter(|s| s.is_wanted() && s.video == video && s.mid.is_none());
        let usable = connection
            .sending()
            .lines
            .iter()
            .filter(|line| line.open && line.kind == kind_of(video))
            .filter(|line| match &line.usage {
                Use::Idle | Use::Cooling => true,
                Use::Send(track) => !connection.subscriptions.get(track).is_some_and(|s| s.is_wanted()),
                Use::Receive => false,
            });
        wanted.count().saturating_sub(usable.count()) as u32
    };
    (missing(false), missing(true))
}

/// Lines on which tracks are sent, for clients that can't find them by the names in the description.
pub(super) fn mid_to_track(transport: &Transport) -> HashMap<String, String> {
    let sending = transport.lines.iter().filter_map(|line| match &line.usage {
        Use::Send(track) => Some((line.mid.to_string(), track.as_str().to_owned())),
        _ => None,
    });
    sending.collect()
}
