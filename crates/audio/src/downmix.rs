//! Many channels to one, a tenth of a second at a time, without cancelling a voice and without clipping.

use crate::layout::{Layout, Side};

/// Of the new tenth of a second in the running comparison of the two sides.
const NEWEST: f32 = 0.2;

/// Correlation of the sides below which they would cancel each other, and above which they no longer do.
const OPPOSED: f32 = -0.8;
const TOGETHER: f32 = -0.3;

/// Power of a side under which nothing is decided: -80 dBFS.
const SILENT: f32 = 1e-8;

/// Beyond this, squares and sums would overflow; floating-point files may hold anything.
const LOUDEST: f32 = 1e9;

/// How fast the level comes back after a peak, per tenth of a second: 1 dB.
const RELEASE: f32 = 1.122;

/// Channels in, mono out.
pub(crate) struct Downmix {
    layout: Layout,
    /// Frames taken together.
    block: usize,
    middle: Vec<f32>,
    left: Vec<f32>,
    right: Vec<f32>,
    opposition: Opposition,
    /// The level, 1 unless peaks had to be made smaller.
    gain: f32,
}

impl Downmix {
    pub(crate) fn new(layout: Layout, rate: u32) -> Self {
        Self {
            layout,
            block: (rate as usize / 10).max(1),
            middle: Vec::new(),
            left: Vec::new(),
            right: Vec::new(),
            opposition: Opposition::default(),
            gain: 1.0,
        }
    }

    /// Takes whole frames, appends what is complete.
    pub(crate) fn push(&mut self, interleaved: &[f32], out: &mut Vec<f32>) {
        for frame in interleaved.chunks_exact(self.layout.len()) {
            let (mut middle, mut left, mut right) = (0.0, 0.0, 0.0);
            for (sample, part) in frame.iter().zip(&self.layout) {
                let sum = match part.side {
                    Side::Middle => &mut middle,
                    Side::Left => &mut left,
                    Side::Right => &mut right,
                };
                *sum += sample.clamp(-LOUDEST, LOUDEST) * part.weight;
            }
            self.middle.push(middle);
            self.left.push(left);
            self.right.push(right);
            if self.middle.len() == self.block {
                self.flush(out);
            }
        }
    }

    /// Appends what is left.
    pub(crate) fn flush(&mut self, out: &mut Vec<f32>) {
        let begin = out.len();
        let signs = self.opposition.signs(&self.left, &self.right);
        let sides = self.left.iter().zip(&self.right).zip(signs);
        out.extend(
            self.middle
                .iter()
                .zip(sides)
                .map(|(middle, ((left, right), sign))| middle + left + sign * right),
        );
        self.limit(&mut out[begin..]);
        self.middle.clear();
        self.left.clear();
        self.right.clear();
    }

    /// Peaks over full scale make their whole surroundings smaller instead of being cut off.
    fn limit(&mut self, block: &mut [f32]) {
        let peak = block.iter().fold(1.0f32, |peak, sample| peak.max(sample.abs()));
        let before = self.gain;
        self.gain = (before * RELEASE).min(1.0 / peak);
        if before == 1.0 && self.gain == 1.0 {
            return;
        }
        let change = (block.len() / 8).max(1);
        for (n, sample) in block.iter_mut().enumerate() {
            let part = (n as f32 / change as f32).min(1.0);
            *sample = (*sample * (before + part * (self.gain - before))).clamp(-1.0, 1.0);
        }
    }
}

/// Whether one side is the other turned upside down, as a wrongly soldered cable or a balanced line split in two
/// makes it: their sum would be silence, so their difference is taken.
struct Opposition {
    left: f32,
    right: f32,
    common: f32,
    sign: f32,
    decided: bool,
}

impl Default for Opposition {
    fn default() -> Self {
        Self {
            left: 0.0,
            right: 0.0,
            common: 0.0,
            sign: 1.0,
            decided: false,
        }
    }
}

impl Opposition {
    /// What to multiply the right side with, sample by sample; a change is faded in.
    fn signs(&mut self, left: &[f32], right: &[f32]) -> impl Iterator<Item = f32> + use<> {
        let before = self.sign;
        self.listen(left, right);
        let first = !self.decided;
        self.decided |= self.left > SILENT;
        let (after, length) = (self.sign, left.len().max(1) as f32);
        let before = if first { after } else { before };
        (0..left.len()).map(move |n| before + (after - before) * n as f32 / length)
    }

