//! Beam search through the residual levels.
//!
//! Taking the nearest entry at each level by itself leaves a fifth more error at 6 kbit/s. Kept candidates cost time:
//! each is compared with all entries of the next level. That first look is in whole numbers (`kernels::book`); what it
//! finds is compared exactly, along with as many entries more as its rounding may have misjudged.

use crate::kernels::Table;
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

/// Entries compared exactly per level, at most; twice the beam are usual, more at the first level of loud frames.
const HITS: usize = 512;

/// Deviations of rounding, worst over all entries, that the first look is given the benefit of.
const DOUBT: f32 = 2.0;

/// Steps towards the limit of the first look: to a thousandth of the spread.
const HALVINGS: u32 = 10;

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
    exact: [f32; HITS],
}

impl Search {
    pub(crate) fn new() -> Self {
        Self {
            rows: vec![Row::ZERO; Beam::MAX],
            costs: vec![0.0; Beam::MAX * ENTRIES],
            minima: vec![[0.0; LANES]; Beam::MAX],
            hits: [0; HITS],
            exact: [0.0; HITS],
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
        // As many minima as the beam are at or under this, so at least as many entries are. With few minima they would
        // not say much: then all costs are looked at.
        let values = if kept * LANES < 4 * beam.0 {
            &*costs
        } else {
            minima.as_flattened()
        };
        let limit = limit(model.table, values, beam.0);
        let mut found = model.table.below(costs, limit + DOUBT * doubt, &mut self.hits);
        if found > HITS {
            // Nearly all are as good as each other; then the doubt does not matter much either.
            found = model.table.below(costs, limit, &mut self.hits).min(HITS);
        }
        let (hits, exact) = (&self.hits[..found], &mut self.exact[..found]);
        let entries = model.entries(level);
        model.table.distances(&candidates.residuals, entries, hits, exact);
        let mut best = [(f32::INFINITY, 0u16); Beam::MAX];
        let best = &mut best[..beam.0];
        for (&cost, &hit) in exact.iter().zip(hits) {
            insert(best, (cost, hit));
        }
        for (slot, &(cost, hit)) in best.iter().enumerate() {
            let (from, code) = (hit / ENTRIES as u16, hit % ENTRIES as u16);
            let (residual, entry) = (
                &candidates.residuals[usize::from(from)],
                &entries[usize::from(code)],
            );
            for ((next, value), entry) in candidates.next[slot].iter_mut().zip(residual).zip(entry) {
                *next = value - entry;
            }
            candidates.costs[slot] = cost;
            candidates.steps[level][slot] = (from as u8, code);
        }
        std::mem::swap(&mut candidates.residuals, &mut candidates.next);
        candidates.kept = beam.0;
    }
}

/// A value that at least `n` of all values do not exceed, and not many more: found by halving, as counting is quick
/// and a little too much does not matter.
fn limit(table: &Table, values: &[f32], n: usize) -> f32 {
    let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
    for &value in values {
        low = if value < low { value } else { low };
        high = if value > high { value } else { high };
    }
    for _ in 0..HALVINGS {
        let middle = 0.5 * (low + high);
        let under = table.count(values, middle);
        if under < n {
            low = middle;
        } else {
            high = middle;
        }
        if under == n {
            break;
        }
    }
    high
}

/// Puts a continuation in its place among the best, ascending, if it belongs there.
fn insert(best: &mut [(f32, u16)], new: (f32, u16)) {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What the search is an approximation of: every candidate against every entry, exactly.
    fn exhaustive(model: &Model, latent: &[f32; LATENT], levels: usize, beam: usize) -> (f32, Vec<u16>) {
        let mut kept = vec![(0.0f32, *latent, Vec::new())];
        for level in 0..levels {
            let mut all: Vec<(f32, usize, usize)> = Vec::new();
            for (from, (_, residual, _)) in kept.iter().enumerate() {
                for (code, entry) in model.entries(level).iter().enumerate() {
                    let cost = residual
                        .iter()
                        .zip(entry)
                        .map(|(r, e)| 0.5 * (r - e) * (r - e))
                        .sum();
                    all.push((cost, from, code));
                }
            }
            all.sort_by(|a, b| a.0.total_cmp(&b.0));
            kept = all[..beam]
                .iter()
                .map(|&(cost, from, code)| {
                    let entry = &model.entries(level)[code];
                    let residual = std::array::from_fn(|d| kept[from].1[d] - entry[d]);
                    let codes = [&kept[from].2[..], &[code as u16]].concat();
                    (cost, residual, codes)
                })
                .collect();
        }
        (kept[0].0, kept[0].2.clone())
    }

    #[test]
    fn the_first_look_in_whole_numbers_leaves_no_more_error() {
        let model = Model::builtin().expect("the built-in model loads");
        let (mut candidates, mut search) = (Candidates::NEW, Search::new());
        let mut state = 1u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32
        };
        let (mut equal, mut excess, frames) = (0, 0.0, 40);
        for beam in [1, 4, 16] {
            for _ in 0..frames {
                // Something like speech: a few coarse entries, and noise of the size of the fine ones.
                let mut latent: [f32; LATENT] = std::array::from_fn(|_| 0.2 * random() - 0.1);
                for level in 0..9 {
                    let entry = &model.entries(level)[(random() * ENTRIES as f32) as usize];
                    latent.iter_mut().zip(entry).for_each(|(v, e)| *v += e);
                }
                let (cost, expected) = exhaustive(&model, &latent, 6, beam);
                candidates.start(&latent);
                for level in 0..6 {
                    search.advance(&model, level, &mut candidates, Beam::new(beam));
                }
                let mut codes = [0; 6];
                candidates.best(&mut codes);
                equal += usize::from(codes[..] == expected[..]);
                excess += candidates.costs[0] / cost - 1.0;
            }
        }
        let frames = 3 * frames;
        assert!(
            equal * 100 >= 97 * frames,
            "{equal} of {frames} frames have the same codes"
        );
        assert!(
            excess / frames as f32 <= 1e-4,
            "{excess} more error over {frames} frames"
        );
    }

    #[test]
    fn silence_codes_to_the_entry_that_is_nothing() {
        let model = Model::builtin().expect("the built-in model loads");
        let (mut candidates, mut search) = (Candidates::NEW, Search::new());
        candidates.start(&[0.0; LATENT]);
        for level in 0..LEVELS_MAX {
            search.advance(&model, level, &mut candidates, Beam::default());
        }
        let mut codes = [1; LEVELS_MAX];
        candidates.best(&mut codes);
        assert_eq!((codes, candidates.costs[0]), ([0; LEVELS_MAX], 0.0));
    }
}
