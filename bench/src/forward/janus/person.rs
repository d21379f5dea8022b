//! Participants of a video room: who publishes offers, who subscribes answers.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result};
use auralink_client::answer::LineTerms;
use auralink_load::{Call, Camera, LoadError, Microphone};
use auralink_types::SourceCodec;
use serde_json::{Value, json};
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::channel::ChannelData;
use str0m::format::Codec;
use str0m::media::{Direction, MediaKind, Mid, Pt, Rid, Simulcast, SimulcastLayer};
use str0m::{Candidate, Input, Rtc};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::api::{Api, ROOM};

/// Layers of a simulcast camera, largest first as Janus reads them.
const LAYERS: [&str; 3] = ["h", "m", "l"];

/// What the API's task has to tell.
enum Told {
    Answer(String),
    Offer(String, HashMap<String, Arc<str>>),
    Failed(String),
}

fn connection(now: Instant, local: SocketAddr) -> Result<Rtc, LoadError> {
    let mut rtc = Rtc::builder().set_rtp_mode(true).build(now);
    let candidate =
        Candidate::host(local, "udp").map_err(|error| LoadError::Signalling(error.to_string()))?;
    rtc.add_local_candidate(candidate);
    Ok(rtc)
}

fn failed(error: impl ToString) -> LoadError {
    LoadError::Signalling(error.to_string())
}

/// Somebody who sends.
pub struct Publisher {
    rtc: Rtc,
    pending: Option<SdpPendingOffer>,
    microphone: Option<Mid>,
    camera: Option<Mid>,
    told: mpsc::Receiver<Told>,
    agreed: bool,
}

impl Publisher {
    /// Begins to publish as feed number `feed`.
    pub fn join(
        runtime: &Handle,
        api: &Api,
        feed: u64,
        (speaks, shows): (bool, bool),
        (now, local): (Instant, SocketAddr),
    ) -> Result<Self, LoadError> {
        let mut rtc = connection(now, local)?;
        let mut changes = rtc.sdp_api();
        let send = Direction::SendOnly;
        let microphone = speaks.then(|| changes.add_media(MediaKind::Audio, send, None, None, None));
        let camera = shows.then(|| {
            let mut layers = Simulcast::new();
            LAYERS
                .iter()
                .for_each(|rid| layers.add_send_layer(SimulcastLayer::new(rid)));
            changes.add_media(MediaKind::Video, send, None, None, Some(layers))
        });
        let (offer, pending) = changes.apply().ok_or_else(|| failed("nothing to publish"))?;
        let (tell, told) = mpsc::channel(1);
        let (api, offer) = (api.clone(), offer.to_sdp_string());
        runtime.spawn(async move {
            let said = match publish(&api, feed, &offer).await {
                Ok(answer) => Told::Answer(answer),
                Err(error) => Told::Failed(format!("{error:#}")),
            };
            // The participant may have gone.
            let _ = tell.send(said).await;
        });
        Ok(Self {
            rtc,
            pending: Some(pending),
            microphone,
            camera,
            told,
            agreed: false,
        })
    }

    fn payload_type(&self, codec: Codec) -> Option<Pt> {
        let params = self.rtc.codec_config().params();
        let found = params.iter().find(|params| params.spec().codec == codec);
        found.map(|params| params.pt()).filter(|_| self.agreed)
    }
}

async fn publish(api: &Api, feed: u64, offer: &str) -> Result<String> {
    let handle = api.attach().await?;
    let body = json!({ "request": "joinandconfigure", "ptype": "publisher", "room": ROOM, "id": feed });
    let description = json!({ "type": "offer", "sdp": offer });
    sdp(&api.tell(handle, body, Some(description)).await?)
}

fn sdp(answer: &Value) -> Result<String> {
    let sdp = answer["jsep"]["sdp"].as_str();
    Ok(sdp
        .with_context(|| format!("no description in {answer}"))?
        .to_owned())
}

impl Call for Publisher {
    fn rtc(&mut self) -> &mut Rtc {
        &mut self.rtc
    }

    fn advance(&mut self, now: Instant) -> Result<bool, LoadError> {
        match self.told.try_recv() {
            Ok(Told::Answer(sdp)) => {
                let answer = SdpAnswer::from_sdp_string(&sdp).map_err(failed)?;
                let pending = self.pending.take().ok_or_else(|| failed("two answers"))?;
                self.rtc.sdp_api().accept_answer(pending, answer)?;
                self.rtc.handle_input(Input::Timeout(now))?;
                self.agreed = true;
                Ok(true)
            }
            Ok(Told::Failed(problem)) => Err(failed(problem)),
            Ok(Told::Offer(..)) => Err(failed("an offer to a publisher")),
            Err(_) => Ok(false),
        }
    }

