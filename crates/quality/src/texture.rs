//! What two seconds of sound are like: figures that tell speech from music and noise.
//!
//! Speech comes in syllables (its level moves at about 4 Hz), its pitch glides and its spectrum changes all the time;
//! music holds notes, noise holds its spectrum (Scheirer and Slaney 1997, "Construction and evaluation of a robust
//! multifeature speech/music discriminator").

use std::collections::VecDeque;
use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{ComplexToReal, RealFftPlanner};

use crate::bands::Bands;
use crate::spectrum::{BINS, Spectrum, WINDOW, bins};

/// Windows remembered: 2 s at one each 16 ms.
pub(crate) const WINDOWS: usize = 128;
/// Windows that figures need: 1 s.
pub(crate) const ENOUGH: usize = 64;
/// Part of the windows that must be loud enough for the figures to mean anything.
const ENOUGH_LOUD: f32 = 0.25;
const BANDS: usize = 24;
/// Cosine coefficients of the band levels that are kept, from the second on.
const CEPSTRUM: usize = 4;
/// Figures of one window.
const MEASURES: usize = 10 + CEPSTRUM;
/// Figures of a texture.
pub(crate) const FIGURES: usize = 2 * MEASURES + 6;
/// Nothing under this level is listened to: −60 dBFS.
const QUIETEST_DB: f32 = -60.0;
/// A window counts when it is at most this much under the loud ones.
const LOUD_RANGE_DB: f32 = 22.0;
/// The memory of loudness fades by this much a window: 0.5 dB a second. Noise in a pause is no change of content.
const FADE_DB: f32 = 0.008;
/// Levels are cut off so far under the loud ones.
const LEVEL_RANGE_DB: f32 = 40.0;
/// Windows back to which the fine spectrum is compared: 96 ms, longer than a phone of speech holds.
const BACK: usize = 6;
/// Pitch looked for, as lags at 16 kHz: 80 to 500 Hz.
const LAGS: std::ops::Range<usize> = 32..200;
/// Bins of the fine spectrum: 100 Hz to 4 kHz.
const FINE: std::ops::Range<usize> = 4..128;
/// Width of the mean that is taken off the fine spectrum, either side, in bins.
const SMOOTH: usize = 6;
/// Correlation at the pitch lag from which a window is voiced or tonal.
const HARMONIC: f32 = 0.5;
/// One-pole smoothing of the level at 62.5 windows a second: 8 Hz and 2 Hz.
const FAST: f32 = 0.55;
const SLOW: f32 = 0.18;

/// Measures of one window.
#[derive(Clone, Copy)]
struct Moment {
    measures: [f32; MEASURES],
    level: f32,
    syllabic: f32,
    fast: f32,
    loud: bool,
    harmonic: bool,
}

/// Listens at 16 kHz.
pub(crate) struct Texture {
    spectrum: Spectrum,
    bands: Bands,
    inverse: Arc<dyn ComplexToReal<f32>>,
    bins: Vec<Complex<f32>>,
    power: Vec<Complex<f32>>,
    correlation: Vec<f32>,
    scratch: Vec<Complex<f32>>,
    /// Correlation of the window function with itself, by which a steady tone's falls off.
    taper: Vec<f32>,
    last: Option<[f32; BANDS]>,
    /// Fine spectra of the last windows, and which is the oldest.
    fine: [[f32; FINE.end - FINE.start]; BACK],
    oldest: usize,
    last_pitch: f32,
    loudest: f32,
    levels: (f32, f32),
    moments: VecDeque<Moment>,
}

