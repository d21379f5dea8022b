//! What a rung will save and how it will sound, said before it is tried, with how far that can be believed.

use auralink_types::{Policy, QualityScore, Rung};

use crate::calibration::Calibration;
use crate::cost::wire_bitrate;
use crate::damage::after_loss;
use crate::ladder::Situation;

/// A prediction for one rung on one leg.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// Share of the whole-wire rate that will be saved, below 1; negative where the rung costs more.
    pub ratio: f64,
    /// Score at the encoder.
    pub quality: QualityScore,
    /// Score at the receiver, losses counted.
    pub heard: QualityScore,
    /// How far measurements of this track back it, 0 to 1.
    pub confidence: f32,
}

/// Predicts what `rung` will do.
pub fn predict(rung: Rung, policy: &Policy, situation: &Situation, calibration: &Calibration) -> Prediction {
    let before = situation.reference().as_bps() as f64;
    let after = wire_bitrate(rung).map_or(before, |rate| rate.as_bps() as f64);
    let clean = calibration.predict(rung);
    let heard = after_loss(rung, clean, &situation.network, situation.red, policy.perceptual);
    Prediction {
        ratio: if before > 0.0 { 1.0 - after / before } else { 0.0 },
        quality: clean.score(),
        heard: heard.score(),
        confidence: if rung == Rung::Original {
            1.0
        } else {
            calibration.confidence(rung)
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Network;
    use auralink_types::{AicConfig, Bitrate, Lean, Mos, PacketTime};

    const LEAN: Rung = Rung::Lean(Lean::new(Bitrate::kbps(16), PacketTime::Ms60));

    #[test]
    fn quality_comes_nearer_to_what_is_measured_and_confidence_grows() {
        let policy = AicConfig::default().policy();
        let situation = Situation::stock(Network::default());
        let mut calibration = Calibration::default();
        let first = predict(LEAN, &policy, &situation, &calibration);
        assert!((0.78..0.82).contains(&first.ratio), "{first:?}");
        assert_eq!(first.confidence, 0.0);
        for _ in 0..40 {
            calibration.learn(LEAN, Mos::new(3.5));
        }
        let later = predict(LEAN, &policy, &situation, &calibration);
        assert!((later.quality.value() - Mos::new(3.5).score().value()).abs() < 0.05);
        assert!(later.confidence > 0.6);
    }

    #[test]
    fn the_original_saves_nothing_for_sure() {
        let situation = Situation::stock(Network::default());
        let policy = AicConfig::default().policy();
        let prediction = predict(Rung::Original, &policy, &situation, &Calibration::default());
        assert_eq!((prediction.ratio, prediction.confidence), (0.0, 1.0));
        assert_eq!(prediction.quality, QualityScore::FULL);
    }
}
