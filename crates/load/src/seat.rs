//! One participant's place in the crowd: socket, peer connection, what they send and what they get.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use str0m::net::{Protocol, Receive};
use str0m::rtp::{RtpPacket, Ssrc};
use str0m::{Event, Input, Output};

use crate::call::{Call, Media};
use crate::crowd::{Ledger, Sends};
use crate::error::LoadError;
use crate::incoming::Incoming;
use crate::plan::MIN_MESSAGE;
use crate::sender::Sender;
use crate::stream::Clips;
use crate::wire::Socket;

/// How long the peer connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// How often somebody asks again who sends a stream.
const ASK_EVERY: u64 = 50;

/// What a counted message begins with.
const MESSAGE: [u8; 8] = *b"AuraLoad";

/// How far apart publishers begin in the same clip, packets.
const APART: usize = 37;

/// Somebody in the crowd.
pub struct Seat {
    pub(crate) identity: String,
    pub(crate) call: Box<dyn Call>,
    pub(crate) socket: Arc<Socket>,
    local: SocketAddr,
    sends: Sends,
    /// Number in the ledger, for those who send.
    publisher: Option<usize>,
    voice: Option<Sender>,
    layers: Vec<Sender>,
    next_message: Option<Instant>,
    /// What the server wants may have changed, or its clip is not ready yet.
    unsettled: bool,
    pub(crate) incoming: HashMap<Ssrc, Incoming>,
    began: Instant,
    pub(crate) connected: bool,
    wake: Instant,
}

impl Seat {
    pub(crate) fn new(
        now: Instant,
        identity: &str,
        call: Box<dyn Call>,
        socket: Socket,
        sends: Sends,
        publisher: Option<usize>,
    ) -> Result<Self, LoadError> {
        Ok(Self {
            identity: identity.to_owned(),
            call,
            local: socket.address()?,
            socket: Arc::new(socket),
            sends,
            publisher,
            voice: None,
            layers: Vec::new(),
            next_message: None,
            unsettled: false,
            incoming: HashMap::new(),
            began: now,
            connected: false,
            wake: now,
        })
    }

    /// Does what is due.
    pub(crate) fn step(
        &mut self,
        now: Instant,
        clips: &Arc<Clips>,
        ledger: &mut Ledger,
    ) -> Result<(), LoadError> {
        if self.call.advance(now)? {
            self.drain(SystemTime::now(), ledger)?;
            self.unsettled = true;
        }
        if !self.connected && now > self.began + CONNECT_TIMEOUT {
            return Err(LoadError::Signalling(format!(
                "no connection within {CONNECT_TIMEOUT:?}"
            )));
        }
        if now >= self.wake {
            self.call.rtc().handle_input(Input::Timeout(now))?;
            self.drain(SystemTime::now(), ledger)?;
        }
        if self.connected && self.publisher.is_some() {
            if self.unsettled {
                self.agree(now, clips, ledger);
            }
            self.send(now, ledger)?;
        }
        Ok(())
    }

    /// Takes what the socket has.
    pub(crate) fn take(
        &mut self,
        now: Instant,
        (from, at): (SocketAddr, SystemTime),
        datagram: &[u8],
        ledger: &mut Ledger,
    ) -> Result<(), LoadError> {
        let Ok(contents) = datagram.try_into() else {
            return Ok(());
        };
        let input = Input::Receive(
            now,
            Receive {
                proto: Protocol::Udp,
                source: from,
                destination: self.local,
                contents,
            },
        );
        let rtc = self.call.rtc();
        // RTP and RTCP are whoever's socket it is; who may say the rest is str0m's to know.
        if matches!(datagram, [128..=191, ..]) || rtc.accepts(&input) {
            rtc.handle_input(input)?;
        }
        // In RTP mode one slot holds the pending packet: it is taken before the next datagram goes in.
        self.drain(at, ledger)
    }

    /// Says goodbye.
    pub(crate) fn leave(&mut self, ledger: &mut Ledger) {
        self.call.leave();
        // Whoever is gone for the server as well has nothing to close.
        let _ = self.call.rtc().close();
        let _ = self.drain(SystemTime::now(), ledger);
    }

    fn drain(&mut self, at: SystemTime, ledger: &mut Ledger) -> Result<(), LoadError> {
        loop {
            match self.call.rtc().poll_output()? {
                Output::Timeout(due) => {
                    self.wake = due;
                    return Ok(());
                }
                Output::Transmit(transmit) => {
                    self.socket.send(&transmit.contents, transmit.destination);
                }
                Output::Event(Event::RtpPacket(packet)) => self.packet(at, &packet, ledger),
                Output::Event(Event::Connected) if !self.connected => {
                    self.connected = true;
                    ledger.joined(self.began.elapsed());
                }
                Output::Event(Event::KeyframeRequest(request)) => {
                    let wanted = |layer: &&mut Sender| layer.is_on(request.mid, request.rid);
                    self.layers.iter_mut().filter(wanted).for_each(Sender::want_key);
                }
                Output::Event(Event::ChannelData(data)) => {
                    match self.call.hear(&data) {
                        Some(message) => heard(&message, ledger),
                        // The server may have said what it wants.
                        None => self.unsettled = true,
                    }
                }
                Output::Event(_) => {}
            }
        }
    }

