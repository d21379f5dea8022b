//! The decoders of one received track and the encoders of the published one, all at 48 kHz mono.

use std::sync::Arc;

use auralink_opus as opus;
use auralink_types::{Lean, Neural};
use auralink_wire::aic::{AicPacket, DEFAULT_COPY_LEVELS, MAX_COPIES};

use crate::error::JoinError;
use crate::neural::{FRAME_16K, FRAME_48K, Frame, NOISE_CODES, SpeechDecoder, SpeechEncoder, SpeechModel};
use crate::resample::{DELAY_48K, Down, Up};
use crate::source::SAMPLE_RATE;
use crate::unit::{Body, Kind, Unit};

/// Lag of Opus at 48 kHz: 6.5 ms (RFC 6716 section 2.1.6, speech application).
pub(crate) const OPUS_DELAY_48K: usize = 312;

/// Longest Opus packet, samples at 48 kHz.
const MAX_OPUS: usize = 5_760;

/// Opus concealment per step: 10 ms.
const OPUS_CONCEAL: usize = 480;

/// Decoder effort: deep concealment and enhancement are on from 7 (see auralink-opus).
const OPUS_DECODER_COMPLEXITY: u8 = 7;

/// Lag of the neural path at 48 kHz, both rate conversions included.
pub(crate) fn neural_delay_48k(model: &dyn SpeechModel) -> usize {
    3 * model.delay() + 2 * DELAY_48K
}

/// Both decoders of one track.
pub(crate) struct Decoders {
    opus: opus::Decoder,
    neural: Option<NeuralDecoder>,
}

struct NeuralDecoder {
    decoder: Box<dyn SpeechDecoder>,
    up: Up,
    narrow: [f32; FRAME_16K],
}

impl Decoders {
    pub(crate) fn new(model: Option<Arc<dyn SpeechModel>>) -> Result<Self, JoinError> {
        let opus = opus::Decoder::new(SAMPLE_RATE, 1, OPUS_DECODER_COMPLEXITY)
            .map_err(|error| JoinError::Codec(error.to_string()))?;
        let neural = model.map(|model| NeuralDecoder {
            decoder: model.decoder(),
            up: Up::new(),
            narrow: [0.0; FRAME_16K],
        });
        Ok(Self { opus, neural })
    }

    /// The stream goes over to that codec: what it knew of earlier audio is of no use.
    pub(crate) fn begin(&mut self, kind: Kind) {
        match (kind, &mut self.neural) {
            (Kind::Opus, _) => {
                // A decoder that cannot be reset decodes on from its old state: audible for a few ms, no error.
                let _ = self.opus.reset();
            }
            (Kind::Neural, Some(neural)) => {
                neural.decoder.reset();
                neural.up.reset();
            }
            (Kind::Neural, None) => {}
        }
    }

    /// Appends the unit's samples; `false` (and nothing appended) when it cannot be decoded.
    pub(crate) fn decode(&mut self, unit: &Unit, out: &mut Vec<f32>) -> bool {
        let start = out.len();
        match (&unit.body, &mut self.neural) {
            (Body::Opus(packet) | Body::OpusFec(packet), _) => {
                out.resize(start + MAX_OPUS, 0.0);
                let room = &mut out[start..];
                let decoded = match unit.body {
                    Body::OpusFec(_) => self.opus.decode_fec(packet, unit.len as usize, room),
                    _ => self.opus.decode(packet, room),
                };
                match decoded {
                    Ok(samples) => {
                        out.truncate(start + samples);
                        true
                    }
                    Err(_) => {
                        out.truncate(start);
                        false
                    }
                }
            }
            (Body::Neural(codes), Some(neural)) => {
                let decoded = neural.decoder.decode(codes, &mut neural.narrow);
                if decoded {
                    neural.append(out);
                }
                decoded
            }
            (Body::Noise(codes), Some(neural)) => {
                let decoded = neural.decoder.decode_noise(codes, &mut neural.narrow);
                if decoded {
                    neural.append(out);
                }
                decoded
            }
            (Body::Neural(_) | Body::Noise(_), None) => false,
        }
    }

    /// Appends what that decoder would go on with: 10 ms of Opus or 20 ms of the neural codec.
    pub(crate) fn conceal(&mut self, kind: Kind, out: &mut Vec<f32>) {
        if let (Kind::Neural, Some(neural)) = (kind, &mut self.neural) {
            neural.decoder.conceal(&mut neural.narrow);
            neural.append(out);
            return;
        }
        let start = out.len();
        out.resize(start + OPUS_CONCEAL, 0.0);
        if self.opus.conceal(OPUS_CONCEAL, &mut out[start..]).is_err() {
            out[start..].fill(0.0);
        }
    }
}

