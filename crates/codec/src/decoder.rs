//! Streaming decoder: codes to 20 ms of sound, and something fitting where codes are missing.

use std::sync::Arc;

use crate::mdct::expand;
use crate::model::Model;
use crate::network::{STEPS, Scratch, Streams, TrunkState, step};
use crate::{ENTRIES, FRAME_SAMPLES, HOP, LATENT, LEVELS_MAX};

/// A lost frame repeats the last latent, weaker by this factor each time; training uses the same.
const LOST_FADE: f32 = 0.9;
/// Past the longest burst seen in training the guess is worth little: it fades faster.
const LONG_LOSS_FADE: f32 = 0.75;
const TRAINED_BURST: u32 = 3;

/// Why codes were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No level, or more than the model has.
    #[error("a frame has 1 to {LEVELS_MAX} levels, got {0}")]
    Levels(usize),
    /// A code that names no entry.
    #[error("code {0} is not under {ENTRIES}")]
    Code(u16),
}

/// One stream's decoder. Allocates nothing after the first frame.
pub struct Decoder {
    model: Arc<Model>,
    last: [f32; LATENT],
    trunk: TrunkState,
    overlap: [f32; HOP],
    lost_in_a_row: u32,
    /// Made at the first frame that is decoded alone; a stream that is always batched needs none.
    alone: Option<Box<Work>>,
}

/// One frame of one stream, to be decoded together with others.
pub struct DecodeJob<'a> {
    /// The stream.
    pub decoder: &'a mut Decoder,
    /// Its codes, any prefix of them; `None` where the frame never came.
    pub codes: Option<&'a [u16]>,
    /// Where its [`FRAME_SAMPLES`] samples go.
    pub pcm: &'a mut [f32],
}

impl Decoder {
    /// A fresh stream.
    pub fn new(model: Arc<Model>) -> Self {
        Self {
            last: [0.0; LATENT],
            trunk: TrunkState::new(&model.dec_blocks),
            overlap: [0.0; HOP],
            lost_in_a_row: 0,
            alone: None,
            model,
        }
    }

    /// Decodes one frame into [`FRAME_SAMPLES`] samples, as many levels as there are codes. Refused codes leave the
    /// stream as it was.
    pub fn decode(&mut self, codes: &[u16], pcm: &mut [f32]) -> Result<(), DecodeError> {
        check(codes)?;
        self.render(Some(codes), pcm);
        Ok(())
    }

    /// Stands in for a frame that never came: holds the last sound and lets it fade.
    pub fn conceal(&mut self, pcm: &mut [f32]) {
        self.render(None, pcm);
    }

    /// Forgets the past, as if just made.
    pub fn reset(&mut self) {
        self.last.fill(0.0);
        self.overlap.fill(0.0);
        self.lost_in_a_row = 0;
        self.trunk.reset();
    }

    pub(crate) fn model(&self) -> &Arc<Model> {
        &self.model
    }

    fn render(&mut self, codes: Option<&[u16]>, pcm: &mut [f32]) {
        let mut work = self
            .alone
            .take()
            .unwrap_or_else(|| Box::new(Work::new(&self.model, 1)));
        let model = self.model.clone();
        work.decode(
            &model,
            &mut [DecodeJob {
                decoder: self,
                codes,
                pcm,
            }],
        );
        self.alone = Some(work);
    }

    /// Moves on to the next frame's latent.
    fn take(&mut self, codes: Option<&[u16]>) {
        let Some(codes) = codes else {
            self.lost_in_a_row = self.lost_in_a_row.saturating_add(1);
            let fade = if self.lost_in_a_row <= TRAINED_BURST {
                LOST_FADE
            } else {
                LONG_LOSS_FADE
            };
            self.last.iter_mut().for_each(|v| *v *= fade);
            return;
        };
        self.lost_in_a_row = 0;
        self.last.fill(0.0);
        for (level, &code) in codes.iter().enumerate() {
            for (value, entry) in self
                .last
                .iter_mut()
                .zip(&self.model.entries(level)[usize::from(code)])
            {
                *value += entry;
            }
        }
    }
}

/// Whether the codes of a frame make sense.
pub(crate) fn check(codes: &[u16]) -> Result<(), DecodeError> {
    if !(1..=LEVELS_MAX).contains(&codes.len()) {
        return Err(DecodeError::Levels(codes.len()));
    }
    match codes.iter().find(|&&code| usize::from(code) >= ENTRIES) {
        Some(&code) => Err(DecodeError::Code(code)),
        None => Ok(()),
    }
}

