//! Streaming encoder: 20 ms of sound to one code per level.

use std::sync::Arc;

use crate::mdct::compand;
use crate::model::Model;
use crate::network::{BlockState, STEPS, Scratch, step};
use crate::{ENTRIES, FRAME_SAMPLES, HOP, LATENT, LEVELS_MAX};

/// Keeps logarithms of silence finite; training uses the same.
const LOG_FLOOR: f32 = 1e-7;

/// Candidates kept from level to level. Taking the nearest entry at each level by itself leaves a fifth more error at
/// 6 kbps, and costs 0.14 PESQ; more candidates gain little.
const BEAM: usize = 16;

/// Codes chosen so far, and what they leave unsaid.
#[derive(Clone, Copy)]
struct Candidate {
    residual: [f32; LATENT],
    codes: [u16; LEVELS_MAX],
    /// Half the residual's squared length.
    cost: f32,
}

const NONE: Candidate = Candidate {
    residual: [0.0; LATENT],
    codes: [0; LEVELS_MAX],
    cost: f32::INFINITY,
};

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
    beam: [Candidate; BEAM],
    next: [Candidate; BEAM],
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
            scores: vec![0.0; 2 * ENTRIES],
            beam: [NONE; BEAM],
            next: [NONE; BEAM],
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
        let latent = self.latent();
        self.search(latent, codes.len());
        codes.copy_from_slice(&self.beam[0].codes[..codes.len()]);
    }

    /// Beam search through the residual levels; the best candidate ends first in `beam`.
    fn search(&mut self, latent: [f32; LATENT], levels: usize) {
        self.beam[0] = Candidate {
            residual: latent,
            cost: half_square(&latent),
            ..NONE
        };
        let mut kept = 1;
        for level in 0..levels {
            // The best continuations so far: cost, candidate, code; ascending.
            let mut best = [(f32::INFINITY, 0usize, 0u16); BEAM];
            for first in (0..kept).step_by(2) {
                let rows = (kept - first).min(2);
                self.score(level, first, rows);
                for row in 0..rows {
                    let from = first + row;
                    let cost = self.beam[from].cost;
                    for (code, &score) in self.scores[row * ENTRIES..][..ENTRIES].iter().enumerate() {
                        // Half of |r - c|^2, as score is r.c - |c|^2 / 2.
                        let cost = cost - score;
                        if cost < best[BEAM - 1].0 {
                            let mut at = BEAM - 1;
                            while at > 0 && cost < best[at - 1].0 {
                                best[at] = best[at - 1];
                                at -= 1;
                            }
                            best[at] = (cost, from, code as u16);
                        }
                    }
                }
            }
            for (next, &(_, from, code)) in self.next.iter_mut().zip(&best) {
                *next = self.beam[from];
                next.codes[level] = code;
                for (value, entry) in next.residual.iter_mut().zip(self.model.entry(level, code)) {
                    *value -= entry;
                }
                // From the residual itself, so that rounding does not add up over the levels.
                next.cost = half_square(&next.residual);
            }
            std::mem::swap(&mut self.beam, &mut self.next);
            kept = BEAM;
        }
    }

    /// Scores of every entry of a level for one or two candidates from `first` on.
    fn score(&mut self, level: usize, first: usize, rows: usize) {
        let book = &self.model.books[level];
        if rows == 1 {
            book.apply::<1>(&self.beam[first].residual, &mut self.scores[..ENTRIES]);
            return;
        }
        let mut pair = [0.0f32; 2 * LATENT];
        pair[..LATENT].copy_from_slice(&self.beam[first].residual);
        pair[LATENT..].copy_from_slice(&self.beam[first + 1].residual);
        book.apply::<2>(&pair, &mut self.scores);
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

fn half_square(x: &[f32]) -> f32 {
    0.5 * x.iter().map(|v| v * v).sum::<f32>()
}
