//! The feedback loop of one track: predictions of quality against what was then measured.

use auralink_types::{Mos, QualityScore, Rung};

use crate::prior::expected;

/// Errors smaller than this are the estimator's own noise (its mean error on unseen clips) and move nothing.
const DEAD_ZONE: f32 = 0.15;
/// Hardest and easiest content believed: distance to the top of the scale against the expected distance. What is
/// further off speaks of the estimator.
const DIFFICULTY: (f32, f32) = (0.25, 20.0);
/// Weight of one new measurement.
const GAIN: f32 = 0.15;
/// Distance to the top below which ratios mean nothing.
const LEAST_DISTANCE: f32 = 0.05;
/// Mean error of a prediction from which half of its confidence is left, in MOS.
const DOUBT: f32 = 0.5;
/// Measurements after which half the confidence is there.
const TRIED: f32 = 5.0;

/// Errors of the prediction for one family of rungs.
///
/// The correction is a factor on the distance to the top of the scale: a voice that is hard to code at 16 kbps is
/// harder than average at 24 kbps as well, but loses less there. A constant offset would chase it up the ladder.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Family {
    /// Natural logarithm of the difficulty.
    difficulty: f32,
    /// Measurements so far.
    count: u32,
    /// Mean absolute error in MOS of the prediction in force when a measurement came; recent ones count more.
    error: f32,
}

impl Family {
    fn learn(&mut self, prior: Mos, measured: Mos, gain: f32) {
        let missed = (measured.value() - self.correct(prior).value()).abs();
        let distance = |mos: Mos| (Mos::MAX - mos.value()).max(LEAST_DISTANCE);
        let ratio = (distance(measured) / distance(prior)).clamp(DIFFICULTY.0, DIFFICULTY.1);
        if self.count == 0 {
            (self.difficulty, self.error) = (ratio.ln(), missed);
        } else {
            self.difficulty += gain * (ratio.ln() - self.difficulty);
            self.error += GAIN * (missed - self.error);
        }
        self.count = self.count.saturating_add(1);
    }

    fn correct(&self, prior: Mos) -> Mos {
        let moved = Mos::MAX - (Mos::MAX - prior.value()) * self.difficulty.exp();
        let error = moved - prior.value();
        if error.abs() <= DEAD_ZONE {
            prior
        } else {
            Mos::new(moved - DEAD_ZONE.copysign(error))
        }
    }
}

/// Feedback of one track: anchors predictions on what was last measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Calibration {
    lean: Family,
    enhanced: Family,
    neural: Family,
}

impl Calibration {
    /// Takes a measured score of a rung.
    pub(crate) fn learn(&mut self, rung: Rung, measured: Mos) {
        self.take(rung, measured, GAIN);
    }

    /// Takes a measured score that cannot wait, such as one well under the floor: it counts whole.
    pub(crate) fn learn_at_once(&mut self, rung: Rung, measured: Mos) {
        self.take(rung, measured, 1.0);
    }

    /// The score to expect of a rung on this track, without loss.
    pub fn predict(&self, rung: Rung) -> Mos {
        match (expected(rung), self.family(rung)) {
            (Some(prior), Some(family)) => family.correct(prior),
            _ => Mos::new(Mos::MAX),
        }
    }

    /// The same as a score of 0 to 1.
    pub fn score(&self, rung: Rung) -> QualityScore {
        self.predict(rung).score()
    }

    /// How far a prediction is backed by measurements, 0 to 1.
    pub(crate) fn confidence(&self, rung: Rung) -> f32 {
        self.family(rung).map_or(0.0, |family| {
            let count = family.count as f32;
            count / (count + TRIED) / (1.0 + family.error / DOUBT)
        })
    }

    fn take(&mut self, rung: Rung, measured: Mos, gain: f32) {
        if let (Some(prior), Some(family)) = (expected(rung), self.family_mut(rung)) {
            family.learn(prior, measured, gain);
        }
    }

    fn family(&self, rung: Rung) -> Option<&Family> {
        match rung {
            Rung::Original => None,
            Rung::Lean(_) => Some(&self.lean),
            Rung::Enhanced(_) => Some(&self.enhanced),
            Rung::Neural(_) => Some(&self.neural),
        }
    }

    fn family_mut(&mut self, rung: Rung) -> Option<&mut Family> {
        match rung {
            Rung::Original => None,
            Rung::Lean(_) => Some(&mut self.lean),
            Rung::Enhanced(_) => Some(&mut self.enhanced),
            Rung::Neural(_) => Some(&mut self.neural),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use auralink_types::{Bitrate, Lean, Neural, NeuralRate, PacketTime};

    const LEAN: Rung = Rung::Lean(Lean::new(Bitrate::kbps(16), PacketTime::Ms60));

    const NEURAL: Rung = Rung::Neural(Neural {
        rate: NeuralRate::Kbps6,
        packet: PacketTime::Ms80,
        copies: 0,
    });

    #[test]
    fn the_estimators_own_noise_moves_nothing() {
        let mut calibration = Calibration::default();
        let before = calibration.predict(LEAN);
        for step in 0..100 {
            let noise = if step % 2 == 0 { 0.1 } else { -0.1 };
            calibration.learn(LEAN, Mos::new(before.value() + noise));
        }
        assert_eq!(calibration.predict(LEAN), before);
    }

    #[test]
    fn a_voice_that_is_hard_at_one_rate_is_expected_to_lose_less_at_a_dearer_one() {
        let dearer = Rung::Lean(Lean::new(Bitrate::kbps(24), PacketTime::Ms60));
        let mut calibration = Calibration::default();
        let before = [calibration.predict(LEAN), calibration.predict(dearer)];
        calibration.learn_at_once(LEAN, Mos::new(3.6));
        let lost = [LEAN, dearer].map(|rung| calibration.predict(rung).value());
        assert!(before[0].value() - lost[0] > 1.5 * (before[1].value() - lost[1]));
        assert!(lost[1] > lost[0]);
    }

    #[test]
    fn predictions_follow_what_is_measured_and_gain_confidence() {
        let mut calibration = Calibration::default();
        assert_eq!(calibration.confidence(LEAN), 0.0);
        for _ in 0..50 {
            calibration.learn(LEAN, Mos::new(3.4));
        }
        assert!((calibration.predict(LEAN).value() - 3.4).abs() <= DEAD_ZONE + 0.01);
        assert!(calibration.confidence(LEAN) > 0.6);
        assert_eq!(calibration.confidence(NEURAL), 0.0);
    }

    #[test]
    fn a_prediction_that_keeps_missing_loses_its_confidence() {
        let mut steady = Calibration::default();
        let mut wild = Calibration::default();
        for step in 0..60 {
            steady.learn(LEAN, Mos::new(4.0));
            wild.learn(LEAN, Mos::new(if step % 2 == 0 { 2.6 } else { 4.4 }));
        }
        assert!(wild.confidence(LEAN) < 0.6 * steady.confidence(LEAN));
    }
}
