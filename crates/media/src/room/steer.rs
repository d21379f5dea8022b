//! What AIC wants of a publisher: which policy a track is under, and how the wish reaches the client.

use auralink_types::{HINT_TOPIC, Policy, PublisherHint, SourceCodec};
use livekit_protocol as proto;
use prost::Message as _;

use super::{Cx, Room};
use crate::data::Channel;
use crate::participant::{Participant, Pid};
use crate::track::{Steering, Track};

impl Room {
    /// The policy a track is under. What is encrypted from end to end is nobody's to read, whatever its owner chose.
    pub(super) fn policy_of(&self, cx: &Cx<'_>, publisher: &Participant, track: &Track) -> Policy {
        let mut policy = cx.ai.ai.book.get_in(&publisher.user, &self.sid);
        if track.info.encryption != 0 {
            policy.active = false;
            policy.observed = false;
        }
        policy
    }

    /// Passes a wish on: on the data channel to an AIC client, through the answer to a stock client.
    pub(super) fn hint(&mut self, cx: &mut Cx<'_>, pid: Pid, serial: u32, hint: &PublisherHint) {
        let Some(publisher) = self.person(pid) else { return };
        tracing::info!(participant = %publisher.sid, source = ?hint.source, "publisher steered");
        if publisher.models().is_empty() {
            self.steer_track(pid, serial, Some(hint.source));
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
        self.send_data(cx, pid, Channel::Reliable, &packet.encode_to_vec());
    }

    /// Brings what answers say about a track up to what AIC wants; those that are out of date are asked for again.
    pub(super) fn steer_track(&mut self, pid: Pid, serial: u32, source: Option<SourceCodec>) {
        let Some(track) = self.track_mut(pid, serial) else {
            return;
        };
        let active = track.policy.active;
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
        let bare = wanted.active != track.steering.active;
        track.steering = wanted;
        let listeners: Vec<Pid> = track.legs.iter().map(|leg| leg.to).collect();
        for listener in listeners.into_iter().filter(|_| bare) {
            self.renegotiate(listener);
        }
        // Asked for with the next tick: the offer that brings a new track may be on its way.
        if let Some(publisher) = self.person_mut(pid) {
            publisher.publisher.stale = true;
        }
    }
}
