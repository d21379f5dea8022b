//! Orthonormal MDCT and MDST with the sine window (Princen and Bradley 1986), 10 ms hops.
//!
//! A block of 320 samples is folded to 160 first, then transformed by matrix: at that length a fast transform does
//! not pay against the dense kernel.

use crate::HOP;
use crate::kernels::{Dense, Table};

/// Both transforms and the window.
pub(crate) struct Mdct {
    window: Vec<f32>,
    /// DCT-IV, its own inverse.
    cosine: Dense,
    /// DST-IV.
    sine: Dense,
}

impl Mdct {
    pub(crate) fn new(table: &'static Table) -> Self {
        let hop = HOP as f64;
        let basis = |kind: fn(f64) -> f64| {
            let rows: Vec<f32> = (0..HOP * HOP)
                .map(|at| {
                    let (k, n) = ((at / HOP) as f64, (at % HOP) as f64);
                    (kind(std::f64::consts::PI / hop * (n + 0.5) * (k + 0.5)) * (2.0 / hop).sqrt()) as f32
                })
                .collect();
            Dense::new(table, &rows, vec![0.0; HOP], HOP)
        };
        Self {
            window: (0..2 * HOP)
                .map(|n| (std::f64::consts::PI * (n as f64 + 0.5) / (2.0 * hop)).sin() as f32)
                .collect(),
            cosine: basis(f64::cos),
            sine: basis(f64::sin),
        }
    }

    /// Windows and folds a block of two hops for [`transform`](Self::transform), once per transform.
    pub(crate) fn fold(&self, block: &[f32], for_cosine: &mut [f32], for_sine: &mut [f32]) {
        const HALF: usize = HOP / 2;
        let windowed = |n: usize| block[n] * self.window[n];
        for i in 0..HALF {
            let (a, b) = (windowed(i), windowed(HOP - 1 - i));
            let (c, d) = (windowed(HOP + HALF - 1 - i), windowed(HOP + HALF + i));
            // The cosine is odd about the middle of the first half and even about that of the second, the sine the
            // other way round.
            for_cosine[HALF + i] = a - b;
            for_sine[HALF + i] = a + b;
            for_cosine[i] = -c - d;
            for_sine[i] = c - d;
        }
    }

    /// Folded rows to MDCT and MDST rows, each `[rows][HOP]`.
    pub(crate) fn transform(&self, rows: usize, folded: [&[f32]; 2], out: [&mut [f32]; 2]) {
        let [mdct, mdst] = out;
        self.cosine.apply(rows, folded[0], mdct);
        self.sine.apply(rows, folded[1], mdst);
    }

    /// MDCT rows to folded rows.
    pub(crate) fn inverse(&self, rows: usize, mdct: &[f32], folded: &mut [f32]) {
        self.cosine.apply(rows, mdct, folded);
    }

    /// Unfolds and windows a row: adds the first half to what `overlap` held, keeps the second half there.
    pub(crate) fn unfold(&self, folded: &[f32], overlap: &mut [f32], out: &mut [f32]) {
        const HALF: usize = HOP / 2;
        for i in 0..HALF {
            let (first, second) = (folded[HALF + i], folded[HOP - 1 - i]);
            out[i] = overlap[i] + first * self.window[i];
            out[HALF + i] = overlap[HALF + i] - second * self.window[HALF + i];
        }
        for i in 0..HALF {
            overlap[i] = -folded[HALF - 1 - i] * self.window[HOP + i];
            overlap[HALF + i] = -folded[i] * self.window[HOP + HALF + i];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kernel;

    fn sound(n: usize) -> Vec<f32> {
        (0..n)
            .map(|n| (n as f32 * 0.37).sin() * 0.5 + (n as f32 * 0.011).cos() * 0.2)
            .collect()
    }

    #[test]
    fn the_transforms_are_what_their_definitions_say() {
        let (x, hop) = (sound(2 * HOP), HOP as f64);
        for kernel in Kernel::ALL {
            let Some(table) = kernel.table() else { continue };
            let mdct = Mdct::new(table);
            let (mut a, mut b) = ([0.0; HOP], [0.0; HOP]);
            let (mut c, mut s) = ([0.0; HOP], [0.0; HOP]);
            mdct.fold(&x, &mut a, &mut b);
            mdct.transform(1, [&a, &b], [&mut c, &mut s]);
            for k in 0..HOP {
                let (mut cosine, mut sine) = (0.0, 0.0);
                for (n, &x) in x.iter().enumerate() {
                    let window = (std::f64::consts::PI * (n as f64 + 0.5) / (2.0 * hop)).sin();
                    let phase = std::f64::consts::PI / hop * (n as f64 + 0.5 + hop / 2.0) * (k as f64 + 0.5);
                    cosine += f64::from(x) * window * phase.cos() * (2.0 / hop).sqrt();
                    sine += f64::from(x) * window * phase.sin() * (2.0 / hop).sqrt();
                }
                assert!((f64::from(c[k]) - cosine).abs() < 1e-5, "{kernel}, MDCT {k}");
                assert!((f64::from(s[k]) - sine).abs() < 1e-5, "{kernel}, MDST {k}");
            }
        }
    }

    #[test]
    fn analysis_and_synthesis_reconstruct_one_hop_late() {
        let x = sound(HOP * 6);
        let mdct = Mdct::new(Kernel::best().table().expect("it is detected"));
        let mut padded = vec![0.0; HOP];
        padded.extend(&x);
        let (mut overlap, mut y) = ([0.0; HOP], vec![0.0; HOP * 6]);
        for block in 0..6 {
            let (mut a, mut b) = ([0.0; HOP], [0.0; HOP]);
            let (mut c, mut s) = ([0.0; HOP], [0.0; HOP]);
            mdct.fold(&padded[block * HOP..(block + 2) * HOP], &mut a, &mut b);
            mdct.transform(1, [&a, &b], [&mut c, &mut s]);
            mdct.inverse(1, &c, &mut a);
            mdct.unfold(&a, &mut overlap, &mut y[block * HOP..][..HOP]);
        }
        for n in 0..x.len() - HOP {
            assert!((y[n + HOP] - x[n]).abs() < 1e-5, "sample {n}");
        }
    }
}
