//! Loops over single values: bodies that are inlined into a caller compiled for some features and vectorised there.
//!
//! Sums go over 16 lanes that are added in one order, so that the width of the vectors does not change the result;
//! what is left between kernels is whether a product is rounded before it is added (`FUSED`).

use crate::companding::compand;
use crate::{ENTRIES, HOP, LATENT};

/// Keeps logarithms of silence finite; training uses the same.
const LOG_FLOOR: f32 = 1e-7;
/// Keeps the norm of silence finite; training uses the same.
const NORM_FLOOR: f32 = 1e-2;
const LANES: usize = 16;

#[inline(always)]
pub(super) fn spectrum([cosine, sine]: [&[f32]; 2], features: &mut [f32], frame: &mut [f32]) {
    let (first, rest) = features.split_at_mut(HOP);
    let (second, third) = rest.split_at_mut(HOP);
    let inputs = cosine.iter().zip(sine);
    let outputs = first.iter_mut().zip(second).zip(third).zip(frame);
    for ((&c, &s), (((first, second), third), frame)) in inputs.zip(outputs) {
        let companded = compand(c);
        *frame = companded;
        *first = companded;
        *second = compand(s);
        *third = ln(c * c + s * s + LOG_FLOOR) * 0.25 + 2.0;
    }
}

/// Natural logarithm of a normal positive number to 1e-7 relative: Moshier's polynomial (Cephes `logf`), without
/// branches.
#[inline(always)]
fn ln(x: f32) -> f32 {
    let bits = x.to_bits();
    // The mantissa in sqrt(1/2)..sqrt(2).
    let shifted = bits.wrapping_sub(0x3f35_04f3);
    let exponent = (shifted as i32 >> 23) as f32;
    let m = f32::from_bits((shifted & 0x007f_ffff) + 0x3f35_04f3) - 1.0;
    let square = m * m;
    let mut p = 0.070_376_84_f32;
    for c in [
        -1.151_461e-1f32,
        1.167_699_9e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_7e-1,
        2.000_071_5e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ] {
        p = p * m + c;
    }
    let small = p * m * square - 0.5 * square - 2.121_944_4e-4 * exponent;
    m + small + 0.693_359_4 * exponent
}

#[inline(always)]
pub(super) fn branch<const FUSED: bool>(
    depth: &[f32],
    ring: &[f32],
    newest: usize,
    dilation: usize,
    out: &mut [f32],
) {
    let width = out.len();
    let (kernel, rows) = (depth.len() / width, ring.len() / width);
    out.fill(0.0);
    for (k, weights) in depth.chunks_exact(width).enumerate() {
        let row = (newest + rows - (kernel - 1 - k) * dilation) % rows;
        let past = &ring[row * width..][..width];
        for ((sum, &value), &weight) in out.iter_mut().zip(past).zip(weights) {
            *sum = fused::<FUSED>(value, weight, *sum);
        }
    }
    let scale = 1.0 / (square_sum::<FUSED>(out) / width as f32 + NORM_FLOOR).sqrt();
    out.iter_mut().for_each(|v| *v *= scale);
}

#[inline(always)]
pub(super) fn swish(x: &mut [f32]) {
    for v in x {
        *v *= (*v + 3.0).clamp(0.0, 6.0) * (1.0 / 6.0);
    }
}

