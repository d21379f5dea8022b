//! Whole-file sample rate conversion: windowed sinc, one filter per phase of the rational ratio.
//!
//! A streaming resampler would bring its delay and its block sizes into a place that has the whole file in hand.

use std::f64::consts::PI;

/// Zero crossings of the sinc on each side.
const CROSSINGS: f64 = 32.0;
/// Pass band, as a share of the lower of the two Nyquist rates.
const PASS: f64 = 0.95;

/// `x` at `to` Hz instead of `from` Hz, in time with it, values beyond the ends taken as silence.
pub(super) fn resample(x: &[f32], from: u32, to: u32) -> Vec<f32> {
    if from == to {
        return x.to_vec();
    }
    let common = gcd(from, to);
    let (step, phases) = ((from / common) as usize, (to / common) as usize);
    let cutoff = PASS * f64::from(to.min(from)) / f64::from(from);
    let half = (CROSSINGS / cutoff).ceil() as usize;
    let filters: Vec<Vec<f32>> = (0..phases)
        .map(|p| filter(p as f64 / phases as f64, half, cutoff))
        .collect();
    let count = (x.len() as u64 * u64::from(to)).div_ceil(u64::from(from)) as usize;
    (0..count)
        .map(|n| {
            let (at, phase) = (n * step / phases, n * step % phases);
            // Tap k weighs x[at + k + 1 - half].
            let first = (at + 1).saturating_sub(half);
            let skipped = first + half - (at + 1);
            let last = (at + 1 + half).min(x.len());
            let Some(heard) = x.get(first..last) else {
                return 0.0;
            };
            heard
                .iter()
                .zip(&filters[phase][skipped..])
                .map(|(x, w)| x * w)
                .sum()
        })
        .collect()
}

/// Taps for a position `offset` of a sample past the middle, of unit gain at DC.
fn filter(offset: f64, half: usize, cutoff: f64) -> Vec<f32> {
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
    taps.iter().map(|w| (w / gain) as f32).collect()
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

    #[test]
    fn a_tone_keeps_its_phase_and_level_from_every_usual_rate() {
        for from in [8_000, 11_025, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000] {
            let (y, want) = (
                resample(&tone(997.0, from, 0.5), from, 16_000),
                tone(997.0, 16_000, 0.5),
            );
            assert!(y.len().abs_diff(want.len()) <= 1, "{from}");
            for n in 400..want.len() - 400 {
                assert!(
                    (y[n] - want[n]).abs() < 2e-3,
                    "{from} Hz, sample {n}: {} for {}",
                    y[n],
                    want[n]
                );
            }
        }
    }

    #[test]
    fn what_16_khz_cannot_hold_is_removed_and_not_folded() {
        let y = resample(&tone(9_500.0, 48_000, 0.5), 48_000, 16_000);
        assert!(y[400..y.len() - 400].iter().all(|s| s.abs() < 2e-4));
    }

    #[test]
    fn nothing_and_next_to_nothing_pass() {
        assert!(resample(&[], 48_000, 16_000).is_empty());
        assert_eq!(resample(&[0.5], 48_000, 16_000).len(), 1);
    }
}
