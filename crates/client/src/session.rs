//! One peer connection as the offering side, without sockets: lines, channels and the offers that ask for them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

use livekit_protocol as proto;
use prost::Message as _;
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::channel::{ChannelConfig, ChannelData, ChannelId, Reliability};
use str0m::format::Codec;
use str0m::media::{Direction, MediaKind, Mid, Pt, Simulcast, SimulcastLayer};
use str0m::rtp::{Extension, ExtensionMap, ExtensionValues, RtpPacket, RtpWrite, SeqNo};
use str0m::{Candidate, Rtc, RtcConfig, RtcError};

use crate::answer::{self, LineTerms};
use crate::error::JoinError;
use crate::publish::Outgoing;

/// Receiving audio lines in the first offer, as stock clients have them.
const FIRST_AUDIO_LINES: usize = 3;

/// Most receiving lines of one kind that the server may ask for.
const MAX_LINES: usize = 128;

/// Largest message on a data channel, which LiveKit clients chunk by.
const MAX_DATA_MESSAGE: u32 = 64_000;

/// The peer connection of one client.
pub struct Session {
    /// The connection itself; the driver feeds and drains it.
    pub rtc: Rtc,
    pending: Option<SdpPendingOffer>,
    offer_id: u32,
    again: bool,
    publish: Option<String>,
    show: Option<(String, Vec<String>)>,
    wanted: (usize, usize),
    receiving: Vec<(Mid, MediaKind)>,
    microphone: Option<Mid>,
    camera: Option<Mid>,
    terms: Option<LineTerms>,
    tracks: HashMap<Mid, String>,
    reliable: Option<ChannelId>,
    lossy: Option<ChannelId>,
    sequence: SeqNo,
}

impl Session {
    /// A connection with one local address. `lean_headers` offers no transport-cc and no absolute send time, which
    /// cost 8 bytes in every audio packet and serve only video.
    pub fn new(now: Instant, local: SocketAddr, lean_headers: bool) -> Result<Self, JoinError> {
        let mut config: RtcConfig = Rtc::builder()
            .set_rtp_mode(true)
            .enable_opus(true, true)
            .set_sctp_max_message_size(MAX_DATA_MESSAGE);
        if lean_headers {
            let mut extensions = ExtensionMap::empty();
            extensions.set(1, Extension::AudioLevel);
            extensions.set(4, Extension::RtpMid);
            config = config.set_extension_map(extensions);
        }
        let mut rtc = config.build(now);
        let candidate =
            Candidate::host(local, "udp").map_err(|error| JoinError::Protocol(error.to_string()))?;
        rtc.add_local_candidate(candidate);
        Ok(Self {
            rtc,
            pending: None,
            offer_id: 0,
            again: false,
            publish: None,
            show: None,
            wanted: (FIRST_AUDIO_LINES, 0),
            receiving: Vec::new(),
            microphone: None,
            camera: None,
            terms: None,
            tracks: HashMap::new(),
            reliable: None,
            lossy: None,
            // The first must be under 65536 (no rollover can be signalled); the lower half leaves room for loss.
            sequence: SeqNo::from(u64::from(rand::random::<u16>() >> 1)),
        })
    }

    /// Asks for a microphone line; `cid` is how the server recognises the track. Follow with [`Self::offer`].
    pub fn publish(&mut self, cid: &str) {
        self.publish = Some(cid.to_owned());
    }

    /// Asks for a camera line with one simulcast layer for each of `rids`. Follow with [`Self::offer`].
    pub fn show(&mut self, cid: &str, rids: &[&str]) {
        self.show = Some((cid.to_owned(), rids.iter().map(|rid| (*rid).to_owned()).collect()));
    }

