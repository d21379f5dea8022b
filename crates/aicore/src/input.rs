//! The publisher's packets to sound, with what is missing made up for: at 16 kHz for the neural codec and for
//! measuring, and at 48 kHz as well while somebody is coded for with all of its bandwidth.

use auralink_codec as codec;
use auralink_engine::InKind;
use auralink_opus as opus;
use auralink_wire::aic::AicPacket;
use auralink_wire::proto::PcmFormat;

use crate::pcm::PcmIn;

/// RTP ticks (48 kHz) per sample at 16 kHz.
pub(crate) const TICKS: u64 = 3;
/// RTP ticks of a 20 ms frame.
pub(crate) const FRAME_TICKS: u64 = 960;
/// A longer hole is not filled: the sound starts anew after it.
const CONCEAL_MAX: u64 = 6 * FRAME_TICKS;
/// Noise that follows the frame which begins a pause: enough to fill up any packet begun before.
pub(crate) const PAUSE_FILL: usize = 5 * codec::FRAME_SAMPLES;
/// Longest Opus packet, 120 ms, at 16 kHz.
const OPUS_MAX: usize = 1920;
/// Samples at 48 kHz for one at 16 kHz.
pub(crate) const WIDE: usize = 3;

/// What a payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// One Opus packet.
    Opus,
    /// One AIC payload.
    Aic,
    /// Samples, in steps of 10 ms.
    Pcm(PcmFormat),
}

impl From<InKind> for Source {
    fn from(kind: InKind) -> Self {
        match kind {
            InKind::Opus => Self::Opus,
            InKind::Aic => Self::Aic,
        }
    }
}

/// Decoders of one published track.
pub(crate) struct Input {
    opus: OpusDecoder<1>,
    wide: Option<OpusDecoder<WIDE>>,
    neural: Option<codec::Decoder>,
    packet: AicPacket,
    /// RTP time at which the next sample is due.
    due: Option<u64>,
    /// The publisher pauses: nothing need come until then.
    pauses: bool,
    last: Option<Source>,
    samples: PcmIn,
    pcm: Vec<f32>,
    wide_pcm: Vec<f32>,
}

/// A decoder that gives `SCALE` samples for one at 16 kHz.
struct OpusDecoder<const SCALE: usize>(opus::Decoder);

/// A stretch of sound.
pub(crate) struct Sound<'a> {
    /// RTP time of the first sample.
    pub(crate) timestamp: u64,
    /// 16 kHz.
    pub(crate) pcm: &'a [f32],
    /// The same at 48 kHz, where it was asked for and the publisher's codec has it.
    pub(crate) wide: Option<&'a [f32]>,
    /// It does not follow what came before: pending packets must not be joined with it.
    pub(crate) fresh: bool,
    /// Ticks at the start that were made up.
    pub(crate) made_up: u64,
    /// The publisher pauses: the last [`PAUSE_FILL`] samples are there to fill packets up with.
    pub(crate) pauses: bool,
}

impl<'a> Sound<'a> {
    /// What the publisher sent, and what was made up before it.
    pub(crate) fn without_fill(&self) -> &'a [f32] {
        let fill = if self.pauses { PAUSE_FILL } else { 0 };
        &self.pcm[..self.pcm.len() - fill]
    }
}

/// What a packet turned out to be.
pub(crate) enum Decoded<'a> {
    Sound(Sound<'a>),
    /// Nothing new: a duplicate, or too late.
    Old,
    /// Unreadable.
    Bad,
}

impl Input {
    pub(crate) fn new(model: Option<&std::sync::Arc<codec::Model>>) -> Result<Self, opus::OpusError> {
        Ok(Self {
            opus: OpusDecoder::new()?,
            wide: None,
            neural: model.map(|m| codec::Decoder::new(m.clone())),
            packet: AicPacket::default(),
            due: None,
            pauses: false,
            last: None,
            samples: PcmIn::default(),
            pcm: Vec::with_capacity(2 * OPUS_MAX),
            wide_pcm: Vec::new(),
        })
    }

    /// Whether 48 kHz are wanted from now on.
    pub(crate) fn set_wide(&mut self, wanted: bool) -> Result<(), opus::OpusError> {
        match (wanted, &self.wide) {
            (true, None) => self.wide = Some(OpusDecoder::new()?),
            (false, Some(_)) => self.wide = None,
            _ => {}
        }
        Ok(())
    }

