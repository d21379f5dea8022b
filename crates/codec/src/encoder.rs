//! Streaming encoder: 20 ms of sound to one code per level.

use std::sync::Arc;

use crate::mdct::compand;
use crate::model::Model;
use crate::network::{BlockState, STEPS, Scratch, step};
use crate::{ENTRIES, FRAME_SAMPLES, HOP, LATENT, LEVELS_MAX};

/// Keeps logarithms of silence finite; training uses the same.
const LOG_FLOOR: f32 = 1e-7;

/// One stream's encoder. Allocates nothing after `new`.
pub struct Encoder {
    model: Arc<Model>,
    /// The last hop, then the frame.
    window: [f32; HOP + FRAME_SAMPLES],
    states: Vec<BlockState>,
    scratch: Scratch,
    features: Vec<f32>,
    trunk: Vec<f32>,
    scores: Vec<f32>,
}

impl Encoder {
    /// A fresh stream.
    pub fn new(model: Arc<Model>) -> Self {
        Self {
            window: [0.0; HOP + FRAME_SAMPLES],
            states: model.enc_blocks.iter().map(BlockState::new).collect(),
            scratch: Scratch::new(&model.enc_blocks),
            features: vec![0.0; STEPS * 3 * HOP],
            trunk: vec![0.0; STEPS * model.enc_in.outputs()],
            scores: vec![0.0; ENTRIES],
            model,
        }
    }

    /// Codes one frame of [`FRAME_SAMPLES`] samples in −1..=1; `codes.len()` levels, 1 to [`LEVELS_MAX`].
    ///
    /// A sample that is not finite counts as silence, so that one broken frame cannot poison the stream.
    pub fn encode(&mut self, pcm: &[f32], codes: &mut [u16]) {
        assert_eq!(pcm.len(), FRAME_SAMPLES, "a frame has {FRAME_SAMPLES} samples");
        assert!(
            (1..=LEVELS_MAX).contains(&codes.len()),
            "1 to {LEVELS_MAX} levels"
        );
        self.window.copy_within(FRAME_SAMPLES.., 0);
        for (slot, &sample) in self.window[HOP..].iter_mut().zip(pcm) {
            *slot = if sample.is_finite() {
                sample.clamp(-4.0, 4.0)
            } else {
                0.0
            };
        }
        let mut residual = self.latent();
        for (level, code) in codes.iter_mut().enumerate() {
            self.model.books[level].apply::<1>(&residual, &mut self.scores);
            let (mut best, mut best_score) = (0, f32::NEG_INFINITY);
            for (at, &score) in self.scores.iter().enumerate() {
                if score > best_score {
                    (best, best_score) = (at, score);
                }
            }
            *code = best as u16;
            for (value, entry) in residual.iter_mut().zip(self.model.entry(level, *code)) {
                *value -= entry;
            }
        }
    }

    fn latent(&mut self) -> [f32; LATENT] {
        let model = &*self.model;
        let mut frame = [0.0f32; FRAME_SAMPLES];
        for hop in 0..STEPS {
            let mut both = [0.0f32; 2 * HOP];
            model
                .analysis
                .apply::<1>(&self.window[hop * HOP..(hop + 2) * HOP], &mut both);
            let features = &mut self.features[hop * 3 * HOP..(hop + 1) * 3 * HOP];
            for k in 0..HOP {
                let (c, s) = (both[k], both[HOP + k]);
                frame[hop * HOP + k] = compand(c);
                features[k] = compand(c);
                features[HOP + k] = compand(s);
                features[2 * HOP + k] = (c * c + s * s + LOG_FLOOR).ln() * 0.25 + 2.0;
            }
        }
        model.enc_in.apply::<STEPS>(&self.features, &mut self.trunk);
        for (block, state) in model.enc_blocks.iter().zip(&mut self.states) {
            step(block, state, &mut self.scratch, &mut self.trunk);
        }
        let (mut shaped, mut linear) = ([0.0f32; LATENT], [0.0f32; LATENT]);
        model.enc_out.apply::<1>(&self.trunk, &mut shaped);
        model.enc_skip.apply::<1>(&frame, &mut linear);
        let level = (frame.iter().map(|v| v * v).sum::<f32>() / FRAME_SAMPLES as f32).sqrt();
        for (value, add) in linear.iter_mut().zip(shaped) {
            *value += add * level;
        }
        linear
    }

    /// Forgets the past, as if just made.
    pub fn reset(&mut self) {
        self.window.fill(0.0);
        self.states.iter_mut().for_each(BlockState::reset);
    }
}