#[inline(always)]
pub(super) fn below(values: &[f32], limit: f32, hits: &mut [u16]) -> usize {
    let mut found = 0;
    for (at, chunk) in values.as_chunks::<LANES>().0.iter().enumerate() {
        let mut mask = 0u32;
        for (lane, &value) in chunk.iter().enumerate() {
            mask |= u32::from(value <= limit) << lane;
        }
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

#[inline(always)]
pub(super) fn count(values: &[f32], limit: f32) -> usize {
    values.iter().filter(|&&value| value <= limit).count()
}

/// Both sides of a hit.
#[inline(always)]
pub(super) fn pair<'a>(
    residuals: &'a [[f32; LATENT]],
    entries: &'a [[f32; LATENT]],
    hit: u16,
) -> (&'a [f32; LATENT], &'a [f32; LATENT]) {
    let hit = usize::from(hit);
    (&residuals[hit / ENTRIES], &entries[hit % ENTRIES])
}

pub(super) fn distances(
    residuals: &[[f32; LATENT]],
    entries: &[[f32; LATENT]],
    hits: &[u16],
    out: &mut [f32],
) {
    for (out, &hit) in out.iter_mut().zip(hits) {
        let (a, b) = pair(residuals, entries, hit);
        let mut lanes = [0.0f32; LANES];
        for (a, b) in a.as_chunks::<LANES>().0.iter().zip(b.as_chunks::<LANES>().0) {
            for ((sum, a), b) in lanes.iter_mut().zip(a).zip(b) {
                *sum += (a - b) * (a - b);
            }
        }
        *out = 0.5 * total(lanes);
    }
}

#[inline(always)]
pub(super) fn square_sum<const FUSED: bool>(x: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    // Widths are multiples of 32, which the model's loader checks.
    for chunk in x.as_chunks::<LANES>().0 {
        for (sum, &v) in lanes.iter_mut().zip(chunk) {
            *sum = fused::<FUSED>(v, v, *sum);
        }
    }
    total(lanes)
}

#[inline(always)]
fn total(lanes: [f32; LANES]) -> f32 {
    let mut eight: [f32; 8] = std::array::from_fn(|i| lanes[i] + lanes[i + 8]);
    for half in [4, 2, 1] {
        for i in 0..half {
            eight[i] += eight[i + half];
        }
    }
    eight[0]
}

#[inline(always)]
fn fused<const FUSED: bool>(a: f32, b: f32, sum: f32) -> f32 {
    if FUSED { a.mul_add(b, sum) } else { a * b + sum }
}

/// Instances of all bodies for a feature set, under their own names.
#[cfg(target_arch = "x86_64")]
macro_rules! compile_for {
    ($features:literal) => {
        use crate::kernels::elementwise;

        #[target_feature(enable = $features)]
        fn spectrum(both: [&[f32]; 2], features: &mut [f32], frame: &mut [f32]) {
            elementwise::spectrum(both, features, frame);
        }

        #[target_feature(enable = $features)]
        fn branch(depth: &[f32], ring: &[f32], newest: usize, dilation: usize, out: &mut [f32]) {
            elementwise::branch::<true>(depth, ring, newest, dilation, out);
        }

        #[target_feature(enable = $features)]
        fn swish(x: &mut [f32]) {
            elementwise::swish(x);
        }

        #[target_feature(enable = $features)]
        fn square_sum(x: &[f32]) -> f32 {
            elementwise::square_sum::<true>(x)
        }
    };
}
#[cfg(target_arch = "x86_64")]
pub(super) use compile_for;

#[cfg(test)]
mod tests {
    use super::super::{Kernel, Table};
    use super::*;

    fn noise(n: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        (0..n)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state as f32 / u32::MAX as f32 * 2.0 - 1.0
            })
            .collect()
    }

    #[test]
    fn the_logarithm_is_right_over_the_whole_range_of_powers() {
        let mut x = 1e-7f32;
        while x < 1e6 {
            assert!(
                (ln(x) - x.ln()).abs() < 2e-6 * x.ln().abs().max(1.0),
                "ln {x}: {} for {}",
                ln(x),
                x.ln()
            );
            x *= 1.003;
        }
    }

    #[test]
    fn every_kernel_agrees_with_the_portable_one_value_by_value() {
        let oracle = Kernel::Portable.table().expect("always there");
        let near = |a: &[f32], b: &[f32]| {
            a.iter()
                .zip(b)
                .all(|(a, b)| (a - b).abs() <= 1e-5 * b.abs().max(1.0))
        };
        for kernel in Kernel::ALL {
            let Some(table) = kernel.table() else { continue };
            let both = noise(2 * HOP, 1);
            let run = |t: &Table| {
                let (mut features, mut frame) = (vec![0.0; 3 * HOP], vec![0.0; HOP]);
                t.spectrum([&both[..HOP], &both[HOP..]], &mut features, &mut frame);
                features.extend(frame);
                features
            };
            assert!(near(&run(table), &run(oracle)), "spectrum, {kernel}");
            let (depth, ring) = (noise(5 * 96, 2), noise(10 * 96, 3));
            for newest in 0..10 {
                let run = |t: &Table| {
                    let mut out = vec![0.0; 96];
                    t.branch(&depth, &ring, newest, 2, &mut out);
                    out
                };
                assert!(near(&run(table), &run(oracle)), "branch, {kernel}");
            }
            let run = |t: &Table| {
                let mut x: Vec<f32> = both.iter().map(|v| v * 5.0).collect();
                t.swish(&mut x);
                x
            };
            assert!(near(&run(table), &run(oracle)), "swish, {kernel}");
            let vectors: Vec<[f32; LATENT]> = noise(40 * LATENT, 5).as_chunks().0.to_vec();
            let hits: Vec<u16> = (0..37).map(|n| (n % 3) * ENTRIES as u16 + n % 40).collect();
            let run = |t: &Table| {
                let mut out = vec![0.0; hits.len()];
                t.distances(&vectors[37..], &vectors, &hits, &mut out);
                out
            };
            assert!(near(&run(table), &run(oracle)), "distances, {kernel}");
            assert!(
                near(&[table.square_sum(&both)], &[oracle.square_sum(&both)]),
                "square sum, {kernel}"
            );
            let mut values = noise(1024, 7);
            values[17] = f32::NAN;
            for limit in [-2.0, -0.99, 0.0, 2.0] {
                let run = |t: &Table| {
                    let mut hits = [u16::MAX; 40];
                    (t.below(&values, limit, &mut hits), hits)
                };
                assert_eq!(run(table), run(oracle), "below, {kernel}");
                let plain = values.iter().filter(|&&v| v <= limit).count();
                assert_eq!(run(oracle).0, plain);
                assert_eq!(table.count(&values, limit), plain);
            }
        }
    }
}
