//! The published track: source samples in, RTP payloads out, at the pace of a microphone.

mod encoding;

use std::sync::Arc;
use std::time::{Duration, Instant};

use auralink_types::SourceCodec;
use auralink_wire::red;
use serde::Serialize;

use crate::answer::LineTerms;
use crate::codecs::{OPUS_DELAY_48K, OwnSettings, Worth, neural_delay_48k};
use crate::error::JoinError;
use crate::neural::SpeechModel;
use crate::source::AudioSource;
use crate::trial::Trial;
use encoding::{Current, is_neural};

/// Time between two steps towards longer packets, samples at 48 kHz: 400 ms, in which a receiver's buffer grows by
/// more than a step without a hole.
const STEP: u64 = 400 * 48;

/// Length of a step, and of packets that begin with Opus after the neural codec.
const STEP_MS: u32 = 20;

/// Longest packet.
const MAX_PACKET_MS: u32 = 120;

/// A sender that is further behind than this skips ahead, as a microphone would.
const MAX_BEHIND: Duration = Duration::from_millis(500);

/// Sound level for the RTP header (RFC 6464).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Decibels relative to full scale, -127 to 0.
    pub dbov: i8,
    /// Whether it is loud enough to be a voice.
    pub voice: bool,
}

/// One packet to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Whether the payload is RED.
    pub red: bool,
    /// RTP timestamp of its first new sample.
    pub timestamp: u32,
    /// First packet after silence.
    pub marker: bool,
    /// RTP payload.
    pub payload: Vec<u8>,
    /// Level for the header; absent where headers are kept small.
    pub level: Option<Level>,
    /// Audio in it.
    pub audio_ms: u32,
}

/// What has been published.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PublishStats {
    /// Packets made.
    pub packets: u64,
    /// Payload bytes in them.
    pub payload_bytes: u64,
    /// Milliseconds of audio in them.
    pub audio_ms: u64,
    /// Packets held back because the sender is silent.
    pub silent_packets: u64,
    /// Milliseconds skipped because the machine was too slow.
    pub skipped_ms: u64,
    /// Changes of what is sent: milliseconds since the first packet, and what from then on.
    pub switches: Vec<(u64, String)>,
    /// Whether the audio is made up and no recording.
    pub synthetic: bool,
}

/// Sender of one track.
pub struct Publisher {
    source: AudioSource,
    own: OwnSettings,
    model: Option<Arc<dyn SpeechModel>>,
    /// Opus lags its input less than the neural codec; its input is held back by the difference, so that what a
    /// timestamp means does not change when the codec does.
    hold: i64,
    wish: SourceCodec,
    next: (SourceCodec, u32),
    red: bool,
    opus_type: u8,
    ptime: Option<u32>,
    cap: Option<u32>,
    dtx_allowed: bool,
    current: Option<Current>,
    trial: Trial,
    start: Option<Instant>,
    position: u64,
    first_timestamp: u32,
    muted: bool,
    resumed: bool,
    previous: Option<(u64, Vec<u8>)>,
    pcm: Vec<f32>,
    encoded: Vec<u8>,
    stats: PublishStats,
}

impl Publisher {
    /// A sender that has not begun. With a model it can be asked for the neural codec.
    pub fn new(
        source: AudioSource,
        own: OwnSettings,
        model: Option<Arc<dyn SpeechModel>>,
        first_timestamp: u32,
    ) -> Self {
        let hold = model
            .as_deref()
            .map_or(0, |model| neural_delay_48k(model) as i64 - OPUS_DELAY_48K as i64);
        let stats = PublishStats {
            synthetic: source.is_synthetic(),
            ..PublishStats::default()
        };
        Self {
            source,
            own,
            model,
            hold: hold.max(0),
            wish: SourceCodec::Own,
            next: (SourceCodec::Own, own.packet_ms),
            red: false,
            opus_type: 111,
            ptime: None,
            cap: None,
            dtx_allowed: false,
            current: None,
            trial: Trial::default(),
            start: None,
            position: 0,
            first_timestamp,
            muted: false,
            resumed: true,
            previous: None,
            pcm: Vec::new(),
            encoded: Vec::new(),
            stats,
        }
    }

    /// The answer's terms hold from the next packet that begins.
    pub fn negotiated(&mut self, terms: &LineTerms) {
        self.red = terms.red_first();
        self.opus_type = terms.opus.unwrap_or(self.opus_type);
        self.ptime = terms.ptime_ms;
        if self.dtx_allowed != terms.usedtx && self.own.dtx {
            self.current = None;
        }
        self.dtx_allowed = terms.usedtx;
        let cap = terms.max_bitrate.filter(|_| self.own.obeys_cap);
        if std::mem::replace(&mut self.cap, cap) != cap
            && let Some(current) = &mut self.current
        {
            current.outdated = true;
        }
    }

    /// Tries the publisher's own Opus encoder on the last packet's audio, where something else was sent in its place:
    /// that is what savings are counted from.
    pub fn try_own(&mut self) -> Result<(), JoinError> {
        if self.wish == SourceCodec::Own {
            return Ok(());
        }
        self.trial.listen(&self.own, &self.pcm)
    }

    /// What that encoder made of talk, in bits per second; `None` until enough was tried.
    pub fn own_bitrate(&self) -> Option<u32> {
        self.trial.bitrate()
    }

    /// The server's wish holds from the next packet that begins, and for one already begun where the neural codec is
    /// no longer wanted: somebody cannot decode it, and what was recorded can still go out otherwise. A wish for a
    /// codec that is not here is ignored.
    pub fn hint(&mut self, wish: SourceCodec) -> bool {
        if is_neural(wish) && self.model.is_none() {
            return false;
        }
        self.wish = wish;
        if is_neural(self.next.0) && !is_neural(wish) {
            self.plan();
        }
        true
    }