    /// The next offer, if one is due and none is out.
    pub fn offer(&mut self) -> Option<proto::SessionDescription> {
        if self.pending.is_some() {
            self.again = true;
            return None;
        }
        self.again = false;
        let (audio, video) = std::mem::take(&mut self.wanted);
        let microphone_sends = self
            .microphone
            .and_then(|mid| self.rtc.media(mid))
            .is_some_and(|media| media.direction().is_sending());
        let mut api = self.rtc.sdp_api();
        if self.offer_id == 0 {
            let channel = |label: &str, reliability, ordered| ChannelConfig {
                label: label.to_owned(),
                ordered,
                reliability,
                ..Default::default()
            };
            self.reliable =
                Some(api.add_channel_with_config(channel("_reliable", Reliability::Reliable, true)));
            let lossy = Reliability::MaxRetransmits { retransmits: 0 };
            self.lossy = Some(api.add_channel_with_config(channel("_lossy", lossy, false)));
        }
        if let Some(cid) = self.publish.take() {
            let stream = Some(format!("{cid}_stream"));
            self.microphone =
                Some(api.add_media(MediaKind::Audio, Direction::SendOnly, stream, Some(cid), None));
        }
        if let Some((cid, rids)) = self.show.take() {
            let stream = Some(format!("{cid}_stream"));
            let mut layers = Simulcast::new();
            for rid in &rids {
                layers.add_send_layer(SimulcastLayer::new(rid));
            }
            let layers = (!rids.is_empty()).then_some(layers);
            self.camera =
                Some(api.add_media(MediaKind::Video, Direction::SendOnly, stream, Some(cid), layers));
        }
        for (mid, _) in &self.receiving {
            api.set_direction(*mid, Direction::RecvOnly);
        }
        for (kind, count) in [(MediaKind::Audio, audio), (MediaKind::Video, video)] {
            for _ in 0..count {
                self.receiving
                    .push((api.add_media(kind, Direction::RecvOnly, None, None, None), kind));
            }
        }
        if !api.has_changes() {
            // Every line already is as wanted, but the server asked for an offer: say the same again. A line whose
            // direction is set twice counts as changed; a receiving line loses only its reordering buffer.
            let line = self.receiving.first().map(|(mid, _)| (*mid, Direction::RecvOnly));
            let line = line.or(self
                .microphone
                .filter(|_| microphone_sends)
                .map(|mid| (mid, Direction::SendOnly)));
            if let Some((mid, direction)) = line {
                api.set_direction(mid, Direction::Inactive);
                api.set_direction(mid, direction);
            }
        }
        Self::finish(api, &mut self.pending, &mut self.offer_id)
    }

    fn finish(
        api: str0m::change::SdpApi<'_>,
        pending: &mut Option<SdpPendingOffer>,
        offer_id: &mut u32,
    ) -> Option<proto::SessionDescription> {
        let (offer, new_pending) = api.apply()?;
        *pending = Some(new_pending);
        *offer_id += 1;
        Some(proto::SessionDescription {
            r#type: "offer".to_owned(),
            sdp: offer.to_sdp_string(),
            id: *offer_id,
            ..Default::default()
        })
    }

    /// The server needs that many more lines (or just another offer).
    pub fn require(
        &mut self,
        requirement: &proto::MediaSectionsRequirement,
    ) -> Option<proto::SessionDescription> {
        let have = |kind| self.receiving.iter().filter(|(_, of)| *of == kind).count();
        let room = |asked: u32, kind| (asked as usize).min(MAX_LINES.saturating_sub(have(kind)));
        self.wanted = (
            self.wanted.0.max(room(requirement.num_audios, MediaKind::Audio)),
            self.wanted.1.max(room(requirement.num_videos, MediaKind::Video)),
        );
        self.offer()
    }

    /// Takes the server's answer; returns the next offer when one became due meanwhile.
    pub fn answer(
        &mut self,
        answer: &proto::SessionDescription,
    ) -> Result<Option<proto::SessionDescription>, JoinError> {
        if answer.id != self.offer_id {
            tracing::debug!(
                got = answer.id,
                want = self.offer_id,
                "an answer to an older offer"
            );
            return Ok(None);
        }
        let Some(pending) = self.pending.take() else {
            return Err(JoinError::Protocol(format!("answer {} to no offer", answer.id)));
        };
        let parsed = SdpAnswer::from_sdp_string(&answer.sdp)
            .map_err(|error| JoinError::Protocol(format!("answer {}: {error}", answer.id)))?;
        self.rtc.sdp_api().accept_answer(pending, parsed)?;
        let lines = answer::read(&answer.sdp);
        let microphone = self.microphone.map(|mid| mid.to_string());
        self.tracks.clear();
        for line in lines {
            if Some(&line.mid) == microphone.as_ref() {
                self.terms = Some(line).filter(|line| line.receives);
            } else if line.sends && !line.mid.is_empty() {
                let named = answer.mid_to_track_id.get(&line.mid).cloned().or(line.msid_track);
                let known = self.receiving.iter().find(|(mid, _)| **mid == *line.mid);
                if let (Some(track), Some((mid, _))) = (named, known) {
                    self.tracks.insert(*mid, track);
                }
            }
        }
        Ok(if self.again { self.offer() } else { None })
    }

