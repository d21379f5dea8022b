//! What happens in calls, told to whoever keeps books: values on a bounded channel, dropped and counted when it is full.

use std::time::Instant;

use auralink_types::{
    Event, EventKind, Media, ParticipantId, Reason, SessionId, SessionRef, TrackId, UserId, UserKey,
};
use tokio::sync::mpsc::error::TrySendError;

use super::{Core, Tapped};
use crate::participant::{Participant, Pid, RoomKey};
use crate::room::Room;
use crate::tap::{LegId, TapEvent};

impl Core {
    /// Tells what happened in a room that is there.
    pub(super) fn happened(&mut self, now: Instant, key: &RoomKey, kind: EventKind) {
        let Some(room) = self.rooms.get(key) else { return };
        let call_id = room.sid.clone();
        self.emit(Event {
            ts_us: self.ai.wall_us(now),
            tenant: key.tenant.clone(),
            call_id,
            room: key.name.clone(),
            kind,
        });
    }

    pub(super) fn came(&mut self, now: Instant, pid: Pid) {
        if let Some((room, user, participant)) = self.people.get(&pid).map(stay) {
            self.happened(now, &room, EventKind::ParticipantJoined { user, participant });
        }
    }

    pub(super) fn left(&mut self, now: Instant, gone: &Participant) {
        let (room, user, participant) = stay(gone);
        self.happened(now, &room, EventKind::ParticipantLeft { user, participant });
    }

    /// Ends the calls of the rooms that have stayed empty, or of all empty ones; they end when the last one left.
    pub(super) fn end_calls(&mut self, now: Instant, all: bool) {
        let over = |room: &Room| {
            room.empty_since
                .filter(|since| all || *since + super::tick::EMPTY_ROOM <= now)
        };
        let ended: Vec<(RoomKey, Instant)> = self
            .rooms
            .iter()
            .filter_map(|(key, room)| Some((key.clone(), over(room)?)))
            .collect();
        for (key, since) in ended {
            self.happened(since, &key, EventKind::CallEnded);
            self.rooms.remove(&key);
        }
    }

    /// What a track's tap says of its state.
    pub(super) fn tap_event(
        &mut self,
        now: Instant,
        pid: Pid,
        id: &TrackId,
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
            self.ai.gate.handle_failed();
        }
        let Some((room, owner)) = self.people.get(&pid).map(|p| (p.room.clone(), p.user.clone())) else {
            return;
        };
        let listener = |leg: LegId| self.people.get(&Pid(leg.0)).map(|p| p.user.user.clone());
        match event {
            TapEvent::SessionStarted => {
                let session = SessionId::new(format!("AS_{}", uuid::Uuid::now_v7().simple()));
                tapped.session = Some(session.clone());
                let session = session_of(session, id, &owner);
                self.happened(now, &room, EventKind::SessionStarted(session));
            }
            TapEvent::SessionEnded => self.end_session(now, &room, &owner, id, tapped),
            TapEvent::Fallback { leg, reason } => {
                if let (Some(listener), Some(session)) = (listener(leg), tapped.session.clone()) {
                    let session = session_of(session, id, &owner);
                    let kind = EventKind::FallbackTriggered {
                        session,
                        listener,
                        reason,
                    };
                    self.happened(now, &room, kind);
                }
            }
            TapEvent::Recovered { leg } => {
                if let (Some(listener), Some(session)) = (listener(leg), tapped.session.clone()) {
                    let session = session_of(session, id, &owner);
                    self.happened(now, &room, EventKind::FallbackRecovered { session, listener });
                }
            }
            TapEvent::RungChanged { .. } => {}
        }
    }

    /// Ends a track's session, if it has one: no row of it comes after this.
    pub(super) fn end_session(
        &mut self,
        now: Instant,
        room: &RoomKey,
        owner: &UserKey,
        id: &TrackId,
        tapped: &mut Tapped,
    ) {
        if let Some(session) = tapped.session.take() {
            let session = session_of(session, id, owner);
            self.happened(now, room, EventKind::SessionEnded(session));
        }
    }

    fn emit(&mut self, event: Event) {
        // A closed channel is nobody who listens, which is no loss.
        if let Err(TrySendError::Full(_)) = self.ai.ai.events.try_send(event) {
            self.counters.events_dropped += 1;
        }
    }
}

fn stay(participant: &Participant) -> (RoomKey, UserId, ParticipantId) {
    let Participant { room, user, sid, .. } = participant;
    (room.clone(), user.user.clone(), sid.clone())
}

fn session_of(session_id: SessionId, track: &TrackId, owner: &UserKey) -> SessionRef {
    SessionRef {
        session_id,
        track_id: track.clone(),
        user: owner.user.clone(),
        media: Media::Audio,
    }
}
