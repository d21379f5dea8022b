//! The one task of a client: socket, WebSocket, clocks and commands, poured into the sans-IO parts.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use auralink_types::{HINT_TOPIC, PublisherHint};
use livekit_protocol as proto;
use proto::signal_request::Message as Request;
use proto::signal_response::Message as Response;
use str0m::media::MediaKind;
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpPacket;
use str0m::{Event, Input, Output};
use tokio::net::UdpSocket;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::sleep_until;

use crate::client::{ClientEvent, ClientOptions, Hearing, Report, Stats, TrackReport};
use crate::error::JoinError;
use crate::publish::Publisher;
use crate::receive::{BLOCK, Receiver};
use crate::record::Recorder;
use crate::session::Session;
use crate::signal::{Announcement, Signal};
use crate::traffic::Traffic;

/// How long the first message may take (the protocol says 5 s).
const JOIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the peer connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Output blocks are 10 ms.
const TICK: Duration = Duration::from_millis(10);

/// Blocks made up for at once after a stall; more are written as silence.
const MAX_TICKS: u32 = 100;

/// Least time from a packet's first sample to its playing: stock clients, and AIC clients, whose packets may get
/// longer at any time.
const FLOOR: Duration = Duration::from_millis(40);
const AIC_FLOOR: Duration = Duration::from_millis(70);

/// Most received tracks that are decoded.
const MAX_RECEIVERS: usize = 64;

/// Datagrams read before the other sources get their turn.
const MAX_BATCH: usize = 64;

/// Wait for the last datagrams and the WebSocket close.
const GOODBYE: Duration = Duration::from_millis(200);

pub(crate) enum Command {
    Stats(oneshot::Sender<Stats>),
    Mute(bool),
    Data {
        topic: String,
        payload: Vec<u8>,
        reliable: bool,
    },
    Leave,
}

struct Heard {
    identity: Option<String>,
    receiver: Receiver,
    switches: usize,
    active: bool,
}

pub(crate) struct Driver {
    start: Instant,
    connected: Option<Instant>,
    signal: Signal,
    signal_open: bool,
    socket: UdpSocket,
    local: SocketAddr,
    session: Session,
    traffic: Traffic,
    publisher: Option<Publisher>,
    cid: String,
    published: Option<String>,
    options: ClientOptions,
    heard: BTreeMap<String, Heard>,
    owners: HashMap<String, (String, bool)>,
    present: HashMap<String, Vec<String>>,
    recorder: Option<Recorder>,
    next_tick: Instant,
    next_ping: Instant,
    ping_interval: Duration,
    rtt_ms: i64,
    identity: String,
    room: String,
    inbox: mpsc::Receiver<Command>,
    events: broadcast::Sender<ClientEvent>,
}