    /// Whether an offer is out.
    pub fn is_negotiating(&self) -> bool {
        self.pending.is_some()
    }

    /// What the server wants on the microphone line, once it accepted it.
    pub fn terms(&self) -> Option<&LineTerms> {
        self.terms.as_ref()
    }

    /// The microphone line, once the server accepted it.
    pub fn microphone(&self) -> Option<(Mid, &LineTerms)> {
        Some((self.microphone?, self.terms.as_ref()?))
    }

    /// The camera line, and the payload type of VP8 on it, once the server accepted it.
    pub fn camera(&self) -> Option<(Mid, Pt)> {
        let media = self.rtc.media(self.camera?)?;
        let vp8 =
            self.rtc.codec_config().params().iter().find(|params| {
                params.spec().codec == Codec::Vp8 && media.remote_pts().contains(&params.pt())
            })?;
        media.direction().is_sending().then_some((media.mid(), vp8.pt()))
    }

    /// Tracks that the last answer says arrive now.
    pub fn tracks(&self) -> impl Iterator<Item = (&str, MediaKind)> {
        self.tracks.iter().filter_map(|(mid, track)| {
            let (_, kind) = self.receiving.iter().find(|(receiving, _)| receiving == mid)?;
            Some((track.as_str(), *kind))
        })
    }

    /// The track and kind a received packet belongs to.
    pub fn track_of(&mut self, packet: &RtpPacket) -> Option<(String, MediaKind)> {
        let mid = match packet.header.ext_vals.mid {
            Some(mid) => mid,
            None => self.rtc.direct_api().stream_rx(&packet.header.ssrc)?.mid(),
        };
        self.track_on(mid)
    }

    /// The track and kind that arrive on a line.
    pub fn track_on(&self, mid: Mid) -> Option<(String, MediaKind)> {
        let (_, kind) = self.receiving.iter().find(|(receiving, _)| *receiving == mid)?;
        Some((self.tracks.get(&mid)?.clone(), *kind))
    }

    /// Whether that payload type is RED on receiving lines.
    pub fn is_red(&self, pt: u8) -> bool {
        self.rtc
            .codec_config()
            .params()
            .iter()
            .any(|params| params.red() == Some(Pt::from(pt)))
    }

    /// Writes one audio packet. `false` when the microphone line is not there (yet).
    pub fn write(&mut self, now: Instant, packet: &Outgoing) -> bool {
        let (Some(mid), Some(terms)) = (self.microphone, &self.terms) else {
            return false;
        };
        let pt = if packet.red { terms.red } else { terms.opus };
        let Some(pt) = pt else {
            return false;
        };
        let mut values = ExtensionValues::default();
        if let Some(level) = packet.level {
            values.audio_level = Some(level.dbov);
            values.voice_activity = Some(level.voice);
        }
        let mut api = self.rtc.direct_api();
        let Some(stream) = api.stream_tx_by_mid(mid, None) else {
            return false;
        };
        let sequence = self.sequence.inc();
        let write = RtpWrite::new(
            Pt::from(pt),
            sequence,
            packet.timestamp,
            now,
            packet.payload.as_slice(),
        )
        .marker(packet.marker)
        .ext_vals(values);
        stream.write_rtp(write);
        true
    }

    /// Sends application data to everyone in the room; `false` when the channel is not open or full.
    pub fn send_data(&mut self, topic: &str, payload: &[u8], reliable: bool) -> Result<bool, RtcError> {
        let packet = proto::DataPacket {
            value: Some(proto::data_packet::Value::User(proto::UserPacket {
                payload: payload.to_vec(),
                topic: Some(topic.to_owned()),
                ..Default::default()
            })),
            ..Default::default()
        };
        let id = if reliable { self.reliable } else { self.lossy };
        match id.and_then(|id| self.rtc.channel(id)) {
            Some(mut channel) => channel.write(true, &packet.encode_to_vec()),
            None => Ok(false),
        }
    }

    /// The user packet in a data-channel message, with the identity of its sender; other kinds are passed over.
    pub fn user_packet(data: &ChannelData) -> Option<(proto::UserPacket, String)> {
        let packet = proto::DataPacket::decode(&data.data[..]).ok()?;
        match packet.value? {
            proto::data_packet::Value::User(user) => Some((user, packet.participant_identity)),
            _ => None,
        }
    }
}
