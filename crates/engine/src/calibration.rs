//! What the quality model learned about one track: predictions against measurements.

use auralink_types::{Mos, QualityScore, Rung};

use crate::ladder::expected;

/// Errors smaller than this are the estimator's own noise (its mean error on unseen clips) and move nothing.
const DEAD_ZONE: f32 = 0.15;
/// Most the model lets itself be moved, in MOS: an estimate that is further off speaks of the estimator.
const MAX_BIAS: f32 = 1.0;
/// Weight of one new measurement.
const GAIN: f32 = 0.15;

/// Errors of the prediction for one family of rungs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Family {
    bias: f32,
    mean_error: f32,
    count: u32,
}

impl Family {
    fn learn(&mut self, error: f32) {
        let error = error.clamp(-MAX_BIAS, MAX_BIAS);
        if self.count == 0 {
            (self.bias, self.mean_error) = (error, error.abs());
        } else {
            self.bias += GAIN * (error - self.bias);
            self.mean_error += GAIN * (error.abs() - self.mean_error);
        }
        self.count = self.count.saturating_add(1);
    }

    fn correction(&self) -> f32 {
        if self.bias.abs() <= DEAD_ZONE {
            0.0
        } else {
            self.bias - DEAD_ZONE.copysign(self.bias)
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
        let Some(predicted) = expected(rung) else { return };
        let error = measured.value() - predicted.value();
        match rung {
            Rung::Original => {}
            Rung::Lean(_) => self.lean.learn(error),
            Rung::Neural(_) => self.neural.learn(error),
        }
    }

    /// The score to expect of a rung on this track.
    pub fn predict(&self, rung: Rung) -> Mos {
        let Some(predicted) = expected(rung) else {
            return Mos::new(Mos::MAX);
        };
        let correction = match rung {
            Rung::Original => 0.0,
            Rung::Lean(_) => self.lean.correction(),
            Rung::Neural(_) => self.neural.correction(),
        };
        Mos::new(predicted.value() + correction)
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
