//! The coders behind a rung: sound in, payloads out, and what a receiver will hear of them.

use std::collections::VecDeque;
use std::sync::Arc;

use auralink_codec as codec;
use auralink_opus as opus;
use auralink_quality::Estimator;
use auralink_types::{Lean, Neural, Reason, Rung};
use auralink_wire::aic::{AicPacket, DEFAULT_COPY_LEVELS, MAX_COPIES};

use crate::effort::Effort;
use crate::input::FRAME_TICKS;

/// Largest coded packet; 120 ms at the dearest rate stay far below.
const PACKET_MAX: usize = 1500;

/// Decoder effort of a receiver that does not enhance, and of one with NoLACE.
const PLAIN: u8 = 0;
const NOLACE: u8 = 7;

/// Levels of a copy, as an array size.
const COPY: usize = DEFAULT_COPY_LEVELS as usize;

pub(crate) enum Coder {
    Lean(LeanCoder),
    Neural(Box<NeuralCoder>),
}

impl Coder {
    /// The coder of a rung; `None` for [`Rung::Original`].
    pub(crate) fn new(rung: Rung, model: Option<&Arc<codec::Model>>) -> Result<Option<Self>, Reason> {
        Ok(match rung {
            Rung::Original => None,
            Rung::Lean(lean) => {
                let coder = LeanCoder::new(lean, deserves_full_band(lean), PLAIN)?;
                Some(Self::Lean(coder))
            }
            Rung::Enhanced(lean) => Some(Self::Lean(LeanCoder::new(lean, false, NOLACE)?)),
            Rung::Neural(neural) => {
                let coder = NeuralCoder::new(neural, model.ok_or(Reason::ModelFailure)?);
                Some(Self::Neural(Box::new(coder)))
            }
        })
    }

    /// What rates it. Its delay is known, but for the wide coder: libopus decodes the publisher's packets to 48 kHz with
    /// another lag than to 16 kHz, and which depends on their mode. One sample of error was enough for the leg to fall
    /// back for quality.
    pub(crate) fn estimator(&self) -> Estimator {
        match self {
            Self::Lean(coder) if coder.wide => Estimator::new(),
            Self::Lean(coder) => Estimator::with_delay(coder.lookahead),
            Self::Neural(_) => Estimator::with_delay(codec::OUTPUT_LAG_SAMPLES),
        }
    }

    /// What hears it begins anew, after packets that it did not hear.
    pub(crate) fn hear_again(&mut self) -> Result<(), Reason> {
        match self {
            Self::Lean(coder) => coder.monitor.reset().map_err(|_| Reason::ModelFailure),
            Self::Neural(coder) => {
                coder.monitor.reset();
                Ok(())
            }
        }
    }

    /// Goes on as another rung of its family.
    pub(crate) fn become_rung(&mut self, rung: Rung) -> Result<(), Reason> {
        match (self, rung) {
            (Self::Lean(coder), Rung::Lean(lean) | Rung::Enhanced(lean)) => coder.configure(lean),
            (Self::Neural(coder), Rung::Neural(neural)) => {
                coder.next = Some(neural);
                Ok(())
            }
            _ => Err(Reason::ModelFailure),
        }
    }
}

/// Whether the rate has bits for what lies above 8 kHz. Only wide-band packets of one frame carry copies.
pub(crate) fn deserves_full_band(lean: Lean) -> bool {
    lean.bitrate.as_bps() >= u64::from(opus::FULL_BAND_FROM) && !lean.fec
}

/// Opus of the lean rung.
pub(crate) struct LeanCoder {
    encoder: opus::Encoder,
    /// Decodes at 16 kHz, whatever the encoder was given.
    monitor: opus::Decoder,
    pub(crate) lean: Lean,
    /// Samples, at the encoder's rate, by which it looks ahead.
    lookahead: usize,
    /// The encoder takes 48 kHz.
    pub(crate) wide: bool,
    /// Effort of the receiver's decoder.
    pub(crate) receiver: u8,
    complexity: u8,
}

impl LeanCoder {
    /// `receiver` is the effort of the decoder that will play it.
    pub(crate) fn new(lean: Lean, wide: bool, receiver: u8) -> Result<Self, Reason> {
        let failed = |_| Reason::ModelFailure;
        let complexity = Effort::full().complexity;
        let mut encoder = opus::Encoder::new(&config(lean, wide, complexity)).map_err(failed)?;
        let lookahead = encoder.lookahead().map_err(failed)?;
        let monitor = opus::Decoder::new(codec::SAMPLE_RATE, 1, receiver).map_err(failed)?;
        Ok(Self {
            encoder,
            monitor,
            lean,
            lookahead,
            wide,
            receiver,
            complexity,
        })
    }

    fn configure(&mut self, lean: Lean) -> Result<(), Reason> {
        self.lean = lean;
        self.encoder
            .configure(&config(lean, self.wide, self.complexity))
            .map_err(|_| Reason::ModelFailure)
    }

