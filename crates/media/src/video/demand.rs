//! Up to which layer anybody wants a video, and what its publisher was told of it (LiveKit calls this dynacast).

use std::time::{Duration, Instant};

use super::select::HIGHEST;

/// How long a layer is still sent that nobody wants any more: whoever turns away for a moment finds it there.
const PATIENCE: Duration = Duration::from_secs(5);

/// Highest layer that is wanted; `None` when the video isn't wanted at all.
pub type Wanted = Option<usize>;

/// What a publisher of video knows of what is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Demand {
    told: Wanted,
    /// When they are to be told that less is wanted.
    lower_at: Option<Instant>,
}

impl Default for Demand {
    /// Of a publisher who was told nothing, and sends everything.
    fn default() -> Self {
        Self {
            told: Some(HIGHEST),
            lower_at: None,
        }
    }
}

impl Demand {
    /// What the publisher is to be told now that this is wanted, if it is news: more at once, less after a while.
    pub fn look(&mut self, now: Instant, wanted: Wanted) -> Option<Wanted> {
        if wanted >= self.told {
            self.lower_at = None;
        }
        if wanted < self.told && now < *self.lower_at.get_or_insert(now + PATIENCE) {
            return None;
        }
        self.lower_at = None;
        let news = std::mem::replace(&mut self.told, wanted) != wanted;
        news.then_some(wanted)
    }

    /// Whether it is to be looked at because time has passed.
    pub fn is_due(&self, now: Instant) -> bool {
        self.lower_at.is_some_and(|at| at <= now)
    }

    /// What the publisher was told last.
    pub fn told(&self) -> Wanted {
        self.told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_is_told_at_once_and_less_when_it_has_lasted() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut demand = Demand::default();
        assert_eq!(demand.look(at(0), Some(2)), None, "that is what comes");
        assert_eq!(demand.look(at(1), None), None);
        assert_eq!(demand.look(at(4), Some(0)), None);
        assert!(!demand.is_due(at(5)) && demand.is_due(at(6)));
        assert_eq!(demand.look(at(6), Some(0)), Some(Some(0)), "what is wanted then");
        assert_eq!(demand.look(at(6), Some(1)), Some(Some(1)));
        assert_eq!(demand.look(at(7), None), None);
        assert_eq!(demand.look(at(8), Some(1)), None, "back in time");
        assert!(!demand.is_due(at(60)));
        assert_eq!(demand.look(at(60), None), None);
        assert_eq!(demand.look(at(65), None), Some(None));
        assert_eq!(demand.look(at(66), Some(2)), Some(Some(2)));
    }
}
