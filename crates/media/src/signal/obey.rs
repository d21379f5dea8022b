//! What clients ask for on their signalling socket: whether they may, and the verb that does it.

use auralink_types::TrackId;
use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::request_response::{Reason, Request};
use proto::signal_request::Message as Ask;
use proto::signal_response::Message;
use proto::simulate_scenario::Scenario;
use str0m::Candidate;

use crate::participant::{Participant, Pid};
use crate::profile::{ProfileChange, ProfileError};
use crate::room::{Cx, Departure, Room};
use crate::subscription::Permissions;
use crate::track::Track;
use crate::transport::Role;
use crate::video::Wish;

/// Most tracks one participant may publish.
const MAX_TRACKS: usize = 64;

/// Does what a client asks for, as far as it may.
pub fn obey(room: &mut Room, cx: &mut Cx<'_>, pid: Pid, ask: Ask, now_ms: i64) {
    match ask {
        Ask::Offer(offer) => room.handle_offer(cx, pid, &offer),
        Ask::Answer(answer) => room.handle_answer(cx, pid, &answer),
        Ask::Trickle(trickled) => trickle(room, cx, pid, &trickled),
        Ask::AddTrack(request) => add_track(room, cx, pid, request),
        Ask::Mute(mute) => room.mute(cx, pid, &mute.sid, mute.muted),
        Ask::Subscription(update) => subscribe(room, cx, pid, &update),
        Ask::SubscriptionPermission(said) => room.permit(cx, pid, Permissions::from(said)),
        Ask::TrackSetting(settings) => adjust(room, cx, pid, &settings),
        Ask::Leave(_) => room.leave(pid),
        Ask::SyncState(state) => room.synchronise(cx, pid, &state),
        Ask::Ping(_) => tell(room, pid, Message::Pong(now_ms)),
        Ask::PingReq(ping) => {
            tell(room, pid, Message::Pong(now_ms));
            let pong = proto::Pong {
                last_ping_timestamp: ping.timestamp,
                timestamp: now_ms,
            };
            tell(room, pid, Message::PongResp(pong));
        }
        Ask::UpdateMetadata(update) => change_profile(room, cx, pid, update),
        Ask::UpdateAudioTrack(update) => room.describe_audio(pid, update),
        Ask::UpdateVideoTrack(update) => room.describe_video(pid, &update),
        Ask::Simulate(simulated) => simulate(room, cx, pid, simulated),
        // Data tracks are not offered; unknown kinds are newer than this server.
        _ => {}
    }
}

/// Announces a track, if its publisher may publish it.
pub fn add_track(room: &mut Room, cx: &mut Cx<'_>, pid: Pid, request: proto::AddTrackRequest) {
    let Some(refused) = room.person(pid).map(|participant| refusal(participant, &request)) else {
        return;
    };
    let Some(reason) = refused else {
        return room.publish(cx, pid, request);
    };
    let response = proto::RequestResponse {
        reason: reason as i32,
        message: "the track may not be published".into(),
        request: Some(Request::AddTrack(request)),
        ..Default::default()
    };
    tell(room, pid, Message::RequestResponse(response));
}

fn refusal(participant: &Participant, request: &proto::AddTrackRequest) -> Option<Reason> {
    if !participant.grants.may_publish(request.source) {
        return Some(Reason::NotAllowed);
    }
    if request.r#type == proto::TrackType::Data as i32 {
        return Some(Reason::UnsupportedType);
    }
    (participant.tracks.len() >= MAX_TRACKS).then_some(Reason::LimitExceeded)
}

fn tell(room: &mut Room, pid: Pid, message: Message) {
    if let Some(participant) = room.person_mut(pid) {
        participant.tell(message);
    }
}

fn trickle(room: &mut Room, cx: &mut Cx<'_>, pid: Pid, trickled: &proto::TrickleRequest) {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Init {
        #[serde(default)]
        candidate: String,
    }
    let Ok(init) = serde_json::from_str::<Init>(&trickled.candidate_init) else {
        return;
    };
    // Names that only the client's own network can resolve: its first check tells the address anyway.
    if init.candidate.is_empty() || init.candidate.contains(".local ") {
        return;
    }
    let text = init.candidate.strip_prefix("a=").unwrap_or(&init.candidate);
    if let Ok(candidate) = Candidate::from_sdp_string(text) {
        room.trickle(cx, pid, Role::from_target(trickled.target), candidate);
    }
}

fn subscribe(room: &mut Room, cx: &mut Cx<'_>, pid: Pid, update: &proto::UpdateSubscription) {
    let listed = update
        .participant_tracks
        .iter()
        .flat_map(|tracks| tracks.track_sids.iter());
    let tracks: Vec<TrackId> = update
        .track_sids
        .iter()
        .chain(listed)
        .map(|sid| sid.as_str().into())
        .collect();
    room.subscribe(cx, pid, &tracks, update.subscribe);
}

fn adjust(room: &mut Room, cx: &mut Cx<'_>, pid: Pid, settings: &proto::UpdateTrackSettings) {
    for sid in &settings.track_sids {
        room.adjust(cx, pid, &sid.as_str().into(), settings.disabled, |track| Wish {
            ceiling: ceiling(settings, track),
            fps: (settings.fps > 0).then_some(settings.fps),
        });
    }
}

/// Highest layer that the client's settings ask for: the smallest that covers its element, else the quality.
#[allow(deprecated)]
fn ceiling(settings: &proto::UpdateTrackSettings, track: &Track) -> usize {
    if settings.width > 0 && settings.height > 0 {
        let layers = track.info.layers.iter();
        let mut sizes: Vec<(u32, u32)> = layers.map(|layer| (layer.width, layer.height)).collect();
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

fn change_profile(room: &mut Room, cx: &mut Cx<'_>, pid: Pid, update: proto::UpdateParticipantMetadata) {
    let mut change = ProfileChange {
        name: update.name,
        metadata: update.metadata,
        attributes: update.attributes,
    };
    let granted = room.person(pid).is_some_and(|p| p.grants.update_metadata);
    let may = if granted { Ok(()) } else { change.restrict() };
    let done = may.and_then(|()| room.change_profile(cx, pid, change));
    let (reason, message) = match done {
        Ok(()) => (Reason::Ok, String::new()),
        Err(error @ ProfileError::NotAllowed(_)) => (Reason::NotAllowed, error.to_string()),
        Err(error) => (Reason::LimitExceeded, error.to_string()),
    };
    let response = proto::RequestResponse {
        request_id: update.request_id,
        reason: reason as i32,
        message,
        ..Default::default()
    };
    tell(room, pid, Message::RequestResponse(response));
}

/// Makes come true what a client wants to see itself survive.
fn simulate(room: &mut Room, cx: &mut Cx<'_>, pid: Pid, simulated: proto::SimulateScenario) {
    match simulated.scenario {
        // Signalling breaks and comes back to running media.
        Some(Scenario::Migration(true) | Scenario::DisconnectSignalOnResume(true)) => room.hang_up(cx, pid),
        Some(Scenario::NodeFailure(true) | Scenario::LeaveRequestFullReconnect(true)) => {
            room.depart(pid, Departure::to_return(DisconnectReason::StateMismatch));
        }
        Some(Scenario::ServerLeave(true)) => {
            room.depart(pid, Departure::for_good(DisconnectReason::ServerShutdown));
        }
        other => tracing::debug!(scenario = ?other, "not simulated"),
    }
}
