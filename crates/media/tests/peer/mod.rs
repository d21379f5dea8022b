//! A client for tests: str0m as the offering side, real UDP, real WebSocket, no tricks with the server's insides.
// Each test file uses its own part of the client.
#![allow(dead_code, unused_imports, clippy::unwrap_used)]

pub mod aic;
mod link;
mod scene;
mod server;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use auralink_token::Claims;
use futures_util::{SinkExt as _, StreamExt as _};
use livekit_protocol as proto;
use prost::Message as _;
use proto::signal_request::Message as Ask;
use proto::signal_response::Message;
use str0m::change::{SdpAnswer, SdpApi, SdpOffer, SdpPendingOffer};
use str0m::channel::ChannelId;
use str0m::format::Codec;
use str0m::media::{Direction, MediaKind, Mid, Pt};
use str0m::rtp::{RtpWrite, SeqNo};
use str0m::{Event, IceConnectionState};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use link::{Link, open_channels};
pub use scene::{in_both_shapes, speak, two, until};
pub use server::{Server, serve, serve_with};

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

    /// Announces a track and offers its line.
    pub async fn publish(&mut self, cid: &str, kind: MediaKind) {
        self.announce(cid, kind, proto::AddTrackRequest::default()).await;
        self.offer_line(cid, cid, kind).await;
    }

    /// The same for a track that says how it is encrypted from end to end.
    pub async fn publish_as(&mut self, cid: &str, kind: MediaKind, encryption: proto::encryption::Type) {
        let request = proto::AddTrackRequest {
            encryption: encryption as i32,
            ..Default::default()
        };
        self.announce(cid, kind, request).await;
        self.offer_line(cid, cid, kind).await;
    }

    /// Announces a track.
    pub async fn announce(&mut self, cid: &str, kind: MediaKind, request: proto::AddTrackRequest) {
        let r#type = match kind {
            MediaKind::Video => proto::TrackType::Video,
            MediaKind::Audio => proto::TrackType::Audio,
        };
        self.ask(Ask::AddTrack(proto::AddTrackRequest {
            cid: cid.into(),
            name: cid.into(),
            r#type: r#type as i32,
            ..request
        }))
        .await;
    }

    /// Offers the line of a track; `id` is what its `a=msid` calls it.
    pub async fn offer_line(&mut self, cid: &str, id: &str, kind: MediaKind) {
        let mut api = self.publisher.rtc.sdp_api();
        let stream = Some(format!("stream-{cid}"));
        let mid = api.add_media(kind, Direction::SendOnly, stream, Some(id.into()), None);
        self.sending.insert(cid.into(), mid);
        let (offer, pending) = api.apply().unwrap();
        self.send_offer(offer, pending).await;
    }

    pub async fn unpublish(&mut self, cid: &str) {
        let mid = self.sending[cid];
        let mut api = self.publisher.rtc.sdp_api();
        api.set_direction(mid, Direction::Inactive);
        let (offer, pending) = api.apply().unwrap();
        self.send_offer(offer, pending).await;
    }

    async fn send_offer(&mut self, offer: SdpOffer, pending: SdpPendingOffer) {
        self.offers += 1;
        self.pending = Some((self.offers, pending));
        let offer = proto::SessionDescription {
            r#type: "offer".into(),
            sdp: offer.to_sdp_string(),
            id: self.offers,
            ..Default::default()
        };
        self.ask(Ask::Offer(offer)).await;
    }

    async fn require(&mut self, need: proto::MediaSectionsRequirement) {
        let mut api = self.publisher.rtc.sdp_api();
        for mid in &self.receiving {
            api.set_direction(*mid, Direction::RecvOnly);
        }
        for (kind, count) in [
            (MediaKind::Audio, need.num_audios),
            (MediaKind::Video, need.num_videos),
        ] {
            for _ in 0..count {
                self.receiving
                    .push(api.add_media(kind, Direction::RecvOnly, None, None, None));
            }
        }
        if !api.has_changes() {
            touch(&mut api, self.receiving.first(), Direction::RecvOnly);
        }
        if !api.has_changes() {
            touch(&mut api, self.sending.values().next(), Direction::SendOnly);
        }
        let (offer, pending) = api.apply().unwrap();
        self.send_offer(offer, pending).await;
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

    /// Sends one packet of media on the track's line; RED if the server's answer puts it first isn't decided here.
    pub async fn send(&mut self, cid: &str, timestamp: u32, payload: &[u8], red: bool) {
        let mid = self.sending[cid];
        let rtc = &mut self.publisher.rtc;
        let media = rtc.media(mid).unwrap();
        let codec = if media.kind() == MediaKind::Video {
            Codec::Vp8
        } else {
            Codec::Opus
        };
        let params = rtc.codec_config().params();
        let params = params.iter().find(|p| p.spec().codec == codec).unwrap();
        let pt: Pt = if red { params.red().unwrap() } else { params.pt() };
        let seq = self.seq.entry(mid).or_insert_with(|| 1000.into());
        let number = seq.inc();
        let mut api = rtc.direct_api();
        let stream = api.stream_tx_by_mid(mid, None).unwrap();
        stream.write_rtp(RtpWrite::new(
            pt,
            number,
            timestamp,
            Instant::now(),
            payload.to_vec(),
        ));
        self.publisher.tick();
        self.flush().await;
    }

    /// Starts the track's stream anew: another SSRC, whose numbers start at `seq`.
    pub fn renew(&mut self, cid: &str, seq: u64) {
        let mid = self.sending[cid];
        let mut api = self.publisher.rtc.direct_api();
        let (ssrc, rtx) = (api.new_ssrc(), api.new_ssrc());
        api.reset_stream_tx(mid, None, ssrc, Some(rtx)).unwrap();
        self.seq.insert(mid, seq.into());
    }

    pub async fn say(&mut self, label: &str, packet: &proto::DataPacket) {
        let id = self.channels[label];
        let bytes = packet.encode_to_vec();
        // What went before may still fill the buffer.
        for _ in 0..500 {
            let mut channel = self.publisher.rtc.channel(id).unwrap();
            let written = channel.write(true, &bytes).unwrap();
            self.publisher.tick();
            self.flush().await;
            if written {
                return;
            }
            self.step().await;
        }
        panic!("the channel stays full");
    }

    /// What the server last said of whether somebody speaks.
    pub fn speaks(&self, sid: &str) -> Option<bool> {
        self.messages.iter().rev().find_map(|m| match m {
            Message::SpeakersChanged(changed) => changed
                .speakers
                .iter()
                .find(|speaker| speaker.sid == sid)
                .map(|speaker| speaker.active),
            _ => None,
        })
    }

    /// Whether no offer of this client's is under way, and the line of that track is agreed.
    pub fn agreed(&self, cid: &str) -> bool {
        self.pending.is_none() && self.publisher.rtc.media(self.sending[cid]).is_some()
    }

    /// What the server last said of whether this client may have a track.
    pub fn allowed(&self, track_sid: &str) -> Option<bool> {
        self.messages.iter().rev().find_map(|m| match m {
            Message::SubscriptionPermissionUpdate(update) if update.track_sid == track_sid => {
                Some(update.allowed)
            }
            _ => None,
        })
    }

    pub fn join_response(&self) -> Option<&proto::JoinResponse> {
        self.messages.iter().find_map(|m| {
            if let Message::Join(join) = m {
                Some(join)
            } else {
                None
            }
        })
    }

    pub fn leave(&self) -> Option<&proto::LeaveRequest> {
        self.messages.iter().find_map(|m| {
            if let Message::Leave(leave) = m {
                Some(leave)
            } else {
                None
            }
        })
    }

    /// Latest word about somebody.
    pub fn info(&self, identity: &str) -> Option<proto::ParticipantInfo> {
        let updates = self.messages.iter().rev().filter_map(|m| match m {
            Message::Update(update) => Some(&update.participants),
            Message::Join(join) => Some(&join.other_participants),
            _ => None,
        });
        updates.flatten().find(|p| p.identity == identity).cloned()
    }

    /// Latest word about how good somebody's connection is.
    pub fn quality_of(&self, identity: &str) -> Option<i32> {
        let join = self.join_response()?;
        let known = self.info(identity).or_else(|| join.participant.clone())?;
        self.messages.iter().rev().find_map(|m| match m {
            Message::ConnectionQuality(update) => {
                let mut of = update.updates.iter().filter(|u| u.participant_sid == known.sid);
                of.next().map(|update| update.quality)
            }
            _ => None,
        })
    }

    pub fn published(&self, cid: &str) -> Option<&proto::TrackInfo> {
        self.messages.iter().find_map(|m| match m {
            Message::TrackPublished(published) if published.cid == cid => published.track.as_ref(),
            _ => None,
        })
    }

    /// What the server last said of that line on which it sends.
    pub fn last_of_line(&self, mid: &str) -> Option<&str> {
        let mid = format!("a=mid:{mid}\r\n");
        let last = self.told.last()?;
        last.split("m=").find(|part| part.contains(&mid))
    }
}

/// Changes a line and changes it back: an offer for a client that has nothing else to say.
fn touch(api: &mut SdpApi<'_>, mid: Option<&Mid>, direction: Direction) {
    if let Some(mid) = mid {
        api.set_direction(*mid, Direction::Inactive);
        api.set_direction(*mid, direction);
    }
}