    /// Decodes one packet, concealing a short hole before it.
    pub(crate) fn decode(&mut self, kind: Source, timestamp: u64, payload: &[u8]) -> Decoded<'_> {
        let hole = match self.due {
            None => None,
            Some(due) if timestamp < due => return Decoded::Old,
            // What a pause leaves out was never there.
            Some(due) if self.pauses || timestamp - due > CONCEAL_MAX => None,
            Some(due) => Some(timestamp - due),
        };
        self.pcm.clear();
        self.wide_pcm.clear();
        let switched = self.last.is_some_and(|last| last != kind);
        // The other decoder knows nothing of the hole: silence keeps the time line.
        let silence = hole.filter(|_| switched).unwrap_or(0) / TICKS;
        self.pcm.resize(silence as usize, 0.0);
        let concealed = hole.filter(|_| !switched).unwrap_or(0);
        let ok = match kind {
            Source::Opus => {
                if let Some(wide) = &mut self.wide {
                    self.wide_pcm.resize(silence as usize * WIDE, 0.0);
                    wide.decode(concealed, payload, &mut self.wide_pcm);
                }
                self.opus.decode(concealed, payload, &mut self.pcm)
            }
            Source::Aic => self.decode_aic(concealed, payload),
            Source::Pcm(format) => {
                // Samples have no decoder that could make anything up.
                let silence = self.pcm.len() + (concealed / TICKS) as usize;
                self.pcm.resize(silence, 0.0);
                self.samples.convert(format, payload, &mut self.pcm).is_ok()
            }
        };
        if !ok {
            return Decoded::Bad;
        }
        self.last = Some(kind);
        self.pauses = kind == Source::Aic && self.packet.dtx;
        let from = hole.map_or(timestamp, |hole| timestamp - hole);
        self.due = Some(match self.pauses {
            true => timestamp + FRAME_TICKS,
            false => from + self.pcm.len() as u64 * TICKS,
        });
        Decoded::Sound(Sound {
            timestamp: from,
            pcm: &self.pcm,
            wide: (self.wide_pcm.len() == WIDE * self.pcm.len()).then_some(&self.wide_pcm[..]),
            fresh: hole.is_none(),
            made_up: hole.unwrap_or(0),
            pauses: self.pauses,
        })
    }

    fn decode_aic(&mut self, hole: u64, payload: &[u8]) -> bool {
        let Some(decoder) = &mut self.neural else {
            return false;
        };
        if self.packet.read(payload).is_err() || usize::from(self.packet.levels()) > codec::LEVELS_MAX {
            return false;
        }
        let mut frame = [0.0f32; codec::FRAME_SAMPLES];
        let missing = hole / FRAME_TICKS;
        for back in (0..missing as usize).rev() {
            // Copies are the frames just before the packet, latest first.
            let copied = back < self.packet.copy_count()
                && decoder.decode(self.packet.copy(back).1, &mut frame).is_ok();
            if !copied {
                decoder.conceal(&mut frame);
            }
            self.pcm.extend_from_slice(&frame);
        }
        if self.packet.dtx {
            let mut understood = decoder.decode_noise(self.packet.frame(0), &mut frame).is_ok();
            for _ in 0..=PAUSE_FILL / codec::FRAME_SAMPLES {
                if !understood {
                    decoder.conceal(&mut frame);
                }
                understood = false;
                self.pcm.extend_from_slice(&frame);
            }
            return true;
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

impl<const SCALE: usize> OpusDecoder<SCALE> {
    fn new() -> Result<Self, opus::OpusError> {
        opus::Decoder::new(codec::SAMPLE_RATE * SCALE as u32, 1, 0).map(Self)
    }

    /// Appends a hole's concealment and the packet; `false` when it cannot be decoded.
    fn decode(&mut self, hole: u64, payload: &[u8], out: &mut Vec<f32>) -> bool {
        // Opus conceals in steps of 2.5 ms.
        let unit = 40 * SCALE;
        let mut missing = (hole / TICKS) as usize * SCALE;
        while missing >= unit {
            let step = missing.min(codec::FRAME_SAMPLES * SCALE) / unit * unit;
            let start = out.len();
            out.resize(start + step, 0.0);
            if self.0.conceal(step, &mut out[start..]).is_err() {
                out[start..].fill(0.0);
            }
            missing -= step;
        }
        let start = out.len() + missing;
        out.resize(start + OPUS_MAX * SCALE, 0.0);
        let decoded = self.0.decode(payload, &mut out[start..]);
        out.truncate(start + decoded.as_ref().map_or(0, |samples| *samples));
        decoded.is_ok()
    }
}