    fn microphone(&self) -> Option<Microphone> {
        let opus = *self.payload_type(Codec::Opus)?;
        Some(Microphone {
            mid: self.microphone?,
            terms: LineTerms {
                payload_types: vec![opus],
                opus: Some(opus),
                ..LineTerms::default()
            },
            codec: SourceCodec::Own,
        })
    }

    fn camera(&self) -> Option<Camera> {
        let pt = self.payload_type(Codec::Vp8)?;
        let rids = LAYERS.iter().rev().map(|rid| Rid::from(*rid)).collect();
        Some(Camera {
            mid: self.camera?,
            pt,
            rids,
        })
    }

    fn publisher_on(&mut self, _mid: Mid) -> Option<Arc<str>> {
        None
    }

    fn say(&mut self, _message: &[u8]) -> Result<bool, LoadError> {
        Ok(false)
    }

    fn hear(&mut self, _data: &ChannelData) -> Option<Vec<u8>> {
        None
    }

    fn leave(&mut self) {}
}

/// Somebody who listens.
pub struct Subscriber {
    rtc: Rtc,
    told: mpsc::Receiver<Told>,
    answer: Option<oneshot::Sender<String>>,
    feeds: HashMap<String, Arc<str>>,
}

impl Subscriber {
    /// Begins to subscribe to those feeds, each with the name of who sends it.
    pub fn join(
        runtime: &Handle,
        api: &Api,
        feeds: HashMap<u64, Arc<str>>,
        (now, local): (Instant, SocketAddr),
    ) -> Result<Self, LoadError> {
        let rtc = connection(now, local)?;
        let (tell, told) = mpsc::channel(2);
        let (answer, answered) = oneshot::channel();
        let api = api.clone();
        runtime.spawn(async move {
            if let Err(error) = subscribe(&api, &feeds, &tell, answered).await {
                // The participant may have gone.
                let _ = tell.send(Told::Failed(format!("{error:#}"))).await;
            }
        });
        Ok(Self {
            rtc,
            told,
            answer: Some(answer),
            feeds: HashMap::new(),
        })
    }
}

async fn subscribe(
    api: &Api,
    feeds: &HashMap<u64, Arc<str>>,
    tell: &mpsc::Sender<Told>,
    answered: oneshot::Receiver<String>,
) -> Result<()> {
    let handle = api.attach().await?;
    let streams: Vec<Value> = feeds.keys().map(|feed| json!({ "feed": feed })).collect();
    let body = json!({ "request": "join", "ptype": "subscriber", "room": ROOM, "streams": streams });
    let offered = api.tell(handle, body, None).await?;
    let lines = offered["plugindata"]["data"]["streams"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let named = lines.iter().filter_map(|line| {
        let owner = feeds.get(&line["feed_id"].as_u64()?)?;
        Some((line["mid"].as_str()?.to_owned(), owner.clone()))
    });
    let offer = Told::Offer(sdp(&offered)?, named.collect());
    tell.send(offer).await.ok().context("the participant has gone")?;
    let description = json!({ "type": "answer", "sdp": answered.await? });
    api.tell(handle, json!({ "request": "start" }), Some(description))
        .await?;
    Ok(())
}

impl Call for Subscriber {
    fn rtc(&mut self) -> &mut Rtc {
        &mut self.rtc
    }

    fn advance(&mut self, now: Instant) -> Result<bool, LoadError> {
        match self.told.try_recv() {
            Ok(Told::Offer(sdp, feeds)) => {
                let offer = SdpOffer::from_sdp_string(&sdp).map_err(failed)?;
                let answer = self.rtc.sdp_api().accept_offer(offer)?;
                self.rtc.handle_input(Input::Timeout(now))?;
                self.feeds = feeds;
                let said = self.answer.take().map(|tell| tell.send(answer.to_sdp_string()));
                said.and_then(Result::ok)
                    .map(|()| true)
                    .ok_or_else(|| failed("nobody takes the answer"))
            }
            Ok(Told::Failed(problem)) => Err(failed(problem)),
            Ok(Told::Answer(_)) => Err(failed("an answer to a subscriber")),
            Err(_) => Ok(false),
        }
    }

    fn microphone(&self) -> Option<Microphone> {
        None
    }

    fn camera(&self) -> Option<Camera> {
        None
    }

    fn publisher_on(&mut self, mid: Mid) -> Option<Arc<str>> {
        self.feeds.get(&*mid).cloned()
    }

    fn say(&mut self, _message: &[u8]) -> Result<bool, LoadError> {
        Ok(false)
    }

    fn hear(&mut self, _data: &ChannelData) -> Option<Vec<u8>> {
        None
    }

    fn leave(&mut self) {}
}
