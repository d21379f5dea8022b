//! How people leave, by their own will or not.

use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::leave_request::Action;
use proto::signal_response::Message;

use super::{Cx, Room};
use crate::line::Use;
use crate::participant::Pid;

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

    /// Takes somebody out: goodbye, tracks away, others told.
    pub(super) fn take_out(&mut self, cx: &mut Cx<'_>, pid: Pid, departure: Departure) {
        let Some(mut gone) = self.people.remove(pid.0) else {
            return;
        };
        let Departure { reason, farewell } = departure;
        if let Some(action) = farewell {
            gone.tell(Message::Leave(leave(reason, action)));
        }
        if let Some(socket) = gone.socket.take() {
            cx.out.hung_up.push(socket.id);
        }
        gone.publisher.session.close(cx.out);
        if let Some(subscriber) = &mut gone.subscriber {
            subscriber.session.close(cx.out);
        }
        tracing::info!(participant = %gone.sid, ?reason, "participant left");
        for mut track in std::mem::take(&mut gone.tracks) {
            self.close_tap(cx, pid, &gone.user, &mut track);
            self.track_left(cx, &gone, &track);
            self.forget_track(&track);
        }
        let heard = gone.sending().lines.iter().filter_map(|line| match &line.usage {
            Use::Send(track) => Some((gone.subscriptions.get(track)?.publisher, track.clone())),
            _ => None,
        });
        for (publisher, track) in heard.collect::<Vec<_>>() {
            self.end_leg(cx, publisher, &track, pid);
        }
        self.left(cx, &gone);
        if self.people.is_empty() {
            self.empty_since = Some(cx.now);
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
