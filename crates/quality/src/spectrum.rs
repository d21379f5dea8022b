use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

/// Samples of one analysis window: 32 ms at 16 kHz.
pub(crate) const WINDOW: usize = 512;
/// Bins of its spectrum.
pub(crate) const BINS: usize = WINDOW / 2 + 1;

/// Hann-windowed spectrum of one stretch of samples; owns its buffers.
pub(crate) struct Spectrum {
    fft: Arc<dyn RealToComplex<f32>>,
    window: Vec<f32>,
    input: Vec<f32>,
    scratch: Vec<Complex<f32>>,
}

impl Spectrum {
    pub(crate) fn new() -> Self {
        let fft = RealFftPlanner::new().plan_fft_forward(WINDOW);
        // Scaled so that the squared magnitudes of all bins add up to the mean square of the samples.
        let hann = |n: usize| 0.5 - 0.5 * (std::f32::consts::TAU * n as f32 / WINDOW as f32).cos();
        let energy: f32 = (0..WINDOW).map(|n| hann(n) * hann(n)).sum();
        let scale = (2.0 / (WINDOW as f32 * energy)).sqrt();
        Self {
            window: (0..WINDOW).map(|n| hann(n) * scale).collect(),
            input: fft.make_input_vec(),
            scratch: fft.make_scratch_vec(),
            fft,
        }
    }

    /// `samples` is `WINDOW` long, `bins` `BINS`.
    pub(crate) fn transform(&mut self, samples: &[f32], bins: &mut [Complex<f32>]) {
        for ((slot, &sample), &weight) in self.input.iter_mut().zip(samples).zip(&self.window) {
            *slot = sample * weight;
        }
        self.fft
            .process_with_scratch(&mut self.input, bins, &mut self.scratch)
            .expect("all three buffers have the lengths of the plan");
    }
}

/// An empty spectrum.
pub(crate) fn bins() -> Vec<Complex<f32>> {
    vec![Complex::default(); BINS]
}
