//! What the core hears of a track: what it sounds like, and whether what it is coded to keeps to the floor.

use std::time::{Duration, Instant};

use auralink_engine::Calibration;
use auralink_quality::Content;
use auralink_types::{Mos, QualityScore, Rung};

/// Between two lessons of the calibration.
const LESSON: Duration = Duration::from_secs(1);
/// A measured score this far under the floor is a breach; less moves the ladder only. The estimator errs by about
/// as much.
const BREACH: f32 = 0.08;
/// A breach this long counts; the estimate itself looks back over 3 s.
const BREACH_TIME: Duration = Duration::from_millis(500);

pub(super) struct Judge {
    pub calibration: Calibration,
    /// The lowest current estimate and its rung.
    pub quality: Option<(Rung, Mos)>,
    /// What the core says the source sounds like.
    pub content: Content,
    learned_at: Option<Instant>,
    /// A rung measured well under the floor, and since when.
    breach: Option<(Rung, Instant)>,
    /// A breach lasted: the next review may raise rungs out of turn.
    breached: bool,
}

impl Judge {
    pub(super) fn new() -> Self {
        Self {
            calibration: Calibration::default(),
            quality: None,
            content: Content::Unknown,
            learned_at: None,
            breach: None,
            breached: false,
        }
    }

    /// Takes an estimate; `true` when that rung has been well under the floor for long.
    pub(super) fn learn(&mut self, now: Instant, rung: Rung, mos: Mos, floor: QualityScore) -> bool {
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

    /// Whether a breach lasted since this was asked last.
    pub(super) fn take_breached(&mut self) -> bool {
        std::mem::take(&mut self.breached)
    }
}
