//! A published track: what was announced, what arrives, and to whom it goes.

use auralink_types::{AicConfig, Bitrate, Policy, TrackId};
use livekit_protocol as proto;
use str0m::format::Codec;
use str0m::media::Mid;

use crate::directory::ShardId;
use crate::leg::Leg;
use crate::participant::Pid;
use crate::relay::{Published, Relay};
use crate::room::Tapped;
use crate::sdp::ReceiveTerms;
use crate::speaking::Speaking;
use crate::video::{Demand, Layer, Wanted, layers_of};

/// What the answer asks of a stock publisher's audio.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steering {
    /// Whether AIC is on for the publisher.
    pub active: bool,
    /// Whether RED goes.
    pub no_red: bool,
    /// Packet time.
    pub ptime_ms: Option<u32>,
    /// Most that Opus may take.
    pub rate: Option<Bitrate>,
}

/// A published track.
#[derive(Debug)]
pub struct Track {
    /// Its id.
    pub id: TrackId,
    /// Its number among its publisher's tracks, never used again.
    pub serial: u32,
    /// What others see.
    pub info: proto::TrackInfo,
    /// Client's own ids for it.
    pub cids: Vec<String>,
    /// Line it arrives on.
    pub mid: Option<Mid>,
    /// Whether media has arrived.
    pub seen: bool,
    /// Whether the room was told of it.
    pub shown: bool,
    /// Whether the publisher was told that somebody listens.
    pub told_subscribed: bool,
    /// Simulcast layers, smallest first; one for everything else.
    pub layers: Vec<Layer>,
    /// Whether the server muted it: what arrives nonetheless goes to nobody until its publisher ends that.
    pub silenced: bool,
    /// Who gets it.
    pub legs: Vec<Leg>,
    /// How it sounds.
    pub speaking: Speaking,
    /// The policy it is under.
    pub policy: Policy,
    /// What the answer asks.
    pub steering: Steering,
    /// The AIC tap; audio only.
    pub tapped: Option<Box<Tapped>>,
    /// Its way between the parts of the room.
    pub relay: Relay,
    /// How much of it is wanted, as its publisher was told.
    pub demand: Demand,
}

impl Track {
    /// A track as announced.
    pub fn new(id: TrackId, serial: u32, request: proto::AddTrackRequest) -> Self {
        let video = request.r#type == proto::TrackType::Video as i32;
        let mime = if video {
            request
                .simulcast_codecs
                .first()
                .map(|c| c.codec.to_lowercase())
                .map_or("video/vp8".into(), |codec| {
                    let codec = codec.trim_start_matches("video/").to_owned();
                    if codec.is_empty() {
                        "video/vp8".to_owned()
                    } else {
                        format!("video/{codec}")
                    }
                })
        } else if request.disable_red {
            "audio/opus".to_owned()
        } else {
            "audio/red".to_owned()
        };
        let codec = |codec: &proto::SimulcastCodec| proto::SimulcastCodecInfo {
            mime_type: if codec.codec.contains('/') {
                codec.codec.clone()
            } else {
                format!("video/{}", codec.codec)
            },
            cid: codec.cid.clone(),
            layers: if codec.layers.is_empty() {
                request.layers.clone()
            } else {
                codec.layers.clone()
            },
            video_layer_mode: codec.video_layer_mode,
            ..Default::default()
        };
        let mut cids = vec![request.cid.clone()];
        cids.extend(
            request
                .simulcast_codecs
                .iter()
                .map(|c| c.cid.clone())
                .filter(|c| !c.is_empty()),
        );
        let codecs = request.simulcast_codecs.iter().map(codec).collect();
        #[allow(deprecated)]
        let info = proto::TrackInfo {
            sid: id.as_str().into(),
            r#type: request.r#type,
            name: request.name.clone(),
            muted: request.muted,
            width: request.width,
            height: request.height,
            simulcast: video && request.layers.len() > 1,
            disable_dtx: request.disable_dtx,
            source: request.source,
            layers: request.layers.clone(),
            mime_type: mime,
            codecs,
            stereo: request.stereo,
            disable_red: request.disable_red,
            encryption: request.encryption,
            stream: request.stream.clone(),
            audio_features: request.audio_features.clone(),
            backup_codec_policy: request.backup_codec_policy,
            packet_trailer_features: request.packet_trailer_features.clone(),
            ..Default::default()
        };
        Self {
            cids,
            ..Self::bare(id, serial, info)
        }
    }