    fn packet(&mut self, at: SystemTime, packet: &RtpPacket, ledger: &mut Ledger) {
        if packet.payload.is_empty() {
            return;
        }
        let header = &packet.header;
        let call = &mut self.call;
        let stream = self.incoming.entry(header.ssrc).or_insert_with(|| {
            let known = call
                .rtc()
                .direct_api()
                .stream_rx(&header.ssrc)
                .map(|stream| stream.mid());
            let kind = known
                .and_then(|mid| call.rtc().media(mid))
                .map(|media| media.kind());
            Incoming::new(match kind {
                Some(str0m::media::MediaKind::Video) => Media::Video,
                _ => Media::Audio,
            })
        });
        if stream.publisher.is_none() && stream.received().is_multiple_of(ASK_EVERY) {
            let mid = call
                .rtc()
                .direct_api()
                .stream_rx(&header.ssrc)
                .map(|stream| stream.mid());
            let identity = mid.and_then(|mid| call.publisher_on(mid));
            stream.publisher = identity.and_then(|identity| ledger.number(&identity));
        }
        stream.arrived(at, *packet.seq_no, header.timestamp);
        ledger.received(stream, at, &packet.payload);
    }

    /// Begins to send what the server has accepted, or goes on as it wants now.
    fn agree(&mut self, now: Instant, clips: &Arc<Clips>, ledger: &mut Ledger) {
        let Some(publisher) = self.publisher else {
            return;
        };
        self.unsettled = false;
        if let Some(voice) = &self.sends.voice
            && let Some(line) = self.call.microphone()
        {
            let Some(clip) = clips.of(line.codec, &line.terms) else {
                self.unsettled = true;
                return;
            };
            ledger.sends(publisher, 0, &clip);
            match &mut self.voice {
                Some(sender) => sender.switch(&line, clip),
                None => self.voice = Some(Sender::speech(now, &line, clip, voice.number * APART)),
            }
        }
        if let Some(pictures) = &self.sends.pictures
            && self.layers.is_empty()
            && let Some(line) = self.call.camera()
        {
            for (n, (clip, rid)) in pictures.layers.iter().zip(&line.rids).enumerate() {
                ledger.sends(publisher, 1 + n, clip);
                let sender = Sender::pictures(now, (line.mid, Some(*rid), line.pt), clip.clone());
                self.layers.push(sender);
            }
        }
    }

    fn send(&mut self, now: Instant, ledger: &mut Ledger) -> Result<(), LoadError> {
        let Some(publisher) = self.publisher else {
            return Ok(());
        };
        for slot in 0..=self.layers.len() {
            loop {
                let (sender, talks) = match slot {
                    0 => (self.voice.as_mut(), self.sends.talks(now)),
                    layer => (self.layers.get_mut(layer - 1), true),
                };
                let Some(sender) = sender.filter(|sender| sender.due() <= now) else {
                    break;
                };
                if let Some(at) = sender.write(now, talks, self.call.rtc()) {
                    let sent = SystemTime::now();
                    ledger.sent(publisher, slot, at, sent);
                    self.call.rtc().handle_input(Input::Timeout(now))?;
                    self.drain(sent, ledger)?;
                }
            }
        }
        let Some(messages) = self.sends.messages else {
            return Ok(());
        };
        let due = *self.next_message.get_or_insert(now);
        if due <= now {
            self.next_message = Some(due + messages.every);
            if self.call.say(&message(messages.bytes))? {
                ledger.said();
            }
            self.drain(SystemTime::now(), ledger)?;
        }
        Ok(())
    }
}

/// A message that says when it was sent.
fn message(bytes: usize) -> Vec<u8> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut message = MESSAGE.to_vec();
    message.extend_from_slice(&u64::try_from(since.as_nanos()).unwrap_or(u64::MAX).to_be_bytes());
    message.resize(bytes.max(MIN_MESSAGE), b'.');
    message
}

fn heard(message: &[u8], ledger: &mut Ledger) {
    let Some((nanos, _)) = message
        .strip_prefix(&MESSAGE)
        .and_then(|rest| rest.split_first_chunk::<8>())
    else {
        return;
    };
    let nanos = u64::from_be_bytes(*nanos);
    let way = SystemTime::now().duration_since(UNIX_EPOCH + Duration::from_nanos(nanos));
    ledger.heard(message.len(), way.ok());
}