impl Texture {
    pub(crate) fn new() -> Self {
        let inverse = RealFftPlanner::new().plan_fft_inverse(WINDOW);
        let hann = |n: usize| 0.5 - 0.5 * (std::f32::consts::TAU * n as f32 / WINDOW as f32).cos();
        let overlap = |lag: usize| {
            (0..WINDOW)
                .map(|n| hann(n) * hann((n + lag) % WINDOW))
                .sum::<f32>()
        };
        let whole = overlap(0);
        Self {
            spectrum: Spectrum::new(),
            bands: Bands::mel(BANDS),
            bins: bins(),
            power: bins(),
            correlation: inverse.make_output_vec(),
            scratch: inverse.make_scratch_vec(),
            taper: (0..LAGS.end).map(|lag| overlap(lag) / whole).collect(),
            inverse,
            last: None,
            fine: [[0.0; FINE.end - FINE.start]; BACK],
            oldest: 0,
            last_pitch: 0.0,
            loudest: QUIETEST_DB,
            levels: (0.0, 0.0),
            moments: VecDeque::with_capacity(WINDOWS),
        }
    }

    /// Takes the next window, which overlaps the one before by half.
    pub(crate) fn push(&mut self, samples: &[f32]) {
        self.spectrum.transform(samples, &mut self.bins);
        let mut powers = [0.0; BANDS];
        self.bands.powers(&self.bins, &mut powers);
        let total: f32 = powers.iter().sum();
        let level = decibels(total);
        // Rises within a few windows, so that one click does not make all else quiet.
        self.loudest = (self.loudest - FADE_DB).max(QUIETEST_DB);
        if level > self.loudest {
            self.loudest += 0.5 * (level - self.loudest);
        }
        let loud = level > QUIETEST_DB && level > self.loudest - LOUD_RANGE_DB;
        let level = (level - self.loudest).max(-LEVEL_RANGE_DB);

        let floor = total * 1e-5 + 1e-9;
        let logs = powers.map(|power| decibels(power + floor));
        let flux = self.last.map_or(0.0, |last| {
            logs.iter().zip(last).map(|(a, b)| (a - b).abs()).sum::<f32>() / BANDS as f32
        });
        self.last = Some(logs);
        let (harmonicity, lag) = self.pitch();
        let harmonic = harmonicity > HARMONIC;
        let pitch = (16_000.0 / lag as f32).log2();
        let glide = match harmonic && self.last_pitch > 0.0 {
            true => (pitch - self.last_pitch).abs().min(1.0),
            false => 0.0,
        };
        self.last_pitch = if harmonic { pitch } else { 0.0 };

        let mut measures = [0.0; MEASURES];
        let centre: f32 = powers.iter().enumerate().map(|(n, p)| n as f32 * p).sum::<f32>() / (total + 1e-12);
        let spread = powers
            .iter()
            .enumerate()
            .map(|(n, p)| (n as f32 - centre).powi(2) * p)
            .sum::<f32>();
        let share = |range: std::ops::Range<usize>| {
            decibels(powers[range].iter().sum::<f32>() + floor) - decibels(total + floor)
        };
        measures[..10].copy_from_slice(&[
            level,
            flux,
            self.flatness(),
            harmonicity,
            glide,
            self.persistence(),
            centre,
            (spread / (total + 1e-12)).sqrt(),
            share(0..3),
            share(16..BANDS),
        ]);
        for (n, slot) in measures[10..].iter_mut().enumerate() {
            let angle =
                |band: usize| std::f32::consts::PI * (n + 1) as f32 * (band as f32 + 0.5) / BANDS as f32;
            *slot = logs
                .iter()
                .enumerate()
                .map(|(band, log)| log * angle(band).cos())
                .sum::<f32>()
                / BANDS as f32;
        }
        self.levels.0 += FAST * (level - self.levels.0);
        self.levels.1 += SLOW * (level - self.levels.1);
        if self.moments.len() == WINDOWS {
            self.moments.pop_front();
        }
        self.moments.push_back(Moment {
            measures,
            level,
            syllabic: self.levels.0 - self.levels.1,
            fast: level - self.levels.0,
            loud,
            harmonic,
        });
    }