    fn bare(id: TrackId, serial: u32, info: proto::TrackInfo) -> Self {
        Self {
            id,
            serial,
            info,
            cids: Vec::new(),
            mid: None,
            seen: false,
            shown: false,
            told_subscribed: false,
            layers: layers_of(&[]),
            silenced: false,
            legs: Vec::new(),
            speaking: Speaking::default(),
            policy: AicConfig::default().policy(),
            steering: Steering::default(),
            tapped: None,
            relay: Relay::To(Vec::new()),
            demand: Demand::default(),
        }
    }

    /// A guest's track.
    pub fn of_guest(from: ShardId, published: &Published) -> Self {
        Self {
            mid: None,
            seen: true,
            shown: true,
            steering: Steering {
                active: published.bare,
                ..Steering::default()
            },
            layers: layers_of(&published.rids),
            relay: Relay::From {
                shard: from,
                wanted: None,
            },
            ..Self::bare(published.id.clone(), published.serial, published.info.clone())
        }
    }

    /// What other parts of the room are told of it.
    pub fn published(&self, red: bool) -> Published {
        Published {
            id: self.id.clone(),
            serial: self.serial,
            info: self.info.clone(),
            rids: self.layers.iter().filter_map(|layer| layer.rid.clone()).collect(),
            bare: self.steering.active,
            red,
        }
    }

    /// Whether it is a video.
    pub fn is_video(&self) -> bool {
        self.info.r#type == proto::TrackType::Video as i32
    }

    /// Whether others may see it: media has come, or will not come because it is muted. Once shown it stays, also between
    /// its unmuting and its first packet.
    pub fn is_live(&self) -> bool {
        self.seen || self.shown || (self.mid.is_some() && self.info.muted)
    }

    /// Up to which layer anybody wants it, here or in other parts of the room.
    pub fn wanted(&self) -> Wanted {
        let here = self.legs.iter().filter(|leg| !leg.paused);
        let elsewhere = self.relay.ways().iter().filter_map(|way| way.wanted);
        here.map(|leg| leg.wish.ceiling).chain(elsewhere).max()
    }

    /// The leg to a subscriber.
    pub fn leg_mut(&mut self, to: Pid) -> Option<&mut Leg> {
        self.legs.iter_mut().find(|leg| leg.to == to)
    }

    /// Whether two channels are wanted.
    #[allow(deprecated)]
    pub fn is_stereo(&self) -> bool {
        self.info.stereo
            || self
                .info
                .audio_features
                .contains(&(proto::AudioTrackFeature::TfStereo as i32))
    }

    /// Whether it is what a screen plays. It is not thinned at its source, where nobody hears what becomes of it first.
    pub fn is_of_a_screen(&self) -> bool {
        self.info.source == proto::TrackSource::ScreenShareAudio as i32
    }

    /// Whether RED goes as long as AIC doesn't ask it away.
    pub fn wants_red(&self) -> bool {
        !self.info.disable_red && self.info.encryption == 0
    }

    /// What the answer says about the line it arrives on.
    #[allow(deprecated)]
    pub fn terms(&self) -> ReceiveTerms {
        let no_dtx = self.info.disable_dtx
            || self
                .info
                .audio_features
                .contains(&(proto::AudioTrackFeature::TfNoDtx as i32));
        ReceiveTerms {
            red: self.wants_red() && !self.steering.no_red,
            dtx: !no_dtx,
            stereo: self.is_stereo(),
            ptime_ms: self.steering.ptime_ms,
            rate: self.steering.rate,
            bare: self.steering.active,
            codec: self
                .is_video()
                .then(|| self.info.mime_type.trim_start_matches("video/").to_owned()),
        }
    }

    /// Notes what a video is really coded with: a publisher who asked for a codec that the server can't take sends another.
    pub fn comes_as(&mut self, codec: Codec) {
        if !self.is_video() {
            return;
        }
        let mime = format!("video/{}", codec.to_string().to_lowercase());
        if let Some(first) = self.info.codecs.first_mut() {
            first.mime_type.clone_from(&mime);
        }
        self.info.mime_type = mime;
    }

    /// Simulcast layers as the offer names them.
    pub fn set_rids(&mut self, rids: &[String]) {
        if self.layers.len() != rids.len().max(1) || rids.len() > 1 && self.layers[0].rid.is_none() {
            self.layers = layers_of(rids);
        }
    }
}
