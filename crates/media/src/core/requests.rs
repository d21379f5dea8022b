//! What clients ask for on their signalling socket.

use std::time::Instant;

use auralink_types::TrackId;
use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::request_response::{Reason, Request};
use proto::signal_request::Message as Ask;
use proto::signal_response::Message;
use str0m::Candidate;

use super::Core;
use super::join::new_sid;
use crate::line::Use;
use crate::participant::{Participant, Pid, RoomKey, Subscription};
use crate::track::Track;

/// Most tracks one participant may publish.
const MAX_TRACKS: usize = 64;

/// Most attributes of one participant, and longest text in any of them.
const MAX_ATTRIBUTES: usize = 100;
const MAX_TEXT: usize = 64 << 10;

impl Core {
    pub(super) fn handle_request(&mut self, now: Instant, pid: Pid, message: Ask, now_ms: i64) {
        match message {
            Ask::Offer(offer) => {
                if let Some(participant) = self.people.get_mut(&pid)
                    && participant.stale
                {
                    // The question that may be on its way is answered by this offer as well.
                    participant.asked_to_offer = None;
                }
                self.handle_offer(now, pid, offer);
            }
            Ask::Trickle(trickle) => self.trickle(now, pid, &trickle),
            Ask::AddTrack(request) => self.add_track(now, pid, request),
            Ask::Mute(mute) => self.mute(now, pid, &mute),
            Ask::Subscription(update) => self.update_subscription(now, pid, &update),
            Ask::TrackSetting(settings) => self.update_settings(pid, &settings),
            Ask::Leave(_) => self.remove(now, pid, DisconnectReason::ClientInitiated, None),
            Ask::SyncState(state) => self.synchronise(now, pid, state),
            Ask::Ping(_) => self.tell(pid, Message::Pong(now_ms)),
            Ask::PingReq(ping) => {
                self.tell(pid, Message::Pong(now_ms));
                let pong = proto::Pong {
                    last_ping_timestamp: ping.timestamp,
                    timestamp: now_ms,
                };
                self.tell(pid, Message::PongResp(pong));
            }
            Ask::UpdateMetadata(update) => self.update_metadata(pid, update),
            Ask::UpdateAudioTrack(update) => {
                let found = self.track_mut(pid, &update.track_sid);
                if let Some(track) = found {
                    track.info.audio_features = update.features;
                    self.announce(pid);
                }
            }
            Ask::UpdateVideoTrack(update) => {
                let found = self.track_mut(pid, &update.track_sid);
                if let Some(track) = found {
                    (track.info.width, track.info.height) = (update.width, update.height);
                    self.announce(pid);
                }
            }
            // Publisher-side permissions, simulated faults and data tracks are not offered; unknown kinds are
            // newer than this server.
            _ => {}
        }
    }

    pub(super) fn tell(&mut self, pid: Pid, message: Message) {
        if let Some(participant) = self.people.get_mut(&pid) {
            participant.tell(message);
        }
    }

    fn track_mut(&mut self, pid: Pid, sid: &str) -> Option<&mut Track> {
        self.people
            .get_mut(&pid)?
            .tracks
            .iter_mut()
            .find(|track| track.id.as_str() == sid)
    }

