//! 48 kHz to 16 kHz and back, streaming: one linear-phase low-pass, split into its three phases.

use std::f32::consts::PI;

/// Taps on each side of the centre, at 48 kHz.
const HALF: usize = 48;
const TAPS: usize = 2 * HALF + 1;

/// Delay of each direction, in samples at 48 kHz.
pub(crate) const DELAY_48K: usize = HALF;

/// Cut-off at 48 kHz: speech reaches to 7.4 kHz, images begin at 8 kHz.
const CUTOFF_HZ: f32 = 7_500.0;

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
        let phase = 2.0 * PI * index as f32 / (TAPS - 1) as f32;
        let window = 0.42 - 0.5 * phase.cos() + 0.08 * (2.0 * phase).cos();
        *tap = sinc * window;
    }
    let sum: f32 = taps.iter().sum();
    taps.map(|tap| tap / sum)
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
