//! One sample rate to another, streaming: windowed sinc, one filter for each phase of the ratio.
//!
//! Its output is in time with its input and just as long, whatever pieces the input comes in; a library's block
//! resampler would bring its delay and its block sizes along.

use std::f64::consts::PI;

/// Zero crossings of the sinc on each side.
const CROSSINGS: f64 = 32.0;
/// Pass band, as a share of the lower of the two Nyquist rates.
const PASS: f64 = 0.95;
/// Coefficients at most, 4 MiB. A ratio with more phases than fit takes the nearest: with odd rates near 48 kHz that
/// is wrong by a thirty-thousandth of a sample.
const COEFFICIENTS: usize = 1 << 20;
/// Sums kept side by side, for the processor's sake.
const LANES: usize = 8;

/// A stream of samples that changes its rate.
pub(crate) struct Resampler {
    from: u64,
    to: u64,
    /// Taps on each side.
    half: usize,
    /// Filters, one after another, for the phases 0, 1/`phases`, …
    filters: Vec<f32>,
    phases: u64,
    /// Input that is still needed, from position `begin` on. Before the beginning there is silence.
    window: Vec<f32>,
    begin: i64,
    /// Samples taken and given.
    taken: u64,
    given: u64,
}

impl Resampler {
    /// From one rate to another, both over 0.
    pub(crate) fn new(from: u32, to: u32) -> Self {
        let common = gcd(from, to);
        let (step, exact) = (u64::from(from / common), u64::from(to / common));
        let cutoff = PASS * f64::from(to.min(from)) / f64::from(from);
        let half = ((CROSSINGS / cutoff).ceil() as usize).next_multiple_of(LANES / 2);
        let phases = exact.min((COEFFICIENTS / (2 * half)).max(1) as u64);
        let filters = (0..phases)
            .flat_map(|phase| filter(phase as f64 / phases as f64, half, cutoff))
            .collect();
        Self {
            from: step,
            to: exact,
            half,
            filters,
            phases,
            window: vec![0.0; half - 1],
            begin: 1 - half as i64,
            taken: 0,
            given: 0,
        }
    }

    /// Takes samples, appends what they complete.
    pub(crate) fn push(&mut self, input: &[f32], out: &mut Vec<f32>) {
        self.window.extend_from_slice(input);
        self.taken += input.len() as u64;
        self.give(u64::MAX, out);
    }

    /// Appends the rest: in all, the length of the input at the new rate, rounded up.
    pub(crate) fn finish(&mut self, out: &mut Vec<f32>) {
        self.window.resize(self.window.len() + self.half + 1, 0.0);
        self.give(length(self.taken, self.from, self.to), out);
    }

    fn give(&mut self, until: u64, out: &mut Vec<f32>) {
        let taps = 2 * self.half;
        while self.given < until {
            let (mut at, rest) = (self.given * self.from / self.to, self.given * self.from % self.to);
            let mut phase = (rest * self.phases + self.to / 2) / self.to;
            if phase == self.phases {
                (at, phase) = (at + 1, 0);
            }
            // Tap k weighs position at + k + 1 - half; the window never begins later than that.
            let first = (at as i64 + 1 - self.half as i64 - self.begin) as usize;
            let Some(heard) = self.window.get(first..first + taps) else {
                break;
            };
            out.push(dot(heard, &self.filters[phase as usize * taps..][..taps]));
            self.given += 1;
        }
        let next = (self.given * self.from / self.to) as i64 + 1 - self.half as i64;
        let done = ((next - self.begin).max(0) as usize).min(self.window.len());
        self.window.drain(..done);
        self.begin += done as i64;
    }
}

/// Samples that `count` become, rounded up.
pub(crate) fn length(count: u64, from: u64, to: u64) -> u64 {
    // Never overflows: a file that long does not exist.
    (u128::from(count) * u128::from(to)).div_ceil(u128::from(from)) as u64
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    for (a, b) in a.as_chunks::<LANES>().0.iter().zip(b.as_chunks::<LANES>().0) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum()
}

/// Taps for a position `offset` of a sample past the middle, of unit gain at DC.
fn filter(offset: f64, half: usize, cutoff: f64) -> impl Iterator<Item = f32> {
    let taps: Vec<f64> = (0..2 * half)
        .map(|k| {
            let t = k as f64 + 1.0 - half as f64 - offset;
            let sinc = if t == 0.0 {
                cutoff
            } else {
                (PI * cutoff * t).sin() / (PI * t)
            };
            // Blackman-Harris: side lobes under -92 dB.
            let u = PI * (t / half as f64).clamp(-1.0, 1.0);
            let window = 0.35875 + 0.48829 * u.cos() + 0.14128 * (2.0 * u).cos() + 0.01168 * (3.0 * u).cos();
            sinc * window
        })
        .collect();
    let gain: f64 = taps.iter().sum();
    taps.into_iter().map(move |w| (w / gain) as f32)
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f64, rate: u32, seconds: f64) -> Vec<f32> {
        (0..(f64::from(rate) * seconds) as usize)
            .map(|n| (2.0 * PI * hz * n as f64 / f64::from(rate)).sin() as f32)
            .collect()
    }

    fn resample(x: &[f32], from: u32, to: u32, piece: usize) -> Vec<f32> {
        let (mut resampler, mut out) = (Resampler::new(from, to), Vec::new());
        x.chunks(piece).for_each(|piece| resampler.push(piece, &mut out));
        resampler.finish(&mut out);
        out
    }

    #[test]
    fn a_tone_keeps_its_phase_and_level_from_every_rate_people_have() {
        let odd = [8_012, 11_127, 44_056, 47_952, 48_048, 192_001];
        for from in [
            8_000, 11_025, 12_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000, 192_000, 768_000,
        ]
        .into_iter()
        .chain(odd)
        {
            for to in [16_000, 48_000] {
                if from == to {
                    continue;
                }
                let y = resample(&tone(997.0, from, 0.5), from, to, 1_000);
                let want = tone(997.0, to, 0.51);
                let count = length((f64::from(from) * 0.5) as u64, from.into(), to.into());
                assert_eq!(y.len() as u64, count, "{from} to {to}");
                let edge = to as usize / 40;
                let worst = (edge..y.len() - edge)
                    .map(|n| (y[n] - want[n]).abs())
                    .fold(0.0, f32::max);
                assert!(worst < 2e-3, "{from} to {to} Hz: off by {worst}");
            }
        }
    }

    #[test]
    fn pieces_of_any_size_give_the_same_to_the_bit() {
        let x = tone(440.0, 44_100, 0.1);
        let whole = resample(&x, 44_100, 16_000, x.len());
        for piece in [1, 7, 160, 1_023] {
            assert_eq!(resample(&x, 44_100, 16_000, piece), whole, "pieces of {piece}");
        }
    }

    #[test]
    fn what_16_khz_cannot_hold_is_removed_and_not_folded() {
        let y = resample(&tone(9_500.0, 48_000, 0.5), 48_000, 16_000, 4_096);
        assert!(y[400..y.len() - 400].iter().all(|s| s.abs() < 2e-4));
    }

    #[test]
    fn nothing_and_next_to_nothing_pass() {
        assert!(resample(&[], 48_000, 16_000, 1).is_empty());
        assert_eq!(resample(&[0.5], 48_000, 16_000, 1).len(), 1);
        assert_eq!(resample(&[0.5], 4_000, 48_000, 1).len(), 12);
    }
}
