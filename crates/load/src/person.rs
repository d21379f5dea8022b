//! One participant of a LiveKit room.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use auralink_client::JoinError;
use auralink_client::session::Session;
use auralink_client::signal::Announcement;
use auralink_types::{
    DECODER_ATTRIBUTE, DECODER_NOLACE, HINT_TOPIC, MODELS_ATTRIBUTE, PublisherHint, SourceCodec,
};
use livekit_protocol as proto;
use proto::signal_request::Message as Request;
use proto::signal_response::Message as Response;
use str0m::channel::ChannelData;
use str0m::media::{Mid, Rid};
use str0m::{Input, Rtc};
use tokio::runtime::Handle;

use crate::call::{Call, Camera, Microphone};
use crate::error::LoadError;
use crate::picture::LAYERS;
use crate::signalling::{Said, Signalling};

/// Topic of the messages that are counted.
const TOPIC: &str = "load";

/// How the track is recognised that somebody publishes.
const MICROPHONE: &str = "load-microphone";
const CAMERA: &str = "load-camera";

/// How somebody joins.
#[derive(Clone, Debug)]
pub struct Seating {
    /// Address of the server.
    pub url: String,
    /// PEM file of certificate authorities that `wss` trusts besides the web's.
    pub authorities: Option<PathBuf>,
    /// Access token.
    pub token: String,
    /// Whether everybody else's tracks are wanted.
    pub listens: bool,
    /// Whether they have a microphone.
    pub speaks: bool,
    /// Whether they have a camera.
    pub shows: bool,
    /// Whether they may be asked for RED.
    pub red: bool,
    /// Id of the speech model of a client that is capable of AIC.
    pub model: Option<u16>,
}

/// Somebody in a room.
pub struct Person {
    session: Session,
    signalling: Signalling,
    speaks: bool,
    shows: bool,
    red: bool,
    capable: bool,
    codec: SourceCodec,
    owners: HashMap<String, Arc<str>>,
}

impl Person {
    /// Begins to join.
    pub fn join(
        runtime: &Handle,
        seating: &Seating,
        now: Instant,
        local: SocketAddr,
    ) -> Result<Self, LoadError> {
        let capable = seating.model.is_some();
        let mut session = Session::new(now, local, capable)?;
        let mut attributes = HashMap::new();
        if let Some(model) = seating.model {
            attributes.insert(MODELS_ATTRIBUTE.to_owned(), format!("{model:04x}"));
            attributes.insert(DECODER_ATTRIBUTE.to_owned(), DECODER_NOLACE.to_owned());
        }
        let announcement = Announcement {
            attributes,
            auto_subscribe: seating.listens,
            offer: session.offer(),
        };
        let (url, authorities) = (seating.url.clone(), seating.authorities.clone());
        Ok(Self {
            session,
            signalling: Signalling::open(runtime, url, authorities, seating.token.clone(), announcement),
            speaks: seating.speaks,
            shows: seating.shows,
            red: seating.red,
            capable,
            codec: SourceCodec::Own,
            owners: HashMap::new(),
        })
    }

    fn message(&mut self, now: Instant, message: Response) -> Result<(), JoinError> {
        let offer = match message {
            Response::Join(join) => {
                join.other_participants.iter().for_each(|other| self.meet(other));
                self.publish()?;
                self.session.offer().filter(|_| self.speaks || self.shows)
            }
            Response::Answer(answer) => {
                let next = self.session.answer(&answer)?;
                self.session.rtc.handle_input(Input::Timeout(now))?;
                next
            }
            Response::MediaSectionsRequirement(requirement) => self.session.require(&requirement),
            Response::Update(update) => {
                update.participants.iter().for_each(|other| self.meet(other));
                None
            }
            Response::Leave(leave) => {
                let reason = proto::DisconnectReason::try_from(leave.reason).unwrap_or_default();
                return Err(JoinError::Left(reason.as_str_name().to_lowercase()));
            }
            _ => None,
        };
        match offer {
            Some(offer) => self.signalling.say(Request::Offer(offer)),
            None => Ok(()),
        }
    }

