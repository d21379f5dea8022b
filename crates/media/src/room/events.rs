//! What happens in calls, told to whoever keeps books: values on a bounded channel, dropped and counted when it is full.

use std::time::Instant;

use auralink_types::{
    Event, EventKind, Media, ParticipantId, Reason, SessionId, SessionRef, TrackId, UserId, UserKey,
};
use tokio::sync::mpsc::error::TrySendError;

use super::{Cx, Room, Tapped};
use crate::arena::Handle;
use crate::participant::{Participant, Pid};
use crate::tap::{LegId, TapEvent};

impl Room {
    /// Tells what happened in the room, and when.
    pub fn happened(&self, cx: &mut Cx<'_>, at: Instant, kind: EventKind) {
        let event = Event {
            ts_us: cx.ai.wall_us(at),
            tenant: self.key.tenant.clone(),
            call_id: self.sid.clone(),
            room: self.key.name.clone(),
            kind,
        };
        // A closed channel is nobody who listens, which is no loss.
        if let Err(TrySendError::Full(_)) = cx.ai.ai.events.try_send(event) {
            cx.counters.events_dropped += 1;
        }
    }

    pub(super) fn came(&self, cx: &mut Cx<'_>, pid: Pid) {
        if let Some((user, participant)) = self.person(pid).map(stay) {
            self.happened(cx, cx.now, EventKind::ParticipantJoined { user, participant });
        }
    }

    pub(super) fn left(&self, cx: &mut Cx<'_>, gone: &Participant) {
        let (user, participant) = stay(gone);
        self.happened(cx, cx.now, EventKind::ParticipantLeft { user, participant });
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
