//! What is looked at ten times a second.

use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::DisconnectReason;

use super::Core;
use crate::participant::Pid;

/// How long an empty room is kept, so that its id survives a reload of the page.
pub(super) const EMPTY_ROOM: Duration = Duration::from_secs(20);

/// How long a participant is kept whose transport has failed.
pub(super) const LOST_TRANSPORT: Duration = Duration::from_secs(15);

impl Core {
    pub(super) fn tick(&mut self, now: Instant) {
        self.tap_tick(now);
        self.end_calls(now, false);
        if now >= self.next_quality {
            self.next_quality = now + super::network::QUALITY_EVERY;
            self.tell_quality();
        }
        let late: Vec<Pid> = self
            .people
            .iter()
            .filter(|(_, p)| p.deadline.is_some_and(|deadline| deadline <= now))
            .map(|(pid, _)| *pid)
            .collect();
        for pid in late {
            let action = Some(proto::leave_request::Action::Reconnect);
            self.remove(now, pid, DisconnectReason::ConnectionTimeout, action);
        }
        let stale: Vec<Pid> = self
            .people
            .iter()
            .filter(|(_, p)| p.transports().any(|(_, transport)| transport.stale))
            .map(|(pid, _)| *pid)
            .collect();
        for pid in stale {
            self.refresh(now, pid);
        }
    }
}
