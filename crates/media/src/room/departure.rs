//! How people leave, by their own will or not.

use std::panic::{AssertUnwindSafe, catch_unwind};

use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::leave_request::Action;
use proto::signal_response::Message;

use super::{Cx, Room};
use crate::participant::Pid;
use crate::relay::Note;
use crate::session::SessionError;

/// Why somebody leaves, and what they are told.
#[derive(Clone, Copy, Debug)]
pub struct Departure {
    reason: DisconnectReason,
    farewell: Option<Action>,
}

impl Departure {
    /// They said so themselves.
    pub const LEFT: Self = Self {
        reason: DisconnectReason::ClientInitiated,
        farewell: None,
    };

    /// They are to come back at once with everything new.
    pub const fn to_return(reason: DisconnectReason) -> Self {
        Self {
            reason,
            farewell: Some(Action::Reconnect),
        }
    }

    /// They are not to come back by themselves.
    pub const fn for_good(reason: DisconnectReason) -> Self {
        Self {
            reason,
            farewell: Some(Action::Disconnect),
        }
    }
}

impl Room {
    /// Lets somebody leave as soon as what is under way is done.
    pub fn depart(&mut self, pid: Pid, departure: Departure) {
        self.departures.push_back((pid, departure));
    }

    /// Something of theirs failed, which is nobody else's concern.
    pub(super) fn fail(&mut self, cx: &mut Cx<'_>, pid: Pid, error: &dyn std::error::Error) {
        cx.counters.failed_sessions += 1;
        if let Some(participant) = self.person(pid) {
            tracing::warn!(participant = %participant.sid, %error, "session failed");
        }
        self.depart(pid, Departure::to_return(DisconnectReason::MediaFailure));
    }

    /// Does what concerns one of them while others wait for theirs: a panic costs the one it was for.
    pub(super) fn contained<T>(
        &mut self,
        cx: &mut Cx<'_>,
        pid: Pid,
        work: impl FnOnce(&mut Self, &mut Cx<'_>) -> T,
    ) -> Option<T> {
        let done = catch_unwind(AssertUnwindSafe(|| work(self, cx)));
        if done.is_err() {
            self.fail(cx, pid, &SessionError::Panicked);
        }
        done.ok()
    }

    /// Takes somebody out: goodbye, tracks away, others told.
    pub(super) fn take_out(&mut self, cx: &mut Cx<'_>, pid: Pid, departure: Departure) {
        let Some(mut gone) = self.people.remove(pid.0) else {
            return;
        };
        let Departure { reason, farewell } = departure;
        if let Some(action) = farewell {
            gone.tell(Message::Leave(leave(reason, action)));
        }
        for mut track in std::mem::take(&mut gone.tracks) {
            self.close_tap(cx, pid, &gone.user, &mut track);
            if gone.here().is_some() {
                self.track_left(cx, &gone, &track);
            }
            self.forget_track(&track);
        }
        if let Some(connection) = gone.here_mut() {
            connection.close(cx.out);
            for (publisher, track) in connection.hears() {
                self.end_leg(cx, publisher, &track, pid);
            }
            tracing::info!(participant = %gone.sid, ?reason, "participant left");
            self.left(cx, &gone);
            self.tell_parts(&Note::Gone(gone.sid.clone(), reason));
            if self.is_empty() {
                self.empty_since = Some(cx.now);
            }
        }
        if gone.grants.hidden {
            return;
        }
        gone.state = proto::participant_info::State::Disconnected;
        gone.version += 1;
        let mut info = gone.info();
        info.disconnect_reason = reason as i32;
        let participants = vec![info];
        self.tell_room(None, &Message::Update(proto::ParticipantUpdate { participants }));
    }
}

/// The message that ends a connection.
pub fn leave(reason: DisconnectReason, action: Action) -> proto::LeaveRequest {
    proto::LeaveRequest {
        reason: reason as i32,
        action: action as i32,
        can_reconnect: action != Action::Disconnect,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Instant, SystemTime};

    use super::*;
    use crate::ai::{Ai, AiState};
    use crate::arena::Handle;
    use crate::directory::{Call, Directory as _, LeastBusy};
    use crate::metrics::Counters;
    use crate::outbox::Outbox;
    use crate::participant::{RoomId, RoomKey};
    use crate::session::SessionConfig;
    use crate::settings::Settings;

    #[test]
    fn a_panic_costs_the_one_it_was_for_and_the_step_goes_on() {
        let provider = str0m::crypto::from_feature_flags();
        let sessions = SessionConfig {
            candidates: Arc::default(),
            certificate: provider.dtls_provider.generate_certificate().unwrap(),
            shard: crate::directory::ShardId(0),
            names: std::sync::Arc::default(),
        };
        let now = Instant::now();
        let mut cx = Cx {
            now,
            out: &mut Outbox::default(),
            ai: &mut AiState::new(now, SystemTime::now(), &Ai::none(), None),
            counters: &mut Counters::default(),
            sessions: &sessions,
        };
        let key = RoomKey {
            tenant: "t".into(),
            name: "r".into(),
        };
        let claim = LeastBusy::new(1, 0).claim(&key, &"anna".into());
        let call = || Call {
            sid: "RM_1".into(),
            created_at_ms: 0,
            settings: Settings::default(),
        };
        let mut room = Room::begin(&mut cx, RoomId(Handle::from_number(0)), claim.begin(call));
        let [first, second] = [0, 1].map(|number| Pid(Handle::from_number(number)));
        let of_first = room.contained(&mut cx, first, |_, _| -> u8 { panic!("a fault") });
        let of_second = room.contained(&mut cx, second, |_, _| 2);
        assert_eq!((of_first, of_second), (None, Some(2)));
        let leaving: Vec<Pid> = room.departures.iter().map(|(pid, _)| *pid).collect();
        assert_eq!((leaving, cx.counters.failed_sessions), (vec![first], 1));
    }
}
