//! What people may do, and how that changes while they are here.

use auralink_types::TrackId;
use livekit_protocol as proto;
use proto::participant_info::State;
use proto::signal_response::Message;

use super::{Cx, Room};
use crate::command::Admission;
use crate::participant::{Grants, Participant, Pid};

impl Room {
    /// Whether one more may come in. Agents and recorders take nobody's place.
    pub(super) fn has_place_for(&self, admission: &Admission) -> bool {
        let limit = self.settings().max_participants;
        let counted = self.people.values().filter(|p| !p.kind.is_dependent(&p.grants));
        limit == 0 || admission.kind.is_dependent(&admission.grants) || counted.count() < limit as usize
    }

    /// Changes what somebody may do: what they may do no longer ends at once.
    pub fn entitle(&mut self, cx: &mut Cx<'_>, pid: Pid, grants: Grants) {
        let Some(participant) = self.person_mut(pid) else {
            return;
        };
        if participant.grants == grants {
            return;
        }
        let before = std::mem::replace(&mut participant.grants, grants);
        let (hidden, subscribe) = (participant.grants.hidden, participant.grants.subscribe);
        let refused = |p: &Participant| -> Vec<TrackId> {
            let tracks = p.tracks.iter().filter(|t| !p.grants.may_publish(t.info.source));
            tracks.map(|track| track.id.clone()).collect()
        };
        for track in refused(participant) {
            let track_sid = track.as_str().into();
            self.tell(
                pid,
                Message::TrackUnpublished(proto::TrackUnpublishedResponse { track_sid }),
            );
            self.unpublish(cx, pid, &track);
        }
        for other in self.others(pid) {
            if before.subscribe != subscribe {
                self.reconsider(cx, other, pid);
            }
            if before.hidden != hidden {
                self.reconsider(cx, pid, other);
            }
        }
        if hidden && !before.hidden {
            self.vanish(pid);
        }
        self.announce(pid);
        if before.hidden && !hidden {
            self.subscribe_room(pid);
        }
    }

    /// For the others, somebody who is hidden from now on has left.
    pub(super) fn vanish(&mut self, pid: Pid) {
        let Some(participant) = self.person(pid) else {
            return;
        };
        let mut info = participant.info();
        info.state = State::Disconnected as i32;
        let participants = vec![info];
        self.tell_room(
            Some(pid),
            &Message::Update(proto::ParticipantUpdate { participants }),
        );
    }
}