impl Driver {
    pub(crate) async fn connect(
        options: ClientOptions,
        inbox: mpsc::Receiver<Command>,
        events: broadcast::Sender<ClientEvent>,
    ) -> Result<Self, JoinError> {
        let start = Instant::now();
        let bind = match options.bind {
            Some(address) => address,
            None => facing(&options.url).await?,
        };
        let socket = UdpSocket::bind((bind, 0)).await?;
        let local = socket.local_addr()?;
        let mut session = Session::new(start, local, options.aic)?;
        let offer = session.offer();
        let announcement = Announcement {
            attributes: options.attributes.clone(),
            auto_subscribe: true,
            offer,
        };
        let mut signal = Signal::open(&options.url, &options.token, announcement).await?;
        let first = tokio::time::timeout(JOIN_TIMEOUT, signal.next()).await;
        let join = match first.map_err(|_| timeout("the join response", JOIN_TIMEOUT))?? {
            Some(Response::Join(join)) => join,
            Some(Response::Leave(leave)) => return Err(JoinError::Left(leave_reason(&leave))),
            Some(other) => {
                return Err(JoinError::Protocol(format!(
                    "the first message was {}",
                    kind_of(&other)
                )));
            }
            None => return Err(JoinError::Protocol("closed before the join response".to_owned())),
        };
        let me = join.participant.clone().unwrap_or_default();
        let publisher = options.publish.clone().map(|source| {
            let mut publisher = Publisher::new(source, options.own, options.model.clone(), rand::random());
            publisher.hint(options.begin_with);
            publisher
        });
        let recorder = match &options.hearing {
            Hearing::Record(path) => Some(Recorder::create(path)?),
            Hearing::Listen | Hearing::Count => None,
        };
        let ping_interval = Duration::from_secs(u64::try_from(join.ping_interval).unwrap_or(5).clamp(1, 60));
        let now = Instant::now();
        let mut driver = Self {
            start,
            connected: None,
            signal,
            signal_open: true,
            socket,
            local,
            session,
            traffic: Traffic::new(start),
            publisher,
            cid: format!("mic-{:016x}", rand::random::<u64>()),
            published: None,
            options,
            heard: BTreeMap::new(),
            owners: HashMap::new(),
            present: HashMap::new(),
            recorder,
            next_tick: now + TICK,
            next_ping: now + ping_interval,
            ping_interval,
            rtt_ms: 0,
            identity: me.identity,
            room: join.room.map(|room| room.name).unwrap_or_default(),
            inbox,
            events,
        };
        for participant in &join.other_participants {
            driver.participant(participant);
        }
        driver.add_track().await?;
        let deadline = start + CONNECT_TIMEOUT;
        while driver.connected.is_none() {
            if Instant::now() > deadline {
                return Err(timeout("the peer connection", CONNECT_TIMEOUT));
            }
            if let Some(reason) = driver.turn(Some(deadline)).await? {
                return Err(JoinError::Left(reason));
            }
        }
        Ok(driver)
    }

    pub(crate) async fn run(mut self) -> Result<Report, JoinError> {
        let outcome = loop {
            match self.turn(None).await {
                Ok(None) => {}
                Ok(Some(reason)) => break Ok(reason),
                Err(error) => break Err(error),
            }
        };
        self.goodbye().await;
        let reason = match &outcome {
            Ok(reason) => reason.clone(),
            Err(error) => error.to_string(),
        };
        let stats = self.stats(Instant::now());
        if let Some(recorder) = self.recorder.take() {
            recorder.finish()?;
        }
        // Nobody may be listening.
        let _ = self.events.send(ClientEvent::Ended {
            reason: reason.clone(),
        });
        outcome?;
        Ok(Report {
            reason,
            steady: stats.steady(),
            stats,
        })
    }

    async fn add_track(&mut self) -> Result<(), JoinError> {
        if self.publisher.is_none() {
            return Ok(());
        }
        let request = proto::AddTrackRequest {
            cid: self.cid.clone(),
            name: "microphone".to_owned(),
            r#type: proto::TrackType::Audio as i32,
            source: proto::TrackSource::Microphone as i32,
            audio_features: if self.options.own.dtx {
                Vec::new()
            } else {
                vec![proto::AudioTrackFeature::TfNoDtx as i32]
            },
            ..Default::default()
        };
        self.signal.send(Request::AddTrack(request)).await?;
        self.session.publish(&self.cid);
        if let Some(offer) = self.session.offer() {
            self.signal.send(Request::Offer(offer)).await?;
        }
        Ok(())
    }

