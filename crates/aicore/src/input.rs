//! The publisher's packets to 16 kHz sound, with what is missing made up for.

use auralink_codec as codec;
use auralink_engine::InKind;
use auralink_opus as opus;
use auralink_wire::aic::AicPacket;

/// RTP ticks (48 kHz) per sample at 16 kHz.
pub(crate) const TICKS: u64 = 3;
/// RTP ticks of a 20 ms frame.
pub(crate) const FRAME_TICKS: u64 = 960;
/// A longer hole is not filled: the sound starts anew after it.
const CONCEAL_MAX: u64 = 6 * FRAME_TICKS;
/// Longest Opus packet, 120 ms, at 16 kHz.
const OPUS_MAX: usize = 1920;

/// Decoders of one published track.
pub(crate) struct Input {
    opus: opus::Decoder,
    neural: Option<codec::Decoder>,
    packet: AicPacket,
    /// RTP time at which the next sample is due.
    due: Option<u64>,
    last: Option<InKind>,
    pcm: Vec<f32>,
}

/// What a packet turned out to be.
pub(crate) enum Decoded<'a> {
    /// Sound from this RTP time on; `fresh` when it does not follow what came before.
    Sound {
        /// RTP time of the first sample.
        timestamp: u64,
        /// 16 kHz.
        pcm: &'a [f32],
        /// Whether pending packets must not be joined with it.
        fresh: bool,
    },
    /// Nothing new: a duplicate, or too late.
    Old,
    /// Unreadable.
    Bad,
}

impl Input {
    pub(crate) fn new(model: Option<&std::sync::Arc<codec::Model>>) -> Result<Self, opus::OpusError> {
        Ok(Self {
            opus: opus::Decoder::new(codec::SAMPLE_RATE, 1, 0)?,
            neural: model.map(|m| codec::Decoder::new(m.clone())),
            packet: AicPacket::default(),
            due: None,
            last: None,
            pcm: Vec::with_capacity(2 * OPUS_MAX),
        })
    }

    /// Decodes one packet, concealing a short hole before it.
    pub(crate) fn decode(&mut self, kind: InKind, timestamp: u64, payload: &[u8]) -> Decoded<'_> {
        let hole = match self.due {
            None => None,
            Some(due) if timestamp < due => return Decoded::Old,
            Some(due) if timestamp - due > CONCEAL_MAX => None,
            Some(due) => Some(timestamp - due),
        };
        self.pcm.clear();
        let switched = self.last.is_some_and(|last| last != kind);
        let filled = if switched { None } else { hole };
        let ok = match kind {
            InKind::Opus => self.decode_opus(filled, payload),
            InKind::Aic => self.decode_aic(filled, payload),
        };
        if !ok {
            return Decoded::Bad;
        }
        if let Some(hole) = filled.is_none().then_some(hole).flatten() {
            // The other decoder knows nothing of the hole: silence keeps the time line.
            self.pcm
                .splice(0..0, std::iter::repeat_n(0.0, (hole / TICKS) as usize));
        }
        self.last = Some(kind);
        let from = hole.map_or(timestamp, |hole| timestamp - hole);
        self.due = Some(from + self.pcm.len() as u64 * TICKS);
        Decoded::Sound {
            timestamp: from,
            pcm: &self.pcm,
            fresh: hole.is_none(),
        }
    }

    fn decode_opus(&mut self, hole: Option<u64>, payload: &[u8]) -> bool {
        let mut room = [0.0f32; OPUS_MAX];
        let mut missing = hole.unwrap_or(0) / TICKS;
        // Opus conceals in steps of 2.5 ms (40 samples).
        while missing >= 40 {
            let step = missing.min(codec::FRAME_SAMPLES as u64) / 40 * 40;
            match self.opus.conceal(step as usize, &mut room) {
                Ok(samples) => self.pcm.extend_from_slice(&room[..samples]),
                Err(_) => self.pcm.extend(std::iter::repeat_n(0.0, step as usize)),
            }
            missing -= step;
        }
        self.pcm.extend(std::iter::repeat_n(0.0, missing as usize));
        match self.opus.decode(payload, &mut room) {
            Ok(samples) => {
                self.pcm.extend_from_slice(&room[..samples]);
                true
            }
            Err(_) => false,
        }
    }

    fn decode_aic(&mut self, hole: Option<u64>, payload: &[u8]) -> bool {
        let Some(decoder) = &mut self.neural else {
            return false;
        };
        if self.packet.read(payload).is_err() || usize::from(self.packet.levels()) > codec::LEVELS_MAX {
            return false;
        }
        let mut frame = [0.0f32; codec::FRAME_SAMPLES];
        let missing = hole.unwrap_or(0) / FRAME_TICKS;
        for back in (0..missing as usize).rev() {
            // Copies are the frames just before the packet, latest first.
            let copied = back < self.packet.copy_count()
                && decoder.decode(self.packet.copy(back).1, &mut frame).is_ok();
            if !copied {
                decoder.conceal(&mut frame);
            }
            self.pcm.extend_from_slice(&frame);
        }
        for at in 0..self.packet.frame_count() {
            if decoder.decode(self.packet.frame(at), &mut frame).is_err() {
                decoder.conceal(&mut frame);
            }
            self.pcm.extend_from_slice(&frame);
        }
        true
    }
}