impl NeuralDecoder {
    fn append(&mut self, out: &mut Vec<f32>) {
        let start = out.len();
        out.resize(start + FRAME_48K, 0.0);
        self.up.process(&self.narrow, &mut out[start..]);
    }
}

/// Least rate of Opus (RFC 6716 section 2.1.1).
pub(crate) const LEAST_BITRATE: u32 = 6_000;

/// How the client encodes by itself, when nobody steers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnSettings {
    /// Opus rate in bits per second.
    pub bitrate: u32,
    /// Audio per packet in milliseconds, unless the answer says otherwise.
    pub packet_ms: u32,
    /// Discontinuous transmission, if the answer allows it.
    pub dtx: bool,
    /// Whether RED may be asked for.
    pub red: bool,
    /// Whether a cap on the rate in the answer is obeyed, as browsers do.
    pub obeys_cap: bool,
}

impl Default for OwnSettings {
    /// A stock client's microphone: LiveKit's music-quality speech preset.
    fn default() -> Self {
        Self {
            bitrate: 48_000,
            packet_ms: 20,
            dtx: false,
            red: true,
            obeys_cap: true,
        }
    }
}

/// What an encoded packet is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Worth {
    /// It is to be sent.
    Sound,
    /// It says that the talker pauses, and is to be sent.
    Pause,
    /// The pause goes on; it need not be sent.
    Nothing,
}

/// The encoder of a published track.
pub(crate) enum AudioEncoder {
    Opus(OpusEncoder),
    Neural(Box<NeuralEncoder>),
}

pub(crate) struct OpusEncoder {
    encoder: opus::Encoder,
    dtx: bool,
    pausing: bool,
}

pub(crate) struct NeuralEncoder {
    encoder: Box<dyn SpeechEncoder>,
    down: Down,
    packet: AicPacket,
    pause: AicPacket,
    /// A description of the pause that was not sent yet.
    noise: Option<[u16; NOISE_CODES]>,
    levels: usize,
    frame: u16,
    copies: usize,
    codes: Vec<u16>,
    earlier: std::collections::VecDeque<Vec<u16>>,
    narrow: [f32; FRAME_16K],
}

/// Settings of Opus as the client has it by itself.
pub(crate) fn own(settings: &OwnSettings, packet_ms: u32, dtx: bool) -> opus::EncoderConfig {
    opus::EncoderConfig {
        sample_rate: SAMPLE_RATE,
        channels: 1,
        bitrate: settings.bitrate,
        packet_ms,
        complexity: 9,
        vbr: true,
        dtx,
        inband_fec: true,
        expected_loss_percent: 0,
        signal: opus::Signal::Auto,
        application: opus::Application::Voip,
        bandwidth: None,
    }
}

/// Settings of Opus on the lean rung.
pub(crate) fn lean(lean: &Lean, packet_ms: u32, dtx: bool) -> opus::EncoderConfig {
    let bitrate = u32::try_from(lean.bitrate.as_bps()).unwrap_or(u32::MAX);
    let config = opus::EncoderConfig {
        dtx,
        ..opus::EncoderConfig::lean_48k(bitrate, packet_ms)
    };
    if lean.fec { config.with_copies() } else { config }
}

impl AudioEncoder {
    pub(crate) fn opus(config: &opus::EncoderConfig) -> Result<Self, JoinError> {
        let encoder = opus::Encoder::new(config).map_err(|error| JoinError::Codec(error.to_string()))?;
        Ok(Self::Opus(OpusEncoder {
            encoder,
            dtx: config.dtx,
            pausing: false,
        }))
    }

    pub(crate) fn neural(model: &dyn SpeechModel, neural: &Neural, dtx: bool) -> Self {
        let levels = neural.rate.levels().min(model.levels());
        let mut encoder = model.encoder();
        encoder.set_dtx(dtx);
        Self::Neural(Box::new(NeuralEncoder {
            encoder,
            down: Down::new(),
            packet: AicPacket::new(model.id(), levels as u8, DEFAULT_COPY_LEVELS),
            pause: AicPacket::new(model.id(), NOISE_CODES as u8, DEFAULT_COPY_LEVELS),
            noise: None,
            levels,
            frame: 0,
            copies: usize::from(neural.copies).min(MAX_COPIES),
            codes: vec![0; model.levels()],
            earlier: std::collections::VecDeque::with_capacity(MAX_COPIES),
            narrow: [0.0; FRAME_16K],
        }))
    }