    /// Does what is due, then waits for the next thing to happen. `Some` ends the stay with that reason.
    async fn turn(&mut self, until: Option<Instant>) -> Result<Option<String>, JoinError> {
        let now = Instant::now();
        self.play(now)?;
        self.publish(now).await?;
        let media = self.drain().await?;
        if !self.session.rtc.is_alive() {
            return Ok(Some("the peer connection closed".to_owned()));
        }
        let wake = [
            Some(media),
            Some(self.next_tick),
            Some(self.next_ping),
            self.publisher
                .as_ref()
                .filter(|_| self.session.terms().is_some())
                .and_then(Publisher::deadline),
            until,
        ];
        let wake = wake.into_iter().flatten().min().unwrap_or(now + TICK);
        let mut datagram = [0u8; 2048];
        tokio::select! {
            received = self.socket.recv_from(&mut datagram) => {
                let (len, from) = received?;
                self.datagram(&datagram[..len], from).await?;
                for _ in 1..MAX_BATCH {
                    match self.socket.try_recv_from(&mut datagram) {
                        Ok((len, from)) => self.datagram(&datagram[..len], from).await?,
                        Err(_) => break,
                    }
                }
            }
            message = self.signal.next(), if self.signal_open => match message {
                Ok(Some(message)) => return self.message(message).await,
                Ok(None) => {
                    self.signal_open = false;
                    return Ok(Some("the server closed the signalling connection".to_owned()));
                }
                Err(error) => {
                    self.signal_open = false;
                    return Err(error);
                }
            },
            command = self.inbox.recv() => match command {
                Some(command) => return self.command(command).await,
                None => return Ok(Some("the client was dropped".to_owned())),
            },
            () = sleep_until(wake.into()) => {
                let now = Instant::now();
                self.session.rtc.handle_input(Input::Timeout(now))?;
                self.ping(now).await?;
            }
        }
        Ok(None)
    }

    async fn ping(&mut self, now: Instant) -> Result<(), JoinError> {
        if now < self.next_ping || !self.signal_open {
            return Ok(());
        }
        self.next_ping = now + self.ping_interval;
        let timestamp = unix_ms();
        self.signal.send(Request::Ping(timestamp)).await?;
        self.signal
            .send(Request::PingReq(proto::Ping {
                timestamp,
                rtt: self.rtt_ms,
            }))
            .await
    }

    async fn datagram(&mut self, datagram: &[u8], from: SocketAddr) -> Result<(), JoinError> {
        let now = Instant::now();
        self.traffic.datagram_received(now, datagram);
        let Ok(contents) = datagram.try_into() else {
            return Ok(());
        };
        let receive = Receive {
            proto: Protocol::Udp,
            source: from,
            destination: self.local,
            contents,
        };
        let input = Input::Receive(now, receive);
        if self.session.rtc.accepts(&input) {
            self.session.rtc.handle_input(input)?;
        }
        // In RTP mode one slot holds the pending packet: it is taken before the next datagram goes in.
        self.drain().await?;
        Ok(())
    }

    /// Empties the peer connection; returns when it wants to be woken.
    async fn drain(&mut self) -> Result<Instant, JoinError> {
        loop {
            match self.session.rtc.poll_output()? {
                Output::Timeout(at) => return Ok(at),
                Output::Transmit(transmit) => {
                    self.traffic.datagram_sent(Instant::now(), &transmit.contents);
                    // A datagram that cannot be sent is a lost datagram.
                    if let Err(error) = self
                        .socket
                        .send_to(&transmit.contents, transmit.destination)
                        .await
                    {
                        tracing::debug!(%error, "a datagram was not sent");
                    }
                }
                Output::Event(event) => self.event(event),
            }
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Connected => {
                self.connected.get_or_insert_with(Instant::now);
            }
            Event::RtpPacket(packet) => self.packet(&packet),
            Event::ChannelData(data) => self.data(&data),
            _ => {}
        }
    }

