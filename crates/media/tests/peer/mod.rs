//! A client for tests: str0m as the offering side, real UDP, real WebSocket, no tricks with the server's insides.
// Each test file uses its own part of the client.
#![allow(dead_code, unused_imports, clippy::unwrap_used)]

pub mod aic;
mod lines;
mod link;
mod media;
mod scene;
mod server;
pub mod service;
mod words;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use auralink_token::Claims;
use futures_util::{SinkExt as _, StreamExt as _};
use livekit_protocol as proto;
use prost::Message as _;
use proto::signal_request::Message as Ask;
use proto::signal_response::Message;
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::channel::ChannelId;
use str0m::format::Codec;
use str0m::media::{Direction, MediaKind, MediaTime, Mid};
use str0m::rtp::{ExtensionValues, SeqNo};
use str0m::{Event, IceConnectionState};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use link::{Link, open_channels};
pub use scene::{in_both_shapes, speak, two, until};
pub use server::{Server, serve, serve_split, serve_with};

/// How many peer connections a client has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One, signalling v1.
    One,
    /// One for each direction, signalling v0.
    Two,
}

/// A packet of media that arrived.
#[derive(Clone, Debug)]
pub struct Heard {
    pub mid: Mid,
    pub ssrc: u32,
    pub at: Instant,
    pub seq: u64,
    pub timestamp: u32,
    pub codec: Codec,
    pub red: bool,
    pub payload: Vec<u8>,
    /// How long it is to be held back, in milliseconds.
    pub playout_delay: Option<(u64, u64)>,
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub struct Peer {
    pub socket: Socket,
    pub shape: Shape,
    publisher: Link,
    /// Where media arrives, for a client with two connections.
    subscriber: Option<Link>,
    pending: Option<(u32, SdpPendingOffer)>,
    offers: u32,
    receiving: Vec<Mid>,
    pub sending: HashMap<String, Mid>,
    seq: HashMap<Mid, SeqNo>,
    /// Channels on which it speaks.
    pub channels: HashMap<String, ChannelId>,
    /// Channels on which it hears others.
    pub ears: usize,
    pub connected: bool,
    pub messages: Vec<Message>,
    pub heard: Vec<Heard>,
    pub data: Vec<proto::DataPacket>,
    pub tracks: HashMap<Mid, String>,
    pub answers: Vec<String>,
    /// What the server said it sends: its answers, or with two connections its offers.
    pub told: Vec<String>,
    pub closed: bool,
    /// Lines for which the server wants a keyframe.
    pub keyframes: Vec<Mid>,
}

impl Peer {
    pub async fn join(server: &Server, identity: &str) -> Self {
        Self::join_shaped(server, Shape::One, identity).await
    }

    pub async fn join_shaped(server: &Server, shape: Shape, identity: &str) -> Self {
        let claims = Claims::join("room", identity);
        Self::enter(server, shape, &claims, proto::JoinRequest::default()).await
    }

    pub async fn join_as(server: &Server, claims: &Claims, request: proto::JoinRequest) -> Self {
        Self::enter(server, Shape::One, claims, request).await
    }