    pub(crate) fn set_effort(&mut self, effort: Effort) -> Result<(), Reason> {
        if effort.complexity == self.complexity {
            return Ok(());
        }
        self.complexity = effort.complexity;
        self.configure(self.lean)
    }

    /// One packet; what is heard of it where there is room for that.
    pub(crate) fn code(&mut self, pcm: &[f32], heard: Option<&mut [f32]>) -> Result<Arc<[u8]>, Reason> {
        let failed = |_| Reason::ModelFailure;
        let mut room = [0u8; PACKET_MAX];
        let len = self.encoder.encode(pcm, &mut room).map_err(failed)?;
        if let Some(heard) = heard {
            self.monitor.decode(&room[..len], heard).map_err(failed)?;
        }
        Ok(Arc::from(&room[..len]))
    }
}

fn config(lean: Lean, wide: bool, complexity: u8) -> opus::EncoderConfig {
    let (bitrate, packet_ms) = (lean.bitrate.as_bps() as u32, lean.packet.millis());
    let config = if wide {
        opus::EncoderConfig::lean_48k(bitrate, packet_ms)
    } else {
        opus::EncoderConfig::lean(bitrate, packet_ms)
    };
    let config = opus::EncoderConfig { complexity, ..config };
    if lean.fec { config.with_copies() } else { config }
}

/// The neural codec: frames are coded as they come, so that a packet's last one is all there is to wait for. Its encoder
/// and its monitor work in batches with those of other streams.
pub(crate) struct NeuralCoder {
    encoder: codec::Encoder,
    monitor: codec::Decoder,
    codes: [u16; codec::LEVELS_MAX],
    packet: AicPacket,
    levels: usize,
    copies: usize,
    /// Holds from the next packet on.
    next: Option<Neural>,
    /// First levels of the last frames, latest first.
    past: VecDeque<[u16; COPY]>,
}

impl NeuralCoder {
    pub(crate) fn set_effort(&mut self, effort: Effort) {
        self.encoder.set_beam(effort.beam);
    }

    fn new(neural: Neural, model: &Arc<codec::Model>) -> Self {
        let levels = neural.rate.levels();
        Self {
            encoder: codec::Encoder::new(model.clone()),
            monitor: codec::Decoder::new(model.clone()),
            codes: [0; codec::LEVELS_MAX],
            packet: AicPacket::new(model.id().0, levels as u8, DEFAULT_COPY_LEVELS),
            levels,
            copies: usize::from(neural.copies).min(MAX_COPIES),
            next: None,
            past: VecDeque::with_capacity(MAX_COPIES),
        }
    }

    /// A packet begins at that RTP time.
    pub(crate) fn begin(&mut self, timestamp: u64) -> Result<(), Reason> {
        if let Some(neural) = self.next.take() {
            self.levels = neural.rate.levels();
            self.packet.set_levels(self.levels as u8, DEFAULT_COPY_LEVELS);
            self.copies = usize::from(neural.copies).min(MAX_COPIES);
        }
        // Frames are numbered by their RTP time, so that every rung and every restart agrees on the numbers.
        self.packet.restart((timestamp / FRAME_TICKS) as u16, false);
        for copy in self.past.iter().take(self.copies) {
            self.packet.push_copy(copy).map_err(|_| Reason::ModelFailure)?;
        }
        Ok(())
    }

    /// The coding of the packet's next frame.
    pub(crate) fn encode<'a>(&'a mut self, pcm: &'a [f32]) -> codec::EncodeJob<'a> {
        codec::EncodeJob {
            encoder: &mut self.encoder,
            pcm,
            codes: &mut self.codes[..self.levels],
        }
    }

    /// What will be heard of the frame that was coded.
    pub(crate) fn monitor<'a>(&'a mut self, heard: &'a mut [f32]) -> codec::DecodeJob<'a> {
        codec::DecodeJob {
            decoder: &mut self.monitor,
            received: codec::Received::Codes(&self.codes[..self.levels]),
            pcm: heard,
        }
    }

    /// Adds the frame that was coded to the packet.
    pub(crate) fn push(&mut self) -> Result<(), Reason> {
        let codes = &self.codes[..self.levels];
        self.packet.push_frame(codes).map_err(|_| Reason::ModelFailure)?;
        self.past.truncate(MAX_COPIES - 1);
        self.past.push_front(std::array::from_fn(|level| codes[level]));
        Ok(())
    }

    /// The packet, with the frames that it got.
    pub(crate) fn finish(&self) -> Result<Arc<[u8]>, Reason> {
        let mut payload = Vec::with_capacity(self.packet.payload_len());
        self.packet
            .write(&mut payload)
            .map_err(|_| Reason::ModelFailure)?;
        Ok(payload.into())
    }
}
