//! Background noise: its level in eight bands, the codes that describe it, and noise made to that description.
//!
//! A latent would not do for this. Latents have signs, so their average over a pause is next to nothing, and a single
//! one is a single moment; and the codebooks were learnt from speech, which is seldom as soft as a room.

use crate::{ENTRIES, HOP};

/// Codes that describe noise; each holds two bands.
pub const NOISE_CODES: usize = 4;

pub(crate) const BANDS: usize = 2 * NOISE_CODES;
/// First coefficient of each band, and the end: 0, 200, 400, 800, 1400, 2200, 3400, 5200, 8000 Hz.
const EDGES: [usize; BANDS + 1] = [0, 4, 8, 16, 28, 44, 68, 104, HOP];
/// Levels per band: none, then steps of 3 dB.
const STEPS: u16 = 32;
/// Power of a coefficient at level 0.5, of which level 1 is the next step: −99 dBFS.
const LOWEST: f32 = 1.258_925e-10;
/// One step: 3 dB.
const STEP_LOG2: f32 = 0.996_578_4;

/// Mean power per coefficient in each band.
pub(crate) type Powers = [f32; BANDS];

/// Adds a hop's band powers: `power(k)` of each coefficient.
pub(crate) fn add_powers(powers: &mut Powers, share: f32, power: impl Fn(usize) -> f32) {
    for (sum, edges) in powers.iter_mut().zip(EDGES.windows(2)) {
        let band: f32 = (edges[0]..edges[1]).map(&power).sum();
        *sum += share * band / (edges[1] - edges[0]) as f32;
    }
}

/// Rounds down, so that the noise made from the codes is up to 3 dB softer and never louder.
pub(crate) fn to_codes(powers: &Powers) -> [u16; NOISE_CODES] {
    let level = |power: f32| {
        let steps = (power.max(LOWEST) / LOWEST).log2() / STEP_LOG2;
        (steps as u16).min(STEPS - 1)
    };
    std::array::from_fn(|i| level(powers[2 * i]) * STEPS + level(powers[2 * i + 1]))
}

/// `None` when a code is out of range.
pub(crate) fn from_codes(codes: &[u16; NOISE_CODES]) -> Option<Powers> {
    if codes.iter().any(|&code| usize::from(code) >= ENTRIES) {
        return None;
    }
    Some(std::array::from_fn(|band| {
        let pair = codes[band / 2];
        match if band % 2 == 0 { pair / STEPS } else { pair % STEPS } {
            0 => 0.0,
            level => LOWEST * (f32::from(level) * STEP_LOG2).exp2(),
        }
    }))
}

/// Frames of half the memory of [`Floor`]: 1.5 s.
const HALF_MEMORY: u32 = 75;
/// Share of the present frame in the smoothed power.
const SMOOTHING: f32 = 0.3;
/// The least of many smoothed powers lies under their mean by this factor.
const BIAS: f32 = 1.6;

/// The softest that each band has been over the last 1.5 to 3 s: what is always there.
#[derive(Clone)]
pub(crate) struct Floor {
    smoothed: Powers,
    /// Least of the present half, and of the one before.
    least: [Powers; 2],
    frames: u32,
    known: bool,
}

impl Floor {
    pub(crate) const NEW: Self = Self {
        smoothed: [f32::NAN; BANDS],
        least: [[f32::INFINITY; BANDS]; 2],
        frames: 0,
        known: false,
    };

    pub(crate) fn push(&mut self, powers: &Powers) {
        for (band, &power) in powers.iter().enumerate() {
            let smoothed = &mut self.smoothed[band];
            *smoothed = if smoothed.is_nan() {
                power
            } else {
                *smoothed + SMOOTHING * (power - *smoothed)
            };
            self.least[0][band] = self.least[0][band].min(*smoothed);
        }
        self.frames += 1;
        if self.frames == HALF_MEMORY {
            self.frames = 0;
            self.known = true;
            self.least = [[f32::INFINITY; BANDS], self.least[0]];
        }
    }

