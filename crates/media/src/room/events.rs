//! What happens in calls, told to whoever keeps books: values on a bounded channel, dropped and counted when it is full.

use std::time::Instant;

use auralink_types::{
    Event, EventKind, Media, Objects, ParticipantId, Reason, SessionId, SessionRef, TrackId, UserId, UserKey,
};
use livekit_protocol as proto;
use serde::Serialize;
use tokio::sync::mpsc::error::TrySendError;

use super::{Cx, Room, Tapped};
use crate::arena::Handle;
use crate::participant::{Participant, Pid};
use crate::tap::{LegId, TapEvent};
use crate::track::Track;

impl Room {
    /// Tells what happened in the room, and when.
    pub fn happened(&self, cx: &mut Cx<'_>, at: Instant, kind: EventKind) {
        self.happened_to(cx, at, kind, Objects::default());
    }

    /// Likewise, with whom or what it happened to.
    fn happened_to(&self, cx: &mut Cx<'_>, at: Instant, kind: EventKind, objects: Objects) {
        let event = Event {
            ts_us: cx.ai.wall_us(at),
            tenant: self.key().tenant.clone(),
            call_id: self.sid.clone(),
            room: self.key().name.clone(),
            kind,
            objects: Objects {
                room: json(&self.info()),
                ..objects
            },
        };
        // A closed channel is nobody who listens, which is no loss.
        if let Err(TrySendError::Full(_)) = cx.ai.events.try_send(event) {
            cx.counters.events_dropped += 1;
        }
    }

    pub(super) fn came(&self, cx: &mut Cx<'_>, pid: Pid) {
        if let Some(new) = self.person(pid) {
            let (user, participant) = stay(new);
            let kind = EventKind::ParticipantJoined { user, participant };
            self.happened_to(cx, cx.now, kind, of_participant(&new.info()));
        }
    }

    pub(super) fn left(&self, cx: &mut Cx<'_>, gone: &Participant) {
        let (user, participant) = stay(gone);
        let info = proto::ParticipantInfo {
            state: proto::participant_info::State::Disconnected as i32,
            ..gone.info()
        };
        let kind = EventKind::ParticipantLeft { user, participant };
        self.happened_to(cx, cx.now, kind, of_participant(&info));
    }

    /// The room is shown a track for the first time.
    pub(super) fn track_came(&self, cx: &mut Cx<'_>, publisher: &Participant, track: &Track) {
        let (user, participant) = stay(publisher);
        let kind = EventKind::TrackPublished {
            user,
            participant,
            track: track.id.clone(),
        };
        self.happened_to(cx, cx.now, kind, of_track(publisher, track));
    }

    /// A track is gone; of one that nobody was shown nothing is told.
    pub(super) fn track_left(&self, cx: &mut Cx<'_>, publisher: &Participant, track: &Track) {
        if !track.shown {
            return;
        }
        let (user, participant) = stay(publisher);
        let kind = EventKind::TrackUnpublished {
            user,
            participant,
            track: track.id.clone(),
        };
        self.happened_to(cx, cx.now, kind, of_track(publisher, track));
    }

    /// What a track's tap says of its state.
    pub(super) fn tap_event(
        &self,
        cx: &mut Cx<'_>,
        (pid, id): (Pid, &TrackId),
        tapped: &mut Tapped,
        event: TapEvent,
    ) {
        super::rows::tell(id, event);
        if matches!(
            event,
            TapEvent::Fallback {
                reason: Reason::CoreUnreachable,
                ..
            }
        ) {
            cx.ai.gate.handle_failed();
        }
        let Some(owner) = self.person(pid).map(|p| p.user.clone()) else {
            return;
        };
        let listener = |leg: LegId| {
            self.person(Pid(Handle::from_number(leg.0)))
                .map(|p| p.user.user.clone())
        };
        let session = tapped
            .session
            .clone()
            .map(|session| session_of(session, id, &owner));
        let kind = match event {
            TapEvent::SessionStarted => {
                let session = SessionId::new(format!("AS_{}", uuid::Uuid::now_v7().simple()));
                tapped.session = Some(session.clone());
                Some(EventKind::SessionStarted(session_of(session, id, &owner)))
            }
            TapEvent::SessionEnded => return self.end_session(cx, &owner, id, tapped),
            TapEvent::Fallback { leg, reason } => {
                listener(leg)
                    .zip(session)
                    .map(|(listener, session)| EventKind::FallbackTriggered {
                        session,
                        listener,
                        reason,
                    })
            }
            TapEvent::Recovered { leg } => listener(leg)
                .zip(session)
                .map(|(listener, session)| EventKind::FallbackRecovered { session, listener }),
            TapEvent::RungChanged { .. } => None,
        };
        if let Some(kind) = kind {
            self.happened(cx, cx.now, kind);
        }
    }

    /// Ends a track's session, if it has one: no row of it comes after this.
    pub(super) fn end_session(&self, cx: &mut Cx<'_>, owner: &UserKey, id: &TrackId, tapped: &mut Tapped) {
        if let Some(session) = tapped.session.take() {
            let session = session_of(session, id, owner);
            self.happened(cx, cx.now, EventKind::SessionEnded(session));
        }
    }
}

fn of_participant(info: &proto::ParticipantInfo) -> Objects {
    Objects {
        participant: json(info),
        ..Objects::default()
    }
}

fn of_track(publisher: &Participant, track: &Track) -> Objects {
    Objects {
        track: json(&track.info),
        ..of_participant(&publisher.info())
    }
}

/// A message of LiveKit's as JSON; all of them can be written so.
fn json(message: &impl Serialize) -> Option<serde_json::Value> {
    serde_json::to_value(message).ok()
}

fn stay(participant: &Participant) -> (UserId, ParticipantId) {
    (participant.user.user.clone(), participant.sid.clone())
}

fn session_of(session_id: SessionId, track: &TrackId, owner: &UserKey) -> SessionRef {
    SessionRef {
        session_id,
        track_id: track.clone(),
        user: owner.user.clone(),
        media: Media::Audio,
    }
}
