//! Perceptual disturbance between reference and decoded band powers: what an ear would notice.
//!
//! The chain follows the ideas of ITU-T P.862 (loudness per critical band, a dead zone for what masks itself,
//! heavier weight for what was added than for what is missing, L6 over syllables and L2 over time), reduced to
//! one streaming pass with a known delay, on mel bands.

use crate::bands::Bands;

/// Bands of the perceptual model.
pub(crate) const BANDS: usize = 40;
/// Windows in a block: 320 ms, about a syllable.
pub(crate) const BLOCK: usize = 20;
/// Exponent of Zwicker's loudness.
const LOUDNESS_POWER: f32 = 0.23;
/// Level that active speech is brought to, as power (73 dB SPL).
const SPEECH_POWER: f32 = 2e7;
/// Smoothing of long-term levels per block, about 3 s.
const LONG_TERM: f32 = 0.1;
/// Mean square of the quietest window that can be speech: −55 dBFS.
const QUIETEST: f32 = 3e-6;
/// A window is active down to this part of the speech level (−25 dB).
const ACTIVE: f32 = 3e-3;

/// What the estimator measured over its window; input of the regression.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Features {
    /// Disturbance, added and missing alike.
    pub disturbance: f32,
    /// Disturbance by what was added.
    pub added: f32,
    /// Mean absolute band difference in dB in active windows: below 1 kHz, 1 to 4 kHz, above 4 kHz.
    pub distance_db: [f32; 3],
    /// Energy missing above 4 kHz in dB, 0 to 40.
    pub dulled_db: f32,
    /// Signal-to-noise ratio in dB, −10 to 40: below 1 kHz, 1 to 4 kHz.
    pub snr_db: [f32; 2],
}

/// One window of both signals.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    pub(crate) reference: [f32; BANDS],
    pub(crate) decoded: [f32; BANDS],
    pub(crate) error: [f32; BANDS],
}

/// Measures of one block.
#[derive(Clone, Copy)]
pub(crate) struct Block {
    pub(crate) active: usize,
    disturbance: f32,
    added: f32,
    distance_db: [f32; 3],
    dulled_db: f32,
    snr_db: [f32; 2],
}

/// Long-term state between blocks.
pub(crate) struct Perception {
    threshold: [f32; BANDS],
    /// First band above 1 kHz and above 4 kHz.
    split: [usize; 2],
    /// Mean square of active speech in the reference; 0 before any.
    level: f32,
    reference_mean: [f32; BANDS],
    decoded_mean: [f32; BANDS],
    gain: f32,
}

impl Perception {
    pub(crate) fn new(bands: &Bands) -> Self {
        let above = |hz: f32| {
            bands
                .centres
                .iter()
                .position(|&centre| centre > hz)
                .unwrap_or(BANDS)
        };
        let mut threshold = [0.0; BANDS];
        for (slot, &hz) in threshold.iter_mut().zip(&bands.centres) {
            *slot = hearing_threshold(hz);
        }
        Self {
            threshold,
            split: [above(1000.0), above(4000.0)],
            level: 0.0,
            reference_mean: [0.0; BANDS],
            decoded_mean: [0.0; BANDS],
            gain: 1.0,
        }
    }

    /// Measures one block; `None` while no speech was ever heard.
    pub(crate) fn block(&mut self, windows: &[Window]) -> Option<Block> {
        let active = self.learn_levels(windows)?;
        let scale = SPEECH_POWER / self.level;
        let mut block = Block {
            active: active.iter().filter(|&&active| active).count(),
            disturbance: 0.0,
            added: 0.0,
            distance_db: [0.0; 3],
            dulled_db: 0.0,
            snr_db: [0.0; 2],
        };
        for (window, active) in windows.iter().zip(active) {
            let (disturbance, added) = self.disturbance(window, scale);
            block.disturbance += disturbance.powi(6);
            block.added += added.powi(6);
            if active {
                self.differences(window, &mut block);
            }
        }
        let sixth = |sum: f32| (sum / windows.len() as f32).powf(1.0 / 6.0);
        block.disturbance = sixth(block.disturbance);
        block.added = sixth(block.added);
        Some(block)
    }

    /// Updates speech level and mean spectra; says which windows are active.
    fn learn_levels(&mut self, windows: &[Window]) -> Option<[bool; BLOCK]> {
        let power = |window: &Window| window.reference.iter().sum::<f32>();
        let gate = QUIETEST.max(self.level * ACTIVE);
        let mut active = [false; BLOCK];
        let mut count = 0;
        let (mut level, mut reference, mut decoded) = (0.0, [0.0; BANDS], [0.0; BANDS]);
        for (window, slot) in windows.iter().zip(&mut active) {
            *slot = power(window) > gate;
            if *slot {
                count += 1;
                level += power(window);
                for band in 0..BANDS {
                    reference[band] += window.reference[band];
                    decoded[band] += window.decoded[band];
                }
            }
        }
        if count > 0 {
            let first = self.level == 0.0;
            let keep = if first {
                0.0
            } else {
                1.0 - LONG_TERM * count as f32 / BLOCK as f32
            };
            let blend = |old: f32, sum: f32| keep * old + (1.0 - keep) * sum / count as f32;
            self.level = blend(self.level, level);
            for band in 0..BANDS {
                self.reference_mean[band] = blend(self.reference_mean[band], reference[band]);
                self.decoded_mean[band] = blend(self.decoded_mean[band], decoded[band]);
            }
        }
        (self.level > 0.0).then_some(active)
    }

