//! What AIC wants of a publisher: which policy a track is under, and how the wish reaches the client.

use auralink_types::{
    Bitrate, HINT_TOPIC, Policy, PublisherHint, PublisherReport, REPORT_TOPIC, SourceCodec,
};
use livekit_protocol as proto;
use prost::Message as _;

use super::{Cx, Room};
use crate::data::Channel;
use crate::participant::{Participant, Pid};
use crate::track::{Steering, Track};

impl Room {
    /// The policy a track is under. What is encrypted from end to end is nobody's to read, whatever its owner chose.
    pub(super) fn policy_of(&self, cx: &Cx<'_>, publisher: &Participant, track: &Track) -> Policy {
        let mut policy = cx.ai.book.get_in(&publisher.user, &self.sid);
        if track.info.encryption != 0 {
            policy.active = false;
            policy.observed = false;
        }
        policy
    }

    /// Passes a wish on: on the data channel to an AIC client, through the answer to a stock client, whose rate may be
    /// left alone.
    pub(super) fn hint(
        &mut self,
        cx: &mut Cx<'_>,
        pid: Pid,
        serial: u32,
        hint: &PublisherHint,
        keep_rate: bool,
    ) {
        let Some(publisher) = self.person(pid) else { return };
        if publisher.elsewhere().is_some() {
            return self.wish_elsewhere(pid, serial, hint.source);
        }
        tracing::info!(participant = %publisher.sid, source = ?hint.source, keep_rate, "publisher steered");
        if publisher.models().is_empty() {
            self.steer_track(pid, serial, Some((hint.source, keep_rate)));
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
    pub(super) fn steer_track(&mut self, pid: Pid, serial: u32, wish: Option<(SourceCodec, bool)>) {
        // A guest is steered by their own part.
        if self.connection(pid).is_none() {
            return;
        }
        let Some(track) = self.track_mut(pid, serial) else {
            return;
        };
        let active = track.policy.active;
        let wanted = match wish {
            Some((SourceCodec::Own, _)) => Steering {
                active,
                ..Steering::default()
            },
            Some((SourceCodec::Lean(lean), keep_rate)) => Steering {
                active,
                no_red: true,
                ptime_ms: Some(lean.packet.millis()),
                rate: (!keep_rate).then_some(lean.bitrate),
            },
            // Only AIC clients are asked for it, and they hear it on the data channel.
            Some((SourceCodec::Neural(_), _)) => Steering {
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
        if bare {
            for listener in listeners {
                self.renegotiate(listener);
            }
            self.share(pid);
        }
        // Asked for with the next tick: the offer that brings a new track may be on its way.
        if let Some(connection) = self.connection_mut(pid) {
            connection.publisher.stale = true;
        }
    }

    /// Takes a data packet that is an AIC client's report on its own track; `false` for every other packet.
    pub(super) fn take_report(&mut self, cx: &mut Cx<'_>, pid: Pid, bytes: &[u8]) -> bool {
        let aic = self.person(pid).is_some_and(|p| !p.models().is_empty());
        let Some(report) = aic.then(|| report_in(bytes)).flatten() else {
            return false;
        };
        match report {
            Ok(report) => {
                let tracks = self.person(pid).map(|p| &p.tracks);
                let track = tracks.and_then(|tracks| tracks.iter().find(|track| track.id == report.track));
                if let Some(serial) = track.map(|track| track.serial) {
                    self.with_tap(cx, pid, serial, |_, tapped| {
                        tapped.tap.handle_report(
                            report.coding_p50_us.zip(report.coding_p99_us),
                            report.own_bps.map(|bps| Bitrate::bps(bps.into())),
                        );
                    });
                }
            }
            Err(error) => tracing::debug!(%error, "report refused"),
        }
        true
    }
}

/// The report in a data packet, if its topic says that it is one.
fn report_in(bytes: &[u8]) -> Option<Result<PublisherReport, serde_json::Error>> {
    let packet = proto::DataPacket::decode(bytes).ok()?;
    match packet.value? {
        proto::data_packet::Value::User(user) if user.topic.as_deref() == Some(REPORT_TOPIC) => {
            Some(serde_json::from_slice(&user.payload))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(topic: &str, payload: &[u8]) -> Vec<u8> {
        let user = proto::UserPacket {
            payload: payload.to_vec(),
            topic: Some(topic.into()),
            ..Default::default()
        };
        let packet = proto::DataPacket {
            value: Some(proto::data_packet::Value::User(user)),
            ..Default::default()
        };
        packet.encode_to_vec()
    }

    #[test]
    fn only_what_says_that_it_is_a_report_is_read_as_one() {
        let report = br#"{"track":"TR_1","own_bps":23000}"#;
        let read = report_in(&packet(REPORT_TOPIC, report)).unwrap().unwrap();
        assert_eq!((read.track.as_str(), read.own_bps), ("TR_1", Some(23_000)));
        assert!(report_in(&packet(REPORT_TOPIC, b"no report")).unwrap().is_err());
        assert!(report_in(&packet("chat", report)).is_none());
        assert!(report_in(b"\xff").is_none());
    }
}