impl Streams for [DecodeJob<'_>] {
    fn trunk(&mut self, stream: usize) -> &mut TrunkState {
        &mut self[stream].decoder.trunk
    }
}

/// Buffers to decode frames of several streams together.
pub(crate) struct Work {
    latents: Vec<f32>,
    linear: Vec<f32>,
    trunk: Vec<f32>,
    shaping: Vec<f32>,
    mdct: Vec<f32>,
    folded: Vec<f32>,
    scratch: Scratch,
}

impl Work {
    pub(crate) fn new(model: &Model, streams: usize) -> Self {
        Self {
            latents: vec![0.0; streams * LATENT],
            linear: vec![0.0; streams * FRAME_SAMPLES],
            trunk: vec![0.0; streams * model.dec_in.outputs()],
            shaping: vec![0.0; streams * STEPS * model.dec_out.outputs()],
            mdct: vec![0.0; streams * FRAME_SAMPLES],
            folded: vec![0.0; streams * FRAME_SAMPLES],
            scratch: Scratch::new(&model.dec_blocks, streams),
        }
    }

    /// Decodes a frame of every job, whose codes were checked; as many jobs as `new` was told, at most.
    pub(crate) fn decode(&mut self, model: &Model, mut jobs: &mut [DecodeJob<'_>]) {
        let streams = jobs.len();
        for (job, latent) in jobs.iter_mut().zip(self.latents.chunks_exact_mut(LATENT)) {
            assert_eq!(
                job.pcm.len(),
                FRAME_SAMPLES,
                "a frame has {FRAME_SAMPLES} samples"
            );
            job.decoder.take(job.codes);
            latent.copy_from_slice(&job.decoder.last);
        }
        let latents = &self.latents[..streams * LATENT];
        let linear = &mut self.linear[..streams * FRAME_SAMPLES];
        let trunk = &mut self.trunk[..streams * model.dec_in.outputs()];
        model.dec_skip.apply(streams, latents, linear);
        model.dec_in.apply(streams, latents, trunk);
        for (job, trunk) in jobs.iter().zip(trunk.chunks_exact_mut(model.dec_in.outputs())) {
            if job.codes.is_none() {
                for (value, add) in trunk.iter_mut().zip(&model.dec_lost) {
                    *value += add;
                }
            }
        }
        step(
            model.table,
            &model.dec_blocks,
            &mut self.scratch,
            &mut jobs,
            trunk,
        );
        let shaping = &mut self.shaping[..streams * STEPS * model.dec_out.outputs()];
        model.dec_out.apply(streams * STEPS, trunk, shaping);
        let mdct = &mut self.mdct[..streams * FRAME_SAMPLES];
        let frames = linear
            .chunks_exact(FRAME_SAMPLES)
            .zip(mdct.chunks_exact_mut(FRAME_SAMPLES))
            .zip(shaping.chunks_exact(STEPS * 2 * HOP));
        for ((linear, mdct), shaping) in frames {
            let level = (model.table.square_sum(linear) / FRAME_SAMPLES as f32 + 1e-12).sqrt();
            let hops = linear
                .chunks_exact(HOP)
                .zip(mdct.chunks_exact_mut(HOP))
                .zip(shaping.chunks_exact(2 * HOP));
            for ((linear, mdct), shaping) in hops {
                let (gain, add) = shaping.split_at(HOP);
                for (((out, linear), gain), add) in mdct.iter_mut().zip(linear).zip(gain).zip(add) {
                    *out = expand(linear * (1.0 + gain) + add * level);
                }
            }
        }
        let folded = &mut self.folded[..streams * FRAME_SAMPLES];
        model.mdct.inverse(streams * STEPS, mdct, folded);
        for (job, folded) in jobs.iter_mut().zip(folded.chunks_exact(FRAME_SAMPLES)) {
            let overlap = &mut job.decoder.overlap;
            for (folded, pcm) in folded.chunks_exact(HOP).zip(job.pcm.chunks_exact_mut(HOP)) {
                model.mdct.unfold(folded, overlap, pcm);
                pcm.iter_mut()
                    .for_each(|sample| *sample = sample.clamp(-1.0, 1.0));
            }
        }
    }
}
