//! Joining: socket, signalling, peer connection, in this order.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::signal_request::Message as Request;
use proto::signal_response::Message as Response;
use tokio::net::UdpSocket;
use tokio::sync::{broadcast, mpsc};

use super::messages::leave_reason;
use super::report::Coding;
use super::{Command, Driver, TICK};
use crate::client::{ClientEvent, ClientOptions, Hearing};
use crate::error::JoinError;
use crate::publish::Publisher;
use crate::record::Recorder;
use crate::session::Session;
use crate::signal::{Announcement, Signal};
use crate::traffic::Traffic;

/// How long the first message may take (the protocol says 5 s).
const JOIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the peer connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

impl Driver {
    pub(crate) async fn connect(
        mut options: ClientOptions,
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
        let mut signal = Signal::open(
            &options.url,
            options.authorities.as_deref(),
            &options.token,
            announcement,
        )
        .await?;
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
        let publisher = options.publish.take().map(|source| {
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
            coding: Coding::new(now),
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

    pub(super) async fn add_track(&mut self) -> Result<(), JoinError> {
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
            disable_red: !self.options.own.red,
            ..Default::default()
        };
        self.signal.send(Request::AddTrack(request)).await?;
        self.session.publish(&self.cid);
        if let Some(offer) = self.session.offer() {
            self.signal.send(Request::Offer(offer)).await?;
        }
        Ok(())
    }
}

fn timeout(what: &'static str, limit: Duration) -> JoinError {
    JoinError::Timeout {
        what,
        seconds: limit.as_secs(),
    }
}

fn kind_of(message: &Response) -> String {
    let text = format!("{message:?}");
    text.split(['(', ' ']).next().unwrap_or("unknown").to_owned()
}

/// The local address from which the server is reached. Nothing is sent to find it.
pub async fn facing(url: &str) -> Result<IpAddr, JoinError> {
    let refuse = |problem: &str| JoinError::Url {
        url: url.to_owned(),
        problem: problem.to_owned(),
    };
    let parsed = url::Url::parse(url).map_err(|error| refuse(&error.to_string()))?;
    let host = parsed
        .host_str()
        .ok_or_else(|| refuse("there is no host in it"))?;
    let port = parsed.port_or_known_default().unwrap_or(7880);
    let found = tokio::net::lookup_host((host.trim_matches(['[', ']']), port)).await;
    let found = found.map_err(|error| refuse(&error.to_string()))?;
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
