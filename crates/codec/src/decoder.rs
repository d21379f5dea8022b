//! Streaming decoder: codes to 20 ms of sound, and something fitting where codes are missing.

use std::sync::Arc;

use crate::mdct::expand;
use crate::model::Model;
use crate::network::{BlockState, STEPS, Scratch, step};
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

/// One stream's decoder. Allocates nothing after `new`.
pub struct Decoder {
    model: Arc<Model>,
    last: [f32; LATENT],
    states: Vec<BlockState>,
    scratch: Scratch,
    trunk: Vec<f32>,
    shaping: Vec<f32>,
    overlap: [f32; HOP],
    lost_in_a_row: u32,
}

impl Decoder {
    /// A fresh stream.
    pub fn new(model: Arc<Model>) -> Self {
        Self {
            last: [0.0; LATENT],
            states: model.dec_blocks.iter().map(BlockState::new).collect(),
            scratch: Scratch::new(&model.dec_blocks),
            trunk: vec![0.0; model.dec_in.outputs()],
            shaping: vec![0.0; STEPS * model.dec_out.outputs()],
            overlap: [0.0; HOP],
            lost_in_a_row: 0,
            model,
        }
    }

    /// Decodes one frame into [`FRAME_SAMPLES`] samples, as many levels as there are codes.
    pub fn decode(&mut self, codes: &[u16], pcm: &mut [f32]) -> Result<(), DecodeError> {
        if !(1..=LEVELS_MAX).contains(&codes.len()) {
            return Err(DecodeError::Levels(codes.len()));
        }
        if let Some(&code) = codes.iter().find(|&&code| usize::from(code) >= ENTRIES) {
            return Err(DecodeError::Code(code));
        }
        self.last.fill(0.0);
        for (level, &code) in codes.iter().enumerate() {
            for (value, entry) in self.last.iter_mut().zip(self.model.entry(level, code)) {
                *value += entry;
            }
        }
        self.lost_in_a_row = 0;
        self.render(false, pcm);
        Ok(())
    }

    /// Stands in for a frame that never came: holds the last sound and lets it fade.
    pub fn conceal(&mut self, pcm: &mut [f32]) {
        self.lost_in_a_row = self.lost_in_a_row.saturating_add(1);
        let fade = if self.lost_in_a_row <= TRAINED_BURST {
            LOST_FADE
        } else {
            LONG_LOSS_FADE
        };
        self.last.iter_mut().for_each(|v| *v *= fade);
        self.render(true, pcm);
    }

    fn render(&mut self, lost: bool, pcm: &mut [f32]) {
        assert_eq!(pcm.len(), FRAME_SAMPLES, "a frame has {FRAME_SAMPLES} samples");
        let model = &*self.model;
        let mut linear = [0.0f32; FRAME_SAMPLES];
        model.dec_skip.apply::<1>(&self.last, &mut linear);
        let level = (linear.iter().map(|v| v * v).sum::<f32>() / FRAME_SAMPLES as f32 + 1e-12).sqrt();
        model.dec_in.apply::<1>(&self.last, &mut self.trunk);
        if lost {
            for (value, add) in self.trunk.iter_mut().zip(&model.dec_lost) {
                *value += add;
            }
        }
        for (block, state) in model.dec_blocks.iter().zip(&mut self.states) {
            step(block, state, &mut self.scratch, &mut self.trunk);
        }
        model.dec_out.apply::<STEPS>(&self.trunk, &mut self.shaping);
        for hop in 0..STEPS {
            let (gain, add) = self.shaping[hop * 2 * HOP..(hop + 1) * 2 * HOP].split_at(HOP);
            let mut mdct = [0.0f32; HOP];
            for k in 0..HOP {
                mdct[k] = expand(linear[hop * HOP + k] * (1.0 + gain[k]) + add[k] * level);
            }
            let mut time = [0.0f32; 2 * HOP];
            model.synthesis.apply::<1>(&mdct, &mut time);
            for k in 0..HOP {
                pcm[hop * HOP + k] = (self.overlap[k] + time[k]).clamp(-1.0, 1.0);
            }
            self.overlap.copy_from_slice(&time[HOP..]);
        }
    }

    /// Forgets the past, as if just made.
    pub fn reset(&mut self) {
        self.last.fill(0.0);
        self.overlap.fill(0.0);
        self.lost_in_a_row = 0;
        self.states.iter_mut().for_each(BlockState::reset);
    }
}
