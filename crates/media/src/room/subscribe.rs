//! Subscriptions: tracks are offered to those present, clients choose, publishers allow.

use auralink_types::TrackId;
use livekit_protocol as proto;
use proto::signal_response::Message;

use super::{Cx, Room};
use crate::participant::Pid;
use crate::subscription::{Permissions, Subscription};
use crate::track::Track;
use crate::video::Wish;

impl Room {
    /// Offers every live track of the room to one participant.
    pub(super) fn subscribe_to_room(&mut self, pid: Pid) {
        for publisher in self.others(pid) {
            self.offer_tracks(pid, publisher);
        }
    }

    /// Offers a publisher's live tracks to everybody else in the room.
    pub(super) fn subscribe_room(&mut self, publisher: Pid) {
        for other in self.others(publisher) {
            self.offer_tracks(other, publisher);
        }
    }

    /// Offers a publisher's live tracks to one participant. Hidden publishers have none.
    fn offer_tracks(&mut self, pid: Pid, publisher: Pid) {
        let (Some(from), Some(to)) = (self.person(publisher), self.person(pid)) else {
            return;
        };
        if from.grants.hidden {
            return;
        }
        let Some(connection) = to.here() else { return };
        let fresh: Vec<(TrackId, Subscription)> = from
            .tracks
            .iter()
            .filter(|track| track.is_live() && !connection.subscriptions.contains_key(&track.id))
            .map(|track| {
                let allowed = to.grants.subscribe && from.permissions.allow(to, &track.id);
                let auto = connection.auto_subscribe;
                let subscription = Subscription::new(publisher, track.is_video(), auto, allowed);
                (track.id.clone(), subscription)
            })
            .collect();
        let owner = from.sid.clone();
        let Some(to) = self.person_mut(pid) else { return };
        let mut wanted = false;
        for (track, subscription) in fresh {
            wanted |= subscription.is_wanted();
            if !subscription.allowed {
                to.tell(permission(owner.as_str(), &track, false));
            }
            if let Some(connection) = to.here_mut() {
                connection.subscriptions.insert(track, subscription);
            }
        }
        if wanted {
            self.renegotiate(pid);
        }
    }

    /// Subscribes somebody to tracks, or ends that.
    pub fn subscribe(&mut self, cx: &mut Cx<'_>, pid: Pid, tracks: &[TrackId], wanted: bool) {
        for track in tracks {
            let Some(subscriber) = self.connection_mut(pid) else {
                return;
            };
            let Some(subscription) = subscriber.subscriptions.get_mut(track) else {
                continue;
            };
            subscription.desired = wanted;
            subscription.let_go |= !wanted;
            let publisher = subscription.publisher;
            if !wanted {
                self.end_leg(cx, publisher, track, pid);
            }
        }
        self.renegotiate(pid);
    }

    /// A publisher says who may have which of their tracks.
    pub fn permit(&mut self, cx: &mut Cx<'_>, publisher: Pid, permissions: Permissions) {
        let Some(from) = self.person_mut(publisher) else {
            return;
        };
        from.permissions = permissions;
        self.share(publisher);
        for pid in self.others(publisher) {
            self.reconsider(cx, publisher, pid);
        }
    }

    /// Gives somebody a publisher's tracks that they may have now, and takes away those that they may have no longer.
    pub(super) fn reconsider(&mut self, cx: &mut Cx<'_>, publisher: Pid, pid: Pid) {
        let (Some(from), Some(to)) = (self.person(publisher), self.person(pid)) else {
            return;
        };
        let Some(connection) = to.here() else { return };
        let changed: Vec<(TrackId, bool)> = connection
            .subscriptions
            .iter()
            .filter(|(_, subscription)| subscription.publisher == publisher)
            .filter_map(|(track, subscription)| {
                let allowed = to.grants.subscribe && !from.grants.hidden && from.permissions.allow(to, track);
                (allowed != subscription.allowed).then(|| (track.clone(), allowed))
            })
            .collect();
        let owner = from.sid.clone();
        let Some(to) = self.person_mut(pid) else { return };
        for (track, allowed) in &changed {
            to.tell(permission(owner.as_str(), track, *allowed));
            let subscriptions = to.here_mut().map(|connection| &mut connection.subscriptions);
            if let Some(subscription) = subscriptions.and_then(|s| s.get_mut(track)) {
                subscription.allowed = *allowed;
                subscription.let_go |= !*allowed;
            }
        }
        for (track, _) in changed.iter().filter(|(_, allowed)| !allowed) {
            self.end_leg(cx, publisher, track, pid);
        }
        if !changed.is_empty() {
            self.renegotiate(pid);
        }
    }

    /// Takes over what somebody asks of a track, and whether they want it at the moment.
    pub fn adjust(
        &mut self,
        cx: &mut Cx<'_>,
        pid: Pid,
        track: &TrackId,
        paused: bool,
        wish: impl FnOnce(&Track) -> Wish,
    ) {
        let publisher = self.connection(pid).and_then(|c| c.subscriptions.get(track));
        let Some(publisher) = publisher.map(|s| s.publisher) else {
            return;
        };
        let found = |p: &Self| Some(wish(p.person(publisher)?.tracks.iter().find(|t| t.id == *track)?));
        let Some(wish) = found(self) else { return };
        let Some(subscription) = self
            .connection_mut(pid)
            .and_then(|c| c.subscriptions.get_mut(track))
        else {
            return;
        };
        subscription.wish = wish;
        subscription.disabled = paused;
        // Copied, because the leg is the publisher's and the subscription the subscriber's.
        let subscription = *subscription;
        let Some(track) = self.published_mut(publisher, track) else {
            return;
        };
        if let Some(leg) = track.leg_mut(pid) {
            leg.follow(&subscription);
        }
        let serial = track.serial;
        self.demand_changed(cx, publisher, serial);
    }

    /// Stops packets of a track to one subscriber at once, ahead of the next answer.
    pub(super) fn end_leg(&mut self, cx: &mut Cx<'_>, publisher: Pid, track: &TrackId, to: Pid) {
        let Some(track) = self.published_mut(publisher, track) else {
            return;
        };
        let before = track.legs.len();
        track.legs.retain(|leg| leg.to != to);
        let (changed, serial) = (track.legs.len() != before, track.serial);
        if changed {
            self.legs_changed(cx, publisher, serial);
        }
    }

    pub(super) fn published_mut(&mut self, publisher: Pid, track: &TrackId) -> Option<&mut Track> {
        let tracks = &mut self.person_mut(publisher)?.tracks;
        tracks.iter_mut().find(|t| t.id == *track)
    }
}

fn permission(publisher: &str, track: &TrackId, allowed: bool) -> Message {
    Message::SubscriptionPermissionUpdate(proto::SubscriptionPermissionUpdate {
        participant_sid: publisher.into(),
        track_sid: track.as_str().into(),
        allowed,
    })
}