    /// Figures of the last two seconds; `None` before a second was heard, or when there was little but quiet.
    pub(crate) fn figures(&self) -> Option<[f32; FIGURES]> {
        let loud = self.moments.iter().filter(|moment| moment.loud);
        let count = loud.clone().count() as f32;
        let all = self.moments.len() as f32;
        if self.moments.len() < ENOUGH || count < ENOUGH_LOUD * all {
            return None;
        }
        let mut figures = [0.0; FIGURES];
        let (means, rest) = figures.split_at_mut(MEASURES);
        let (deviations, others) = rest.split_at_mut(MEASURES);
        for n in 0..MEASURES {
            means[n] = loud.clone().map(|moment| moment.measures[n]).sum::<f32>() / count;
            let square = |moment: &Moment| (moment.measures[n] - means[n]).powi(2);
            deviations[n] = (loud.clone().map(square).sum::<f32>() / count).sqrt();
        }
        let over = |figure: fn(&Moment) -> f32| self.moments.iter().map(figure).sum::<f32>() / all;
        let level = over(|moment| moment.level);
        let variation = self
            .moments
            .iter()
            .map(|moment| (moment.level - level).powi(2))
            .sum::<f32>()
            / all;
        let quiet = self
            .moments
            .iter()
            .filter(|moment| moment.level < level - 6.0)
            .count();
        others.copy_from_slice(&[
            over(|moment| moment.syllabic * moment.syllabic).sqrt(),
            over(|moment| moment.fast * moment.fast).sqrt(),
            variation.sqrt(),
            quiet as f32 / all,
            count / all,
            loud.filter(|moment| moment.harmonic).count() as f32 / count,
        ]);
        Some(figures)
    }

    /// Highest normalised correlation at a lag a voice can have, and that lag.
    fn pitch(&mut self) -> (f32, usize) {
        for (slot, bin) in self.power.iter_mut().zip(&self.bins) {
            *slot = Complex::new(bin.norm_sqr(), 0.0);
        }
        self.inverse
            .process_with_scratch(&mut self.power, &mut self.correlation, &mut self.scratch)
            .expect("all three buffers have the lengths of the plan, and both ends of the spectrum are real");
        let whole = self.correlation[0].max(1e-12);
        let mut best = (0.0, LAGS.start);
        for lag in LAGS {
            let value = self.correlation[lag] / whole / self.taper[lag];
            if value > best.0 {
                best = (value, lag);
            }
        }
        (best.0.min(1.0), best.1)
    }

    /// Geometric over arithmetic mean of the power between 100 Hz and 4 kHz, in dB.
    fn flatness(&self) -> f32 {
        let powers = self.bins[FINE].iter().map(|bin| bin.norm_sqr() + 1e-12);
        let count = FINE.len() as f32;
        decibels((powers.clone().map(f32::ln).sum::<f32>() / count).exp())
            - decibels(powers.sum::<f32>() / count)
    }

    /// How much of the fine spectrum is still there after 96 ms: held notes near 1, speech and noise near 0.
    fn persistence(&mut self) -> f32 {
        let mut logs = [0.0; BINS];
        for (slot, bin) in logs.iter_mut().zip(&self.bins) {
            *slot = (bin.norm_sqr() + 1e-10).ln();
        }
        let mut now = [0.0; FINE.end - FINE.start];
        for (slot, bin) in now.iter_mut().zip(FINE) {
            let around = &logs[bin.saturating_sub(SMOOTH)..=bin + SMOOTH];
            *slot = logs[bin] - around.iter().sum::<f32>() / around.len() as f32;
        }
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
        let before = &mut self.fine[self.oldest];
        let both = (dot(&now, &now) * dot(before, before)).sqrt();
        let kept = if both > 1e-9 {
            dot(&now, before) / both
        } else {
            0.0
        };
        *before = now;
        self.oldest = (self.oldest + 1) % BACK;
        kept
    }
}

fn decibels(power: f32) -> f32 {
    10.0 * (power + 1e-12).log10()
}
