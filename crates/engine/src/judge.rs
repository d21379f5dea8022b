//! What the core hears of a track: what it sounds like, and whether what it is coded to keeps to the floor.

use std::time::{Duration, Instant};

use auralink_quality::Content;
use auralink_types::{Mos, QualityScore, Rung};

use crate::calibration::Calibration;

/// Between two lessons of the calibration.
const LESSON: Duration = Duration::from_secs(1);
/// A measured score this far under the floor is a breach; less moves the ladder only. The estimator errs by about
/// as much.
const BREACH: f32 = 0.08;
/// A breach this long counts; the estimate itself looks back over 3 s.
const BREACH_TIME: Duration = Duration::from_millis(500);

/// What is known of one track, for all of its legs.
#[derive(Clone, Debug, Default)]
pub struct Judge {
    calibration: Calibration,
    quality: Option<(Rung, Mos)>,
    content: Content,
    learned_at: Option<Instant>,
    /// A rung measured well under the floor, and since when.
    breach: Option<(Rung, Instant)>,
    breached: bool,
}

impl Judge {
    /// What was learned so far.
    pub fn calibration(&self) -> &Calibration {
        &self.calibration
    }

    /// What the source sounds like.
    pub fn content(&self) -> Content {
        self.content
    }

    /// The lowest current estimate.
    pub fn quality(&self) -> Option<Mos> {
        self.quality.map(|(_, mos)| mos)
    }

    /// Nothing is coded any more, so there is no current estimate.
    pub fn forget_quality(&mut self) {
        self.quality = None;
    }

    /// Takes what the core says the source sounds like; `true` when that is news.
    pub fn handle_content(&mut self, content: Content) -> bool {
        std::mem::replace(&mut self.content, content) != content
    }

    /// Takes an estimate; `true` when that rung has been well under the floor for long.
    pub fn handle_quality(&mut self, now: Instant, rung: Rung, mos: Mos, floor: QualityScore) -> bool {
        let worst = self.quality.is_none_or(|(of, old)| of == rung || mos < old);
        if worst {
            self.quality = Some((rung, mos));
        }
        if mos.score().value() + BREACH >= floor.value() {
            self.breach = self.breach.filter(|(of, _)| *of != rung);
            let due = self
                .learned_at
                .is_none_or(|at| now.saturating_duration_since(at) >= LESSON);
            if due {
                self.learned_at = Some(now);
                self.calibration.learn(rung, mos);
            }
            return false;
        }
        let since = match self.breach {
            Some((of, since)) if of == rung => since,
            _ => now,
        };
        self.breach = Some((rung, since));
        if now.saturating_duration_since(since) < BREACH_TIME {
            return false;
        }
        self.breach = None;
        self.breached = true;
        self.calibration.learn_at_once(rung, mos);
        true
    }

    /// Whether a breach lasted, so that rungs may be raised out of turn.
    pub(crate) fn breached(&self) -> bool {
        self.breached
    }

    /// Every leg was reviewed: what lasted is answered.
    pub fn end_review(&mut self) {
        self.breached = false;
    }

    /// Other content may have come by: from here on what is generally expected counts.
    pub(crate) fn forget_lessons(&mut self) {
        self.calibration = Calibration::default();
    }
}
