//! 512-bit vectors, 16 lanes: f32 sums over f16 or f32 weights, and dot products of bytes (VNNI).

use std::arch::x86_64::*;

use super::book::{Book, LANES, Rounded, Row};
use super::dense::{Dense, PANEL, Packed};
use super::{Kernel, Table};
use crate::{ENTRIES, LATENT};

super::elementwise::compile_for!("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni");

pub(super) static TABLE: Table = Table {
    kernel: Kernel::Avx512,
    halves: true,
    bytes: true,
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

/// Four-byte groups of a residual.
const GROUPS: usize = LATENT / 4;

#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
fn dense(dense: &Dense, rows: usize, x: &[f32], y: &mut [f32]) {
    match &dense.packed {
        Packed::Single(packed) => layer::<false>(dense, packed.as_ptr().cast(), rows, x, y),
        Packed::Half(packed) => layer::<true>(dense, packed.as_ptr().cast(), rows, x, y),
    }
}

#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
fn layer<const HALF: bool>(dense: &Dense, packed: *const u8, rows: usize, x: &[f32], y: &mut [f32]) {
    let panels = dense.outputs / PANEL;
    let mut panel = 0;
    while panel < panels {
        // Few rows take several panels at once: eight sums are needed to hide the latency of one.
        let (few, pair) = (rows < 4, panel + 2 <= panels);
        let mut row = 0;
        while row < rows {
            let left = rows - row;
            // SAFETY: `packed` is this layer's weights in the type that HALF says, all of `[panels][inputs][PANEL]`;
            // `panel` plus the panels of the block (V / 2) does not pass `panels`, and `row` plus the rows of the
            // block does not pass `rows`, while `x` is `[rows][inputs]` and `y` is `[rows][outputs]`.
            unsafe {
                row += match (left, few && pair) {
                    (1, true) => block::<1, 4, HALF>(dense, packed, panel, row, x, y),
                    (_, true) => block::<2, 4, HALF>(dense, packed, panel, row, x, y),
                    (12.., false) => block::<12, 2, HALF>(dense, packed, panel, row, x, y),
                    (8.., false) => block::<8, 2, HALF>(dense, packed, panel, row, x, y),
                    (4.., false) => block::<4, 2, HALF>(dense, packed, panel, row, x, y),
                    (2.., false) => block::<2, 2, HALF>(dense, packed, panel, row, x, y),
                    _ => block::<1, 2, HALF>(dense, packed, panel, row, x, y),
                };
            }
        }
        panel += if few && pair { 2 } else { 1 };
    }
}

/// `R` rows by `V` vectors of outputs from a panel on; answers `R`.
///
/// # Safety
/// `packed` holds `[outputs / PANEL][inputs][PANEL]` weights of the type that HALF says, `x` holds row `row + R - 1`,
/// `y` too, and the layer has panel `panel + V / 2 - 1`.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn block<const R: usize, const V: usize, const HALF: bool>(
    dense: &Dense,
    packed: *const u8,
    panel: usize,
    row: usize,
    x: &[f32],
    y: &mut [f32],
) -> usize {
    let (inputs, outputs) = (dense.inputs, dense.outputs);
    debug_assert!((row + R) * inputs <= x.len() && (row + R) * outputs <= y.len());
    debug_assert!(panel * PANEL + V * 16 <= outputs);
    // SAFETY: every offset below is inside what the caller promised: the greatest weight read is the last lane of
    // panel `panel + V / 2 - 1`, the greatest value of `x` the last of row `row + R - 1`, and likewise of `y`.
    unsafe {
        let bias = dense.bias.as_ptr().add(panel * PANEL);
        let mut sums = [[_mm512_setzero_ps(); V]; R];
        for sums in &mut sums {
            for (v, sum) in sums.iter_mut().enumerate() {
                *sum = _mm512_loadu_ps(bias.add(v * 16));
            }
        }
        let x = x.as_ptr().add(row * inputs);
        let first = panel * inputs * PANEL;
        for i in 0..inputs {
            let mut weights = [_mm512_setzero_ps(); V];
            for (v, weights) in weights.iter_mut().enumerate() {
                let at = first + (v / 2) * inputs * PANEL + i * PANEL + (v % 2) * 16;
                *weights = if HALF {
                    _mm512_cvtph_ps(_mm256_loadu_si256(packed.cast::<u16>().add(at).cast()))
                } else {
                    _mm512_loadu_ps(packed.cast::<f32>().add(at))
                };
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let factor = _mm512_set1_ps(*x.add(r * inputs + i));
                for (sum, &weights) in sums.iter_mut().zip(&weights) {
                    *sum = _mm512_fmadd_ps(factor, weights, *sum);
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            let y = y.as_mut_ptr().add((row + r) * outputs + panel * PANEL);
            for (v, &sum) in sums.iter().enumerate() {
                _mm512_storeu_ps(y.add(v * 16), sum);
            }
        }
    }
    R
}

#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
fn costs(book: &Book, rows: &[Row], costs: &mut [f32], minima: &mut [[f32; LANES]]) {
    let Rounded::Bytes(bytes) = &book.rounded else {
        unreachable!("this table keeps bytes");
    };
    minima.fill([f32::INFINITY; LANES]);
    let mut row = 0;
    while row < rows.len() {
        let (costs, minima) = (&mut costs[row * ENTRIES..], &mut minima[row..]);
        let rows = &rows[row..];
        row += match rows.len() {
            8.. => scores::<8, 2>(book, bytes, rows, costs, minima),
            4.. => scores::<4, 4>(book, bytes, rows, costs, minima),
            2.. => scores::<2, 4>(book, bytes, rows, costs, minima),
            _ => scores::<1, 8>(book, bytes, rows, costs, minima),
        };
    }
}

/// All entries for the first `R` rows, `P` panels at a time; answers `R`.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
fn scores<const R: usize, const P: usize>(
    book: &Book,
    bytes: &[[u8; 64]],
    rows: &[Row],
    costs: &mut [f32],
    minima: &mut [[f32; LANES]],
) -> usize {
    let rows: &[Row; R] = rows.first_chunk().expect("the caller counted the rows");
    let minima: &mut [[f32; LANES]; R] = minima.first_chunk_mut().expect("as many minima as rows");
    let costs = &mut costs.as_chunks_mut::<LANES>().0[..R * ENTRIES / LANES];
    let (halves, scales) = (
        book.halves.as_chunks::<LANES>().0,
        book.scales.as_chunks::<LANES>().0,
    );
    let groups: [&[[i8; 4]; GROUPS]; R] =
        std::array::from_fn(|r| rows[r].bytes.as_chunks().0.first_chunk().expect("LATENT bytes"));
    for (many, panels) in bytes.chunks_exact(P * GROUPS).enumerate() {
        let mut dots = [[_mm512_setzero_si512(); P]; R];
        for (r, dots) in dots.iter_mut().enumerate() {
            dots.fill(_mm512_set1_epi32(-rows[r].offset));
        }
        for g in 0..GROUPS {
            let mut entries = [_mm512_setzero_si512(); P];
            for (p, entries) in entries.iter_mut().enumerate() {
                *entries = load_bytes(&panels[p * GROUPS + g]);
            }
            for (dots, groups) in dots.iter_mut().zip(&groups) {
                let factor = _mm512_set1_epi32(i32::from_le_bytes(groups[g].map(|b| b as u8)));
                for (dot, &entries) in dots.iter_mut().zip(&entries) {
                    *dot = _mm512_dpbusd_epi32(*dot, entries, factor);
                }
            }
        }
        #[allow(clippy::needless_range_loop)] // a constant range unrolls, so that the dots stay in registers
        for p in 0..P {
            let panel = many * P + p;
            let (half, scale) = (load(&halves[panel]), load(&scales[panel]));
            for (r, row) in rows.iter().enumerate() {
                let gain = _mm512_mul_ps(
                    _mm512_cvtepi32_ps(dots[r][p]),
                    _mm512_mul_ps(_mm512_set1_ps(row.scale), scale),
                );
                let cost = _mm512_add_ps(_mm512_set1_ps(row.cost), _mm512_sub_ps(half, gain));
                store(&mut costs[r * (ENTRIES / LANES) + panel], cost);
                let least = _mm512_min_ps(cost, load(&minima[r]));
                store(&mut minima[r], least);
            }
        }
    }
    R
}

#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
fn below(values: &[f32], limit: f32, hits: &mut [u16]) -> usize {
    let limit = _mm512_set1_ps(limit);
    let mut found = 0;
    for (at, chunk) in values.as_chunks::<LANES>().0.iter().enumerate() {
        let mut mask = _mm512_cmp_ps_mask::<_CMP_LE_OQ>(load(chunk), limit);
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

#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni,popcnt")]
fn count(values: &[f32], limit: f32) -> usize {
    let limit = _mm512_set1_ps(limit);
    let under = |chunk| _mm512_cmp_ps_mask::<_CMP_LE_OQ>(load(chunk), limit).count_ones();
    let (chunks, rest) = values.as_chunks::<LANES>();
    chunks.iter().map(under).sum::<u32>() as usize + elementwise::count(rest, _mm512_cvtss_f32(limit))
}

#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
fn distances(residuals: &[[f32; LATENT]], entries: &[[f32; LATENT]], hits: &[u16], out: &mut [f32]) {
    for (out, &hit) in out.iter_mut().zip(hits) {
        let (a, b) = elementwise::pair(residuals, entries, hit);
        let mut sum = _mm512_setzero_ps();
        for (a, b) in a.as_chunks::<LANES>().0.iter().zip(b.as_chunks::<LANES>().0) {
            let difference = _mm512_sub_ps(load(a), load(b));
            sum = _mm512_fmadd_ps(difference, difference, sum);
        }
        *out = 0.5 * _mm512_reduce_add_ps(sum);
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(from: &[f32; LANES]) -> __m512 {
    // SAFETY: the array is as long as the vector, and the load needs no alignment.
    unsafe { _mm512_loadu_ps(from.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(to: &mut [f32; LANES], value: __m512) {
    // SAFETY: the array is as long as the vector, and the store needs no alignment.
    unsafe { _mm512_storeu_ps(to.as_mut_ptr(), value) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_bytes(from: &[u8; 64]) -> __m512i {
    // SAFETY: the array is as long as the vector, and the load needs no alignment.
    unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
}
