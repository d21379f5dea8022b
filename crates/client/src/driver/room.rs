//! Who is there, which of their tracks arrive, and what was heard of them.

use std::time::{Duration, Instant};

use livekit_protocol as proto;
use str0m::media::MediaKind;
use str0m::rtp::RtpPacket;

use super::Driver;
use crate::client::{ClientEvent, Hearing, Stats, TrackReport};
use crate::error::JoinError;
use crate::receive::Receiver;

/// Least time from a packet's first sample to its playing: stock clients, and AIC clients, whose packets may get
/// longer at any time.
const FLOOR: Duration = Duration::from_millis(40);
const AIC_FLOOR: Duration = Duration::from_millis(70);

/// Most received tracks that are decoded.
const MAX_RECEIVERS: usize = 64;

pub(super) struct Heard {
    pub(super) identity: Option<String>,
    pub(super) receiver: Receiver,
    pub(super) switches: usize,
    pub(super) active: bool,
}

impl Driver {
    /// The last answer is the contract: the publisher's terms, and which tracks arrive.
    pub(super) fn negotiated(&mut self) -> Result<(), JoinError> {
        if let (Some(publisher), Some(terms)) = (&mut self.publisher, self.session.terms()) {
            publisher.negotiated(terms);
        }
        let arriving: Vec<String> = self
            .session
            .tracks()
            .filter(|(_, kind)| *kind == MediaKind::Audio)
            .map(|(track, _)| track.to_owned())
            .collect();
        let gone: Vec<String> = self
            .heard
            .iter()
            .filter(|(track, heard)| heard.active && !arriving.contains(track))
            .map(|(track, _)| track.clone())
            .collect();
        for track in gone {
            if let Some(heard) = self.heard.get_mut(&track) {
                heard.active = false;
            }
            self.tell(ClientEvent::Unsubscribed { track });
        }
        for track in arriving {
            if let Some(heard) = self.heard.get_mut(&track) {
                heard.active = true;
                continue;
            }
            if self.options.hearing == Hearing::Count || self.heard.len() >= MAX_RECEIVERS {
                continue;
            }
            let floor = if self.options.aic { AIC_FLOOR } else { FLOOR };
            let mut receiver = Receiver::new(Instant::now(), self.options.model.clone(), floor)?;
            let owner = self.owners.get(&track);
            receiver.set_muted(owner.is_some_and(|(_, muted)| *muted));
            let identity = owner.map(|(identity, _)| identity.clone());
            self.tell(ClientEvent::Subscribed {
                track: track.clone(),
                identity: identity.clone(),
            });
            self.heard.insert(
                track,
                Heard {
                    identity,
                    receiver,
                    switches: 0,
                    active: true,
                },
            );
        }
        Ok(())
    }

    pub(super) fn participant(&mut self, participant: &proto::ParticipantInfo) {
        if participant.identity == self.identity {
            return;
        }
        let left = participant.state == proto::participant_info::State::Disconnected as i32;
        let tracks: Vec<String> = participant.tracks.iter().map(|track| track.sid.clone()).collect();
        let before = if left {
            let before = self.present.remove(&participant.identity);
            if before.is_some() {
                self.tell(ClientEvent::ParticipantLeft {
                    identity: participant.identity.clone(),
                });
            }
            before
        } else {
            let before = self.present.insert(participant.identity.clone(), tracks.clone());
            if before.is_none() {
                self.tell(ClientEvent::ParticipantJoined {
                    identity: participant.identity.clone(),
                });
            }
            before
        };
        // A track that its publisher took back plays no more: what is missing from then on is no gap.
        for track in before
            .unwrap_or_default()
            .iter()
            .filter(|track| left || !tracks.contains(track))
        {
            self.owners.remove(track);
            if let Some(heard) = self.heard.get_mut(track) {
                heard.active = false;
            }
        }
        for track in &participant.tracks {
            self.owners
                .insert(track.sid.clone(), (participant.identity.clone(), track.muted));
            if let Some(heard) = self.heard.get_mut(&track.sid) {
                heard.receiver.set_muted(track.muted);
                heard.identity.get_or_insert_with(|| participant.identity.clone());
            }
        }
    }

    pub(super) fn packet(&mut self, packet: &RtpPacket) {
        let now = Instant::now();
        if packet.payload.is_empty() {
            return;
        }
        let Some((track, kind)) = self.session.track_of(packet) else {
            return;
        };
        if kind == MediaKind::Video {
            self.traffic.video_received(packet.payload.len());
            return;
        }
        self.traffic.audio_received(now, packet.payload.len());
        let pt = *packet.header.payload_type;
        let is_red = self.session.is_red(pt);
        if let Some(heard) = self.heard.get_mut(&track) {
            let header = &packet.header;
            heard.receiver.arrived(
                now,
                *header.ssrc,
                header.sequence_number,
                header.timestamp,
                &packet.payload,
                is_red,
            );
        }
    }

    pub(super) fn tell_switches(&mut self) {
        for (track, heard) in &mut self.heard {
            let switches = heard.receiver.switches();
            for switch in &switches[heard.switches..] {
                let event = ClientEvent::Switched {
                    track: track.clone(),
                    switch: *switch,
                };
                let _ = self.events.send(event);
            }
            heard.switches = switches.len();
        }
    }

    pub(super) fn stats(&self, now: Instant) -> Stats {
        let since = |when: Instant| when.saturating_duration_since(self.start).as_secs_f64() * 1000.0;
        Stats {
            identity: self.identity.clone(),
            room: self.room.clone(),
            elapsed_ms: since(now),
            connected_ms: self.connected.map_or(0.0, since),
            aic: self.options.aic,
            sent: self.traffic.sent().clone(),
            received: self.traffic.received().clone(),
            bucket_ms: self.traffic.bucket_width().as_secs_f64() * 1000.0,
            buckets: self.traffic.buckets().to_vec(),
            publish: self.publisher.as_ref().map(|publisher| publisher.stats().clone()),
            tracks: self
                .heard
                .iter()
                .map(|(track, heard)| TrackReport {
                    track: track.clone(),
                    identity: heard.identity.clone(),
                    from_ms: since(heard.receiver.start()),
                    stats: heard.receiver.stats(),
                })
                .collect(),
        }
    }
}
