//! Perceptual disturbance between reference and decoded band powers: what an ear would notice.
//!
//! The chain follows the ideas of ITU-T P.862 (loudness per critical band, a dead zone for what masks itself,
//! heavier weight for what was added than for what is missing, L6 over syllables and L2 over time), reduced to
//! one streaming pass with a known delay, on mel bands.

use crate::bands::Bands;
use crate::hearing::{hearing_threshold, loudness};

/// Bands of the perceptual model.
pub(crate) const BANDS: usize = 40;
/// Windows in a block: 320 ms, about a syllable.
pub(crate) const BLOCK: usize = 20;
/// Level that active speech is brought to, as power (73 dB SPL).
const SPEECH_POWER: f32 = 2e7;
/// Smoothing of long-term levels per block, about 3 s.
const LONG_TERM: f32 = 0.1;
/// Mean square of the quietest window that can be speech: −55 dBFS.
const QUIETEST: f32 = 3e-6;
/// Power below the speech level at which all is silence: −60 dB.
const FLOOR: f32 = 1e-6;
/// Speech level over pauses where no pause was heard, in dB.
const USUAL_FLOOR_DB: f32 = 45.0;
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
    /// Correlation of the band envelopes over a block: below 1 kHz, 1 to 4 kHz, above 4 kHz.
    pub envelope: [f32; 3],
    /// Correlation of the spectra's shapes in active windows.
    pub shape: f32,
    /// Mean signed band difference in dB in active windows: below 1 kHz, 1 to 4 kHz, above 4 kHz.
    pub excess_db: [f32; 3],
    /// Decoded over reference in pauses in dB, −20 to 20.
    pub pause_db: f32,
    /// Level of speech over that of pauses in the reference in dB, 0 to 60.
    pub floor_db: f32,
    /// Energy above 4 kHz in the reference against all in dB, −60 to 0.
    pub bright_db: f32,
}

impl Features {
    /// How many figures these are.
    pub const COUNT: usize = 18;
    /// Their names, in the order of [`values`](Self::values).
    pub const NAMES: [&str; Self::COUNT] = [
        "disturbance",
        "added",
        "distance_low",
        "distance_mid",
        "distance_high",
        "dulled",
        "snr_low",
        "snr_mid",
        "envelope_low",
        "envelope_mid",
        "envelope_high",
        "shape",
        "excess_low",
        "excess_mid",
        "excess_high",
        "pause",
        "floor",
        "bright",
    ];

    /// All figures in one row.
    pub fn values(&self) -> [f32; Self::COUNT] {
        let [distance_low, distance_mid, distance_high] = self.distance_db;
        let [envelope_low, envelope_mid, envelope_high] = self.envelope;
        let [excess_low, excess_mid, excess_high] = self.excess_db;
        [
            self.disturbance,
            self.added,
            distance_low,
            distance_mid,
            distance_high,
            self.dulled_db,
            self.snr_db[0],
            self.snr_db[1],
            envelope_low,
            envelope_mid,
            envelope_high,
            self.shape,
            excess_low,
            excess_mid,
            excess_high,
            self.pause_db,
            self.floor_db,
            self.bright_db,
        ]
    }
}

/// One window of both signals.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    pub(crate) reference: [f32; BANDS],
    pub(crate) decoded: [f32; BANDS],
    pub(crate) error: [f32; BANDS],
}

/// Measures of one block; those of active windows and of pauses are sums.
#[derive(Clone, Copy)]
pub(crate) struct Block {
    pub(crate) active: usize,
    pauses: usize,
    sum: Features,
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
        let count = active.iter().filter(|&&active| active).count();
        let mut sum = Features::default();
        for (window, active) in windows.iter().zip(active) {
            let (disturbance, added) = self.disturbance(window, scale);
            sum.disturbance += disturbance.powi(6);
            sum.added += added.powi(6);
            if active {
                self.differences(window, &mut sum);
            } else {
                self.pause(window, &mut sum);
            }
        }
        let sixth = |sum: f32| (sum / windows.len() as f32).powf(1.0 / 6.0);
        sum.disturbance = sixth(sum.disturbance);
        sum.added = sixth(sum.added);
        sum.envelope = self.envelopes(windows);
        Some(Block {
            active: count,
            pauses: windows.len() - count,
            sum,
        })
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

