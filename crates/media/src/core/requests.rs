//! What clients ask for on their signalling socket.

use std::time::Instant;

use auralink_types::TrackId;
use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::leave_request::Action;
use proto::request_response::Reason;
use proto::signal_request::Message as Ask;
use proto::signal_response::Message;
use proto::simulate_scenario::Scenario;
use str0m::Candidate;

use super::Core;
use super::join::RESUME_WINDOW;
use crate::participant::Pid;
use crate::profile::{ProfileChange, ProfileError};
use crate::track::Track;
use crate::transport::{Role, TransportId};

impl Core {
    pub(super) fn handle_request(&mut self, now: Instant, pid: Pid, message: Ask, now_ms: i64) {
        match message {
            Ask::Offer(offer) => {
                if let Some(participant) = self.people.get_mut(&pid)
                    && participant.publisher.stale
                {
                    // The question that may be on its way is answered by this offer as well.
                    participant.publisher.asked_to_offer = None;
                }
                self.handle_offer(now, pid, offer);
            }
            Ask::Answer(answer) => self.handle_answer(now, pid, &answer),
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
            Ask::UpdateMetadata(update) => self.update_profile(pid, update),
            Ask::SubscriptionPermission(permission) => self.permit(now, pid, permission),
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
            Ask::Simulate(simulated) => self.simulate(now, pid, simulated),
            // Data tracks are not offered; unknown kinds are newer than this server.
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
        let id = TransportId {
            pid,
            role: Role::from_target(trickle.target),
        };
        if let (Ok(candidate), Some(transport)) = (Candidate::from_sdp_string(text), self.transport_mut(id)) {
            transport.session.add_remote_candidate(candidate);
            self.drain(now, id);
        }
    }

    fn mute(&mut self, now: Instant, pid: Pid, mute: &proto::MuteTrackRequest) {
        let Some(track) = self.track_mut(pid, &mute.sid) else {
            return;
        };
        if track.info.muted != mute.muted {
            track.info.muted = mute.muted;
            self.announce(pid);
            self.show_live_tracks(now, pid);
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
                && let Some(line) = participant.sending_line_mut(mid)
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

    /// Makes come true what a client wants to see itself survive.
    fn simulate(&mut self, now: Instant, pid: Pid, simulated: proto::SimulateScenario) {
        match simulated.scenario {
            // Signalling breaks and comes back to running media.
            Some(Scenario::Migration(true) | Scenario::DisconnectSignalOnResume(true)) => {
                if let Some(participant) = self.people.get_mut(&pid) {
                    participant.socket = None;
                    participant.deadline = Some(now + RESUME_WINDOW);
                }
            }
            Some(Scenario::NodeFailure(true) | Scenario::LeaveRequestFullReconnect(true)) => {
                self.remove(now, pid, DisconnectReason::StateMismatch, Some(Action::Reconnect));
            }
            Some(Scenario::ServerLeave(true)) => {
                self.remove(
                    now,
                    pid,
                    DisconnectReason::ServerShutdown,
                    Some(Action::Disconnect),
                );
            }
            other => tracing::debug!(scenario = ?other, "not simulated"),
        }
    }

    fn update_profile(&mut self, pid: Pid, update: proto::UpdateParticipantMetadata) {
        let Some(participant) = self.people.get_mut(&pid) else {
            return;
        };
        let mut change = ProfileChange {
            name: update.name,
            metadata: update.metadata,
            attributes: update.attributes,
        };
        let refused = match participant.grants.update_metadata {
            true => Ok(()),
            false => change.restrict(),
        };
        let applied = refused.and_then(|()| participant.profile.apply(change));
        let (reason, message) = match &applied {
            Ok(()) => (Reason::Ok, String::new()),
            Err(error @ ProfileError::NotAllowed(_)) => (Reason::NotAllowed, error.to_string()),
            Err(error) => (Reason::LimitExceeded, error.to_string()),
        };
        participant.tell(Message::RequestResponse(proto::RequestResponse {
            request_id: update.request_id,
            reason: reason as i32,
            message,
            ..Default::default()
        }));
        if applied.is_ok() {
            self.announce(pid);
        }
    }
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
