//! Publishing: tracks are announced, shown to the room once they are live, and taken away.

use auralink_types::TrackId;
use livekit_protocol as proto;
use proto::signal_response::Message;

use super::join::new_sid;
use super::{Cx, Room};
use crate::line::Use;
use crate::matching::match_lines;
use crate::participant::{Participant, Pid, Seat};
use crate::track::Track;

impl Room {
    /// Announces a track; one that is known already is told again.
    pub fn publish(&mut self, cx: &mut Cx<'_>, pid: Pid, request: proto::AddTrackRequest) {
        let Some(participant) = self.person_mut(pid) else {
            return;
        };
        if let Some(known) = participant.tracks.iter_mut().find(|t| {
            t.cids.contains(&request.cid) || !request.sid.is_empty() && t.id.as_str() == request.sid
        }) {
            if !known.cids.contains(&request.cid) {
                known.cids.push(request.cid.clone());
            }
            let track = Some(known.info.clone());
            return participant.tell(published(request.cid, track));
        }
        let cid = request.cid.clone();
        let Participant { tracks, seat, .. } = participant;
        let Seat::Here(connection) = seat else { return };
        let serial = connection.serials;
        connection.serials += 1;
        let track = Track::new(TrackId::new(new_sid("TR_")), serial, request);
        let (info, audio) = (track.info.clone(), !track.is_video());
        tracks.push(track);
        // The offer may have come first: then its line waits for this track and must be answered again.
        if match_lines(&connection.sends, tracks) {
            connection.routes.clear();
            connection.publisher.stale = true;
            self.stale.push(pid);
        }
        self.tell(pid, published(cid, Some(info)));
        if audio {
            // What AIC wants of it is known before its first answer.
            self.tap(cx, pid, serial);
        }
        self.show_live_tracks(cx, pid);
    }

    /// Tells the room of tracks that have come alive, and subscribes those who want that.
    pub(super) fn show_live_tracks(&mut self, cx: &mut Cx<'_>, pid: Pid) {
        let Some(participant) = self.person_mut(pid) else {
            return;
        };
        let mut fresh = Vec::new();
        for track in participant.tracks.iter_mut().filter(|t| t.is_live()) {
            if !std::mem::replace(&mut track.shown, true) {
                fresh.push(track.id.clone());
            }
        }
        if fresh.is_empty() {
            return;
        }
        if let Some(publisher) = self.person(pid) {
            for track in publisher.tracks.iter().filter(|t| fresh.contains(&t.id)) {
                self.track_came(cx, publisher, track);
            }
        }
        self.announce(pid);
        self.subscribe_room(pid);
        for id in fresh {
            if let Some(serial) = self.published_mut(pid, &id).map(|track| track.serial) {
                self.demand_changed(cx, pid, serial);
            }
        }
    }

    /// A track's line was stopped by its publisher.
    pub(super) fn unpublish(&mut self, cx: &mut Cx<'_>, pid: Pid, id: &TrackId) {
        let track = self.take_track(cx, pid, id);
        if let Some((publisher, track)) = self.person(pid).zip(track) {
            self.track_left(cx, publisher, &track);
            self.announce(pid);
        }
    }

    /// Takes a track away with its tap and whatever went out of it.
    pub(super) fn take_track(&mut self, cx: &mut Cx<'_>, pid: Pid, id: &TrackId) -> Option<Track> {
        let participant = self.person_mut(pid)?;
        let at = participant.tracks.iter().position(|track| track.id == *id)?;
        let mut track = participant.tracks.remove(at);
        if let Some(connection) = participant.here_mut() {
            connection.routes.clear();
        }
        let owner = participant.user.clone();
        self.close_tap(cx, pid, &owner, &mut track);
        self.forget_track(&track);
        Some(track)
    }

    /// Ends every subscription to a track that is gone.
    pub(super) fn forget_track(&mut self, track: &Track) {
        self.parts.tracks.remove(&track.id);
        for pid in self.everybody() {
            let Some(subscriber) = self.connection_mut(pid) else {
                continue;
            };
            let carried = Use::Send(track.id.clone());
            if subscriber.subscriptions.remove(&track.id).is_some()
                && subscriber
                    .sending()
                    .lines
                    .iter()
                    .any(|line| line.usage == carried)
            {
                self.renegotiate(pid);
            }
        }
    }
}

fn published(cid: String, track: Option<proto::TrackInfo>) -> Message {
    Message::TrackPublished(proto::TrackPublishedResponse { cid, track })
}