    fn publish(&mut self) -> Result<(), JoinError> {
        if self.speaks {
            self.signalling.say(Request::AddTrack(proto::AddTrackRequest {
                cid: MICROPHONE.to_owned(),
                name: "microphone".to_owned(),
                r#type: proto::TrackType::Audio as i32,
                source: proto::TrackSource::Microphone as i32,
                audio_features: vec![proto::AudioTrackFeature::TfNoDtx as i32],
                disable_red: !self.red,
                ..Default::default()
            }))?;
            self.session.publish(MICROPHONE);
        }
        if self.shows {
            let layers = LAYERS
                .iter()
                .enumerate()
                .map(|(quality, (rid, width, height, _))| proto::VideoLayer {
                    quality: quality as i32,
                    width: *width,
                    height: *height,
                    rid: (*rid).to_owned(),
                    ..Default::default()
                });
            let [.., (_, width, height, _)] = LAYERS;
            self.signalling.say(Request::AddTrack(proto::AddTrackRequest {
                cid: CAMERA.to_owned(),
                name: "camera".to_owned(),
                r#type: proto::TrackType::Video as i32,
                source: proto::TrackSource::Camera as i32,
                width,
                height,
                layers: layers.collect(),
                ..Default::default()
            }))?;
            self.session.show(CAMERA, &LAYERS.map(|(rid, ..)| rid));
        }
        Ok(())
    }

    fn meet(&mut self, other: &proto::ParticipantInfo) {
        let identity: Arc<str> = other.identity.as_str().into();
        for track in &other.tracks {
            self.owners.insert(track.sid.clone(), identity.clone());
        }
        if other.state == proto::participant_info::State::Disconnected as i32 {
            self.owners.retain(|_, owner| *owner != identity);
        }
    }
}

impl Call for Person {
    fn rtc(&mut self) -> &mut Rtc {
        &mut self.session.rtc
    }

    fn advance(&mut self, now: Instant) -> Result<bool, LoadError> {
        let mut changed = false;
        while let Some(said) = self.signalling.poll() {
            changed = true;
            match said {
                Said::Message(message) => self.message(now, *message)?,
                Said::Closed => return Err(JoinError::Left("the server hung up".to_owned()).into()),
                Said::Failed(error) => return Err(error.into()),
            }
        }
        Ok(changed)
    }

    fn microphone(&self) -> Option<Microphone> {
        let (mid, terms) = self.session.microphone()?;
        Some(Microphone {
            mid,
            terms: terms.clone(),
            codec: self.codec,
        })
    }

    fn camera(&self) -> Option<Camera> {
        let (mid, pt) = self.session.camera()?;
        let rids = LAYERS.map(|(rid, ..)| Rid::from(rid)).to_vec();
        Some(Camera { mid, pt, rids })
    }

    fn publisher_on(&mut self, mid: Mid) -> Option<Arc<str>> {
        let (track, _) = self.session.track_on(mid)?;
        self.owners.get(&track).cloned()
    }

    fn say(&mut self, message: &[u8]) -> Result<bool, LoadError> {
        Ok(self.session.send_data(TOPIC, message, false)?)
    }

    fn hear(&mut self, data: &ChannelData) -> Option<Vec<u8>> {
        let (user, from) = Session::user_packet(data)?;
        match user.topic.as_deref() {
            Some(TOPIC) => Some(user.payload),
            // Hints come from the server alone, and a server names no sender.
            Some(HINT_TOPIC) if self.capable && from.is_empty() => {
                if let Ok(hint) = serde_json::from_slice::<PublisherHint>(&user.payload) {
                    self.codec = hint.source;
                }
                None
            }
            _ => None,
        }
    }

    fn leave(&mut self) {
        let leave = proto::LeaveRequest {
            reason: proto::DisconnectReason::ClientInitiated as i32,
            action: proto::leave_request::Action::Disconnect as i32,
            ..Default::default()
        };
        // A server that is gone needs no goodbye.
        let _ = self.signalling.say(Request::Leave(leave));
    }
}
