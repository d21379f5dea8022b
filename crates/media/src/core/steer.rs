//! What AIC wants of a publisher: which policy a track is under, and how the wish reaches the client.

use std::time::Instant;

use auralink_types::{AicConfig, HINT_TOPIC, Policy, PublisherHint, SourceCodec, TrackId};
use livekit_protocol as proto;
use prost::Message as _;

use super::Core;
use crate::data::Channel;
use crate::participant::Pid;
use crate::track::{Steering, Track};

impl Core {
    /// The policy a track is under. What is encrypted from end to end is nobody's to read, whatever its owner chose.
    pub(super) fn policy_of(&self, pid: Pid, id: &TrackId) -> Policy {
        let Some(publisher) = self.people.get(&pid) else {
            return AicConfig::default().policy();
        };
        let book = &self.ai.ai.book;
        let mut policy = match self.rooms.get(&publisher.room) {
            Some(room) => book.get_in(&publisher.user, &room.sid),
            None => book.get(&publisher.user),
        };
        let encrypted = |track: &Track| track.id == *id && track.info.encryption != 0;
        if publisher.tracks.iter().any(encrypted) {
            policy.active = false;
            policy.observed = false;
        }
        policy
    }

    /// Passes a wish on: on the data channel to an AIC client, through the answer to a stock client.
    pub(super) fn hint(&mut self, now: Instant, pid: Pid, id: &TrackId, hint: &PublisherHint) {
        tracing::info!(track = %id, source = ?hint.source, "publisher steered");
        let Some(publisher) = self.people.get(&pid) else {
            return;
        };
        if publisher.models().is_empty() {
            self.steer_track(now, pid, id, Some(hint.source));
            return;
        }
        // A hint is a small struct of numbers and names: it always serialises.
        let Ok(payload) = serde_json::to_vec(hint) else {
            return;
        };
        let user = proto::UserPacket {
            payload,
            topic: Some(HINT_TOPIC.into()),
            ..Default::default()
        };
        let packet = proto::DataPacket {
            value: Some(proto::data_packet::Value::User(user)),
            ..Default::default()
        };
        self.send_data(now, pid, Channel::Reliable, &packet.encode_to_vec());
    }

    /// Brings what answers say about a track up to what AIC wants; those that are out of date are asked for again.
    pub(super) fn steer_track(&mut self, _now: Instant, pid: Pid, id: &TrackId, source: Option<SourceCodec>) {
        let Some(publisher) = self.people.get(&pid) else {
            return;
        };
        let active = self.policy_of(pid, id).active;
        let Some(track) = publisher.tracks.iter().find(|t| t.id == *id) else {
            return;
        };
        let wanted = match source {
            Some(SourceCodec::Own) => Steering {
                active,
                ..Steering::default()
            },
            Some(SourceCodec::Lean(lean)) => Steering {
                active,
                no_red: true,
                ptime_ms: Some(lean.packet.millis()),
            },
            // Only AIC clients are asked for it, and they hear it on the data channel.
            Some(SourceCodec::Neural(_)) => Steering {
                active,
                ..track.steering.clone()
            },
            None if active => Steering {
                active,
                ..track.steering.clone()
            },
            None => Steering::default(),
        };
        if wanted == track.steering {
            return;
        }
        let listeners: Vec<Pid> = track.legs.iter().map(|leg| leg.pid).collect();
        let bare = wanted.active != track.steering.active;
        if let Some(publisher) = self.people.get_mut(&pid) {
            publisher.publisher.stale = true;
            if let Some(track) = publisher.tracks.iter_mut().find(|t| t.id == *id) {
                track.steering = wanted;
            }
        }
        for listener in listeners.iter().filter(|_| bare) {
            if let Some(listener) = self.people.get_mut(listener) {
                listener.sending_mut().stale = true;
            }
        }
    }
}
