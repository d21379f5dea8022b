//! 256-bit vectors, 8 lanes: f32 sums over f16 or f32 weights, and dot products of 16-bit words.

use std::arch::x86_64::*;

use super::book::{Book, LANES, Rounded, Row};
use super::dense::{Dense, PANEL, Packed};
use super::{Kernel, Table};
use crate::{ENTRIES, LATENT};

super::elementwise::compile_for!("avx2,fma,f16c");

pub(super) static TABLE: Table = Table {
    kernel: Kernel::Avx2,
    halves: true,
    bytes: false,
    dense,
    costs,
    spectrum,
    branch,
    swish,
    below,
    count,
    distances,
    square_sum,
};

/// Two-word pairs of a residual.
const PAIRS: usize = LATENT / 2;
/// Half a panel of outputs: two vectors.
const HALF_PANEL: usize = PANEL / 2;

#[target_feature(enable = "avx2,fma,f16c")]
fn dense(dense: &Dense, rows: usize, x: &[f32], y: &mut [f32]) {
    match &dense.packed {
        Packed::Single(packed) => layer::<false>(dense, packed.as_ptr().cast(), rows, x, y),
        Packed::Half(packed) => layer::<true>(dense, packed.as_ptr().cast(), rows, x, y),
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn layer<const HALF: bool>(dense: &Dense, packed: *const u8, rows: usize, x: &[f32], y: &mut [f32]) {
    for half_panel in (0..dense.outputs / HALF_PANEL).step_by(2) {
        let mut row = 0;
        while row < rows {
            // SAFETY: `packed` is this layer's weights in the type that HALF says, all of `[panels][inputs][PANEL]`;
            // a block ends inside the panel that `half_panel` begins (V is 4 from its start, or 2 from either half),
            // and `row` plus its rows does not pass `rows`, while `x` is `[rows][inputs]`, `y` `[rows][outputs]`.
            unsafe {
                row += match rows - row {
                    6.. => {
                        block::<6, 2, HALF>(dense, packed, half_panel, row, x, y);
                        block::<6, 2, HALF>(dense, packed, half_panel + 1, row, x, y)
                    }
                    2.. => block::<2, 4, HALF>(dense, packed, half_panel, row, x, y),
                    _ => block::<1, 4, HALF>(dense, packed, half_panel, row, x, y),
                };
            }
        }
    }
}

/// `R` rows by `V` vectors of outputs from a half panel on; answers `R`.
///
/// # Safety
/// `packed` holds `[outputs / PANEL][inputs][PANEL]` weights of the type that HALF says, `x` holds row `row + R - 1`,
/// `y` too, the layer has that half panel, and the `V` vectors do not pass the end of its panel.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn block<const R: usize, const V: usize, const HALF: bool>(
    dense: &Dense,
    packed: *const u8,
    half_panel: usize,
    row: usize,
    x: &[f32],
    y: &mut [f32],
) -> usize {
    let (inputs, outputs) = (dense.inputs, dense.outputs);
    debug_assert!((row + R) * inputs <= x.len() && (row + R) * outputs <= y.len());
    debug_assert!(
        half_panel * HALF_PANEL + V * 8 <= outputs && (half_panel % 2) * HALF_PANEL + V * 8 <= PANEL
    );
    // SAFETY: every offset below is inside what the caller promised: the greatest weight read is the last lane of
    // the block in the last input of the panel, the greatest value of `x` the last of row `row + R - 1`, and likewise
    // of `y`.
    unsafe {
        let bias = dense.bias.as_ptr().add(half_panel * HALF_PANEL);
        let mut sums = [[_mm256_setzero_ps(); V]; R];
        for sums in &mut sums {
            for (v, sum) in sums.iter_mut().enumerate() {
                *sum = _mm256_loadu_ps(bias.add(v * 8));
            }
        }
        let x = x.as_ptr().add(row * inputs);
        let first = (half_panel / 2) * inputs * PANEL + (half_panel % 2) * HALF_PANEL;
        for i in 0..inputs {
            let mut weights = [_mm256_setzero_ps(); V];
            for (v, weights) in weights.iter_mut().enumerate() {
                let at = first + i * PANEL + v * 8;
                *weights = if HALF {
                    _mm256_cvtph_ps(_mm_loadu_si128(packed.cast::<u16>().add(at).cast()))
                } else {
                    _mm256_loadu_ps(packed.cast::<f32>().add(at))
                };
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let factor = _mm256_set1_ps(*x.add(r * inputs + i));
                for (sum, &weights) in sums.iter_mut().zip(&weights) {
                    *sum = _mm256_fmadd_ps(factor, weights, *sum);
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            let y = y.as_mut_ptr().add((row + r) * outputs + half_panel * HALF_PANEL);
            for (v, &sum) in sums.iter().enumerate() {
                _mm256_storeu_ps(y.add(v * 8), sum);
            }
        }
    }
    R
}

#[target_feature(enable = "avx2,fma,f16c")]
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
            6.. => scores::<6>(book, words, rows, costs, minima),
            4.. => scores::<4>(book, words, rows, costs, minima),
            2.. => scores::<2>(book, words, rows, costs, minima),
            _ => scores::<1>(book, words, rows, costs, minima),
        };
    }
}

