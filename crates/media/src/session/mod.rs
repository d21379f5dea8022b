//! One peer connection, wrapped: what goes in, what comes out, and nothing of it can take others down.

mod event;
mod offer;
mod streams;

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::change::SdpOffer;
use str0m::channel::ChannelId;
use str0m::config::DtlsCert;
use str0m::format::{Codec, PayloadParams};
use str0m::ice::StunMessage;
use str0m::media::{KeyframeRequestKind, Mid, Pt, Rid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{Extension, Ssrc};
use str0m::{Candidate, IceCreds, Input, Output, Rtc};

use crate::directory::ShardId;
use crate::outbox::{Entry, Outbox};
use crate::transport::TransportId;
use crate::whereabouts::{Announced, Names};

use streams::Streams;

pub use event::{LineReport, SessionEvent};
pub use offer::{OfferPlan, PendingOffer};

/// Largest message that is received on a data channel. What is over [`crate::data::MAX_PACKET`] is dropped and counted; only
/// what is over this ends the association.
const MAX_DATA_MESSAGE: u32 = 1 << 20;

/// How often the network figures of each line are reported.
const STATS_INTERVAL: Duration = Duration::from_secs(1);

/// Id of the extension that tells how long pictures are held back, unless the client has another; str0m takes none of its own here.
const PLAYOUT_DELAY_ID: u8 = 6;

/// Length of the ICE name; 62^12 leaves no room for guessing one in use.
const UFRAG_LENGTH: usize = 12;
const PASSWORD_LENGTH: usize = 24;

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The peer connection refused its input.
    #[error("peer connection failed: {0}")]
    Rtc(#[from] str0m::RtcError),
    /// A panic was caught.
    #[error("peer connection panicked")]
    Panicked,
    /// The offer could not be read.
    #[error("offer: {0}")]
    Offer(String),
    /// The answer could not be read.
    #[error("answer: {0}")]
    Answer(String),
}

/// One peer connection. Whatever changes it drains it, into the [`Outbox`] that the change has to come with: str0m loses
/// packets when input follows input undrained.
pub struct Session {
    id: TransportId,
    rtc: Rtc,
    shard: ShardId,
    names: Arc<Names>,
    announced: Option<Announced>,
    /// Name and timer as the switchboard knows them.
    name: String,
    timer: Option<Instant>,
    over: bool,
    streams: Streams,
    /// Packets wait to be flushed.
    unsent: bool,
    /// Where the client's last nomination came from.
    nominated: Option<SocketAddr>,
}

/// What every session is made with.
#[derive(Clone)]
pub struct SessionConfig {
    /// Addresses clients may send to.
    pub candidates: Arc<[SocketAddr]>,
    /// Certificate shared by all sessions.
    pub certificate: DtlsCert,
    /// The shard they are on.
    pub shard: ShardId,
    /// Where their names are announced to the others.
    pub names: Arc<Names>,
}

impl Session {
    /// A session that answers offers; with `delays_pictures` it can tell how long they are to be held back.
    pub fn new(
        now: Instant,
        out: &mut Outbox,
        id: TransportId,
        config: &SessionConfig,
        delays_pictures: bool,
    ) -> Result<Self, SessionError> {
        let credentials = IceCreds {
            ufrag: random_text(UFRAG_LENGTH),
            pass: random_text(PASSWORD_LENGTH),
        };
        let builder = Rtc::builder()
            .set_rtp_mode(true)
            .set_ice_lite(true)
            .set_dtls_cert(config.certificate.clone())
            .set_local_ice_credentials(credentials)
            .set_stats_interval(Some(STATS_INTERVAL))
            .set_sctp_max_message_size(MAX_DATA_MESSAGE)
            .clear_codecs()
            .enable_opus(true, true)
            .enable_vp8(true)
            .enable_h264(true);
        let mut rtc = match delays_pictures {
            true => builder.set_extension(PLAYOUT_DELAY_ID, Extension::PlayoutDelay),
            false => builder,
        }
        .build(now);
        for address in config.candidates.iter() {
            let candidate =
                Candidate::host(*address, "udp").map_err(|error| SessionError::Offer(error.to_string()))?;
            rtc.add_local_candidate(candidate);
        }
        let mut session = Self {
            id,
            rtc,
            shard: config.shard,
            names: config.names.clone(),
            announced: None,
            name: String::new(),
            timer: None,
            over: false,
            streams: Streams::default(),
            unsent: false,
            nominated: None,
        };
        session.rename(out);
        session.drain(out);
        Ok(session)
    }

    /// Whether media can flow.
    pub fn is_connected(&self) -> bool {
        self.rtc.is_connected()
    }

    /// Whether it is neither closed nor failed.
    pub fn is_alive(&self) -> bool {
        !self.over
    }

    /// Answers an offer; the text is the base that is rewritten line by line.
    pub fn accept(&mut self, out: &mut Outbox, offer: &str) -> Result<String, SessionError> {
        let answer = guarded(|| {
            let offer =
                SdpOffer::from_sdp_string(offer).map_err(|error| SessionError::Offer(error.to_string()))?;
            Ok(self.rtc.sdp_api().accept_offer(offer)?.to_sdp_string())
        });
        self.keep_asleep();
        self.rename(out);
        self.drain(out);
        answer
    }

    /// A candidate the client trickled.
    pub fn add_remote_candidate(&mut self, out: &mut Outbox, candidate: Candidate) {
        self.rtc.add_remote_candidate(candidate);
        self.drain(out);
    }

    /// A datagram; one that isn't WebRTC is passed over.
    pub fn receive(
        &mut self,
        now: Instant,
        out: &mut Outbox,
        source: SocketAddr,
        destination: SocketAddr,
        datagram: &[u8],
    ) {
        if self.nominated != Some(source) && self.nominates(datagram) {
            self.nominated = Some(source);
        }
        let received = guarded(|| {
            let Ok(contents) = datagram.try_into() else {
                return Ok(());
            };
            let receive = Receive {
                proto: Protocol::Udp,
                source,
                destination,
                contents,
            };
            Ok(self.rtc.handle_input(Input::Receive(now, receive))?)
        });
        self.settle(out, received);
    }

    /// Time has passed.
    pub fn advance(&mut self, now: Instant, out: &mut Outbox) {
        // A timer that went off is told anew, also for the same time.
        self.timer.take_if(|due| *due <= now);
        let advanced = guarded(|| Ok(self.rtc.handle_input(Input::Timeout(now))?));
        self.settle(out, advanced);
    }

    /// What a payload type of an arriving packet stands for.
    pub fn format_of(&self, pt: Pt) -> Option<(PayloadParams, bool)> {
        let params = self.rtc.codec_config().params();
        let found = params.iter().find(|p| p.pt() == pt || p.red() == Some(pt))?;
        Some((*found, found.red() == Some(pt)))
    }

    /// Line on which an SSRC arrives, and its simulcast layer.
    pub fn stream_of(&mut self, ssrc: Ssrc) -> Option<(Mid, Option<Rid>)> {
        let mut api = self.rtc.direct_api();
        let stream = api.stream_rx(&ssrc)?;
        Some((stream.mid(), stream.rid()))
    }

    /// Payload type under which video of that format leaves on a line; `None` when the client can't take it.
    pub fn payload_type(&self, mid: Mid, like: &PayloadParams) -> Option<Pt> {
        let spec = like.spec();
        let found = self
            .usable(mid)
            .filter(|p| p.spec().codec == spec.codec)
            .min_by_key(|p| {
                let other = p.spec().format;
                let same = other.packetization_mode == spec.format.packetization_mode
                    && other.profile_level_id.map(|l| l >> 8) == spec.format.profile_level_id.map(|l| l >> 8);
                u8::from(spec.codec == Codec::H264 && !same)
            })?;
        Some(found.pt())
    }

    /// Payload types under which Opus and RED leave on a line.
    pub fn opus_types(&self, mid: Mid) -> (Option<Pt>, Option<Pt>) {
        let opus = self.usable(mid).find(|p| p.spec().codec == Codec::Opus);
        (opus.map(PayloadParams::pt), opus.and_then(PayloadParams::red))
    }

    /// Formats that the client takes on a line.
    fn usable(&self, mid: Mid) -> impl Iterator<Item = &PayloadParams> {
        let remote = self.rtc.media(mid).map_or(&[][..], |media| media.remote_pts());
        let params = self.rtc.codec_config().params().iter();
        params.filter(move |params| remote.contains(&params.pt()))
    }

    /// Lets everything leave that was written.
    pub fn flush(&mut self, now: Instant, out: &mut Outbox) {
        if std::mem::take(&mut self.unsent) {
            self.advance(now, out);
        }
    }

    /// Asks the publisher for a keyframe of the stream with that SSRC.
    pub fn request_keyframe(&mut self, now: Instant, out: &mut Outbox, ssrc: Ssrc) {
        if let Some(stream) = self.rtc.direct_api().stream_rx(&ssrc) {
            stream.request_keyframe(KeyframeRequestKind::Pli);
        }
        self.advance(now, out);
    }

    /// Writes to a data channel; false when its buffer is full, an error for what the receiver can't take.
    pub fn write(
        &mut self,
        out: &mut Outbox,
        channel: ChannelId,
        bytes: &[u8],
    ) -> Result<bool, SessionError> {
        let written = guarded(|| match self.rtc.channel(channel) {
            Some(mut channel) => Ok(channel.write(true, bytes)?),
            None => Ok(false),
        });
        self.drain(out);
        written
    }

    /// Bytes waiting in a data channel.
    pub fn buffered(&mut self, channel: ChannelId) -> usize {
        self.rtc
            .channel(channel)
            .map_or(0, |mut channel| channel.buffered_amount())
    }

    /// Says goodbye on the media side and leaves the tables; what else it says concerns nobody any more.
    pub fn close(&mut self, out: &mut Outbox) {
        let events = out.events.len();
        if !self.over {
            // A connection that can't even close is dropped with the session.
            let _ = guarded(|| Ok(self.rtc.close()?));
            self.drain(out);
        }
        out.events.truncate(events);
        self.over = true;
        self.announced = None;
        let name = std::mem::take(&mut self.name);
        out.entries.push((self.id, Entry::Name { old: name, new: None }));
        let old = self.timer.take();
        out.entries.push((self.id, Entry::Timer { old, new: None }));
    }

    /// Whether a datagram is this client's word that it wants to be reached where that came from. A client whose NAT forgot
    /// it says so from its new address; str0m would keep to the old one until that has been silent for long.
    fn nominates(&mut self, datagram: &[u8]) -> bool {
        let Ok(message) = StunMessage::parse(datagram) else {
            return false;
        };
        let password = self.rtc.direct_api().local_ice_credentials().pass;
        let hmac = str0m::crypto::from_feature_flags().sha1_hmac_provider;
        message.is_binding_request()
            && message.use_candidate()
            && message.verify(password.as_bytes(), |key, parts| hmac.sha1_hmac(key, parts))
    }

    fn settle(&mut self, out: &mut Outbox, step: Result<(), SessionError>) {
        match step {
            Ok(()) => self.drain(out),
            Err(error) => self.fail(out, error),
        }
    }

    fn fail(&mut self, out: &mut Outbox, error: SessionError) {
        if !std::mem::replace(&mut self.over, true) {
            out.events.push_back((self.id, SessionEvent::Failed(error)));
        }
    }

    /// Takes everything that str0m has to say.
    fn drain(&mut self, out: &mut Outbox) {
        if self.over {
            return;
        }
        let drained = guarded(|| {
            loop {
                match self.rtc.poll_output()? {
                    Output::Timeout(due) => return Ok(due),
                    Output::Transmit(mut transmit) => {
                        if let Some(nominated) = self.nominated.filter(|_| !is_stun(&transmit.contents)) {
                            transmit.destination = nominated;
                        }
                        out.transmits.push_back(transmit);
                    }
                    Output::Event(happened) => {
                        if let Some(event) = SessionEvent::from_rtc(happened) {
                            out.events.push_back((self.id, event));
                        }
                    }
                }
            }
        });
        match drained {
            Ok(due) if self.timer != Some(due) => {
                let old = self.timer.replace(due);
                out.entries.push((self.id, Entry::Timer { old, new: self.timer }));
            }
            Ok(_) => {}
            Err(error) => self.fail(out, error),
        }
        if !self.rtc.is_alive() && !std::mem::replace(&mut self.over, true) {
            out.events.push_back((self.id, SessionEvent::Closed));
        }
    }

    /// Tells the ICE name it has now: a restart changes it.
    fn rename(&mut self, out: &mut Outbox) {
        let name = self.rtc.direct_api().local_ice_credentials().ufrag;
        if name != self.name {
            self.announced = Some(self.names.announce(&name, self.shard));
            let old = std::mem::replace(&mut self.name, name.clone());
            out.entries.push((self.id, Entry::Name { old, new: Some(name) }));
        }
    }
}

/// STUN as opposed to DTLS, RTP and RTCP (RFC 7983): answers to checks go back to where these came from.
fn is_stun(datagram: &[u8]) -> bool {
    matches!(datagram, [0..=3, ..])
}

/// A panic inside one peer connection ends that one alone.
fn guarded<T>(step: impl FnOnce() -> Result<T, SessionError>) -> Result<T, SessionError> {
    catch_unwind(AssertUnwindSafe(step)).unwrap_or(Err(SessionError::Panicked))
}

fn random_text(length: usize) -> String {
    use rand::Rng as _;
    use rand::distr::Alphanumeric;
    rand::rng()
        .sample_iter(Alphanumeric)
        .take(length)
        .map(char::from)
        .collect()
}
