//! A client for tests: str0m as the offering side, real UDP, real WebSocket, no tricks with the server's insides.
// Each test file uses its own part of the client.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use auralink_media::{Ai, MediaConfig, MediaServer};
use auralink_token::{Claims, KeyRing};
use base64::Engine as _;
use futures_util::{SinkExt as _, StreamExt as _};
use livekit_protocol as proto;
use prost::Message as _;
use proto::signal_request::Message as Ask;
use proto::signal_response::Message;
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::channel::{ChannelConfig, ChannelId, Reliability};
use str0m::format::Codec;
use str0m::media::{Direction, MediaKind, Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{RtpWrite, SeqNo};
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc};
use tokio::net::{TcpStream, UdpSocket};
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// How long a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server on loopback.
pub struct Server {
    pub media: MediaServer,
    pub http: SocketAddr,
    pub keys: Arc<KeyRing>,
}

pub async fn serve() -> Server {
    serve_with(Ai::none()).await
}

/// A server with an AI core.
pub async fn serve_with(ai: Ai) -> Server {
    let keys = Arc::new(KeyRing::new([("devkey", "secret"), ("other", "another secret")]));
    let media = MediaServer::start_with(MediaConfig::loopback(keys.clone()), ai)
        .await
        .unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http = listener.local_addr().unwrap();
    let routes = media.router();
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    Server { media, http, keys }
}

impl Server {
    pub fn token(&self, claims: &Claims) -> String {
        self.keys
            .mint("devkey", claims, Duration::from_secs(60), SystemTime::now())
            .unwrap()
    }

    pub fn url(&self, token: &str, request: proto::JoinRequest) -> String {
        let wrapped = proto::WrappedJoinRequest {
            compression: 0,
            join_request: request.encode_to_vec(),
        };
        let request = base64::engine::general_purpose::URL_SAFE.encode(wrapped.encode_to_vec());
        format!(
            "ws://{}/rtc/v1?access_token={token}&join_request={}",
            self.http,
            request.replace('=', "%3D")
        )
    }
}

/// A packet of media that arrived.
#[derive(Clone, Debug)]
pub struct Heard {
    pub mid: Mid,
    pub seq: u64,
    pub timestamp: u32,
    pub codec: Codec,
    pub red: bool,
    pub payload: Vec<u8>,
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub struct Peer {
    pub socket: Socket,
    rtc: Rtc,
    udp: UdpSocket,
    local: SocketAddr,
    pending: Option<(u32, SdpPendingOffer)>,
    offers: u32,
    receiving: Vec<Mid>,
    pub sending: HashMap<String, Mid>,
    seq: HashMap<Mid, SeqNo>,
    pub channels: HashMap<String, ChannelId>,
    pub connected: bool,
    pub messages: Vec<Message>,
    pub heard: Vec<Heard>,
    pub data: Vec<proto::DataPacket>,
    pub tracks: HashMap<Mid, String>,
    pub answers: Vec<String>,
    pub closed: bool,
    /// Lines for which the server wants a keyframe.
    pub keyframes: Vec<Mid>,
}

impl Peer {
    pub async fn join(server: &Server, identity: &str) -> Self {
        Self::join_as(
            server,
            &Claims::join("room", identity),
            proto::JoinRequest::default(),
        )
        .await
    }

