//! Which pictures of a stream go out when not all levels of its temporal hierarchy are wanted.
//!
//! A picture refers to pictures of its own level and of lower ones. So a level can be left off at any time, and taken up
//! where one of its pictures refers to the base only, or where everything begins anew.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::picture::Temporal;

/// Pictures remembered: packets of one that come late share its fate.
const REMEMBERED: usize = 16;

/// A leg that has waited for so long to take a level up needs a keyframe for it.
const WAITS_FOR_SYNC: Duration = Duration::from_secs(2);

/// A picture, and what became of it.
#[derive(Clone, Copy, Debug)]
struct Seen {
    timestamp: u32,
    sent: bool,
    /// Level that went out then.
    level: u8,
}

/// The level that goes out, and who went out with it.
#[derive(Debug, Default)]
pub struct Thinning {
    level: u8,
    seen: VecDeque<Seen>,
    /// Since when a higher level is wanted and can't be taken up.
    waiting: Option<Instant>,
}

impl Thinning {
    /// Another stream begins with a picture that needs no other.
    pub fn begin(&mut self, level: u8) {
        self.level = level;
        self.seen.clear();
        self.waiting = None;
    }

    /// Whether a packet goes out: with its picture, or not at all. `limit` is the level that is wanted now.
    pub fn takes(
        &mut self,
        now: Instant,
        timestamp: u32,
        (temporal, keyframe): (Temporal, bool),
        limit: u8,
    ) -> bool {
        let later = |seen: &&Seen| timestamp.wrapping_sub(seen.timestamp) > u32::MAX / 2;
        let after = self.seen.iter().rev().take_while(later).count();
        let at = self.seen.len() - after;
        let before = at.checked_sub(1).map(|before| self.seen[before]);
        if let Some(same) = before.filter(|seen| seen.timestamp == timestamp) {
            return same.sent;
        }
        let level = match (after, before) {
            (0, _) => self.proceed(now, temporal, keyframe, limit),
            (_, Some(before)) => before.level,
            // From before everything that is remembered.
            (_, None) => return false,
        };
        let sent = temporal.level <= level;
        self.seen.insert(
            at,
            Seen {
                timestamp,
                sent,
                level,
            },
        );
        if self.seen.len() > REMEMBERED {
            self.seen.pop_front();
        }
        sent
    }

    /// The level with which a new picture goes out.
    fn proceed(&mut self, now: Instant, temporal: Temporal, keyframe: bool, limit: u8) -> u8 {
        let next = temporal.level == self.level + 1 && temporal.sync;
        if keyframe || limit < self.level {
            self.level = limit;
        } else if next && temporal.level <= limit {
            self.level = temporal.level;
            self.waiting = None;
        }
        if self.level == limit {
            self.waiting = None;
        } else if temporal.level > self.level && temporal.level <= limit {
            self.waiting.get_or_insert(now);
        }
        self.level
    }

    /// Whether a level is wanted that can be taken up with a keyframe only.
    pub fn needs_keyframe(&self, now: Instant) -> bool {
        let long = |since: Instant| now.saturating_duration_since(since) >= WAITS_FOR_SYNC;
        self.waiting.is_some_and(long)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: u32 = 3_000;

    fn temporal(level: u8, sync: bool) -> (Temporal, bool) {
        (Temporal { level, sync }, false)
    }

    /// Levels of libwebrtc's three layers, with where they sync.
    const CYCLE: [(u8, bool); 8] = [
        (0, false),
        (2, true),
        (1, true),
        (2, false),
        (0, false),
        (2, false),
        (1, false),
        (2, false),
    ];

    fn run(thinning: &mut Thinning, from: usize, pictures: usize, limit: u8) -> Vec<u8> {
        let now = Instant::now();
        let mut sent = Vec::new();
        for n in from..from + pictures {
            let (level, sync) = CYCLE[n % CYCLE.len()];
            if thinning.takes(now, n as u32 * FRAME, temporal(level, sync), limit) {
                sent.push(level);
            }
        }
        sent
    }

    #[test]
    fn a_level_is_left_off_at_once_and_taken_up_where_it_syncs() {
        let mut thinning = Thinning::default();
        thinning.begin(2);
        assert_eq!(run(&mut thinning, 0, 4, 2), [0, 2, 1, 2]);
        assert_eq!(run(&mut thinning, 4, 4, 0), [0]);
        assert_eq!(run(&mut thinning, 8, 4, 2), [0, 1], "the first level first");
        assert_eq!(run(&mut thinning, 12, 4, 2), [0, 1], "no sync of the second");
        assert_eq!(run(&mut thinning, 16, 8, 2), [0, 2, 1, 2, 0, 2, 1, 2]);
    }

    #[test]
    fn all_packets_of_a_picture_share_its_fate() {
        let now = Instant::now();
        let mut thinning = Thinning::default();
        thinning.begin(1);
        assert!(thinning.takes(now, 0, temporal(0, false), 1));
        assert!(thinning.takes(now, FRAME, temporal(1, false), 1));
        assert!(
            thinning.takes(now, FRAME, temporal(1, false), 0),
            "begun with level 1"
        );
        assert!(!thinning.takes(now, 3 * FRAME, temporal(1, false), 0));
        assert!(
            thinning.takes(now, 2 * FRAME, temporal(0, false), 0),
            "late, of the base"
        );
        assert!(
            !thinning.takes(now, 3 * FRAME, temporal(1, false), 1),
            "begun with level 0"
        );
    }

    #[test]
    fn a_stream_that_never_syncs_asks_for_a_keyframe() {
        let now = Instant::now();
        let mut thinning = Thinning::default();
        thinning.begin(0);
        assert!(!thinning.takes(now, 0, temporal(1, false), 1));
        assert!(!thinning.needs_keyframe(now));
        assert!(thinning.needs_keyframe(now + WAITS_FOR_SYNC));
        assert!(thinning.takes(now, FRAME, (Temporal::BASE, true), 1));
        assert!(!thinning.needs_keyframe(now + WAITS_FOR_SYNC));
        assert!(thinning.takes(now, 2 * FRAME, temporal(1, false), 1));
    }
}