    pub async fn enter(
        server: &Server,
        shape: Shape,
        claims: &Claims,
        mut request: proto::JoinRequest,
    ) -> Self {
        let mut publisher = Link::open().await;
        let subscriber = match shape {
            Shape::One => None,
            Shape::Two => Some(Link::open().await),
        };
        let mut api = publisher.rtc.sdp_api();
        let mut receiving = Vec::new();
        if shape == Shape::One {
            for kind in [MediaKind::Audio, MediaKind::Video] {
                for _ in 0..3 {
                    receiving.push(api.add_media(kind, Direction::RecvOnly, None, None, None));
                }
            }
        }
        open_channels(&mut api);
        let (offer, pending) = api.apply().unwrap();
        let offer = proto::SessionDescription {
            r#type: "offer".into(),
            sdp: offer.to_sdp_string(),
            id: 1,
            ..Default::default()
        };
        request.publisher_offer = Some(offer.clone());
        let url = server.door(shape, &server.token(claims), request);
        let (socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        let mut peer = Self {
            socket,
            shape,
            publisher,
            subscriber,
            pending: Some((1, pending)),
            offers: 1,
            receiving,
            sending: HashMap::new(),
            seq: HashMap::new(),
            channels: HashMap::new(),
            ears: 0,
            connected: false,
            messages: Vec::new(),
            heard: Vec::new(),
            data: Vec::new(),
            tracks: HashMap::new(),
            answers: Vec::new(),
            told: Vec::new(),
            closed: false,
            keyframes: Vec::new(),
        };
        if shape == Shape::Two {
            peer.ask(Ask::Offer(offer)).await;
        }
        peer
    }

    pub async fn ask(&mut self, message: Ask) {
        let request = proto::SignalRequest {
            message: Some(message),
        };
        self.socket
            .send(tungstenite::Message::Binary(request.encode_to_vec().into()))
            .await
            .unwrap();
    }

    async fn handle(&mut self, message: Message) {
        match &message {
            Message::Answer(answer) => {
                self.answers.push(answer.sdp.clone());
                if self.shape == Shape::One {
                    self.learn(answer);
                }
                if let Some((id, pending)) = self.pending.take() {
                    if id == answer.id {
                        // Not every client pays heed to it.
                        let sdp = answer
                            .sdp
                            .replace("max-message-size:65536", "max-message-size:262144");
                        let parsed = SdpAnswer::from_sdp_string(&sdp).unwrap();
                        self.publisher
                            .rtc
                            .sdp_api()
                            .accept_answer(pending, parsed)
                            .unwrap();
                    } else {
                        self.pending = Some((id, pending));
                    }
                }
            }
            Message::Offer(offer) => {
                self.learn(offer);
                let parsed = SdpOffer::from_sdp_string(&offer.sdp).unwrap();
                let subscriber = self.subscriber.as_mut().unwrap();
                let answer = subscriber.rtc.sdp_api().accept_offer(parsed).unwrap();
                self.ask(Ask::Answer(proto::SessionDescription {
                    r#type: "answer".into(),
                    sdp: answer.to_sdp_string(),
                    id: offer.id,
                    ..Default::default()
                }))
                .await;
            }
            Message::MediaSectionsRequirement(need) => self.require(*need).await,
            _ => {}
        }
        self.messages.push(message);
        self.flush().await;
    }

    fn learn(&mut self, description: &proto::SessionDescription) {
        self.told.push(description.sdp.clone());
        for (mid, track) in &description.mid_to_track_id {
            self.tracks.insert(mid.as_str().into(), track.clone());
        }
    }

    async fn flush(&mut self) -> Instant {
        let mut happened = Vec::new();
        let mut due = self.publisher.flush(&mut happened).await;
        for event in happened.drain(..) {
            self.note(event, true);
        }
        if let Some(subscriber) = &mut self.subscriber {
            due = due.min(subscriber.flush(&mut happened).await);
            for event in happened {
                self.note(event, false);
            }
        }
        due
    }

    /// Something happened on a connection: on the one where this client speaks, or on its other one.
    fn note(&mut self, event: Event, speaking: bool) {
        let hearing = !speaking || self.shape == Shape::One;
        match event {
            Event::Connected if hearing => self.connected = true,
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) if hearing => {
                self.connected = false;
            }
            Event::KeyframeRequest(request) => self.keyframes.push(request.mid),
            Event::ChannelOpen(id, label) => {
                self.ears += usize::from(hearing);
                if speaking {
                    self.channels.insert(label, id);
                }
            }
            Event::ChannelData(data) => {
                self.data
                    .push(proto::DataPacket::decode(data.data.as_slice()).unwrap());
            }
            Event::RtpPacket(packet) => {
                let link = self.subscriber.as_mut().unwrap_or(&mut self.publisher);
                let pt = packet.header.payload_type;
                let params = link.rtc.codec_config().params();
                let params = *params
                    .iter()
                    .find(|p| p.pt() == pt || p.red() == Some(pt))
                    .unwrap();
                let stream = link
                    .rtc
                    .direct_api()
                    .stream_rx(&packet.header.ssrc)
                    .map(|s| s.mid());
                self.heard.push(Heard {
                    mid: stream.or(packet.header.ext_vals.mid).unwrap(),
                    ssrc: *packet.header.ssrc,
                    at: Instant::now(),
                    seq: *packet.seq_no,
                    timestamp: packet.header.timestamp,
                    codec: params.spec().codec,
                    red: params.red() == Some(pt),
                    payload: packet.payload.to_vec(),
                    playout_delay: playout_delay(&packet.header.ext_vals),
                });
            }
            _ => {}
        }
    }

    /// The NAT in front of this client forgets it.
    pub async fn rebind(&mut self) {
        self.publisher.rebind().await;
        if let Some(subscriber) = &mut self.subscriber {
            subscriber.rebind().await;
        }
    }

    /// One datagram in so many that the server sends is lost from now on; 0 for none.
    pub fn lose_every(&mut self, every: u32) {
        self.subscriber.as_mut().unwrap_or(&mut self.publisher).lose_every = every;
    }

    /// One thing that happens: a datagram, a message or a timer.
    pub async fn step(&mut self) {
        let due = self.flush().await;
        let (mut one, mut other) = ([0; 2000], [0; 2000]);
        // The shortest wait lets tests look at what they wait for now and then.
        let due = due.min(Instant::now() + Duration::from_millis(20));
        let Self {
            publisher,
            subscriber,
            ..
        } = self;
        let second = async {
            match &*subscriber {
                Some(link) => link.receive(&mut other).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            received = publisher.receive(&mut one) => {
                if let Some((length, source)) = received {
                    publisher.take(&one[..length], source);
                }
            }
            received = second => {
                if let (Some((length, source)), Some(link)) = (received, subscriber) {
                    link.take(&other[..length], source);
                }
            }
            frame = self.socket.next(), if !self.closed => match frame {
                Some(Ok(tungstenite::Message::Binary(bytes))) => {
                    let response = proto::SignalResponse::decode(bytes).unwrap();
                    if let Some(message) = response.message {
                        self.handle(message).await;
                    }
                }
                Some(Ok(tungstenite::Message::Close(_)) | Err(_)) | None => self.closed = true,
                Some(Ok(_)) => {}
            },
            () = tokio::time::sleep_until(due.into()) => {
                publisher.tick();
                if let Some(link) = subscriber {
                    link.tick();
                }
            }
        }
        self.flush().await;
    }
}

fn playout_delay(told: &ExtensionValues) -> Option<(u64, u64)> {
    let milliseconds = |time: MediaTime| Duration::from(time).as_millis() as u64;
    told.play_delay_min
        .map(milliseconds)
        .zip(told.play_delay_max.map(milliseconds))
}