    fn listen(&mut self, left: &[f32], right: &[f32]) {
        let share = NEWEST / left.len().max(1) as f32;
        let power = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>() * share;
        let fade = |old: &mut f32, new: f32| *old = *old * (1.0 - NEWEST) + new;
        fade(&mut self.left, power(left, left));
        fade(&mut self.right, power(right, right));
        fade(&mut self.common, power(left, right));
        if self.left.min(self.right) < SILENT {
            return;
        }
        let correlation = self.common / (self.left * self.right).sqrt();
        if correlation < OPPOSED {
            self.sign = -1.0;
        } else if correlation > TOGETHER {
            self.sign = 1.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::usual;

    const RATE: u32 = 16_000;

    fn voice(n: usize) -> f32 {
        0.4 * (n as f32 * 0.07).sin() * (1.0 + (n as f32 * 0.0009).sin())
    }

    /// Mono of `seconds`, whose frames `frame` writes.
    fn mono(layout: Layout, seconds: usize, mut frame: impl FnMut(usize, &mut [f32])) -> Vec<f32> {
        let channels = layout.len();
        let mut mix = Downmix::new(layout, RATE);
        let (mut out, mut samples) = (Vec::new(), vec![0.0; channels]);
        for n in 0..seconds * RATE as usize {
            frame(n, &mut samples);
            mix.push(&samples, &mut out);
        }
        mix.flush(&mut out);
        assert_eq!(out.len(), seconds * RATE as usize);
        out
    }

    /// Level against [`voice`], dB.
    fn level(out: &[f32]) -> f32 {
        let power = |x: &mut dyn Iterator<Item = f32>| x.map(|x| x * x).sum::<f32>();
        let was = power(&mut (0..out.len()).map(voice));
        10.0 * (power(&mut out.iter().copied()) / was).log10()
    }

    #[test]
    fn a_voice_in_antiphase_is_heard_from_the_first_sample_on() {
        let out = mono(usual(2), 2, |n, frame| {
            frame.copy_from_slice(&[voice(n), -voice(n)])
        });
        assert!(
            out.iter()
                .enumerate()
                .all(|(n, sample)| (sample - voice(n)).abs() < 1e-6)
        );
        let uneven = mono(usual(2), 2, |n, frame| {
            frame.copy_from_slice(&[voice(n), -0.7 * voice(n)])
        });
        assert!(level(&uneven) > -2.0, "{}", level(&uneven));
    }

    #[test]
    fn ordinary_stereo_is_averaged_to_the_bit() {
        let out = mono(usual(2), 1, |n, frame| {
            frame.copy_from_slice(&[voice(n), voice(n)])
        });
        assert!(
            out.iter()
                .enumerate()
                .all(|(n, sample)| *sample == 0.5 * voice(n) + 0.5 * voice(n))
        );
        let apart = mono(usual(2), 1, |n, frame| {
            frame.copy_from_slice(&[voice(n), voice(3 * n)])
        });
        assert!(
            apart
                .iter()
                .enumerate()
                .all(|(n, x)| (x - 0.5 * (voice(n) + voice(3 * n))).abs() < 1e-6)
        );
    }

    #[test]
    fn phase_that_turns_in_mid_call_costs_no_more_than_a_second() {
        let turn = 3 * RATE as usize;
        let out = mono(usual(2), 6, |n, frame| {
            let sign = if n < turn { 1.0 } else { -1.0 };
            frame.copy_from_slice(&[voice(n), sign * voice(n)]);
        });
        let late = &out[turn + RATE as usize * 3 / 2..];
        let at = out.len() - late.len();
        assert!(
            late.iter()
                .enumerate()
                .all(|(n, sample)| (sample - voice(at + n)).abs() < 1e-5)
        );
    }

    #[test]
    fn a_voice_in_the_centre_of_five_one_keeps_its_level_and_the_bass_is_left_out() {
        let out = mono(usual(6), 1, |n, frame| {
            frame.copy_from_slice(&[0.0, 0.0, voice(n), 0.9, 0.0, 0.0])
        });
        assert!(level(&out).abs() < 0.01, "{}", level(&out));
    }

    #[test]
    fn levels_beyond_all_bounds_come_out_at_full_scale() {
        for loud in [10.0, 32_768.0, f32::MAX] {
            let out = mono(usual(6), 1, |n, frame| frame.fill(loud * (n as f32 * 0.07).sin()));
            assert!(out.iter().all(|sample| sample.abs() <= 1.0), "{loud}");
            assert!(out[8_000..].iter().any(|sample| sample.abs() > 0.9), "{loud}");
        }
    }

    #[test]
    fn six_channels_at_full_scale_are_made_smaller_and_not_cut_off() {
        let tone = |n: usize| (n as f32 * 0.07).sin();
        let out = mono(usual(6), 1, |n, frame| frame.fill(tone(n)));
        assert!(out.iter().all(|sample| sample.abs() <= 1.0));
        let settled = RATE as usize / 10;
        let gain = out[settled + 20] / tone(settled + 20);
        assert!(
            out.iter()
                .enumerate()
                .skip(settled)
                .all(|(n, sample)| (sample - gain * tone(n)).abs() < 0.02)
        );
    }
}