    /// Encodes one packet's samples into `out`, which it clears first, and says what that is worth. With `all_copies` a neural packet carries as
    /// many copies as there are, whatever was asked for.
    pub(crate) fn encode(
        &mut self,
        pcm: &[f32],
        all_copies: bool,
        out: &mut Vec<u8>,
    ) -> Result<Worth, JoinError> {
        out.clear();
        match self {
            Self::Opus(opus) => opus.encode(pcm, out),
            Self::Neural(neural) => neural.encode(pcm, all_copies, out),
        }
    }
}

impl OpusEncoder {
    /// Goes on with other settings.
    pub(crate) fn configure(&mut self, config: &opus::EncoderConfig) -> Result<(), JoinError> {
        self.dtx = config.dtx;
        self.encoder
            .configure(config)
            .map_err(|error| JoinError::Codec(error.to_string()))
    }

    fn encode(&mut self, pcm: &[f32], out: &mut Vec<u8>) -> Result<Worth, JoinError> {
        out.resize(opus::MAX_PACKET_BYTES, 0);
        let len = self
            .encoder
            .encode(pcm, out)
            .map_err(|error| JoinError::Codec(error.to_string()))?;
        out.truncate(len);
        let pausing = self.dtx && len <= 2;
        let announced = std::mem::replace(&mut self.pausing, pausing);
        // One packet announces the pause; the ones after it are not sent (RFC 7587 section 3.1.3).
        Ok(match (pausing, announced) {
            (false, _) => Worth::Sound,
            (true, false) => Worth::Pause,
            (true, true) => Worth::Nothing,
        })
    }
}

impl NeuralEncoder {
    /// Goes on at another rate or with other copies; what it knows of earlier audio stays.
    pub(crate) fn configure(&mut self, neural: &Neural) {
        let levels = neural.rate.levels().min(self.codes.len());
        if levels != self.levels {
            self.levels = levels;
            self.packet.set_levels(levels as u8, DEFAULT_COPY_LEVELS);
        }
        self.copies = usize::from(neural.copies).min(MAX_COPIES);
    }

    fn encode(&mut self, pcm: &[f32], all_copies: bool, out: &mut Vec<u8>) -> Result<Worth, JoinError> {
        let fail = |error: auralink_wire::WireError| JoinError::Codec(error.to_string());
        let begin = self.frame;
        self.packet.restart(begin, false);
        let copies = if all_copies { MAX_COPIES } else { self.copies };
        let copy_levels = usize::from(DEFAULT_COPY_LEVELS);
        for codes in self.earlier.iter().take(copies) {
            self.packet.push_copy(codes).map_err(fail)?;
        }
        let mut speaks = false;
        for frame in pcm.chunks_exact(FRAME_48K) {
            self.down.process(frame, &mut self.narrow);
            // Only the levels that are sent: the encoder looks for the best sum of all it is asked for, whose
            // first levels are not the best sum of fewer.
            let codes = &mut self.codes[..self.levels];
            match self.encoder.encode(&self.narrow, codes) {
                Frame::Speech => speaks = true,
                Frame::Noise(noise) => self.noise = Some(noise),
                Frame::Pause => {}
            }
            self.packet.push_frame(codes).map_err(fail)?;
            self.earlier
                .push_front(codes[..copy_levels.min(self.levels)].to_vec());
            self.earlier.truncate(MAX_COPIES);
            self.frame = self.frame.wrapping_add(1);
        }
        // A packet with any speech in it goes out whole; what describes the pause after it waits for the next.
        if speaks {
            self.packet.write(out).map_err(fail)?;
            return Ok(Worth::Sound);
        }
        // No packet is behind this one that could carry copies.
        self.earlier.clear();
        let Some(noise) = self.noise.take() else {
            return Ok(Worth::Nothing);
        };
        self.pause.restart(begin, true);
        self.pause.push_frame(&noise).map_err(fail)?;
        for copy in 0..self.packet.copy_count() {
            self.pause.push_copy(self.packet.copy(copy).1).map_err(fail)?;
        }
        self.pause.write(out).map_err(fail)?;
        Ok(Worth::Pause)
    }
}