    fn differences(&self, window: &Window, sum: &mut Features) {
        let floor = self.level * FLOOR;
        let [low, high] = self.split;
        let (mut ours, mut theirs) = ([0.0; BANDS], [0.0; BANDS]);
        for band in 0..BANDS {
            ours[band] = decibels(window.reference[band] + floor, self.level);
            theirs[band] = decibels(window.decoded[band] + floor, self.level);
        }
        for (n, range) in self.groups().into_iter().enumerate() {
            let width = range.len().max(1) as f32;
            let (mut distance, mut excess) = (0.0, 0.0);
            for band in range {
                let difference = theirs[band] - ours[band];
                distance += difference.abs();
                excess += difference;
            }
            sum.distance_db[n] += distance / width;
            sum.excess_db[n] += excess / width;
        }
        for (slot, range) in sum.snr_db.iter_mut().zip([0..low, low..high]) {
            let signal: f32 = window.reference[range.clone()].iter().sum();
            let noise: f32 = window.error[range].iter().sum();
            *slot += decibels(signal + floor, noise + floor).clamp(-10.0, 40.0);
        }
        sum.shape += correlation(ours.into_iter().zip(theirs));
        let top = |bands: &[f32; BANDS]| bands[high..].iter().sum::<f32>() + floor;
        sum.dulled_db += decibels(top(&window.reference), top(&window.decoded)).clamp(0.0, 40.0);
        let all: f32 = window.reference.iter().sum();
        sum.bright_db += decibels(top(&window.reference), all + floor).clamp(-60.0, 0.0);
    }

    fn pause(&self, window: &Window, sum: &mut Features) {
        let floor = self.level * FLOOR;
        let (ours, theirs): (f32, f32) = (window.reference.iter().sum(), window.decoded.iter().sum());
        sum.pause_db += decibels(theirs + floor, ours + floor).clamp(-20.0, 20.0);
        sum.floor_db += decibels(self.level, ours + floor).clamp(0.0, 60.0);
    }

    /// How well the envelope of each band is kept over a block, mean of each group.
    fn envelopes(&self, windows: &[Window]) -> [f32; 3] {
        let floor = self.level * FLOOR;
        self.groups().map(|range| {
            let width = range.len().max(1) as f32;
            let kept = |band: usize| {
                let pair = |w: &Window| {
                    let amplitude = |power: f32| (power + floor).sqrt();
                    (amplitude(w.reference[band]), amplitude(w.decoded[band]))
                };
                correlation(windows.iter().map(pair))
            };
            range.map(kept).sum::<f32>() / width
        })
    }

    fn groups(&self) -> [std::ops::Range<usize>; 3] {
        let [low, high] = self.split;
        [0..low, low..high, high..BANDS]
    }
}

impl Features {
    /// The features over some blocks; `None` when none has an active window.
    pub(crate) fn over<'a>(blocks: impl Iterator<Item = &'a Block>) -> Option<Self> {
        let (mut total, mut count, mut active, mut pauses) = (Self::default(), 0.0, 0.0, 0.0);
        let add = |slots: &mut [f32], values: &[f32]| {
            for (slot, value) in slots.iter_mut().zip(values) {
                *slot += value;
            }
        };
        for block in blocks {
            count += 1.0;
            active += block.active as f32;
            pauses += block.pauses as f32;
            let sum = &block.sum;
            total.disturbance += sum.disturbance * sum.disturbance;
            total.added += sum.added * sum.added;
            total.dulled_db += sum.dulled_db;
            total.shape += sum.shape;
            total.pause_db += sum.pause_db;
            total.floor_db += sum.floor_db;
            total.bright_db += sum.bright_db;
            add(&mut total.distance_db, &sum.distance_db);
            add(&mut total.excess_db, &sum.excess_db);
            add(&mut total.snr_db, &sum.snr_db);
            add(&mut total.envelope, &sum.envelope);
        }
        // Without a pause nothing is known of the floor: what is usual stands for it.
        let pause = |sum: f32, usual: f32| if pauses > 0.0 { sum / pauses } else { usual };
        (active > 0.0).then(|| Self {
            disturbance: (total.disturbance / count).sqrt(),
            added: (total.added / count).sqrt(),
            distance_db: total.distance_db.map(|value| value / active),
            dulled_db: total.dulled_db / active,
            snr_db: total.snr_db.map(|value| value / active),
            envelope: total.envelope.map(|value| value / count),
            shape: total.shape / active,
            excess_db: total.excess_db.map(|value| value / active),
            pause_db: pause(total.pause_db, 0.0),
            floor_db: pause(total.floor_db, USUAL_FLOOR_DB),
            bright_db: total.bright_db / active,
        })
    }
}

/// Correlation of pairs, −1 to 1; 0 where one of both does not vary.
fn correlation(pairs: impl Iterator<Item = (f32, f32)> + Clone) -> f32 {
    let (mut count, mut x, mut y) = (0.0, 0.0, 0.0);
    for (a, b) in pairs.clone() {
        count += 1.0;
        x += a;
        y += b;
    }
    let (x, y) = (x / count, y / count);
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (a, b) in pairs {
        xx += (a - x) * (a - x);
        yy += (b - y) * (b - y);
        xy += (a - x) * (b - y);
    }
    let both = (xx * yy).sqrt();
    if both > f32::MIN_POSITIVE {
        (xy / both).clamp(-1.0, 1.0)
    } else {
        0.0
    }
}

fn decibels(a: f32, b: f32) -> f32 {
    10.0 * (a / b).log10()
}
