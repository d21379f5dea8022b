//! 48 kHz to 16 kHz and back, streaming: one linear-phase low-pass, split into its three phases.

use std::f32::consts::PI;

/// Taps on each side of the centre, at 48 kHz.
const HALF: usize = 96;
const TAPS: usize = 2 * HALF + 1;

/// Delay of each direction, in samples at 48 kHz: 2 ms.
pub(crate) const DELAY_48K: usize = HALF;

/// Middle of the slope at 48 kHz: with the window below all up to 7 kHz passes, which is as far as wide-band scores
/// listen, and images from 8 kHz on are gone.
const CUTOFF_HZ: f32 = 7_500.0;

/// Shape of the Kaiser window for 70 dB (Kaiser and Schafer, 1980): 0.1102 × (70 − 8.7).
const BETA: f32 = 6.76;

fn low_pass() -> [f32; TAPS] {
    let mut taps = [0.0; TAPS];
    let omega = 2.0 * CUTOFF_HZ / 48_000.0;
    for (index, tap) in taps.iter_mut().enumerate() {
        let x = index as f32 - HALF as f32;
        let sinc = if x == 0.0 {
            omega
        } else {
            (PI * omega * x).sin() / (PI * x)
        };
        let part = x / HALF as f32;
        *tap = sinc * bessel(BETA * (1.0 - part * part).max(0.0).sqrt()) / bessel(BETA);
    }
    let sum: f32 = taps.iter().sum();
    taps.map(|tap| tap / sum)
}

/// Modified Bessel function of the first kind, order 0, by its power series.
fn bessel(x: f32) -> f32 {
    let (mut sum, mut term) = (1.0, 1.0);
    for k in 1..25 {
        term *= (x / (2 * k) as f32).powi(2);
        sum += term;
    }
    sum
}

/// 48 kHz to 16 kHz.
pub(crate) struct Down {
    taps: [f32; TAPS],
    history: [f32; TAPS - 1],
    work: Vec<f32>,
}

impl Down {
    pub(crate) fn new() -> Self {
        Self {
            taps: low_pass(),
            history: [0.0; TAPS - 1],
            work: Vec::new(),
        }
    }

    /// `input` holds three samples for each of `output`.
    pub(crate) fn process(&mut self, input: &[f32], output: &mut [f32]) {
        assert_eq!(input.len(), 3 * output.len(), "three samples in for one out");
        self.work.clear();
        self.work.extend_from_slice(&self.history);
        self.work.extend_from_slice(input);
        for (index, out) in output.iter_mut().enumerate() {
            let window = &self.work[3 * index..3 * index + TAPS];
            *out = window
                .iter()
                .zip(self.taps.iter().rev())
                .map(|(x, tap)| x * tap)
                .sum();
        }
        let tail = self.work.len() - (TAPS - 1);
        self.history.copy_from_slice(&self.work[tail..]);
    }
}

/// 16 kHz to 48 kHz.
pub(crate) struct Up {
    phases: [Vec<f32>; 3],
    history: Vec<f32>,
    work: Vec<f32>,
}

impl Up {
    pub(crate) fn new() -> Self {
        let taps = low_pass();
        let phases: [Vec<f32>; 3] =
            [0, 1, 2].map(|phase| taps[phase..].iter().step_by(3).map(|tap| 3.0 * tap).collect());
        let longest = phases[0].len();
        Self {
            phases,
            history: vec![0.0; longest - 1],
            work: Vec::new(),
        }
    }

    pub(crate) fn reset(&mut self) {
        self.history.fill(0.0);
    }

    /// `output` holds three samples for each of `input`.
    pub(crate) fn process(&mut self, input: &[f32], output: &mut [f32]) {
        assert_eq!(output.len(), 3 * input.len(), "three samples out for one in");
        self.work.clear();
        self.work.extend_from_slice(&self.history);
        self.work.extend_from_slice(input);
        let reach = self.history.len();
        for (index, out) in output.chunks_exact_mut(3).enumerate() {
            let newest = index + reach;
            for (sample, phase) in out.iter_mut().zip(&self.phases) {
                *sample = phase
                    .iter()
                    .enumerate()
                    .map(|(back, tap)| tap * self.work[newest - back])
                    .sum();
            }
        }
        let tail = self.work.len() - reach;
        self.history.copy_from_slice(&self.work[tail..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn down_and_up_again_is_the_same_tone_later_by_both_delays() {
        let tone = |n: i64| (2.0 * std::f64::consts::PI * 1000.0 * n as f64 / 48_000.0).sin() as f32;
        let input: Vec<f32> = (0..9600).map(tone).collect();
        let (mut down, mut up) = (Down::new(), Up::new());
        let mut output = Vec::new();
        for block in input.chunks(480) {
            let mut narrow = [0.0; 160];
            down.process(block, &mut narrow);
            let mut wide = [0.0; 480];
            up.process(&narrow, &mut wide);
            output.extend_from_slice(&wide);
        }
        let worst = (1000..9600)
            .map(|n| (output[n] - tone(n as i64 - 2 * DELAY_48K as i64)).abs())
            .fold(0.0, f32::max);
        assert!(worst < 1e-3, "worst deviation {worst}");
    }

    #[test]
    fn all_that_wide_band_scores_listen_to_passes() {
        for hz in [100.0, 4_000.0, 6_900.0] {
            let input: Vec<f32> = (0..9600)
                .map(|n| (2.0 * std::f32::consts::PI * hz * n as f32 / 48_000.0).sin())
                .collect();
            let (mut narrow, mut wide) = (vec![0.0; 3200], vec![0.0; 9600]);
            Down::new().process(&input, &mut narrow);
            Up::new().process(&narrow, &mut wide);
            let power = wide[1_000..].iter().map(|x| x * x).sum::<f32>() / 8_600.0;
            assert!((power - 0.5).abs() < 0.01, "{hz} Hz: {power}");
        }
    }

    #[test]
    fn what_16_khz_cannot_hold_is_removed_rather_than_folded() {
        let input: Vec<f32> = (0..9600)
            .map(|n| (2.0 * std::f32::consts::PI * 11_000.0 * n as f32 / 48_000.0).sin())
            .collect();
        let mut output = vec![0.0; 3200];
        Down::new().process(&input, &mut output);
        let loudest = output[200..].iter().fold(0.0f32, |a, b| a.max(b.abs()));
        assert!(loudest < 1e-3, "folded to {loudest}");
    }
}