    fn disturbance(&mut self, window: &Window, scale: f32) -> (f32, f32) {
        let (mut reference, mut decoded) = ([0.0; BANDS], [0.0; BANDS]);
        let (mut heard_reference, mut heard_decoded) = (0.0, 0.0);
        for band in 0..BANDS {
            // A steady change of colour is less annoying than a changing one: the reference is coloured alike,
            // up to 20 dB.
            let mean = |mean: f32| mean * scale + 1000.0;
            let colour = (mean(self.decoded_mean[band]) / mean(self.reference_mean[band])).clamp(0.01, 100.0);
            reference[band] = window.reference[band] * scale * colour;
            decoded[band] = window.decoded[band] * scale;
            let audible = 100.0 * self.threshold[band];
            heard_reference += if reference[band] > audible {
                reference[band]
            } else {
                0.0
            };
            heard_decoded += if decoded[band] > audible {
                decoded[band]
            } else {
                0.0
            };
        }
        // Slow gain changes likewise.
        let gain = (heard_reference + 5e3) / (heard_decoded + 5e3);
        self.gain = 0.2 * self.gain + 0.8 * gain;
        let gain = self.gain.clamp(3e-4, 5.0);

        let (mut both, mut added) = (0.0, 0.0);
        for band in 0..BANDS {
            let decoded = decoded[band] * gain;
            let ours = loudness(reference[band], self.threshold[band]);
            let theirs = loudness(decoded, self.threshold[band]);
            let difference = ((theirs - ours).abs() - 0.25 * ours.min(theirs)).max(0.0);
            both += difference * difference;
            let ratio = ((decoded + 50.0) / (reference[band] + 50.0)).powf(1.2);
            if ratio >= 3.0 {
                added += difference * ratio.min(12.0);
            }
        }
        // The same disturbance weighs a little more in quiet windows.
        let total: f32 = window.reference.iter().sum::<f32>() * scale;
        let weight = ((total + 1e5) / 1e7).powf(-0.04);
        (
            weight * (both / BANDS as f32).sqrt(),
            weight * added / BANDS as f32,
        )
    }

    fn differences(&self, window: &Window, block: &mut Block) {
        let floor = self.level * 1e-6;
        let [low, high] = self.split;
        for (slot, range) in block.distance_db.iter_mut().zip([0..low, low..high, high..BANDS]) {
            let width = range.len().max(1) as f32;
            *slot += range
                .map(|band| decibels(window.decoded[band] + floor, window.reference[band] + floor).abs())
                .sum::<f32>()
                / width;
        }
        for (slot, range) in block.snr_db.iter_mut().zip([0..low, low..high]) {
            let signal: f32 = window.reference[range.clone()].iter().sum();
            let noise: f32 = window.error[range].iter().sum();
            *slot += decibels(signal + floor, noise + floor).clamp(-10.0, 40.0);
        }
        let top = |bands: &[f32; BANDS]| bands[high..].iter().sum::<f32>() + floor;
        block.dulled_db += decibels(top(&window.reference), top(&window.decoded)).clamp(0.0, 40.0);
    }
}

impl Features {
    /// The features over some blocks; `None` when none has an active window.
    pub(crate) fn over<'a>(blocks: impl Iterator<Item = &'a Block>) -> Option<Self> {
        let (mut sum, mut count, mut active) = (Self::default(), 0.0, 0.0);
        for block in blocks {
            count += 1.0;
            active += block.active as f32;
            sum.disturbance += block.disturbance * block.disturbance;
            sum.added += block.added * block.added;
            sum.dulled_db += block.dulled_db;
            for (slot, value) in sum.distance_db.iter_mut().zip(block.distance_db) {
                *slot += value;
            }
            for (slot, value) in sum.snr_db.iter_mut().zip(block.snr_db) {
                *slot += value;
            }
        }
        (active > 0.0).then(|| Self {
            disturbance: (sum.disturbance / count).sqrt(),
            added: (sum.added / count).sqrt(),
            distance_db: sum.distance_db.map(|value| value / active),
            dulled_db: sum.dulled_db / active,
            snr_db: sum.snr_db.map(|value| value / active),
        })
    }
}

fn decibels(a: f32, b: f32) -> f32 {
    10.0 * (a / b).log10()
}

/// Zwicker's loudness of a band, without its constant factor.
fn loudness(power: f32, threshold: f32) -> f32 {
    if power < threshold {
        return 0.0;
    }
    (threshold / 0.5).powf(LOUDNESS_POWER) * ((0.5 + 0.5 * power / threshold).powf(LOUDNESS_POWER) - 1.0)
}

/// Quietest audible power at a frequency (Terhardt 1979), 0 dB SPL = 1.
fn hearing_threshold(hz: f32) -> f32 {
    let khz = hz / 1000.0;
    let db = 3.64 * khz.powf(-0.8) - 6.5 * (-0.6 * (khz - 3.3).powi(2)).exp() + 1e-3 * khz.powi(4);
    10f32.powf(db / 10.0)
}
