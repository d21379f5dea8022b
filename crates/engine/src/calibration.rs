//! What the quality model learned about one track: predictions against measurements.

use auralink_types::{Mos, QualityScore, Rung};

use crate::ladder::expected;

/// Errors smaller than this are the estimator's own noise (its mean error on unseen clips) and move nothing.
const DEAD_ZONE: f32 = 0.15;
/// Hardest and easiest content believed: distance to the top of the scale against the expected distance. What is
/// further off speaks of the estimator.
const DIFFICULTY: (f32, f32) = (0.25, 20.0);
/// Weight of one new measurement.
const GAIN: f32 = 0.15;
/// Distance to the top below which ratios mean nothing.
const LEAST_DISTANCE: f32 = 0.05;

/// Errors of the prediction for one family of rungs.
///
/// The correction is a factor on the distance to the top of the scale: a voice that is hard to code at 16 kbps is
/// harder than average at 24 kbps as well, but loses less there. A constant offset would chase it up the ladder.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Family {
    /// Natural logarithm of the difficulty.
    difficulty: f32,
    mean_error: f32,
    count: u32,
}

impl Family {
    fn learn(&mut self, predicted: Mos, measured: Mos, gain: f32) {
        let distance = |mos: Mos| (Mos::MAX - mos.value()).max(LEAST_DISTANCE);
        let ratio = (distance(measured) / distance(predicted)).clamp(DIFFICULTY.0, DIFFICULTY.1);
        let error = (measured.value() - predicted.value()).abs();
        if self.count == 0 {
            (self.difficulty, self.mean_error) = (ratio.ln(), error);
        } else {
            self.difficulty += gain * (ratio.ln() - self.difficulty);
            self.mean_error += GAIN * (error - self.mean_error);
        }
        self.count = self.count.saturating_add(1);
    }

    fn correct(&self, predicted: Mos) -> Mos {
        let moved = Mos::MAX - (Mos::MAX - predicted.value()) * self.difficulty.exp();
        let error = moved - predicted.value();
        if error.abs() <= DEAD_ZONE {
            predicted
        } else {
            Mos::new(moved - DEAD_ZONE.copysign(error))
        }
    }
}

/// Feedback of one track: anchors predictions on what was last measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Calibration {
    lean: Family,
    neural: Family,
}

impl Calibration {
    /// Takes a measured score of a rung.
    pub fn learn(&mut self, rung: Rung, measured: Mos) {
        self.take(rung, measured, GAIN);
    }

    /// Takes a measured score that cannot wait, such as one well under the floor: it counts whole.
    pub fn learn_at_once(&mut self, rung: Rung, measured: Mos) {
        self.take(rung, measured, 1.0);
    }

    fn take(&mut self, rung: Rung, measured: Mos, gain: f32) {
        let Some(predicted) = expected(rung) else { return };
        match rung {
            Rung::Original => {}
            Rung::Lean(_) => self.lean.learn(predicted, measured, gain),
            Rung::Neural(_) => self.neural.learn(predicted, measured, gain),
        }
    }

    /// The score to expect of a rung on this track.
    pub fn predict(&self, rung: Rung) -> Mos {
        match (expected(rung), rung) {
            (Some(predicted), Rung::Lean(_)) => self.lean.correct(predicted),
            (Some(predicted), Rung::Neural(_)) => self.neural.correct(predicted),
            _ => Mos::new(Mos::MAX),
        }
    }

    /// The same as a score of 0 to 1.
    pub fn score(&self, rung: Rung) -> QualityScore {
        self.predict(rung).score()
    }

    /// Mean absolute error of the uncorrected prediction in MOS and the number of measurements behind it.
    pub fn error(&self, rung: Rung) -> Option<(f32, u32)> {
        let family = match rung {
            Rung::Original => return None,
            Rung::Lean(_) => self.lean,
            Rung::Neural(_) => self.neural,
        };
        (family.count > 0).then_some((family.mean_error, family.count))
    }

    /// How far a prediction is backed by measurements, 0 to 1.
    pub fn confidence(&self, rung: Rung) -> f32 {
        self.error(rung).map_or(0.0, |(error, count)| {
            let seen = count as f32 / (count as f32 + 5.0);
            seen / (1.0 + error)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use auralink_types::{Bitrate, Lean, PacketTime};

    const LEAN: Rung = Rung::Lean(Lean {
        bitrate: Bitrate::kbps(16),
        packet: PacketTime::Ms60,
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
        let dearer = Rung::Lean(Lean {
            bitrate: Bitrate::kbps(24),
            packet: PacketTime::Ms60,
        });
        let mut calibration = Calibration::default();
        let before = [calibration.predict(LEAN), calibration.predict(dearer)];
        calibration.learn_at_once(LEAN, Mos::new(3.6));
        let lost = [LEAN, dearer].map(|rung| calibration.predict(rung).value());
        assert!(before[0].value() - lost[0] > 1.5 * (before[1].value() - lost[1]));
        assert!(lost[1] > lost[0]);
    }

    #[test]
    fn predictions_follow_what_is_measured_and_the_error_is_told() {
        let mut calibration = Calibration::default();
        for _ in 0..50 {
            calibration.learn(LEAN, Mos::new(3.4));
        }
        assert!((calibration.predict(LEAN).value() - 3.4).abs() <= DEAD_ZONE + 0.01);
        let (error, count) = calibration.error(LEAN).unwrap();
        assert!(error > 0.7 && count == 50);
        assert!(calibration.confidence(LEAN) > 0.4);
    }
}
