//! The one task of a client: socket, WebSocket, clocks and commands, poured into the sans-IO parts.

mod connect;
mod messages;
mod report;
mod room;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use auralink_types::SourceCodec;
use livekit_protocol as proto;
use proto::signal_request::Message as Request;
use str0m::net::{Protocol, Receive};
use str0m::{Event, Input, Output};
use tokio::net::UdpSocket;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::sleep_until;

use crate::client::{ClientEvent, ClientOptions, Report, Stats};
use crate::error::JoinError;
use crate::publish::Publisher;
use crate::receive::BLOCK;
use crate::record::Recorder;
use crate::session::Session;
use crate::signal::Signal;
use crate::traffic::Traffic;
pub use connect::facing;
use report::Coding;
use room::Heard;

/// Output blocks are 10 ms.
const TICK: Duration = Duration::from_millis(10);

/// Blocks made up for at once after a stall; more are written as silence.
const MAX_TICKS: u32 = 100;

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
    coding: Coding,
    identity: String,
    room: String,
    inbox: mpsc::Receiver<Command>,
    events: broadcast::Sender<ClientEvent>,
}

impl Driver {
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

    async fn publish(&mut self, now: Instant) -> Result<(), JoinError> {
        if self.connected.is_none() || self.session.terms().is_none() {
            return Ok(());
        }
        loop {
            let Some(publisher) = &mut self.publisher else {
                return Ok(());
            };
            publisher.begin(now);
            let from = Instant::now();
            let Some(packet) = publisher.poll(now)? else {
                return self.report(now);
            };
            if self.options.aic && publisher.wish() != SourceCodec::Own {
                self.coding.took(from.elapsed(), packet.audio_ms / 20);
                publisher.try_own()?;
            }
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

    fn tell(&self, event: ClientEvent) {
        // Nobody may be listening.
        let _ = self.events.send(event);
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

fn unix_ms() -> i64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
