//! What a leg would have cost without AIC, and how that is known.

use auralink_types::{Bitrate, SavingsBasis};

/// Where the "before" of one leg may come from, best first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reference {
    /// Whole-wire rate of the original itself: the tap saw it, or the SDK's encoder told it.
    pub measured: Option<Bitrate>,
    /// Mean whole-wire rate of an experiment's control arm, once its sample is large enough to be believed.
    pub control: Option<Bitrate>,
    /// Whole-wire rate of a stock client's preset.
    pub preset: Bitrate,
}

impl Reference {
    /// The rate to count from and its basis. A preset counts only where nothing better is known, because a stock client
    /// may have sent less: savings against it are a promise, not a measurement.
    pub fn rate(&self) -> (Bitrate, SavingsBasis) {
        match (self.measured, self.control) {
            (Some(rate), _) => (rate, SavingsBasis::Measured),
            (None, Some(rate)) => (rate, SavingsBasis::Experiment),
            (None, None) => (self.preset, SavingsBasis::Preset),
        }
    }

    /// Share saved when so much was sent, and its basis; negative when more was sent than before, 0 without a before.
    pub fn saved(&self, sent: Bitrate) -> (f64, SavingsBasis) {
        let (before, basis) = self.rate();
        if before.as_bps() == 0 {
            return (0.0, basis);
        }
        (1.0 - sent.as_bps() as f64 / before.as_bps() as f64, basis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_beats_the_control_arm_and_that_beats_a_preset() {
        let mut reference = Reference {
            preset: Bitrate::kbps(126),
            ..Reference::default()
        };
        let sent = Bitrate::kbps(25);
        assert_eq!(reference.saved(sent).1, SavingsBasis::Preset);
        reference.control = Some(Bitrate::kbps(100));
        assert_eq!(reference.saved(sent), (0.75, SavingsBasis::Experiment));
        reference.measured = Some(Bitrate::kbps(50));
        assert_eq!(reference.saved(sent), (0.5, SavingsBasis::Measured));
    }

    #[test]
    fn sending_more_than_before_is_a_loss_and_nothing_before_saves_nothing() {
        let reference = Reference {
            measured: Some(Bitrate::kbps(20)),
            ..Reference::default()
        };
        assert_eq!(reference.saved(Bitrate::kbps(30)).0, -0.5);
        assert_eq!(Reference::default().saved(Bitrate::kbps(30)).0, 0.0);
    }
}
