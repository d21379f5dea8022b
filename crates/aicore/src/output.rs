//! 16 kHz sound to packets of one rung, with an eye on their quality.

use std::collections::VecDeque;
use std::sync::Arc;

use auralink_codec as codec;
use auralink_engine::Coded;
use auralink_opus as opus;
use auralink_quality::Estimator;
use auralink_types::{Lean, Neural, PacketTime, Reason, Rung};
use auralink_wire::aic::{AicPacket, DEFAULT_COPY_LEVELS, MAX_COPIES};

use crate::input::{FRAME_TICKS, TICKS};

/// Largest coded packet; 120 ms at the dearest rate stay far below.
const PACKET_MAX: usize = 1500;

/// Levels of a copy, as an array size.
const COPY: usize = DEFAULT_COPY_LEVELS as usize;

/// One rung of one track.
pub(crate) struct Output {
    pub(crate) rung: Rung,
    coder: Coder,
    packet: PacketTime,
    pending: Vec<f32>,
    pending_from: u64,
    heard: Vec<f32>,
    estimator: Estimator,
}

enum Coder {
    Lean {
        encoder: opus::Encoder,
        monitor: opus::Decoder,
    },
    Neural(Box<NeuralCoder>),
}

struct NeuralCoder {
    encoder: codec::Encoder,
    monitor: codec::Decoder,
    packet: AicPacket,
    levels: usize,
    copies: usize,
    /// First levels of the last frames, latest first.
    past: VecDeque<[u16; COPY]>,
}

impl Output {
    /// The coder of a rung; `None` for [`Rung::Original`], which needs none.
    pub(crate) fn new(rung: Rung, model: Option<&Arc<codec::Model>>) -> Result<Option<Self>, Reason> {
        let (coder, packet, delay) = match rung {
            Rung::Original => return Ok(None),
            Rung::Lean(lean) => lean_coder(lean)?,
            Rung::Neural(neural) => neural_coder(neural, model.ok_or(Reason::ModelFailure)?),
        };
        let samples = packet.frames() * codec::FRAME_SAMPLES;
        Ok(Some(Self {
            rung,
            coder,
            packet,
            pending: Vec::with_capacity(samples * 3),
            pending_from: 0,
            heard: vec![0.0; samples],
            estimator: Estimator::with_delay(delay),
        }))
    }

    /// Takes sound that follows what is pending, or starts anew.
    pub(crate) fn push(
        &mut self,
        timestamp: u64,
        pcm: &[f32],
        fresh: bool,
        out: &mut Vec<Coded>,
    ) -> Result<(), Reason> {
        if fresh {
            self.pending.clear();
        }
        if self.pending.is_empty() {
            self.pending_from = timestamp;
        }
        self.pending.extend_from_slice(pcm);
        let samples = self.packet.frames() * codec::FRAME_SAMPLES;
        while self.pending.len() >= samples {
            let payload = self.code(samples)?;
            self.estimator
                .push(&self.pending[..samples], &self.heard[..samples]);
            out.push(Coded {
                rung: self.rung,
                timestamp: self.pending_from,
                samples: samples as u64 * TICKS,
                payload,
                quality: self.estimator.estimate(),
            });
            self.pending.drain(..samples);
            self.pending_from += samples as u64 * TICKS;
        }
        Ok(())
    }

    fn code(&mut self, samples: usize) -> Result<Arc<[u8]>, Reason> {
        let pcm = &self.pending[..samples];
        match &mut self.coder {
            Coder::Lean { encoder, monitor } => {
                let mut room = [0u8; PACKET_MAX];
                let len = encoder.encode(pcm, &mut room).map_err(|_| Reason::ModelFailure)?;
                monitor
                    .decode(&room[..len], &mut self.heard)
                    .map_err(|_| Reason::ModelFailure)?;
                Ok(Arc::from(&room[..len]))
            }
            Coder::Neural(coder) => coder.code(pcm, self.pending_from, &mut self.heard),
        }
    }
}

impl NeuralCoder {
    fn code(&mut self, pcm: &[f32], timestamp: u64, heard: &mut [f32]) -> Result<Arc<[u8]>, Reason> {
        // Frames are numbered by their RTP time, so that every rung and every restart agrees on the numbers.
        self.packet.restart((timestamp / FRAME_TICKS) as u16, false);
        for copy in self.past.iter().take(self.copies) {
            self.packet.push_copy(copy).map_err(|_| Reason::ModelFailure)?;
        }
        let mut codes = [0u16; codec::LEVELS_MAX];
        let codes = &mut codes[..self.levels];
        let frames = pcm
            .chunks_exact(codec::FRAME_SAMPLES)
            .zip(heard.chunks_exact_mut(codec::FRAME_SAMPLES));
        for (frame, heard) in frames {
            self.encoder.encode(frame, codes);
            self.monitor
                .decode(codes, heard)
                .map_err(|_| Reason::ModelFailure)?;
            if heard.iter().any(|sample| !sample.is_finite()) {
                return Err(Reason::ModelFailure);
            }
            self.packet.push_frame(codes).map_err(|_| Reason::ModelFailure)?;
            self.past.truncate(MAX_COPIES - 1);
            self.past.push_front(std::array::from_fn(|level| codes[level]));
        }
        let mut payload = Vec::with_capacity(self.packet.payload_len());
        self.packet
            .write(&mut payload)
            .map_err(|_| Reason::ModelFailure)?;
        Ok(payload.into())
    }
}

fn lean_coder(lean: Lean) -> Result<(Coder, PacketTime, usize), Reason> {
    let config = opus::EncoderConfig::lean(lean.bitrate.as_bps() as u32, lean.packet.millis());
    let failed = |_| Reason::ModelFailure;
    let mut encoder = opus::Encoder::new(&config).map_err(failed)?;
    let delay = encoder.lookahead().map_err(failed)?;
    let monitor = opus::Decoder::new(codec::SAMPLE_RATE, 1, 0).map_err(failed)?;
    Ok((Coder::Lean { encoder, monitor }, lean.packet, delay))
}

fn neural_coder(neural: Neural, model: &Arc<codec::Model>) -> (Coder, PacketTime, usize) {
    let levels = neural.rate.levels();
    let coder = NeuralCoder {
        encoder: codec::Encoder::new(model.clone()),
        monitor: codec::Decoder::new(model.clone()),
        packet: AicPacket::new(model.id().0, levels as u8, DEFAULT_COPY_LEVELS),
        levels,
        copies: usize::from(neural.copies).min(MAX_COPIES),
        past: VecDeque::with_capacity(MAX_COPIES),
    };
    (
        Coder::Neural(Box::new(coder)),
        neural.packet,
        codec::OUTPUT_LAG_SAMPLES,
    )
}
