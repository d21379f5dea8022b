//! One codebook in whole numbers: a fast first look at all entries, so that only the few that matter are then
//! compared in floating point.
//!
//! Entries and residuals are rounded to 8 bits, each with its own scale. The sums are exact, so every kernel gives the
//! same bits; how far the rounding can mislead is known ([`Book::doubt`]), and the search takes in as many entries
//! more.

use super::Table;
use crate::{ENTRIES, LATENT};

/// Entries computed together, and lanes of the minima.
pub(crate) const LANES: usize = 16;
/// The largest whole number of an entry or residual.
const FULL: f32 = 127.0;

/// Entries rounded, in panels of 16.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
pub(super) enum Rounded {
    /// For dot products of unsigned by signed bytes: entry + 128, `[panel][LATENT / 4][16 lanes][4]`.
    Bytes(Vec<[u8; 64]>),
    /// For dot products of words: `[panel][LATENT / 2][16 lanes][2]`.
    Words(Vec<[i16; 32]>),
}

/// A codebook of [`ENTRIES`] entries.
pub(crate) struct Book {
    table: &'static Table,
    pub(super) rounded: Rounded,
    /// Scale of each entry.
    pub(super) scales: Vec<f32>,
    /// Half of each entry's squared length.
    pub(super) halves: Vec<f32>,
    largest_scale: f32,
    longest: f32,
}

/// A residual, rounded.
#[derive(Clone)]
pub(crate) struct Row {
    pub(super) bytes: [i8; LATENT],
    pub(super) words: [i16; LATENT],
    /// 128 times the sum of the bytes: what the entries' offset adds to a dot product.
    pub(super) offset: i32,
    pub(super) scale: f32,
    /// Half the residual's squared length.
    pub(super) cost: f32,
}

impl Row {
    pub(crate) const ZERO: Self = Self {
        bytes: [0; LATENT],
        words: [0; LATENT],
        offset: 0,
        scale: 0.0,
        cost: 0.0,
    };

    /// Rounds a residual; `cost` is half its squared length.
    pub(crate) fn set(&mut self, residual: &[f32; LATENT], cost: f32) {
        self.scale = round(residual, &mut self.words);
        for (byte, &word) in self.bytes.iter_mut().zip(&self.words) {
            *byte = word as i8;
        }
        self.offset = 128 * self.words.iter().map(|&w| i32::from(w)).sum::<i32>();
        self.cost = cost;
    }
}

/// Rounds to ±127 and answers the scale.
fn round(x: &[f32; LATENT], words: &mut [i16; LATENT]) -> f32 {
    // 1.5 * 2^23: after adding it the low bits are the rounded number, in two's complement.
    const MAGIC: f32 = 12_582_912.0;
    let mut lanes = [0.0f32; LANES];
    for chunk in x.as_chunks::<LANES>().0 {
        for (most, value) in lanes.iter_mut().zip(chunk) {
            *most = most.max(value.abs());
        }
    }
    let most = lanes.iter().fold(0.0f32, |a, &b| a.max(b));
    let inverse = if most > 1e-20 { FULL / most } else { 0.0 };
    for (word, value) in words.iter_mut().zip(x) {
        *word = (value * inverse + MAGIC).to_bits() as i16;
    }
    most / FULL
}

impl Book {
    /// From `[ENTRIES][LATENT]`.
    pub(crate) fn new(table: &'static Table, entries: &[[f32; LATENT]]) -> Self {
        assert_eq!(entries.len(), ENTRIES, "entries of another count");
        let mut words = vec![[0i16; LATENT]; ENTRIES];
        let scales: Vec<f32> = entries
            .iter()
            .zip(&mut words)
            .map(|(entry, words)| round(entry, words))
            .collect();
        let halves: Vec<f32> = entries
            .iter()
            .map(|entry| 0.5 * entry.iter().map(|v| v * v).sum::<f32>())
            .collect();
        let panels = words.as_chunks::<LANES>().0;
        let rounded = if table.bytes {
            let group = |panel: &[[i16; LATENT]; LANES], at: usize| {
                std::array::from_fn(|byte| (panel[byte / 4][at * 4 + byte % 4] + 128) as u8)
            };
            Rounded::Bytes(
                panels
                    .iter()
                    .flat_map(|panel| (0..LATENT / 4).map(move |at| group(panel, at)))
                    .collect(),
            )
        } else {
            let pair = |panel: &[[i16; LATENT]; LANES], at: usize| {
                std::array::from_fn(|word| panel[word / 2][at * 2 + word % 2])
            };
            Rounded::Words(
                panels
                    .iter()
                    .flat_map(|panel| (0..LATENT / 2).map(move |at| pair(panel, at)))
                    .collect(),
            )
        };
        let greatest = |values: &[f32]| values.iter().fold(0.0f32, |a, &b| a.max(b));
        Self {
            table,
            largest_scale: greatest(&scales),
            longest: (2.0 * greatest(&halves)).sqrt(),
            rounded,
            scales,
            halves,
        }
    }

