//! Beam search through the residual levels.
//!
//! Taking the nearest entry at each level by itself leaves a fifth more error at 6 kbit/s. Kept candidates cost time:
//! each is compared with all entries of the next level. That first look is in whole numbers (`kernels::book`); what it
//! finds is compared exactly, along with as many entries more as its rounding may have misjudged.

use crate::kernels::book::{LANES, Row};
use crate::model::Model;
use crate::{ENTRIES, LATENT, LEVELS_MAX};

/// Candidates that the encoder keeps from level to level: 1 to [`Beam::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Beam(usize);

impl Beam {
    /// Most candidates.
    pub const MAX: usize = 16;

    /// So many candidates, at least 1 and at most [`Beam::MAX`].
    pub fn new(candidates: usize) -> Self {
        Self(candidates.clamp(1, Self::MAX))
    }

    /// How many.
    pub fn candidates(self) -> usize {
        self.0
    }
}

impl Default for Beam {
    fn default() -> Self {
        Self(Self::MAX)
    }
}

/// Entries compared exactly per level, at most; two to three times the beam are usual.
const HITS: usize = 128;

/// Standard deviations of rounding that the first look is given the benefit of.
const DOUBT: f32 = 3.0;

/// The candidates of one stream.
pub(crate) struct Candidates {
    residuals: [[f32; LATENT]; Beam::MAX],
    next: [[f32; LATENT]; Beam::MAX],
    costs: [f32; Beam::MAX],
    /// Per level and candidate: the candidate it continues, and the code it adds.
    steps: [[(u8, u16); Beam::MAX]; LEVELS_MAX],
    kept: usize,
}

impl Candidates {
    pub(crate) const NEW: Self = Self {
        residuals: [[0.0; LATENT]; Beam::MAX],
        next: [[0.0; LATENT]; Beam::MAX],
        costs: [0.0; Beam::MAX],
        steps: [[(0, 0); Beam::MAX]; LEVELS_MAX],
        kept: 0,
    };

    /// One candidate, with everything left to say.
    pub(crate) fn start(&mut self, latent: &[f32; LATENT]) {
        self.residuals[0] = *latent;
        self.costs[0] = 0.5 * latent.iter().map(|v| v * v).sum::<f32>();
        self.kept = 1;
    }

    /// The codes of the best candidate after `codes.len()` levels.
    pub(crate) fn best(&self, codes: &mut [u16]) {
        let mut candidate = 0;
        for (level, slot) in codes.iter_mut().enumerate().rev() {
            let (from, code) = self.steps[level][candidate];
            *slot = code;
            candidate = usize::from(from);
        }
    }
}

/// Buffers of the search, shared by all streams.
pub(crate) struct Search {
    rows: Vec<Row>,
    costs: Vec<f32>,
    minima: Vec<[f32; LANES]>,
    hits: [u16; HITS],
}

impl Search {
    pub(crate) fn new() -> Self {
        Self {
            rows: vec![Row::ZERO; Beam::MAX],
            costs: vec![0.0; Beam::MAX * ENTRIES],
            minima: vec![[0.0; LANES]; Beam::MAX],
            hits: [0; HITS],
        }
    }

    /// Continues every candidate by every entry of a level and keeps the best `beam`.
    pub(crate) fn advance(&mut self, model: &Model, level: usize, candidates: &mut Candidates, beam: Beam) {
        let book = &model.books[level];
        let kept = candidates.kept;
        let rows = &mut self.rows[..kept];
        let mut doubt = 0.0f32;
        for ((row, residual), &cost) in rows.iter_mut().zip(&candidates.residuals).zip(&candidates.costs) {
            row.set(residual, cost);
            doubt = doubt.max(book.doubt(row));
        }
        let (costs, minima) = (&mut self.costs[..kept * ENTRIES], &mut self.minima[..kept]);
        book.costs(rows, costs, minima);
        // As many minima as the beam are at or under this, so at least as many entries are.
        let limit = smallest(minima, beam.0) + DOUBT * doubt;
        let found = model.table.below(costs, limit, &mut self.hits).min(HITS);

        let mut best = [(f32::INFINITY, 0u8, 0u16); Beam::MAX];
        let best = &mut best[..beam.0];
        for &hit in &self.hits[..found] {
            let (from, code) = (usize::from(hit) / ENTRIES, hit % ENTRIES as u16);
            let cost = model
                .table
                .distance(&candidates.residuals[from], model.entry(level, code));
            insert(best, (cost, from as u8, code));
        }
        // Where the hits did not all fit, the first ones are as good as any; there are at least `beam`.
        for (slot, &(cost, from, code)) in best.iter().enumerate() {
            let residual = &candidates.residuals[usize::from(from)];
            let entry = model.entry(level, code);
            for ((next, value), entry) in candidates.next[slot].iter_mut().zip(residual).zip(entry) {
                *next = value - entry;
            }
            candidates.costs[slot] = cost;
            candidates.steps[level][slot] = (from, code);
        }
        std::mem::swap(&mut candidates.residuals, &mut candidates.next);
        candidates.kept = beam.0;
    }
}

/// The `n`th smallest of all minima.
fn smallest(minima: &[[f32; LANES]], n: usize) -> f32 {
    let mut best = [f32::INFINITY; Beam::MAX];
    let best = &mut best[..n];
    for &value in minima.as_flattened() {
        if value < best[n - 1] {
            let mut at = n - 1;
            while at > 0 && value < best[at - 1] {
                best[at] = best[at - 1];
                at -= 1;
            }
            best[at] = value;
        }
    }
    best[n - 1]
}

/// Puts a continuation in its place among the best, ascending, if it belongs there.
fn insert(best: &mut [(f32, u8, u16)], new: (f32, u8, u16)) {
    let last = best.len() - 1;
    if new.0 < best[last].0 {
        let mut at = last;
        while at > 0 && new.0 < best[at - 1].0 {
            best[at] = best[at - 1];
            at -= 1;
        }
        best[at] = new;
    }
}
