//! Subscriptions: tracks are offered to those present, clients choose, publishers allow.

use std::time::Instant;

use auralink_types::TrackId;
use livekit_protocol as proto;
use proto::signal_response::Message;

use super::Core;
use crate::participant::{Pid, RoomKey};
use crate::subscription::{Permissions, Subscription};

impl Core {
    /// Offers every live track of the room to one participant.
    pub(super) fn subscribe_to_room(&mut self, pid: Pid, key: &RoomKey) {
        let Some(room) = self.rooms.get(key) else { return };
        let others: Vec<Pid> = room.participants.iter().copied().filter(|p| *p != pid).collect();
        for publisher in others {
            self.subscribe(pid, publisher);
        }
    }

    /// Offers a publisher's live tracks to everybody else in the room.
    pub(super) fn subscribe_room(&mut self, now: Instant, publisher: Pid) {
        let Some(room) = self.people.get(&publisher).and_then(|p| self.rooms.get(&p.room)) else {
            return;
        };
        let others: Vec<Pid> = room
            .participants
            .iter()
            .copied()
            .filter(|p| *p != publisher)
            .collect();
        for other in others {
            if self.subscribe(other, publisher) {
                self.renegotiate(now, other);
            }
        }
    }

    /// Offers a publisher's live tracks to one participant; whether any of them is wanted. Hidden ones have none.
    fn subscribe(&mut self, pid: Pid, publisher: Pid) -> bool {
        let (Some(from), Some(to)) = (self.people.get(&publisher), self.people.get(&pid)) else {
            return false;
        };
        if from.grants.hidden {
            return false;
        }
        let fresh: Vec<(TrackId, Subscription)> = from
            .tracks
            .iter()
            .filter(|track| track.is_live() && !to.subscriptions.contains_key(&track.id))
            .map(|track| {
                let allowed = to.grants.subscribe && from.permissions.allow(to, &track.id);
                let subscription = Subscription::new(publisher, track.is_video(), to.auto_subscribe, allowed);
                (track.id.clone(), subscription)
            })
            .collect();
        let owner = from.sid.clone();
        let Some(to) = self.people.get_mut(&pid) else {
            return false;
        };
        let mut wanted = false;
        for (track, subscription) in fresh {
            wanted |= subscription.is_wanted();
            if !subscription.allowed {
                to.tell(permission(owner.as_str(), &track, false));
            }
            to.subscriptions.insert(track, subscription);
        }
        to.sending_mut().stale |= wanted;
        wanted
    }

    /// A client chooses.
    pub(super) fn update_subscription(&mut self, now: Instant, pid: Pid, update: &proto::UpdateSubscription) {
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
        for track in tracks {
            let Some(subscription) = self
                .people
                .get_mut(&pid)
                .and_then(|p| p.subscriptions.get_mut(&track))
            else {
                continue;
            };
            subscription.desired = update.subscribe;
            if !update.subscribe {
                self.drop_leg(pid, &track);
            }
        }
        self.renegotiate(now, pid);
    }

    /// A publisher says who may have which of their tracks.
    pub(super) fn permit(&mut self, now: Instant, publisher: Pid, said: proto::SubscriptionPermission) {
        let Some(from) = self.people.get_mut(&publisher) else {
            return;
        };
        from.permissions = Permissions::from(said);
        let (owner, permissions) = (from.sid.clone(), from.permissions.clone());
        let Some(room) = self.rooms.get(&from.room) else {
            return;
        };
        for pid in room.participants.clone() {
            let Some(to) = self.people.get_mut(&pid) else {
                continue;
            };
            let changed: Vec<(TrackId, bool)> = to
                .subscriptions
                .iter()
                .filter(|(_, subscription)| subscription.publisher == publisher)
                .map(|(track, subscription)| {
                    let allowed = to.grants.subscribe && permissions.allow(to, track);
                    (track.clone(), allowed, subscription.allowed)
                })
                .filter(|(_, allowed, was)| allowed != was)
                .map(|(track, allowed, _)| (track, allowed))
                .collect();
            for (track, allowed) in &changed {
                to.tell(permission(owner.as_str(), track, *allowed));
                if let Some(subscription) = to.subscriptions.get_mut(track) {
                    subscription.allowed = *allowed;
                }
            }
            for (track, _) in changed.iter().filter(|(_, allowed)| !allowed) {
                self.drop_leg(pid, track);
            }
            if !changed.is_empty() {
                self.renegotiate(now, pid);
            }
        }
    }

    /// Stops packets of a track to one subscriber at once, ahead of the next answer.
    pub(super) fn drop_leg(&mut self, pid: Pid, track: &TrackId) {
        let publisher = self
            .people
            .get(&pid)
            .and_then(|p| p.subscriptions.get(track))
            .map(|s| s.publisher);
        let track = publisher
            .and_then(|publisher| self.people.get_mut(&publisher))
            .and_then(|p| p.tracks.iter_mut().find(|t| t.id == *track));
        if let Some(track) = track {
            track.legs.retain(|leg| leg.pid != pid);
        }
    }
}

fn permission(publisher: &str, track: &TrackId, allowed: bool) -> Message {
    Message::SubscriptionPermissionUpdate(proto::SubscriptionPermissionUpdate {
        participant_sid: publisher.into(),
        track_sid: track.as_str().into(),
        allowed,
    })
}