    /// For every residual and every entry half the squared length of what would be left, up to rounding: `costs` is
    /// `[rows][ENTRIES]`. `minima` gets the least of every sixteenth entry, per row.
    pub(crate) fn costs(&self, rows: &[Row], costs: &mut [f32], minima: &mut [[f32; LANES]]) {
        assert_eq!(costs.len(), rows.len() * ENTRIES, "costs of another shape");
        assert_eq!(minima.len(), rows.len(), "minima of another shape");
        // SAFETY: the table's features were detected; the shapes are those asserted here and made in `new`, where
        // the layout was chosen by the same table.
        unsafe { (self.table.costs)(self, rows, costs, minima) };
    }

    /// One standard deviation of the error of a row's costs.
    ///
    /// Rounding errors are as good as uniform and independent: a step's variance is its square over 12, per
    /// coordinate of the other factor.
    pub(crate) fn doubt(&self, row: &Row) -> f32 {
        let of_row = row.scale * self.longest;
        let of_entry = self.largest_scale * (2.0 * row.cost).sqrt();
        ((of_row * of_row + of_entry * of_entry) / 12.0).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Kernel;
    use super::*;

    fn entries(seed: usize) -> Vec<[f32; LATENT]> {
        let value = |i: usize| ((i.wrapping_mul(2_654_435_761) >> 7) % 2000) as f32 / 1000.0 - 1.0;
        let mut entries: Vec<[f32; LATENT]> = (0..ENTRIES)
            .map(|e| std::array::from_fn(|d| value(e * LATENT + d + seed) * (1.0 + (e % 7) as f32)))
            .collect();
        entries[0] = [0.0; LATENT];
        entries
    }

    #[test]
    fn every_kernel_gives_the_portable_ones_costs_to_the_bit() {
        let entries = entries(1);
        let oracle = Book::new(Kernel::Portable.table().expect("always there"), &entries);
        for rows in 1..=17 {
            let mut batch = vec![Row::ZERO; rows];
            for (row, residual) in batch.iter_mut().zip(&entries[500..]) {
                row.set(residual, 0.5 * residual.iter().map(|v| v * v).sum::<f32>());
            }
            let run = |book: &Book| {
                let (mut costs, mut minima) = (vec![0.0; rows * ENTRIES], vec![[0.0; LANES]; rows]);
                book.costs(&batch, &mut costs, &mut minima);
                (costs, minima)
            };
            let expected = run(&oracle);
            for kernel in Kernel::ALL {
                if let Some(table) = kernel.table() {
                    assert!(
                        run(&Book::new(table, &entries)) == expected,
                        "{kernel}, {rows} rows"
                    );
                }
            }
        }
    }

    #[test]
    fn costs_are_as_far_off_as_the_doubt_says() {
        let (entries, residuals) = (entries(1), entries(77));
        let book = Book::new(Kernel::best().table().expect("it is detected"), &entries);
        let (mut costs, mut minima) = (vec![0.0; ENTRIES], [[0.0; LANES]]);
        let (mut outside, mut total) = (0, 0);
        for residual in residuals.iter().step_by(17) {
            let mut row = Row::ZERO;
            row.set(residual, 0.5 * residual.iter().map(|v| v * v).sum::<f32>());
            book.costs(std::slice::from_ref(&row), &mut costs, &mut minima);
            for (lane, least) in minima[0].iter().enumerate() {
                let expected = costs
                    .iter()
                    .skip(lane)
                    .step_by(LANES)
                    .fold(f32::INFINITY, |a, &b| a.min(b));
                assert_eq!(*least, expected);
            }
            for (entry, cost) in entries.iter().zip(&costs) {
                let exact = 0.5
                    * entry
                        .iter()
                        .zip(residual)
                        .map(|(e, r)| (e - r) * (e - r))
                        .sum::<f32>();
                outside += usize::from((exact - cost).abs() > 3.0 * book.doubt(&row));
                total += 1;
            }
        }
        assert!(
            outside * 200 < total,
            "{outside} of {total} errors are over three deviations"
        );
    }

    #[test]
    fn a_residual_of_nothing_costs_each_entry_its_own_length() {
        let entries = entries(1);
        let book = Book::new(Kernel::best().table().expect("it is detected"), &entries);
        let mut row = Row::ZERO;
        row.set(&[0.0; LATENT], 0.0);
        let (mut costs, mut minima) = (vec![0.0; ENTRIES], [[0.0; LANES]]);
        book.costs(std::slice::from_ref(&row), &mut costs, &mut minima);
        assert_eq!(costs, book.halves);
    }
}