    pub async fn join_as(server: &Server, claims: &Claims, mut request: proto::JoinRequest) -> Self {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let local = udp.local_addr().unwrap();
        let now = Instant::now();
        let mut rtc = Rtc::builder()
            .set_rtp_mode(true)
            .enable_opus(true, true)
            .build(now);
        rtc.add_local_candidate(Candidate::host(local, "udp").unwrap());
        let mut api = rtc.sdp_api();
        let mut receiving = Vec::new();
        for kind in [MediaKind::Audio, MediaKind::Video] {
            for _ in 0..3 {
                receiving.push(api.add_media(kind, Direction::RecvOnly, None, None, None));
            }
        }
        api.add_channel("_reliable".into());
        api.add_channel_with_config(ChannelConfig {
            label: "_lossy".into(),
            ordered: false,
            reliability: Reliability::MaxRetransmits { retransmits: 0 },
            ..Default::default()
        });
        let (offer, pending) = api.apply().unwrap();
        request.publisher_offer = Some(proto::SessionDescription {
            r#type: "offer".into(),
            sdp: offer.to_sdp_string(),
            id: 1,
            ..Default::default()
        });
        let url = server.url(&server.token(claims), request);
        let (socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        Self {
            socket,
            rtc,
            udp,
            local,
            pending: Some((1, pending)),
            offers: 1,
            receiving,
            sending: HashMap::new(),
            seq: HashMap::new(),
            channels: HashMap::new(),
            connected: false,
            messages: Vec::new(),
            heard: Vec::new(),
            data: Vec::new(),
            tracks: HashMap::new(),
            answers: Vec::new(),
            closed: false,
            keyframes: Vec::new(),
        }
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
        self.publish_as(cid, kind, proto::encryption::Type::None).await;
    }

    /// The same for a track that says how it is encrypted from end to end.
    pub async fn publish_as(&mut self, cid: &str, kind: MediaKind, encryption: proto::encryption::Type) {
        let video = kind == MediaKind::Video;
        self.ask(Ask::AddTrack(proto::AddTrackRequest {
            cid: cid.into(),
            name: cid.into(),
            encryption: encryption as i32,
            r#type: if video {
                proto::TrackType::Video
            } else {
                proto::TrackType::Audio
            } as i32,
            ..Default::default()
        }))
        .await;
        let mut api = self.rtc.sdp_api();
        let stream = Some(format!("stream-{cid}"));
        let mid = api.add_media(kind, Direction::SendOnly, stream, Some(cid.into()), None);
        self.sending.insert(cid.into(), mid);
        let (offer, pending) = api.apply().unwrap();
        self.send_offer(offer.to_sdp_string(), pending).await;
    }

    pub async fn unpublish(&mut self, cid: &str) {
        let mid = self.sending[cid];
        let mut api = self.rtc.sdp_api();
        api.set_direction(mid, Direction::Inactive);
        let (offer, pending) = api.apply().unwrap();
        self.send_offer(offer.to_sdp_string(), pending).await;
    }

    async fn send_offer(&mut self, sdp: String, pending: SdpPendingOffer) {
        self.offers += 1;
        self.pending = Some((self.offers, pending));
        let offer = proto::SessionDescription {
            r#type: "offer".into(),
            sdp,
            id: self.offers,
            ..Default::default()
        };
        self.ask(Ask::Offer(offer)).await;
    }

    async fn require(&mut self, need: proto::MediaSectionsRequirement) {
        let mut api = self.rtc.sdp_api();
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
            let mid = self.receiving[0];
            api.set_direction(mid, Direction::Inactive);
            api.set_direction(mid, Direction::RecvOnly);
        }
        let (offer, pending) = api.apply().unwrap();
        self.send_offer(offer.to_sdp_string(), pending).await;
    }

    async fn handle(&mut self, message: Message) {
        match &message {
            Message::Answer(answer) => {
                self.answers.push(answer.sdp.clone());
                for (mid, track) in &answer.mid_to_track_id {
                    self.tracks.insert(mid.as_str().into(), track.clone());
                }
                if let Some((id, pending)) = self.pending.take() {
                    if id == answer.id {
                        let parsed = SdpAnswer::from_sdp_string(&answer.sdp).unwrap();
                        self.rtc.sdp_api().accept_answer(pending, parsed).unwrap();
                    } else {
                        self.pending = Some((id, pending));
                    }
                }
            }
            Message::MediaSectionsRequirement(need) => self.require(*need).await,
            _ => {}
        }
        self.messages.push(message);
        self.flush().await;
    }

