//! What is looked at ten times a second.

use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::signal_response::Message;

use super::Core;
use crate::participant::{Participant, Pid, RoomKey};
use crate::room::Headcount;

/// How long an empty room is kept, so that its id survives a reload of the page.
pub(super) const EMPTY_ROOM: Duration = Duration::from_secs(20);

/// How long a participant is kept whose transport has failed.
pub(super) const LOST_TRANSPORT: Duration = Duration::from_secs(15);

/// How long a participant is kept who closed a connection and has not said why.
pub(super) const CLOSED_TRANSPORT: Duration = Duration::from_secs(1);

impl Core {
    pub(super) fn tick(&mut self, now: Instant) {
        self.tap_tick(now);
        self.end_calls(now, false);
        if now >= self.next_quality {
            self.next_quality = now + super::network::QUALITY_EVERY;
            self.tell_quality();
        }
        self.tell_rooms();
        let reason = |participant: &Participant| {
            if participant
                .transports()
                .all(|(_, transport)| transport.session.is_alive())
            {
                DisconnectReason::ConnectionTimeout
            } else {
                DisconnectReason::MediaFailure
            }
        };
        let late: Vec<(Pid, DisconnectReason)> = self
            .people
            .iter()
            .filter(|(_, p)| p.deadline.is_some_and(|deadline| deadline <= now))
            .map(|(pid, p)| (*pid, reason(p)))
            .collect();
        for (pid, reason) in late {
            let action = Some(proto::leave_request::Action::Reconnect);
            self.remove(now, pid, reason, action);
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

    /// Tells rooms how many people are in them, where that has changed.
    fn tell_rooms(&mut self) {
        let news: Vec<(RoomKey, proto::Room)> = self
            .rooms
            .keys()
            .filter_map(|key| Some((key.clone(), self.room_info(key)?)))
            .filter(|(key, info)| {
                self.rooms
                    .get(key)
                    .is_some_and(|room| room.told != Headcount::of(info))
            })
            .collect();
        for (key, info) in news {
            if let Some(room) = self.rooms.get_mut(&key) {
                room.told = Headcount::of(&info);
            }
            self.tell_room(
                &key,
                None,
                Message::RoomUpdate(proto::RoomUpdate { room: Some(info) }),
            );
        }
    }

    /// How clients see a room.
    pub(super) fn room_info(&self, key: &RoomKey) -> Option<proto::Room> {
        let room = self.rooms.get(key)?;
        let people = || room.participants.iter().filter_map(|pid| self.people.get(pid));
        let shown = || people().filter(|p| !p.grants.hidden);
        Some(proto::Room {
            num_participants: shown().count() as u32,
            num_publishers: shown().filter(|p| p.publishes()).count() as u32,
            active_recording: people().any(|p| p.grants.recorder),
            ..room.info()
        })
    }
}