    fn trickle(&mut self, now: Instant, pid: Pid, trickle: &proto::TrickleRequest) {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Init {
            #[serde(default)]
            candidate: String,
        }
        let Ok(init) = serde_json::from_str::<Init>(&trickle.candidate_init) else {
            return;
        };
        // Names that only the client's own network can resolve: its first check tells the address anyway.
        if init.candidate.is_empty() || init.candidate.contains(".local ") {
            return;
        }
        let text = init.candidate.strip_prefix("a=").unwrap_or(&init.candidate);
        if let (Ok(candidate), Some(participant)) =
            (Candidate::from_sdp_string(text), self.people.get_mut(&pid))
        {
            participant.session.add_remote_candidate(candidate);
            self.drain(now, pid);
        }
    }

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
        let waiting = participant
            .unmatched
            .iter()
            .find(|(_, cid)| **cid == request.cid)
            .map(|(mid, _)| mid.clone());
        if let Some(mid) = waiting {
            participant.unmatched.remove(&mid);
            // Just pushed.
            if let Some(track) = participant.tracks.last_mut() {
                track.mid = Some(mid.as_str().into());
                track.info.mid = mid;
            }
            self.renegotiate(now, pid);
        }
        self.steer(now, pid);
        self.publish_if_live(now, pid);
    }

    fn mute(&mut self, now: Instant, pid: Pid, mute: &proto::MuteTrackRequest) {
        let Some(track) = self.track_mut(pid, &mute.sid) else {
            return;
        };
        if track.info.muted != mute.muted {
            track.info.muted = mute.muted;
            self.announce(pid);
            self.publish_if_live(now, pid);
        }
    }

    fn update_subscription(&mut self, now: Instant, pid: Pid, update: &proto::UpdateSubscription) {
        let listed = update
            .participant_tracks
            .iter()
            .flat_map(|tracks| tracks.track_sids.iter());
        let sids: Vec<TrackId> = update
            .track_sids
            .iter()
            .chain(listed)
            .map(|sid| sid.as_str().into())
            .collect();
        let Some(participant) = self.people.get(&pid) else {
            return;
        };
        if !participant.grants.subscribe {
            return;
        }
        let room = participant.room.clone();
        for sid in sids {
            let found = self.find_track(&room, &sid);
            let Some(participant) = self.people.get_mut(&pid) else {
                return;
            };
            match (participant.subscriptions.get_mut(&sid), found) {
                (Some(subscription), _) => subscription.desired = update.subscribe,
                (None, Some((publisher, video))) if publisher != pid => {
                    let desired = update.subscribe;
                    let fresh = Subscription {
                        publisher,
                        video,
                        desired,
                        disabled: false,
                        ceiling: 2,
                        mid: None,
                    };
                    participant.subscriptions.insert(sid.clone(), fresh);
                }
                _ => continue,
            }
            if !update.subscribe {
                self.drop_leg(pid, &sid);
            }
        }
        self.renegotiate(now, pid);
    }

    fn find_track(&self, room: &RoomKey, sid: &TrackId) -> Option<(Pid, bool)> {
        self.rooms.get(room)?.participants.iter().find_map(|pid| {
            let track = self
                .people
                .get(pid)?
                .tracks
                .iter()
                .find(|t| t.id == *sid && t.is_live())?;
            Some((*pid, track.is_video()))
        })
    }

    /// Stops packets of a track to one subscriber at once, ahead of the next answer.
    pub(super) fn drop_leg(&mut self, pid: Pid, sid: &TrackId) {
        let publisher = self
            .people
            .get(&pid)
            .and_then(|p| p.subscriptions.get(sid))
            .map(|s| s.publisher);
        let track = publisher
            .and_then(|publisher| self.people.get_mut(&publisher))
            .and_then(|p| p.tracks.iter_mut().find(|t| t.id == *sid));
        if let Some(track) = track {
            track.legs.retain(|leg| leg.pid != pid);
        }
    }

    #[allow(deprecated)]
    fn update_settings(&mut self, pid: Pid, settings: &proto::UpdateTrackSettings) {
        for sid in &settings.track_sids {
            let sid = TrackId::from(sid.as_str());
            let Some(publisher) = self
                .people
                .get(&pid)
                .and_then(|p| p.subscriptions.get(&sid))
                .map(|s| s.publisher)
            else {
                continue;
            };
            let layers = self
                .people
                .get(&publisher)
                .and_then(|p| p.tracks.iter().find(|t| t.id == sid))
                .map(|track| track.info.layers.clone())
                .unwrap_or_default();
            let Some(participant) = self.people.get_mut(&pid) else {
                return;
            };
            let Some(subscription) = participant.subscriptions.get_mut(&sid) else {
                continue;
            };
            subscription.ceiling = ceiling(settings, &layers);
            let resumed = subscription.disabled && !settings.disabled;
            subscription.disabled = settings.disabled;
            if let Some(mid) = subscription.mid
                && let Some(line) = participant.line_mut(mid)
                && resumed
            {
                line.outgoing.finish();
            }
        }
    }

    fn synchronise(&mut self, now: Instant, pid: Pid, state: proto::SyncState) {
        let Some(participant) = self.people.get_mut(&pid) else {
            return;
        };
        let unknown = state
            .publish_tracks
            .iter()
            .filter_map(|t| t.track.as_ref())
            .any(|track| {
                !participant
                    .tracks
                    .iter()
                    .any(|known| known.id.as_str() == track.sid)
            });
        if unknown {
            let action = Some(proto::leave_request::Action::Reconnect);
            return self.remove(now, pid, DisconnectReason::StateMismatch, action);
        }
        for sid in &state.track_sids_disabled {
            if let Some(subscription) = participant.subscriptions.get_mut(&TrackId::from(sid.as_str())) {
                subscription.disabled = true;
            }
        }
    }

    fn update_metadata(&mut self, pid: Pid, update: proto::UpdateParticipantMetadata) {
        let Some(participant) = self.people.get_mut(&pid) else {
            return;
        };
        let too_long = update.metadata.len().max(update.name.len()) > MAX_TEXT
            || participant.attributes.len() + update.attributes.len() > MAX_ATTRIBUTES
            || update
                .attributes
                .iter()
                .any(|(key, value)| key.len() + value.len() > MAX_TEXT);
        let reason = if !participant.grants.update_metadata {
            Reason::NotAllowed
        } else if too_long {
            Reason::LimitExceeded
        } else {
            Reason::Ok
        };
        participant.tell(Message::RequestResponse(proto::RequestResponse {
            request_id: update.request_id,
            reason: reason as i32,
            ..Default::default()
        }));
        if reason != Reason::Ok {
            return;
        }
        if !update.metadata.is_empty() {
            participant.metadata = update.metadata;
        }
        if !update.name.is_empty() {
            participant.name = update.name;
        }
        for (key, value) in update.attributes {
            if value.is_empty() {
                participant.attributes.remove(&key);
            } else {
                participant.attributes.insert(key, value);
            }
        }
        self.announce(pid);
    }

    /// Shows a publisher's new tracks to the room and subscribes those who want that.
    pub(super) fn publish_if_live(&mut self, now: Instant, pid: Pid) {
        let Some(participant) = self.people.get(&pid) else {
            return;
        };
        let room = participant.room.clone();
        let live: Vec<(TrackId, bool)> = participant
            .tracks
            .iter()
            .filter(|t| t.is_live())
            .map(|t| (t.id.clone(), t.is_video()))
            .collect();
        let Some(members) = self.rooms.get(&room).map(|room| room.participants.clone()) else {
            return;
        };
        for other in members.into_iter().filter(|other| *other != pid) {
            let Some(subscriber) = self.people.get_mut(&other) else {
                continue;
            };
            if !subscriber.grants.subscribe {
                continue;
            }
            let mut added = false;
            for (track, video) in &live {
                if !subscriber.subscriptions.contains_key(track) {
                    let desired = subscriber.auto_subscribe;
                    let fresh = Subscription {
                        publisher: pid,
                        video: *video,
                        desired,
                        disabled: false,
                        ceiling: 2,
                        mid: None,
                    };
                    subscriber.subscriptions.insert(track.clone(), fresh);
                    added |= desired;
                }
            }
            if added {
                self.renegotiate(now, other);
            }
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
        let room = participant.room.clone();
        self.close_tap(&mut track);
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

/// Highest layer that the client's settings ask for: the smallest that covers its element, else the quality.
fn ceiling(settings: &proto::UpdateTrackSettings, layers: &[proto::VideoLayer]) -> usize {
    if settings.width > 0 && settings.height > 0 {
        let mut sizes: Vec<(u32, u32)> = layers.iter().map(|layer| (layer.width, layer.height)).collect();
        sizes.sort_unstable();
        let covers = |size: &(u32, u32)| size.0 >= settings.width || size.1 >= settings.height;
        return sizes.iter().position(covers).unwrap_or(2);
    }
    match proto::VideoQuality::try_from(settings.quality) {
        Ok(proto::VideoQuality::Low) => 0,
        Ok(proto::VideoQuality::Medium) => 1,
        _ => 2,
    }
}