    /// What is sent now.
    pub fn wish(&self) -> SourceCodec {
        self.wish
    }

    /// Stops or resumes sending; the timeline goes on meanwhile.
    pub fn set_muted(&mut self, muted: bool) {
        self.muted = muted;
        self.previous = None;
    }

    /// Begins: the first sample is recorded now.
    pub fn begin(&mut self, now: Instant) {
        if self.start.is_none() {
            self.start = Some(now);
            self.plan();
        }
    }

    /// When the next packet is complete; `None` before the beginning.
    pub fn deadline(&self) -> Option<Instant> {
        let end = self.position + u64::from(self.next.1) * 48;
        Some(self.start? + Duration::from_nanos(end * 1_000_000 / 48))
    }

    /// What happened so far.
    pub fn stats(&self) -> &PublishStats {
        &self.stats
    }

    /// The packet that is complete by now, if any. Call again until `None`.
    pub fn poll(&mut self, now: Instant) -> Result<Option<Outgoing>, JoinError> {
        loop {
            let Some(deadline) = self.deadline().filter(|deadline| *deadline <= now) else {
                return Ok(None);
            };
            let packet_ms = self.next.1;
            if now.duration_since(deadline) > MAX_BEHIND {
                let behind = now.duration_since(deadline).as_millis() as u64 / 20 * 20;
                self.position += behind * 48;
                self.stats.skipped_ms += behind;
                self.previous = None;
                continue;
            }
            let at = self.position;
            let made = if self.muted {
                None
            } else {
                self.make(at, packet_ms)?
            };
            self.position += u64::from(packet_ms) * 48;
            self.plan();
            match made {
                Some(packet) => return Ok(Some(packet)),
                None => {
                    self.resumed = true;
                    self.stats.silent_packets += 1;
                }
            }
        }
    }

    fn wanted_packet_ms(&self) -> u32 {
        match self.wish {
            SourceCodec::Own => {
                let asked = self.ptime.unwrap_or(self.own.packet_ms);
                (asked / 20 * 20).clamp(20, MAX_PACKET_MS)
            }
            SourceCodec::Lean(lean) => lean.packet.millis(),
            SourceCodec::Neural(neural) => neural.packet.millis(),
        }
    }

    /// Settles what the packet that begins now will be. Packets get longer by one frame at a time: the receiver's
    /// buffer has to grow by as much, and can do that without a hole only in small steps.
    fn plan(&mut self) {
        let wanted = self.wanted_packet_ms();
        let packet_ms = match &self.current {
            Some(current) if is_neural(current.codec) && !is_neural(self.wish) => STEP_MS.min(wanted),
            Some(current) if wanted > current.packet_ms => {
                let settled = self.position.saturating_sub(current.since) >= STEP;
                (current.packet_ms + if settled { STEP_MS } else { 0 }).min(wanted)
            }
            _ => wanted,
        };
        self.next = (self.wish, packet_ms);
    }

    fn make(&mut self, at: u64, packet_ms: u32) -> Result<Option<Outgoing>, JoinError> {
        self.prepare(at, packet_ms)?;
        let Some(current) = &mut self.current else {
            return Ok(None);
        };
        let hold = if is_neural(current.codec) { 0 } else { self.hold };
        self.pcm.resize(packet_ms as usize * 48, 0.0);
        self.source.read(at as i64 - hold, &mut self.pcm);
        let level = level(&self.pcm);
        let worth = current
            .encoder
            .encode(&self.pcm, current.fresh, &mut self.encoded)?;
        current.fresh = false;
        let own = current.codec == SourceCodec::Own;
        if worth == Worth::Nothing {
            self.previous = None;
            return Ok(None);
        }
        let mut payload = Vec::with_capacity(2 * self.encoded.len() + 8);
        let red = own && self.red;
        if red {
            self.wrap(at, &mut payload)?;
        } else {
            payload.extend_from_slice(&self.encoded);
        }
        self.previous = own.then(|| (at, self.encoded.clone()));
        self.stats.packets += 1;
        self.stats.payload_bytes += payload.len() as u64;
        self.stats.audio_ms += u64::from(packet_ms);
        Ok(Some(Outgoing {
            red,
            timestamp: self.first_timestamp.wrapping_add(at as u32),
            marker: worth == Worth::Sound && std::mem::take(&mut self.resumed),
            payload,
            level: own.then_some(level),
            audio_ms: packet_ms,
        }))
    }

    fn wrap(&self, at: u64, payload: &mut Vec<u8>) -> Result<(), JoinError> {
        let primary = red::Block {
            payload_type: self.opus_type,
            timestamp_offset: 0,
            payload: &self.encoded,
        };
        let earlier = self.previous.as_ref().and_then(|(from, packet)| {
            let offset = u16::try_from(at - from)
                .ok()
                .filter(|offset| *offset <= red::MAX_OFFSET)?;
            (packet.len() <= red::MAX_BLOCK_BYTES).then_some(red::Block {
                payload_type: self.opus_type,
                timestamp_offset: offset,
                payload: packet,
            })
        });
        red::write(earlier.as_slice(), &primary, payload).map_err(|error| JoinError::Codec(error.to_string()))
    }
}

pub(crate) fn level(pcm: &[f32]) -> Level {
    let mean = pcm.iter().map(|x| x * x).sum::<f32>() / pcm.len().max(1) as f32;
    let dbov = (10.0 * mean.max(1e-13).log10()).clamp(-127.0, 0.0).round() as i8;
    Level {
        dbov,
        voice: dbov > -50,
    }
}
