//! WebAssembly's 128-bit vectors, 4 lanes: f32 sums over f32 weights, and dot products of 16-bit words.
//!
//! The instructions are there when the module was accepted at all, so these are ordinary safe functions.

use std::arch::wasm32::*;

use super::book::{Book, LANES, Rounded, Row};
use super::dense::{Dense, PANEL, Packed};
use super::{Kernel, Table, elementwise};
use crate::ENTRIES;

pub(super) static TABLE: Table = Table {
    kernel: Kernel::Simd128,
    halves: false,
    bytes: false,
    dense,
    costs,
    spectrum: elementwise::spectrum,
    branch: elementwise::branch::<false>,
    swish: elementwise::swish,
    below,
    count: elementwise::count,
    distances: elementwise::distances,
    square_sum: elementwise::square_sum::<false>,
};

/// Two-word pairs of a residual.
const PAIRS: usize = crate::LATENT / 2;
/// Outputs computed together: engines have 16 registers at most places.
const BLOCK: usize = 16;

fn dense(dense: &Dense, rows: usize, x: &[f32], y: &mut [f32]) {
    let Packed::Single(packed) = &dense.packed else {
        unreachable!("this table keeps no halves");
    };
    let mut row = 0;
    while row < rows {
        let (x, y) = (&x[row * dense.inputs..], &mut y[row * dense.outputs..]);
        row += match rows - row {
            2.. => rows_of::<2>(dense, packed, x, y),
            _ => rows_of::<1>(dense, packed, x, y),
        };
    }
}

fn rows_of<const R: usize>(dense: &Dense, packed: &[f32], x: &[f32], y: &mut [f32]) -> usize {
    let (inputs, outputs) = (dense.inputs, dense.outputs);
    let x: [&[f32]; R] = std::array::from_fn(|r| &x[r * inputs..(r + 1) * inputs]);
    for at in 0..outputs / BLOCK {
        let bias = load::<4>(&dense.bias[at * BLOCK..]);
        let panel = &packed[(at / 2) * inputs * PANEL..][..inputs * PANEL];
        let mut sums = [bias; R];
        for (i, weights) in panel.as_chunks::<PANEL>().0.iter().enumerate() {
            let weights = load::<4>(&weights[(at % 2) * BLOCK..]);
            for (sums, x) in sums.iter_mut().zip(&x) {
                let factor = f32x4_splat(x[i]);
                for (sum, weights) in sums.iter_mut().zip(weights) {
                    *sum = f32x4_add(*sum, f32x4_mul(factor, weights));
                }
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            store(&mut y[r * outputs + at * BLOCK..], sums);
        }
    }
    R
}

fn costs(book: &Book, rows: &[Row], costs: &mut [f32], minima: &mut [[f32; LANES]]) {
    let Rounded::Words(words) = &book.rounded else {
        unreachable!("this table keeps words");
    };
    minima.fill([f32::INFINITY; LANES]);
    let mut row = 0;
    while row < rows.len() {
        let (costs, minima) = (&mut costs[row * ENTRIES..], &mut minima[row..]);
        let rows = &rows[row..];
        row += match rows.len() {
            2.. => scores::<2>(book, words, rows, costs, minima),
            _ => scores::<1>(book, words, rows, costs, minima),
        };
    }
}

fn scores<const R: usize>(
    book: &Book,
    words: &[[i16; 32]],
    rows: &[Row],
    costs: &mut [f32],
    minima: &mut [[f32; LANES]],
) -> usize {
    for (panel, pairs) in words.chunks_exact(PAIRS).enumerate() {
        let mut dots = [[i32x4_splat(0); 4]; R];
        for (p, pair) in pairs.iter().enumerate() {
            let entries = load_words(pair);
            for (dots, row) in dots.iter_mut().zip(rows) {
                let (low, high) = (row.words[2 * p], row.words[2 * p + 1]);
                let factor = i32x4_splat(i32::from(low as u16) | i32::from(high) << 16);
                for (dot, entries) in dots.iter_mut().zip(entries) {
                    *dot = i32x4_add(*dot, i32x4_dot_i16x8(entries, factor));
                }
            }
        }
        let half = load::<4>(&book.halves[panel * LANES..]);
        let scale = load::<4>(&book.scales[panel * LANES..]);
        for (r, dots) in dots.iter().enumerate() {
            let row = &rows[r];
            let least = load::<4>(&minima[r]);
            let cost: [v128; 4] = std::array::from_fn(|part| {
                let factor = f32x4_mul(f32x4_splat(row.scale), scale[part]);
                let gain = f32x4_mul(f32x4_convert_i32x4(dots[part]), factor);
                f32x4_add(f32x4_splat(row.cost), f32x4_sub(half[part], gain))
            });
            store(&mut costs[r * ENTRIES + panel * LANES..], cost);
            // a < b ? a : b, as everywhere.
            let least: [v128; 4] = std::array::from_fn(|part| f32x4_pmin(least[part], cost[part]));
            store(&mut minima[r], least);
        }
    }
    R
}

fn below(values: &[f32], limit: f32, hits: &mut [u16]) -> usize {
    let limit = f32x4_splat(limit);
    let mut found = 0;
    for (at, chunk) in values.chunks_exact(LANES).enumerate() {
        let [a, b, c, d] = load::<4>(chunk).map(|values| f32x4_le(values, limit));
        if !v128_any_true(v128_or(v128_or(a, b), v128_or(c, d))) {
            continue;
        }
        let mut mask = [d, c, b, a]
            .into_iter()
            .fold(0u16, |mask, lanes| mask << 4 | u16::from(i32x4_bitmask(lanes)));
        while mask != 0 {
            if let Some(hit) = hits.get_mut(found) {
                *hit = (at * LANES) as u16 + mask.trailing_zeros() as u16;
            }
            found += 1;
            mask &= mask - 1;
        }
    }
    found
}

/// `N` vectors from the front of a slice.
#[inline(always)]
fn load<const N: usize>(from: &[f32]) -> [v128; N] {
    let from = &from[..N * 4];
    // SAFETY: the slice was just cut to as many values as are read, and the loads need no alignment.
    std::array::from_fn(|n| unsafe { v128_load(from.as_ptr().add(n * 4).cast()) })
}

#[inline(always)]
fn store<const N: usize>(to: &mut [f32], values: [v128; N]) {
    let to = &mut to[..N * 4];
    for (n, value) in values.into_iter().enumerate() {
        // SAFETY: the slice was just cut to as many values as are written, and the stores need no alignment.
        unsafe { v128_store(to.as_mut_ptr().add(n * 4).cast(), value) }
    }
}

#[inline(always)]
fn load_words(from: &[i16; 32]) -> [v128; 4] {
    // SAFETY: the array is as long as four vectors, and the loads need no alignment.
    std::array::from_fn(|n| unsafe { v128_load(from.as_ptr().add(n * 8).cast()) })
}