    async fn flush(&mut self) -> Instant {
        loop {
            // A connection that the server closes while it is being set up fails; so it would in an application.
            let Ok(output) = self.rtc.poll_output() else {
                self.connected = false;
                return Instant::now() + Duration::from_millis(20);
            };
            match output {
                Output::Timeout(due) => return due,
                Output::Transmit(transmit) => {
                    let _ = self.udp.send_to(&transmit.contents, transmit.destination).await;
                }
                Output::Event(Event::Connected) => self.connected = true,
                Output::Event(Event::IceConnectionStateChange(IceConnectionState::Disconnected)) => {
                    self.connected = false;
                }
                Output::Event(Event::KeyframeRequest(request)) => self.keyframes.push(request.mid),
                Output::Event(Event::ChannelOpen(id, label)) => {
                    self.channels.insert(label, id);
                }
                Output::Event(Event::ChannelData(data)) => {
                    self.data
                        .push(proto::DataPacket::decode(data.data.as_slice()).unwrap());
                }
                Output::Event(Event::RtpPacket(packet)) => {
                    let pt = packet.header.payload_type;
                    let params = self.rtc.codec_config().params();
                    let params = *params
                        .iter()
                        .find(|p| p.pt() == pt || p.red() == Some(pt))
                        .unwrap();
                    let stream = self
                        .rtc
                        .direct_api()
                        .stream_rx(&packet.header.ssrc)
                        .map(|s| s.mid());
                    self.heard.push(Heard {
                        mid: stream.or(packet.header.ext_vals.mid).unwrap(),
                        seq: *packet.seq_no,
                        timestamp: packet.header.timestamp,
                        codec: params.spec().codec,
                        red: params.red() == Some(pt),
                        payload: packet.payload.to_vec(),
                    });
                }
                Output::Event(_) => {}
            }
        }
    }

    /// One thing that happens: a datagram, a message or a timer.
    pub async fn step(&mut self) {
        let due = self.flush().await;
        let mut buffer = [0; 2000];
        // The shortest wait lets tests look at what they wait for now and then.
        let due = due.min(Instant::now() + Duration::from_millis(20));
        tokio::select! {
            received = self.udp.recv_from(&mut buffer) => {
                let Ok((length, source)) = received else { return };
                if let Ok(contents) = buffer[..length].try_into() {
                    let receive = Receive { proto: Protocol::Udp, source, destination: self.local, contents };
                    self.rtc.handle_input(Input::Receive(Instant::now(), receive)).unwrap();
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
                self.rtc.handle_input(Input::Timeout(Instant::now())).unwrap();
            }
        }
        self.flush().await;
    }

    /// Sends one packet of media on the track's line; RED if the server's answer puts it first isn't decided here.
    pub async fn send(&mut self, cid: &str, timestamp: u32, payload: &[u8], red: bool) {
        let mid = self.sending[cid];
        let media = self.rtc.media(mid).unwrap();
        let codec = if media.kind() == MediaKind::Video {
            Codec::Vp8
        } else {
            Codec::Opus
        };
        let params = self.rtc.codec_config().params();
        let params = params.iter().find(|p| p.spec().codec == codec).unwrap();
        let pt: Pt = if red { params.red().unwrap() } else { params.pt() };
        let seq = self.seq.entry(mid).or_insert_with(|| 1000.into());
        let number = seq.inc();
        let now = Instant::now();
        let mut api = self.rtc.direct_api();
        let stream = api.stream_tx_by_mid(mid, None).unwrap();
        stream.write_rtp(RtpWrite::new(pt, number, timestamp, now, payload.to_vec()));
        self.rtc.handle_input(Input::Timeout(now)).unwrap();
        self.flush().await;
    }

    pub async fn say(&mut self, label: &str, packet: &proto::DataPacket) {
        let id = self.channels[label];
        assert!(
            self.rtc
                .channel(id)
                .unwrap()
                .write(true, &packet.encode_to_vec())
                .unwrap()
        );
        self.rtc.handle_input(Input::Timeout(Instant::now())).unwrap();
        self.flush().await;
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

    pub fn published(&self, cid: &str) -> Option<&proto::TrackInfo> {
        self.messages.iter().find_map(|m| match m {
            Message::TrackPublished(published) if published.cid == cid => published.track.as_ref(),
            _ => None,
        })
    }
}

/// Lets everybody run until the condition holds; what it waits for is named in the failure.
pub async fn until(what: &str, peers: &mut [&mut Peer], mut done: impl FnMut(&[&mut Peer]) -> bool) {
    let start = Instant::now();
    while !done(peers) {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        for peer in peers.iter_mut() {
            peer.step().await;
        }
    }
}