/// All entries for the first `R` rows; answers `R`.
#[target_feature(enable = "avx2,fma,f16c")]
fn scores<const R: usize>(
    book: &Book,
    words: &[[i16; 32]],
    rows: &[Row],
    costs: &mut [f32],
    minima: &mut [[f32; LANES]],
) -> usize {
    let rows: &[Row; R] = rows.first_chunk().expect("the caller counted the rows");
    let minima: &mut [[f32; LANES]; R] = minima.first_chunk_mut().expect("as many minima as rows");
    let costs = &mut costs.as_chunks_mut::<8>().0[..R * ENTRIES / 8];
    let (halves, scales) = (book.halves.as_chunks::<8>().0, book.scales.as_chunks::<8>().0);
    let factors: [&[[i16; 2]; PAIRS]; R] =
        std::array::from_fn(|r| rows[r].words.as_chunks().0.first_chunk().expect("LATENT words"));
    for (panel, pairs) in words.chunks_exact(PAIRS).enumerate() {
        let mut dots = [[_mm256_setzero_si256(); 2]; R];
        for (p, pair) in pairs.iter().enumerate() {
            let entries = load_words(pair);
            for (dots, factors) in dots.iter_mut().zip(&factors) {
                let [low, high] = factors[p];
                let factor = _mm256_set1_epi32(i32::from(low as u16) | i32::from(high) << 16);
                for (dot, &entries) in dots.iter_mut().zip(&entries) {
                    *dot = _mm256_add_epi32(*dot, _mm256_madd_epi16(entries, factor));
                }
            }
        }
        #[allow(clippy::needless_range_loop)] // a constant range unrolls, so that the dots stay in registers
        for part in 0..2 {
            let at = panel * 2 + part;
            let (half, scale) = (load(&halves[at]), load(&scales[at]));
            for (r, row) in rows.iter().enumerate() {
                let gain = _mm256_mul_ps(
                    _mm256_cvtepi32_ps(dots[r][part]),
                    _mm256_mul_ps(_mm256_set1_ps(row.scale), scale),
                );
                let cost = _mm256_add_ps(_mm256_set1_ps(row.cost), _mm256_sub_ps(half, gain));
                store(&mut costs[r * (ENTRIES / 8) + at], cost);
                let minima = &mut minima[r].as_chunks_mut::<8>().0[part];
                store(minima, _mm256_min_ps(cost, load(minima)));
            }
        }
    }
    R
}

#[target_feature(enable = "avx2,fma,f16c")]
fn below(values: &[f32], limit: f32, hits: &mut [u16]) -> usize {
    let limit = _mm256_set1_ps(limit);
    let mut found = 0;
    for (at, chunk) in values.as_chunks::<8>().0.iter().enumerate() {
        let mut mask = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LE_OQ>(load(chunk), limit));
        while mask != 0 {
            if let Some(hit) = hits.get_mut(found) {
                *hit = (at * 8) as u16 + mask.trailing_zeros() as u16;
            }
            found += 1;
            mask &= mask - 1;
        }
    }
    found
}

#[target_feature(enable = "avx2,fma,f16c,popcnt")]
fn count(values: &[f32], limit: f32) -> usize {
    let limits = _mm256_set1_ps(limit);
    let under = |chunk| _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LE_OQ>(load(chunk), limits)).count_ones();
    let (chunks, rest) = values.as_chunks::<8>();
    chunks.iter().map(under).sum::<u32>() as usize + elementwise::count(rest, limit)
}

#[target_feature(enable = "avx2,fma,f16c")]
fn distances(residuals: &[[f32; LATENT]], entries: &[[f32; LATENT]], hits: &[u16], out: &mut [f32]) {
    for (out, &hit) in out.iter_mut().zip(hits) {
        let (a, b) = elementwise::pair(residuals, entries, hit);
        let mut sums = [_mm256_setzero_ps(); 2];
        for (a, b) in a.as_chunks::<16>().0.iter().zip(b.as_chunks::<16>().0) {
            let halves = a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0);
            for (sum, (a, b)) in sums.iter_mut().zip(halves) {
                let difference = _mm256_sub_ps(load(a), load(b));
                *sum = _mm256_fmadd_ps(difference, difference, *sum);
            }
        }
        let eight = _mm256_add_ps(sums[0], sums[1]);
        let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        let one = _mm_add_ss(two, _mm_shuffle_ps::<1>(two, two));
        *out = 0.5 * _mm_cvtss_f32(one);
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(from: &[f32; 8]) -> __m256 {
    // SAFETY: the array is as long as the vector, and the load needs no alignment.
    unsafe { _mm256_loadu_ps(from.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(to: &mut [f32; 8], value: __m256) {
    // SAFETY: the array is as long as the vector, and the store needs no alignment.
    unsafe { _mm256_storeu_ps(to.as_mut_ptr(), value) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_words(from: &[i16; 32]) -> [__m256i; 2] {
    let from = from.as_ptr();
    // SAFETY: the array is as long as two vectors, and the loads need no alignment.
    unsafe {
        [
            _mm256_loadu_si256(from.cast()),
            _mm256_loadu_si256(from.add(16).cast()),
        ]
    }
}
