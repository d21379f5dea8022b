use realfft::num_complex::Complex;

use crate::spectrum::{BINS, WINDOW};

/// Triangular bands on the mel scale, 0 to 8 kHz, for 16 kHz audio.
pub(crate) struct Bands {
    /// First bin and weights of each band.
    filters: Vec<(usize, Vec<f32>)>,
    /// Centre of each band in Hz.
    pub(crate) centres: Vec<f32>,
}

impl Bands {
    pub(crate) fn mel(count: usize) -> Self {
        const HZ_PER_BIN: f32 = 16_000.0 / WINDOW as f32;
        let mel = |hz: f32| 2595.0 * (1.0 + hz / 700.0).log10();
        let hz = |mel: f32| 700.0 * (10f32.powf(mel / 2595.0) - 1.0);
        let top = mel(8000.0);
        let edge = |n: usize| hz(top * n as f32 / (count + 1) as f32);
        let filters = (0..count)
            .map(|band| {
                let (low, centre, high) = (edge(band), edge(band + 1), edge(band + 2));
                let weight = |bin: usize| {
                    let at = bin as f32 * HZ_PER_BIN;
                    ((at - low) / (centre - low))
                        .min((high - at) / (high - centre))
                        .max(0.0)
                };
                let first = (0..BINS).find(|&bin| weight(bin) > 0.0);
                match first {
                    Some(first) => (
                        first,
                        (first..BINS)
                            .map(weight)
                            .take_while(|&weight| weight > 0.0)
                            .collect(),
                    ),
                    // Narrower than a bin: the nearest one stands for it.
                    None => ((centre / HZ_PER_BIN).round() as usize, vec![1.0]),
                }
            })
            .collect();
        Self {
            filters,
            centres: (0..count).map(|band| edge(band + 1)).collect(),
        }
    }

    /// Power per band.
    pub(crate) fn powers(&self, bins: &[Complex<f32>], out: &mut [f32]) {
        for (slot, (first, weights)) in out.iter_mut().zip(&self.filters) {
            *slot = bins[*first..]
                .iter()
                .zip(weights)
                .map(|(bin, weight)| bin.norm_sqr() * weight)
                .sum();
        }
    }
}
