//! One peer connection, wrapped: what goes in, what comes out, and nothing of it can take others down.

mod event;
mod offer;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::change::SdpOffer;
use str0m::channel::ChannelId;
use str0m::config::DtlsCert;
use str0m::format::{Codec, PayloadParams};
use str0m::media::{KeyframeRequestKind, Mid, Pt, Rid};
use str0m::net::{Protocol, Receive, Transmit};
use str0m::rtp::{RtpWrite, Ssrc};
use str0m::{Candidate, IceCreds, Input, Output, Rtc};

pub use event::{LineReport, SessionEvent};
pub use offer::{OfferPlan, PendingOffer};

/// Largest message that is received on a data channel. What is over [`data::MAX_PACKET`] is dropped and counted; only
/// what is over this ends the association.
const MAX_DATA_MESSAGE: u32 = 1 << 20;

/// How often the network figures of each line are reported.
const STATS_INTERVAL: Duration = Duration::from_secs(1);

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

/// One peer connection.
pub struct Session {
    rtc: Rtc,
    due: Instant,
}

/// What every session is made with.
#[derive(Clone)]
pub struct SessionConfig {
    /// Addresses clients may send to.
    pub candidates: Arc<[SocketAddr]>,
    /// Certificate shared by all sessions.
    pub certificate: DtlsCert,
}

impl Session {
    /// A session that answers offers.
    pub fn new(now: Instant, config: &SessionConfig) -> Result<Self, SessionError> {
        let credentials = IceCreds {
            ufrag: random_text(UFRAG_LENGTH),
            pass: random_text(PASSWORD_LENGTH),
        };
        let mut rtc = Rtc::builder()
            .set_rtp_mode(true)
            .set_ice_lite(true)
            .set_dtls_cert(config.certificate.clone())
            .set_local_ice_credentials(credentials)
            .set_stats_interval(Some(STATS_INTERVAL))
            .set_sctp_max_message_size(MAX_DATA_MESSAGE)
            .clear_codecs()
            .enable_opus(true, true)
            .enable_vp8(true)
            .enable_h264(true)
            .build(now);
        for address in config.candidates.iter() {
            let candidate =
                Candidate::host(*address, "udp").map_err(|error| SessionError::Offer(error.to_string()))?;
            rtc.add_local_candidate(candidate);
        }
        Ok(Self { rtc, due: now })
    }

    /// When the session wants to be called next.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// Name under which STUN requests for this session arrive.
    pub fn ufrag(&mut self) -> String {
        self.rtc.direct_api().local_ice_credentials().ufrag
    }

    /// Whether it has not been closed.
    pub fn is_alive(&self) -> bool {
        self.rtc.is_alive()
    }

    /// Whether media can flow.
    pub fn is_connected(&self) -> bool {
        self.rtc.is_connected()
    }

    /// Answers an offer; the text is the base that is rewritten line by line.
    pub fn accept(&mut self, offer: &str) -> Result<String, SessionError> {
        guarded(|| {
            let offer =
                SdpOffer::from_sdp_string(offer).map_err(|error| SessionError::Offer(error.to_string()))?;
            Ok(self.rtc.sdp_api().accept_offer(offer)?.to_sdp_string())
        })
    }

    /// A candidate the client trickled.
    pub fn add_remote_candidate(&mut self, candidate: Candidate) {
        self.rtc.add_remote_candidate(candidate);
    }

    /// A datagram; one that isn't WebRTC is passed over.
    pub fn receive(
        &mut self,
        now: Instant,
        source: SocketAddr,
        destination: SocketAddr,
        datagram: &[u8],
    ) -> Result<(), SessionError> {
        guarded(|| {
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
        })
    }

    /// Time has passed, or something was written.
    pub fn advance(&mut self, now: Instant) -> Result<(), SessionError> {
        guarded(|| Ok(self.rtc.handle_input(Input::Timeout(now))?))
    }

    /// Everything the session has to say. Must follow every call that changes something.
    pub fn drain(
        &mut self,
        transmits: &mut VecDeque<Transmit>,
        mut event: impl FnMut(SessionEvent),
    ) -> Result<(), SessionError> {
        let drained = guarded(|| {
            loop {
                match self.rtc.poll_output()? {
                    Output::Timeout(due) => {
                        self.due = due;
                        return Ok(());
                    }
                    Output::Transmit(transmit) => transmits.push_back(transmit),
                    Output::Event(happened) => {
                        if let Some(translated) = SessionEvent::from_rtc(happened) {
                            event(translated);
                        }
                    }
                }
            }
        });
        if !self.rtc.is_alive() {
            event(SessionEvent::Closed);
        }
        drained
    }

