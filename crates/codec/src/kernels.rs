//! The inner loops, one set per processor family. The set is chosen once, when a model is loaded, and every layer of
//! that model calls through it; the portable set is always there and is the oracle of the others' tests.
//!
//! All `unsafe` of the codec lies below this module: loads and stores through pointers whose bounds the safe callers
//! in [`dense`] and [`book`] assert, and calls into functions compiled for features that [`Kernel::detected`] saw.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod book;
pub(crate) mod dense;
mod elementwise;
mod half;
mod portable;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod simd128;

use std::fmt;

use book::{Book, LANES, Row};
pub(crate) use dense::Dense;
pub(crate) use half::half_to_single;

use crate::LATENT;

/// Which set of inner loops a model runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// Plain Rust: runs everywhere, the oracle of the rest.
    Portable,
    /// x86-64 with AVX2, FMA and F16C: 256-bit vectors, f16 weights, 16-bit search.
    Avx2,
    /// x86-64 with AVX-512 F, BW, VL and VNNI: 512-bit vectors, f16 weights, 8-bit search.
    Avx512,
    /// WebAssembly with 128-bit vectors.
    Simd128,
}

impl Kernel {
    /// All, slowest first.
    pub const ALL: [Self; 4] = [Self::Portable, Self::Simd128, Self::Avx2, Self::Avx512];

    /// Whether this processor runs it.
    pub fn detected(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => {
                use std::arch::is_x86_feature_detected as has;
                has!("avx2") && has!("fma") && has!("f16c")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                use std::arch::is_x86_feature_detected as has;
                Self::Avx2.detected()
                    && has!("avx512f")
                    && has!("avx512bw")
                    && has!("avx512vl")
                    && has!("avx512vnni")
            }
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Self::Simd128 => true,
            #[allow(unreachable_patterns)]
            _ => false,
        }
    }

    /// The fastest that this processor runs.
    pub fn best() -> Self {
        Self::ALL
            .into_iter()
            .rev()
            .find(|kernel| kernel.detected())
            .unwrap_or(Self::Portable)
    }

    /// Name in benchmarks.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Simd128 => "simd128",
        }
    }

    /// The set itself; `None` when this processor or this build does not have it.
    pub(crate) fn table(self) -> Option<&'static Table> {
        if !self.detected() {
            return None;
        }
        match self {
            Self::Portable => Some(&portable::TABLE),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => Some(&avx2::TABLE),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => Some(&avx512::TABLE),
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Self::Simd128 => Some(&simd128::TABLE),
            #[allow(unreachable_patterns)]
            _ => None,
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One set of inner loops.
///
/// Contract of every pointer in it: the processor has the features of `kernel`, which [`Kernel::table`] checked, and
/// the slices have the shapes that the callers in this module assert.
#[allow(clippy::type_complexity)] // each type is spelt once
pub(crate) struct Table {
    pub(crate) kernel: Kernel,
    /// Whether `dense` reads f16 weights.
    halves: bool,
    /// Whether `costs` reads 8-bit entries rather than 16-bit ones.
    bytes: bool,
    dense: unsafe fn(&Dense, usize, &[f32], &mut [f32]),
    costs: unsafe fn(&Book, &[Row], &mut [f32], &mut [[f32; LANES]]),
    spectrum: unsafe fn([&[f32]; 2], &mut [f32], &mut [f32]),
    branch: unsafe fn(&[f32], &[f32], usize, usize, &mut [f32]),
    swish: unsafe fn(&mut [f32]),
    below: unsafe fn(&[f32], f32, &mut [u16]) -> usize,
    count: unsafe fn(&[f32], f32) -> usize,
    distances: unsafe fn(&[[f32; LATENT]], &[[f32; LATENT]], &[u16], &mut [f32]),
    square_sum: unsafe fn(&[f32]) -> f32,
}

/// Safe faces of the elementwise loops; they keep their bounds by themselves, only the features are the contract.
impl Table {
    /// MDCT and MDST of a hop to the encoder's features (companded both, log power) and to companded MDCT alone.
    pub(crate) fn spectrum(&self, both: [&[f32]; 2], features: &mut [f32], frame: &mut [f32]) {
        // SAFETY: a table is only handed out where its features were detected (`Kernel::table`).
        unsafe { (self.spectrum)(both, features, frame) }
    }

    /// One row of a causal depthwise convolution over a ring of past rows, normed. `newest` is the ring's row of the
    /// present step.
    pub(crate) fn branch(
        &self,
        depth: &[f32],
        ring: &[f32],
        newest: usize,
        dilation: usize,
        out: &mut [f32],
    ) {
        // SAFETY: as above.
        unsafe { (self.branch)(depth, ring, newest, dilation, out) }
    }

    /// Hard swish, in place.
    pub(crate) fn swish(&self, x: &mut [f32]) {
        // SAFETY: as above.
        unsafe { (self.swish)(x) }
    }

    /// Writes the positions of values not above the limit, as many as `hits` holds; answers how many there are.
    pub(crate) fn below(&self, values: &[f32], limit: f32, hits: &mut [u16]) -> usize {
        // SAFETY: as above.
        unsafe { (self.below)(values, limit, hits) }
    }

    /// How many values are not above the limit.
    pub(crate) fn count(&self, values: &[f32], limit: f32) -> usize {
        // SAFETY: as above.
        unsafe { (self.count)(values, limit) }
    }

    /// Half the squared distance between residual and entry for each hit, which is `residual * ENTRIES + entry`.
    pub(crate) fn distances(
        &self,
        residuals: &[[f32; LATENT]],
        entries: &[[f32; LATENT]],
        hits: &[u16],
        out: &mut [f32],
    ) {
        // SAFETY: as above.
        unsafe { (self.distances)(residuals, entries, hits, out) }
    }

    /// Sum of squares over the whole sixteens of `x`.
    pub(crate) fn square_sum(&self, x: &[f32]) -> f32 {
        // SAFETY: as above.
        unsafe { (self.square_sum)(x) }
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kernels {}", self.kernel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_kernel_is_one_that_runs_here() {
        assert!(Kernel::best().detected());
        assert!(Kernel::Portable.table().is_some());
        for kernel in Kernel::ALL {
            assert_eq!(kernel.table().is_some(), kernel.detected());
        }
    }
}
