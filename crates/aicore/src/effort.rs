//! How much work a frame gets: all there is, or under load what matters most, so that no frame has to be late.

use std::time::{Duration, Instant};

use auralink_codec::Beam;

/// What is spent on a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Effort {
    /// Of the neural encoder's search.
    pub(crate) beam: Beam,
    /// Of libopus' encoder.
    pub(crate) complexity: u8,
    /// What a receiver hears is rated, and what kind of sound it is.
    pub(crate) listens: bool,
}

impl Effort {
    /// Everything.
    pub(crate) fn full() -> Self {
        Self {
            beam: Beam::default(),
            complexity: 10,
            listens: true,
        }
    }

    /// About half of the time for 0.05 PESQ-WB (docs/benchmarks/speech.md).
    pub(crate) fn reduced(listens: bool) -> Self {
        Self {
            beam: Beam::new(4),
            complexity: 6,
            listens,
        }
    }
}

/// Load from which the effort is reduced.
const BUSY: f64 = 0.70;
/// Load under which there is room for all of it: well under what [`BUSY`] becomes when the effort is reduced.
const QUIET: f64 = 0.25;
/// Length of one measurement of the load.
const MEASURE: Duration = Duration::from_millis(200);
/// Under load each stream is listened to in one turn of so many, and a turn takes long enough for a rating.
const TURNS: u64 = 5;
const TURN: Duration = Duration::from_secs(3);
/// Quiet measurements in a row after which the effort is full again.
const QUIET_FOR: u32 = 10;

/// Chooses the effort by how busy a worker is.
pub(crate) struct Pace {
    epoch: Instant,
    from: Instant,
    spent: Duration,
    quiet: u32,
    hurried: bool,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            epoch: now,
            from: now,
            spent: Duration::ZERO,
            quiet: 0,
            hurried: false,
        }
    }

    /// What is spent on a frame of that stream now. Streams are numbered by the worker itself: of the pool's numbers
    /// it may have every fifth.
    pub(crate) fn effort(&self, now: Instant, number: u64) -> Effort {
        if !self.hurried {
            return Effort::full();
        }
        let turn = now.saturating_duration_since(self.epoch).as_secs() / TURN.as_secs();
        Effort::reduced((turn + number).is_multiple_of(TURNS))
    }

    /// More has come in than one round holds: that is too much, however short the time.
    pub(crate) fn note_crowd(&mut self) {
        self.quiet = 0;
        self.hurried = true;
    }

    /// Takes in one stretch of work.
    pub(crate) fn note(&mut self, begin: Instant, end: Instant) {
        self.spent += end.saturating_duration_since(begin);
        let time = end.saturating_duration_since(self.from);
        if time < MEASURE {
            return;
        }
        let load = self.spent.as_secs_f64() / time.as_secs_f64();
        (self.from, self.spent) = (end, Duration::ZERO);
        self.quiet = if load < QUIET { self.quiet + 1 } else { 0 };
        if load > BUSY {
            self.hurried = true;
        } else if self.quiet >= QUIET_FOR {
            self.hurried = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Works for that share of so many seconds, in steps of 10 ms.
    fn work(pace: &mut Pace, now: &mut Instant, load: f64, seconds: u64) {
        for _ in 0..seconds * 100 {
            pace.note(*now, *now + Duration::from_millis(10).mul_f64(load));
            *now += Duration::from_millis(10);
        }
    }

    #[test]
    fn the_effort_falls_under_load_and_rises_again_in_quiet() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        work(&mut pace, &mut now, 0.6, 5);
        assert!(!pace.hurried);
        work(&mut pace, &mut now, 0.8, 1);
        assert!(pace.hurried);
        work(&mut pace, &mut now, 0.1, 1);
        assert!(pace.hurried, "one quiet second is no proof");
        work(&mut pace, &mut now, 0.1, 3);
        assert!(!pace.hurried);
        pace.note_crowd();
        assert!(pace.hurried);
    }

    #[test]
    fn the_effort_does_not_swing_when_reducing_it_halves_the_load() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        let mut changes = 0;
        for _ in 0..60 {
            let before = pace.hurried;
            work(&mut pace, &mut now, if before { 0.4 } else { 0.8 }, 1);
            changes += u32::from(pace.hurried != before);
        }
        assert_eq!(changes, 1);
    }

    #[test]
    fn under_load_every_stream_is_listened_to_and_never_all_at_once() {
        let epoch = Instant::now();
        let mut pace = Pace::new(epoch);
        let streams = || 100..150u64;
        assert!(streams().all(|stream| pace.effort(epoch, stream) == Effort::full()));
        pace.note_crowd();
        let heard_at = |turn: u64| {
            let now = epoch + TURN * turn as u32;
            streams()
                .filter(|stream| pace.effort(now, *stream).listens)
                .collect::<Vec<_>>()
        };
        let mut heard: Vec<_> = (0..TURNS).flat_map(&heard_at).collect();
        assert!((0..TURNS).all(|turn| heard_at(turn).len() == 10));
        heard.sort();
        assert!(heard.into_iter().eq(streams()));
    }
}