    /// What a payload type of an arriving packet stands for.
    pub fn format_of(&self, pt: Pt) -> Option<(&PayloadParams, bool)> {
        let params = self.rtc.codec_config().params();
        let found = params.iter().find(|p| p.pt() == pt || p.red() == Some(pt))?;
        Some((found, found.red() == Some(pt)))
    }

    /// Line on which an SSRC arrives.
    pub fn mid_of(&mut self, ssrc: Ssrc) -> Option<Mid> {
        self.rtc.direct_api().stream_rx(&ssrc).map(|stream| stream.mid())
    }

    /// Simulcast layer of an SSRC.
    pub fn rid_of(&mut self, ssrc: Ssrc) -> Option<Rid> {
        self.rtc
            .direct_api()
            .stream_rx(&ssrc)
            .and_then(|stream| stream.rid())
    }

    /// Payload type under which media of that format leaves on a line; `None` when the client can't take it.
    pub fn payload_type(&self, mid: Mid, like: &PayloadParams, red: bool) -> Option<Pt> {
        let media = self.rtc.media(mid)?;
        let spec = like.spec();
        let usable = self
            .rtc
            .codec_config()
            .params()
            .iter()
            .filter(|p| media.remote_pts().contains(&p.pt()));
        let found = usable.filter(|p| p.spec().codec == spec.codec).min_by_key(|p| {
            let other = p.spec().format;
            let same = other.packetization_mode == spec.format.packetization_mode
                && other.profile_level_id.map(|l| l >> 8) == spec.format.profile_level_id.map(|l| l >> 8);
            u8::from(spec.codec == Codec::H264 && !same)
        })?;
        if red { found.red() } else { Some(found.pt()) }
    }

    /// Gives the stream that leaves on a line an SSRC that was never announced; there is none before the line is agreed.
    pub fn renew_stream(&mut self, mid: Mid) {
        let mut api = self.rtc.direct_api();
        let (ssrc, rtx) = (api.new_ssrc(), api.new_ssrc());
        let Some(stream) = api.stream_tx_by_mid(mid, None) else {
            return;
        };
        let (old, rtx) = (stream.ssrc(), stream.rtx().map(|_| rtx));
        // Not `reset_stream_tx`: a stream reset before its first packet never reports on its network again.
        api.remove_stream_tx(old);
        api.declare_stream_tx(ssrc, rtx, mid, None);
    }

    /// Sends a packet on a line; whether there was a stream to send it on. Drain afterwards.
    pub fn send(&mut self, now: Instant, mid: Mid, packet: RtpWrite) -> Result<bool, SessionError> {
        guarded(|| {
            let mut api = self.rtc.direct_api();
            let Some(stream) = api.stream_tx_by_mid(mid, None) else {
                return Ok(false);
            };
            stream.write_rtp(packet);
            self.rtc.handle_input(Input::Timeout(now))?;
            Ok(true)
        })
    }

    /// Asks the publisher for a keyframe of the stream with that SSRC; drain afterwards.
    pub fn request_keyframe(&mut self, ssrc: Ssrc) {
        if let Some(stream) = self.rtc.direct_api().stream_rx(&ssrc) {
            stream.request_keyframe(KeyframeRequestKind::Pli);
        }
    }

    /// Writes to a data channel; false when its buffer is full. Drain afterwards.
    pub fn write(&mut self, channel: ChannelId, bytes: &[u8]) -> Result<bool, SessionError> {
        guarded(|| match self.rtc.channel(channel) {
            Some(mut channel) => Ok(channel.write(true, bytes)?),
            None => Ok(false),
        })
    }

    /// Bytes waiting in a data channel.
    pub fn buffered(&mut self, channel: ChannelId) -> usize {
        self.rtc
            .channel(channel)
            .map_or(0, |mut channel| channel.buffered_amount())
    }

    /// Starts saying goodbye on the media side; drain afterwards.
    pub fn close(&mut self) {
        // A connection that can't even close is dropped with the session.
        let _ = guarded(|| Ok(self.rtc.close()?));
    }
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