    /// `None` in the first 1.5 s.
    pub(crate) fn powers(&self) -> Option<Powers> {
        let [now, before] = &self.least;
        self.known
            .then(|| std::array::from_fn(|band| BIAS * now[band].min(before[band])))
    }
}

/// How far the noise moves towards a new description per frame, up and down.
const GLIDE: (f32, f32) = (0.2, 0.5);

/// Noise of a description, frame by frame.
#[derive(Clone)]
pub(crate) struct Comfort {
    target: Powers,
    powers: Powers,
    seed: u32,
}

impl Comfort {
    pub(crate) fn new(target: Powers, seed: u32) -> Self {
        Self {
            target,
            powers: target,
            seed,
        }
    }

    pub(crate) fn aim(&mut self, target: Powers) {
        self.target = target;
    }

    /// Where another noise may go on.
    pub(crate) fn seed(&self) -> u32 {
        self.seed
    }

    /// Once per frame.
    pub(crate) fn advance(&mut self) {
        for (power, target) in self.powers.iter_mut().zip(self.target) {
            let share = if target > *power { GLIDE.0 } else { GLIDE.1 };
            *power += share * (target - *power);
        }
    }

    /// Adds a hop of noise to MDCT coefficients.
    pub(crate) fn add(&mut self, gain: f32, mdct: &mut [f32]) {
        for (power, edges) in self.powers.iter().zip(EDGES.windows(2)) {
            // Uniform numbers in -1..1 have a variance of a third.
            let scale = gain * (3.0 * power).sqrt() / (1u32 << 31) as f32;
            for value in &mut mdct[edges[0]..edges[1]] {
                self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *value += scale * self.seed as i32 as f32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_survives_its_codes_to_three_decibels_and_is_never_louder() {
        for dbfs in [-98.0f32, -80.0, -61.3, -40.0, -12.0] {
            let powers: Powers = std::array::from_fn(|band| 10f32.powf((dbfs - band as f32 * 0.7) / 10.0));
            let codes = to_codes(&powers);
            assert!(codes.iter().all(|&code| usize::from(code) < ENTRIES));
            for (power, back) in powers.iter().zip(from_codes(&codes).expect("codes in range")) {
                let off = 10.0 * (back / power).log10();
                assert!(
                    power < &(2.0 * LOWEST) || (-3.01..=0.001).contains(&off),
                    "{dbfs} dBFS: {off} dB"
                );
            }
        }
        assert_eq!(from_codes(&to_codes(&[0.0; BANDS])), Some([0.0; BANDS]));
        assert_eq!(to_codes(&[f32::NAN; BANDS]), [0; NOISE_CODES]);
        assert_eq!(to_codes(&[1e9; BANDS]), [1023; NOISE_CODES]);
        assert_eq!(from_codes(&[0, 0, 1024, 0]), None);
    }

    #[test]
    fn comfort_noise_has_the_power_it_was_told() {
        let powers: Powers = std::array::from_fn(|band| 1e-6 * (band + 1) as f32);
        let mut comfort = Comfort::new(powers, 1);
        let mut made = [0.0; BANDS];
        for _ in 0..2000 {
            let mut mdct = [0.0; HOP];
            comfort.add(1.0, &mut mdct);
            add_powers(&mut made, 1.0 / 2000.0, |k| mdct[k] * mdct[k]);
        }
        for (made, told) in made.iter().zip(powers) {
            assert!((made / told - 1.0).abs() < 0.1, "{made} for {told}");
        }
    }

    #[test]
    fn the_floor_follows_the_noise_and_not_the_speech_over_it() {
        let mut floor = Floor::NEW;
        for frame in 0..400u32 {
            let speech = if frame % 40 < 25 { 1e-2 } else { 0.0 };
            floor.push(&[1e-5 + speech; BANDS]);
        }
        let known = floor.powers().expect("eight seconds are enough");
        assert!(known.iter().all(|&power| power < 1e-4), "{known:?}");
        assert!(Floor::NEW.powers().is_none());
    }
}
