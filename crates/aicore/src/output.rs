//! Sound to packets of one rung, with an eye on their quality.

use std::sync::Arc;

use auralink_codec as codec;
use auralink_engine::Coded;
use auralink_quality::{Content, Estimator};
use auralink_types::{PacketTime, Reason, Rung};

use crate::coder::{Coder, LeanCoder, deserves_full_band};
use crate::input::{Sound, TICKS, WIDE};

/// Samples of a frame.
const FRAME: usize = codec::FRAME_SAMPLES;
/// Samples of the longest packet, 120 ms.
const SAMPLES_MAX: usize = 6 * FRAME;

/// One rung of one track.
pub(crate) struct Output {
    pub(crate) rung: Rung,
    coder: Coder,
    packet: PacketTime,
    /// Sound not yet in a packet, at 16 kHz and, for a wide coder, at 48 kHz.
    pending: Vec<f32>,
    pending_wide: Vec<f32>,
    pending_from: u64,
    /// Frames of `pending` that the coder has taken already.
    taken: usize,
    heard: Vec<f32>,
    estimator: Estimator,
}

impl Output {
    /// The output of a rung; `None` for [`Rung::Original`], which needs none.
    pub(crate) fn new(rung: Rung, model: Option<&Arc<codec::Model>>) -> Result<Option<Self>, Reason> {
        let (Some(coder), Some(packet)) = (Coder::new(rung, model)?, rung.packet()) else {
            return Ok(None);
        };
        Ok(Some(Self {
            rung,
            estimator: coder.estimator(),
            coder,
            packet,
            pending: Vec::with_capacity(SAMPLES_MAX * 3),
            pending_wide: Vec::new(),
            pending_from: 0,
            taken: 0,
            heard: vec![0.0; SAMPLES_MAX],
        }))
    }

    /// Whether sound at 48 kHz is wanted.
    pub(crate) fn is_wide(&self) -> bool {
        matches!(self.rung, Rung::Lean(lean) if deserves_full_band(lean))
    }

    /// How little the coder would have to change to go on as that rung: lower is nearer, `None` is another coder.
    pub(crate) fn distance(&self, rung: Rung) -> Option<u64> {
        match (self.rung, rung) {
            (Rung::Lean(is), Rung::Lean(other)) => (deserves_full_band(is) == deserves_full_band(other))
                .then(|| is.bitrate.as_bps().abs_diff(other.bitrate.as_bps())),
            (Rung::Enhanced(is), Rung::Enhanced(other)) => {
                Some(is.bitrate.as_bps().abs_diff(other.bitrate.as_bps()))
            }
            (Rung::Neural(is), Rung::Neural(other)) => {
                Some(is.rate.bitrate().as_bps().abs_diff(other.rate.bitrate().as_bps()))
            }
            _ => None,
        }
    }

    /// Goes on as another rung of the family with the next packet; what is pending stays.
    pub(crate) fn become_rung(&mut self, rung: Rung) -> Result<(), Reason> {
        if self.distance(rung).is_none_or(|distance| distance > 0) {
            self.estimator.forget();
        }
        self.coder.become_rung(rung)?;
        self.packet = rung.packet().unwrap_or(self.packet);
        self.rung = rung;
        Ok(())
    }

    /// Forgets what is pending: its originals go out.
    pub(crate) fn skip(&mut self) {
        self.pending.clear();
        self.pending_wide.clear();
        self.taken = 0;
    }

    /// Takes sound that follows what is pending, or starts anew.
    pub(crate) fn push(
        &mut self,
        sound: &Sound<'_>,
        content: Content,
        out: &mut Vec<Coded>,
    ) -> Result<(), Reason> {
        let changed = self.fit(sound)?;
        if sound.fresh || changed {
            self.skip();
        }
        if self.pending.is_empty() {
            self.pending_from = sound.timestamp;
        }
        self.pending.extend_from_slice(sound.pcm);
        self.pending_wide
            .extend_from_slice(sound.wide.unwrap_or_default());
        loop {
            self.code_ahead()?;
            // A packet that was to be longer is as long as what the coder has taken.
            let samples = self.packet.frames().max(self.taken) * FRAME;
            if self.pending.len() < samples {
                return Ok(());
            }
            let payload = self.code(samples)?;
            self.estimator
                .push(&self.pending[..samples], &self.heard[..samples]);
            out.push(Coded {
                rung: self.rung,
                timestamp: self.pending_from,
                samples: samples as u64 * TICKS,
                payload,
                quality: self.estimator.estimate(),
                content,
            });
            self.pending.drain(..samples);
            let coded = (samples * WIDE).min(self.pending_wide.len());
            self.pending_wide.drain(..coded);
            self.pending_from += samples as u64 * TICKS;
            self.taken = 0;
        }
    }

    /// A wide coder is made anew when the publisher's codec begins or ceases to give 48 kHz; whether it was.
    fn fit(&mut self, sound: &Sound<'_>) -> Result<bool, Reason> {
        let wide = self.is_wide() && sound.wide.is_some();
        match &mut self.coder {
            Coder::Lean(coder) if coder.wide != wide => {
                *coder = LeanCoder::new(coder.lean, wide, coder.receiver)?;
                self.estimator = self.coder.estimator();
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Hands the neural coder the whole frames that are there.
    fn code_ahead(&mut self) -> Result<(), Reason> {
        let Coder::Neural(coder) = &mut self.coder else {
            return Ok(());
        };
        let there = (self.pending.len() / FRAME).min(self.packet.frames());
        for at in self.taken..there {
            if at == 0 {
                coder.begin(self.pending_from)?;
            }
            let frame = at * FRAME..(at + 1) * FRAME;
            coder.frame(&self.pending[frame.clone()], &mut self.heard[frame])?;
        }
        self.taken = self.taken.max(there);
        Ok(())
    }

    fn code(&mut self, samples: usize) -> Result<Arc<[u8]>, Reason> {
        let heard = &mut self.heard[..samples];
        match &mut self.coder {
            Coder::Lean(coder) if coder.wide => coder.code(&self.pending_wide[..samples * WIDE], heard),
            Coder::Lean(coder) => coder.code(&self.pending[..samples], heard),
            Coder::Neural(coder) => coder.finish(),
        }
    }
}
