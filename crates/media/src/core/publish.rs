//! Publishing: tracks are announced, shown to the room once they are live, and taken away.

use std::time::Instant;

use auralink_types::TrackId;
use livekit_protocol as proto;
use proto::request_response::{Reason, Request};
use proto::signal_response::Message;

use super::Core;
use super::join::new_sid;
use crate::line::Use;
use crate::matching::match_lines;
use crate::participant::{Participant, Pid, RoomKey};
use crate::track::Track;

/// Most tracks one participant may publish.
const MAX_TRACKS: usize = 64;

impl Core {
    pub(super) fn add_track(&mut self, now: Instant, pid: Pid, request: proto::AddTrackRequest) {
        let Some(participant) = self.people.get_mut(&pid) else {
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
        if let Some(reason) = refusal(participant, &request) {
            return participant.tell(Message::RequestResponse(proto::RequestResponse {
                reason: reason as i32,
                message: "the track may not be published".into(),
                request: Some(Request::AddTrack(request)),
                ..Default::default()
            }));
        }
        let track = Track::new(TrackId::new(new_sid("TR_")), request.clone());
        let info = track.info.clone();
        participant.tracks.push(track);
        participant.tell(published(request.cid.clone(), Some(info)));
        // The offer may have come first: then its line waits for this track and must be answered again.
        if match_lines(&participant.sends, &mut participant.tracks) {
            participant.publisher.stale = true;
            self.refresh(now, pid);
        }
        self.steer(now, pid);
        self.show_live_tracks(now, pid);
    }

    /// Tells the room of tracks that have come alive, and subscribes those who want that.
    pub(super) fn show_live_tracks(&mut self, now: Instant, pid: Pid) {
        let Some(participant) = self.people.get_mut(&pid) else {
            return;
        };
        let mut fresh = false;
        for track in participant.tracks.iter_mut().filter(|t| t.is_live()) {
            fresh |= !std::mem::replace(&mut track.shown, true);
        }
        if fresh {
            self.announce(pid);
            self.subscribe_room(now, pid);
        }
    }

    /// A track's line was stopped by its publisher.
    pub(super) fn unpublish(&mut self, now: Instant, pid: Pid, id: &TrackId) {
        let Some(participant) = self.people.get_mut(&pid) else {
            return;
        };
        let Some(at) = participant.tracks.iter().position(|track| track.id == *id) else {
            return;
        };
        let mut track = participant.tracks.remove(at);
        let (room, owner) = (participant.room.clone(), participant.user.clone());
        self.close_tap(now, &room, &owner, &mut track);
        self.announce(pid);
        self.forget_track(now, &room, &track);
    }

    /// Ends every subscription to a track that is gone.
    pub(super) fn forget_track(&mut self, now: Instant, room: &RoomKey, track: &Track) {
        let Some(members) = self.rooms.get(room).map(|room| room.participants.clone()) else {
            return;
        };
        for other in members {
            let Some(subscriber) = self.people.get_mut(&other) else {
                continue;
            };
            if subscriber.subscriptions.remove(&track.id).is_none() {
                continue;
            }
            if subscriber
                .sending()
                .lines
                .iter()
                .any(|line| line.usage == Use::Send(track.id.clone()))
            {
                self.renegotiate(now, other);
            }
        }
    }
}

fn published(cid: String, track: Option<proto::TrackInfo>) -> Message {
    Message::TrackPublished(proto::TrackPublishedResponse { cid, track })
}

fn refusal(participant: &Participant, request: &proto::AddTrackRequest) -> Option<Reason> {
    let grants = &participant.grants;
    let source_allowed = grants.sources.is_empty() || grants.sources.contains(&request.source);
    if !grants.publish || !source_allowed {
        return Some(Reason::NotAllowed);
    }
    if request.r#type == proto::TrackType::Data as i32 {
        return Some(Reason::UnsupportedType);
    }
    (participant.tracks.len() >= MAX_TRACKS).then_some(Reason::LimitExceeded)
}
