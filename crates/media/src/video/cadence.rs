//! How many pictures a second arrive of a stream, with each further level of its temporal hierarchy.

use super::picture::LEVELS;

/// Ticks of video per second.
const CLOCK: u32 = 90_000;

/// Ticks over which pictures are counted.
const WINDOW: u32 = CLOCK;

/// Ticks of the first count: rough, but soon.
const FIRST_WINDOW: u32 = 3 * CLOCK / 10;

/// A stream that rests for so long has no rate meanwhile.
const PAUSE: u32 = 2 * CLOCK;

/// By how much a rate that was counted may pass the one asked for.
const TOLERANCE: f32 = 1.05;

/// Counts pictures by their timestamps, which know nothing of the network's jitter.
#[derive(Clone, Debug, Default)]
pub struct Cadence {
    /// Pictures per second up to and with each level, once they were counted.
    rates: Option<[f32; LEVELS]>,
    count: Option<Count>,
    newest: Option<u32>,
}

/// A count in progress. It goes from one picture of the base to another, so that it is of whole cycles.
#[derive(Clone, Debug)]
struct Count {
    from: u32,
    pictures: [u32; LEVELS],
}

impl Cadence {
    /// Takes in a packet of a picture.
    pub fn hear(&mut self, timestamp: u32, level: u8) {
        let passed = self.newest.map(|newest| timestamp.wrapping_sub(newest));
        match passed {
            // Another packet of the same picture, or a late one.
            Some(passed) if passed == 0 || passed > u32::MAX / 2 => return,
            Some(passed) if passed > PAUSE => self.count = None,
            _ => {}
        }
        self.newest = Some(timestamp);
        if level == 0 {
            self.close(timestamp);
        }
        if let Some(count) = &mut self.count {
            count.pictures[usize::from(level).min(LEVELS - 1)] += 1;
        }
    }

    /// Ends a count that is long enough, and begins one where there is none.
    fn close(&mut self, timestamp: u32) {
        let window = if self.rates.is_some() {
            WINDOW
        } else {
            FIRST_WINDOW
        };
        if let Some(count) = &self.count {
            let passed = timestamp.wrapping_sub(count.from);
            if passed < window {
                return;
            }
            let mut pictures = 0;
            self.rates = Some(count.pictures.map(|more| {
                pictures += more;
                (pictures * CLOCK) as f32 / passed as f32
            }));
        }
        self.count = Some(Count {
            from: timestamp,
            pictures: [0; LEVELS],
        });
    }

    /// The highest level with which no more pictures come than that many a second; the base comes in any case.
    pub fn level_within(&self, fps: u32) -> u8 {
        let Some(rates) = self.rates else {
            return LEVELS as u8 - 1;
        };
        let fits = |rate: &f32| *rate <= fps as f32 * TOLERANCE;
        rates.iter().rposition(fits).unwrap_or(0) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CYCLE: [u8; 4] = [0, 2, 1, 2];

    fn hear(cadence: &mut Cadence, from: u32, pictures: usize, fps: u32, cycle: &[u8]) -> u32 {
        let at = |n: usize| from.wrapping_add(n as u32 * CLOCK / fps);
        for n in 0..pictures {
            for _packet in 0..2 {
                cadence.hear(at(n), cycle[n % cycle.len()]);
            }
        }
        at(pictures)
    }

    #[test]
    fn rates_are_known_after_a_third_of_a_second_and_halve_with_each_level() {
        let mut cadence = Cadence::default();
        hear(&mut cadence, u32::MAX - 9_000, 13, 30, &CYCLE);
        for (fps, level) in [(60, 3), (30, 3), (28, 1), (15, 1), (14, 0), (8, 0), (1, 0)] {
            assert_eq!(cadence.level_within(fps), level, "{fps} fps");
        }
    }

    #[test]
    fn nothing_is_held_back_before_rates_are_known() {
        let mut cadence = Cadence::default();
        hear(&mut cadence, 0, 8, 30, &CYCLE);
        assert_eq!(cadence.level_within(1), LEVELS as u8 - 1);
    }

    #[test]
    fn a_publisher_who_slows_down_is_followed_and_a_pause_is_no_slowness() {
        let mut cadence = Cadence::default();
        let end = hear(&mut cadence, 0, 61, 30, &CYCLE);
        let end = hear(&mut cadence, end + 10 * CLOCK, 1, 30, &CYCLE);
        assert_eq!(cadence.level_within(15), 1, "after a pause");
        hear(&mut cadence, end, 40, 10, &CYCLE);
        assert_eq!(cadence.level_within(15), 3, "at ten a second");
        assert_eq!(cadence.level_within(5), 1, "at ten a second");
    }
}