    fn packet(&mut self, packet: &RtpPacket) {
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

    fn data(&mut self, data: &str0m::channel::ChannelData) {
        let Some((user, from)) = Session::user_packet(data) else {
            return;
        };
        let topic = user.topic.unwrap_or_default();
        if topic != HINT_TOPIC {
            self.tell(ClientEvent::Data {
                from,
                topic,
                payload: user.payload,
            });
            return;
        }
        let hint: PublisherHint = match serde_json::from_slice(&user.payload) {
            Ok(hint) => hint,
            Err(error) => {
                tracing::warn!(%error, "a hint that cannot be read");
                return;
            }
        };
        // Hints come from the server alone, and a server names no sender.
        let mine = self.options.aic && from.is_empty() && self.concerns_us(&hint);
        let obeyed = mine
            && self
                .publisher
                .as_mut()
                .is_some_and(|publisher| publisher.hint(hint.source));
        self.tell(ClientEvent::Hint { hint, obeyed });
    }

    /// Whether a hint is about our track. It may come before the answer that names the track, and we publish one.
    fn concerns_us(&self, hint: &PublisherHint) -> bool {
        self.published
            .as_deref()
            .is_none_or(|track| track == hint.track.as_str())
    }

    async fn message(&mut self, message: Response) -> Result<Option<String>, JoinError> {
        match message {
            Response::Answer(answer) => {
                let next = self.session.answer(&answer)?;
                self.session.rtc.handle_input(Input::Timeout(Instant::now()))?;
                self.negotiated()?;
                if let Some(offer) = next {
                    self.signal.send(Request::Offer(offer)).await?;
                }
            }
            Response::MediaSectionsRequirement(requirement) => {
                if let Some(offer) = self.session.require(&requirement) {
                    self.signal.send(Request::Offer(offer)).await?;
                }
            }
            Response::TrackPublished(published) if published.cid == self.cid => {
                if let Some(track) = published.track {
                    self.published = Some(track.sid.clone());
                    self.tell(ClientEvent::Published { track: track.sid });
                }
            }
            Response::Update(update) => {
                for participant in &update.participants {
                    self.participant(participant);
                }
            }
            Response::Mute(mute) if Some(&mute.sid) == self.published.as_ref() => {
                self.mute(mute.muted).await?
            }
            Response::PongResp(pong) => self.rtt_ms = (unix_ms() - pong.last_ping_timestamp).max(0),
            Response::Trickle(trickle) => self.trickle(&trickle),
            Response::Leave(leave) => return Ok(Some(leave_reason(&leave))),
            _ => {}
        }
        Ok(None)
    }

    fn trickle(&mut self, trickle: &proto::TrickleRequest) {
        let parsed: Option<serde_json::Value> = serde_json::from_str(&trickle.candidate_init).ok();
        let text = parsed
            .as_ref()
            .and_then(|init| init.get("candidate"))
            .and_then(|text| text.as_str());
        if let Some(Ok(candidate)) = text.map(str0m::Candidate::from_sdp_string) {
            self.session.rtc.add_remote_candidate(candidate);
        }
    }

    /// The last answer is the contract: the publisher's terms, and which tracks arrive.
    fn negotiated(&mut self) -> Result<(), JoinError> {
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

    fn participant(&mut self, participant: &proto::ParticipantInfo) {
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

    async fn command(&mut self, command: Command) -> Result<Option<String>, JoinError> {
        match command {
            Command::Stats(answer) => {
                // Whoever asked may have gone.
                let _ = answer.send(self.stats(Instant::now()));
            }
            Command::Mute(muted) => self.mute(muted).await?,
            Command::Data {
                topic,
                payload,
                reliable,
            } => {
                if !self.session.send_data(&topic, &payload, reliable)? {
                    tracing::warn!(%topic, "the data channel took no message");
                }
            }
            Command::Leave => return Ok(Some("left".to_owned())),
        }
        Ok(None)
    }

    async fn mute(&mut self, muted: bool) -> Result<(), JoinError> {
        if let Some(publisher) = &mut self.publisher {
            publisher.set_muted(muted);
        }
        if let Some(sid) = self.published.clone() {
            self.signal
                .send(Request::Mute(proto::MuteTrackRequest { sid, muted }))
                .await?;
        }
        Ok(())
    }

    async fn publish(&mut self, now: Instant) -> Result<(), JoinError> {
        if self.connected.is_none() || self.session.terms().is_none() {
            return Ok(());
        }
        loop {
            let Some(publisher) = &mut self.publisher else {
                return Ok(());
            };
            publisher.begin(now);
            let Some(packet) = publisher.poll(now)? else {
                return Ok(());
            };
            if self.session.write(now, &packet) {
                self.traffic.audio_sent(now, packet.payload.len());
                self.session.rtc.handle_input(Input::Timeout(now))?;
                self.drain().await?;
            }
        }
    }

    /// Plays what is due: one block of every track, mixed.
    fn play(&mut self, now: Instant) -> Result<(), JoinError> {
        let mut ticks = 0;
        while self.next_tick <= now {
            let due = self.next_tick;
            self.next_tick += TICK;
            ticks += 1;
            let mut mix = [0.0; BLOCK];
            let mut block = [0.0; BLOCK];
            for heard in self
                .heard
                .values_mut()
                .filter(|heard| heard.active && ticks <= MAX_TICKS)
            {
                heard.receiver.pull(due, &mut block);
                mix.iter_mut()
                    .zip(&block)
                    .for_each(|(sum, sample)| *sum += sample);
            }
            if let Some(recorder) = &mut self.recorder {
                recorder.write(&mix)?;
            }
        }
        if ticks > 0 {
            self.tell_switches();
        }
        Ok(())
    }

    fn tell_switches(&mut self) {
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

    fn tell(&self, event: ClientEvent) {
        // Nobody may be listening.
        let _ = self.events.send(event);
    }

    fn stats(&self, now: Instant) -> Stats {
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

    async fn goodbye(&mut self) {
        let farewell = async {
            if self.signal_open {
                let leave = proto::LeaveRequest {
                    reason: proto::DisconnectReason::ClientInitiated as i32,
                    action: proto::leave_request::Action::Disconnect as i32,
                    ..Default::default()
                };
                // A server that is gone needs no goodbye.
                let _ = self.signal.send(Request::Leave(leave)).await;
            }
            let _ = self.session.rtc.close();
            let _ = self.drain().await;
            self.signal.close().await;
        };
        let _ = tokio::time::timeout(GOODBYE, farewell).await;
    }
}

fn timeout(what: &'static str, limit: Duration) -> JoinError {
    JoinError::Timeout {
        what,
        seconds: limit.as_secs(),
    }
}

fn leave_reason(leave: &proto::LeaveRequest) -> String {
    let reason =
        proto::DisconnectReason::try_from(leave.reason).unwrap_or(proto::DisconnectReason::UnknownReason);
    reason.as_str_name().to_lowercase()
}

fn kind_of(message: &Response) -> String {
    let text = format!("{message:?}");
    text.split(['(', ' ']).next().unwrap_or("unknown").to_owned()
}

fn unix_ms() -> i64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The local address from which the server is reached. Nothing is sent to find it.
async fn facing(url: &str) -> Result<IpAddr, JoinError> {
    let refuse = |problem: &str| JoinError::Url {
        url: url.to_owned(),
        problem: problem.to_owned(),
    };
    let parsed = url::Url::parse(url).map_err(|error| refuse(&error.to_string()))?;
    let host = parsed
        .host_str()
        .ok_or_else(|| refuse("there is no host in it"))?;
    let port = parsed.port_or_known_default().unwrap_or(7880);
    let found = tokio::net::lookup_host((host.trim_matches(['[', ']']), port)).await?;
    // Media is IPv4 unless the server has no such address.
    let mut addresses: Vec<SocketAddr> = found.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    let server = *addresses
        .first()
        .ok_or_else(|| refuse("its host has no address"))?;
    let any: IpAddr = if server.is_ipv4() {
        [0; 4].into()
    } else {
        [0u16; 8].into()
    };
    let probe = UdpSocket::bind((any, 0)).await?;
    probe.connect(server).await?;
    Ok(probe.local_addr()?.ip())
}
