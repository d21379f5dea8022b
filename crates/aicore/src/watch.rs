//! The ear of a coder: hears what a receiver will hear and rates it, all the time or in turns.

use auralink_quality::Estimator;
use auralink_types::Mos;

/// Frames that a decoder needs to find its feet after a rest; they are not rated.
const SETTLE: u32 = 5;

/// Rates what is heard of one coder.
pub(crate) struct Watch {
    estimator: Estimator,
    /// The latest rating; it stays during a rest.
    quality: Option<Mos>,
    resting: bool,
    /// Frames left to settle.
    settle: u32,
}

/// Whether a packet is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hearing {
    On,
    /// The first one after a rest: its decoder begins anew.
    Again,
    Rest,
}

impl Watch {
    pub(crate) fn new(estimator: Estimator) -> Self {
        Self {
            estimator,
            quality: None,
            resting: false,
            settle: 0,
        }
    }

    /// The latest rating of this rung.
    pub(crate) fn quality(&self) -> Option<Mos> {
        self.quality
    }

    /// A packet begins; whether it is heard.
    pub(crate) fn begin(&mut self, listens: bool) -> Hearing {
        let rested = std::mem::replace(&mut self.resting, !listens);
        if !listens {
            return Hearing::Rest;
        }
        if !rested {
            return Hearing::On;
        }
        self.settle = SETTLE;
        self.estimator.restart();
        Hearing::Again
    }

    /// Takes what was coded and what is heard of it, so many frames of both.
    pub(crate) fn push(&mut self, reference: &[f32], heard: &[f32], frames: u32) {
        if self.settle > 0 {
            self.settle = self.settle.saturating_sub(frames);
            return;
        }
        self.estimator.push(reference, heard);
        self.quality = self.estimator.estimate().or(self.quality);
    }

    /// Another rung of the same coder: what was rated holds no more.
    pub(crate) fn forget(&mut self) {
        self.estimator.forget();
        self.quality = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets a watch hear so many frames of noise, spoiled or not.
    fn hear(watch: &mut Watch, frames: u32, spoiled: f32) {
        let mut state = 1u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 25) as f32 - 0.25
        };
        for _ in 0..frames {
            let pcm: [f32; 320] = std::array::from_fn(|_| random());
            let heard = pcm.map(|sample| sample + spoiled * random());
            watch.push(&pcm, &heard, 1);
        }
    }

    #[test]
    fn a_rating_stays_during_a_rest_and_is_made_anew_after_it() {
        let mut watch = Watch::new(Estimator::with_delay(0));
        assert_eq!(watch.begin(true), Hearing::On);
        hear(&mut watch, 150, 0.0);
        let before = watch.quality().expect("enough was heard");
        assert_eq!(watch.begin(false), Hearing::Rest);
        assert_eq!(watch.begin(false), Hearing::Rest);
        assert_eq!(watch.quality(), Some(before));
        assert_eq!(watch.begin(true), Hearing::Again);
        assert_eq!(watch.begin(true), Hearing::On);
        assert_eq!(watch.quality(), Some(before), "until the new one is made");
        hear(&mut watch, 150, 1.0);
        assert!(watch.quality().is_some_and(|quality| quality < before));
    }

    #[test]
    fn another_rung_is_rated_anew() {
        let mut watch = Watch::new(Estimator::with_delay(0));
        hear(&mut watch, 150, 0.0);
        assert!(watch.quality().is_some());
        watch.forget();
        assert!(watch.quality().is_none());
    }
}
