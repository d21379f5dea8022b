//! The jitter buffer: units by time, and how long to hold them.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::unit::Unit;

/// Most units held; with 20 ms units that is ten seconds. When full, the oldest goes.
const MAX_UNITS: usize = 512;

/// A timestamp that far from the last one begins a new timeline.
const MAX_JUMP: i64 = 10 * 48_000;

/// How long arrivals are remembered.
const MEMORY: Duration = Duration::from_secs(3);

/// Most arrivals remembered.
const MAX_ARRIVALS: usize = 512;

/// Held on top of what jitter asks for: scheduling of sender and receiver, milliseconds.
const MARGIN_MS: f64 = 15.0;

/// Held in addition while packets get longer, because the next step of 20 ms may follow.
const GROWING_MS: f64 = 25.0;

/// How long after a step another is expected.
const GROWING: Duration = Duration::from_millis(600);

/// Longest delay asked for, milliseconds.
const MAX_TARGET_MS: f64 = 1_000.0;

/// Turns 32-bit timestamps (or 16-bit sequence numbers) into ever-growing ones.
#[derive(Clone, Debug)]
pub(crate) struct Extender {
    bits: u32,
    last: Option<u64>,
}

impl Extender {
    pub(crate) fn new(bits: u32) -> Self {
        Self { bits, last: None }
    }

    /// The extended value, and whether it jumped so far that a new timeline begins.
    pub(crate) fn extend(&mut self, value: u32, max_jump: i64) -> (u64, bool) {
        let Some(last) = self.last else {
            // Two cycles up, so that what came earlier does not fall below zero.
            let extended = (2u64 << self.bits) + u64::from(value);
            self.last = Some(extended);
            return (extended, false);
        };
        let modulus = 1i64 << self.bits;
        let mut step = (i64::from(value) - (last as i64 & (modulus - 1))).rem_euclid(modulus);
        if step >= modulus / 2 {
            step -= modulus;
        }
        let extended = last.saturating_add_signed(step);
        let jumped = step.abs() > max_jump;
        if jumped || step > 0 {
            self.last = Some(extended);
        }
        (extended, jumped)
    }

    pub(crate) fn extend_timestamp(&mut self, value: u32) -> (u64, bool) {
        self.extend(value, MAX_JUMP)
    }
}

/// Units waiting to be played.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    units: BTreeMap<u64, Unit>,
}

/// What became of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inserted {
    Kept,
    Duplicate,
    Late,
}

impl Waiting {
    /// `played` is the first sample not yet played.
    pub(crate) fn insert(&mut self, unit: Unit, played: Option<u64>) -> Inserted {
        if played.is_some_and(|played| unit.end() <= played) {
            return Inserted::Late;
        }
        if unit.copy {
            let covered = self
                .units
                .range(..unit.end())
                .next_back()
                .is_some_and(|(_, have)| have.end() > unit.at);
            if covered {
                return Inserted::Duplicate;
            }
        } else {
            if self.units.get(&unit.at).is_some_and(|have| !have.copy) {
                return Inserted::Duplicate;
            }
            let from = unit.at.saturating_sub(5_760);
            let stale: Vec<u64> = self
                .units
                .range(from..unit.end())
                .filter(|(_, have)| have.copy && have.end() > unit.at)
                .map(|(at, _)| *at)
                .collect();
            for at in stale {
                self.units.remove(&at);
            }
        }
        self.units.insert(unit.at, unit);
        while self.units.len() > MAX_UNITS {
            self.units.pop_first();
        }
        Inserted::Kept
    }

    /// The unit that covers `position`, dropping everything that ended before.
    pub(crate) fn take(&mut self, position: u64) -> Option<Unit> {
        while let Some(entry) = self.units.first_entry() {
            if entry.get().end() > position {
                break;
            }
            entry.remove();
        }
        let entry = self.units.first_entry()?;
        (*entry.key() <= position).then(|| entry.remove())
    }

    /// First sample of the next unit.
    pub(crate) fn next_at(&self) -> Option<u64> {
        self.units.first_key_value().map(|(at, _)| *at)
    }

    pub(crate) fn clear(&mut self) {
        self.units.clear();
    }
}

/// How late packets come, and the delay that follows from it.
///
/// A sample's *transit* is the time it arrives minus its own time, against an arbitrary but fixed origin. A sample
/// that is played at transit D is there in time if its packet's end came at a transit of at most D minus the
/// packet's length. So the target is: most of the recent end transits, plus the longest recent packet, plus a margin.
#[derive(Debug)]
pub(crate) struct Transit {
    origin: Option<(Instant, u64)>,
    arrivals: VecDeque<(Instant, f64, f64)>,
    floor_ms: f64,
    grew: Option<Instant>,
    last_len: u32,
}

impl Transit {
    pub(crate) fn new(floor: Duration) -> Self {
        Self {
            origin: None,
            arrivals: VecDeque::new(),
            grew: None,
            last_len: 0,
            floor_ms: floor.as_secs_f64() * 1000.0,
        }
    }

    /// Transit in milliseconds of a sample seen at `now`.
    pub(crate) fn of(&mut self, now: Instant, sample: u64) -> f64 {
        let (start, first) = *self.origin.get_or_insert((now, sample));
        let wall = if now >= start {
            now.duration_since(start).as_secs_f64()
        } else {
            -start.duration_since(now).as_secs_f64()
        };
        let media = (sample as i64 - first as i64) as f64 / 48_000.0;
        (wall - media) * 1000.0
    }

    /// A packet of new audio arrived, with copies that reach back so far before it: whoever sends them expects losses,
    /// and a copy is of use only if what it repeats is not due before it comes.
    pub(crate) fn arrived(&mut self, now: Instant, at: u64, len: u32, reach: u32) {
        let end = self.of(now, at + u64::from(len));
        let ms = f64::from(len + reach) / 48.0;
        // Not by how far copies reach: packets of one stream have them or not, as there is voice in them.
        if (1..len).contains(&self.last_len) {
            self.grew = Some(now);
        } else if self
            .grew
            .is_some_and(|grew| now.saturating_duration_since(grew) > GROWING)
        {
            self.grew = None;
        }
        self.last_len = len;
        self.arrivals.push_back((now, end, ms));
        let too_old = |when: Instant| now.saturating_duration_since(when) > MEMORY;
        while self.arrivals.len() > MAX_ARRIVALS
            || self.arrivals.front().is_some_and(|first| too_old(first.0))
        {
            self.arrivals.pop_front();
        }
    }

    /// The transit at which the first sample of a packet should be played.
    pub(crate) fn target(&self) -> Option<f64> {
        let mut ends: Vec<f64> = self.arrivals.iter().map(|(_, end, _)| *end).collect();
        if ends.is_empty() {
            return None;
        }
        ends.sort_by(f64::total_cmp);
        let earliest = ends[0];
        // All but one in thirty: a single late packet is concealed rather than waited for by all later ones.
        let latest = ends[ends.len() - 1 - ends.len() / 30];
        let longest = self.arrivals.iter().map(|(_, _, len)| *len).fold(0.0, f64::max);
        let growing = if self.grew.is_some() { GROWING_MS } else { 0.0 };
        let hold = (latest - earliest + longest + MARGIN_MS + growing)
            .max(self.floor_ms)
            .min(MAX_TARGET_MS);
        Some(earliest + hold)
    }

    /// The timeline begins anew.
    pub(crate) fn reset(&mut self) {
        self.origin = None;
        self.grew = None;
        self.last_len = 0;
        self.arrivals.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::{Body, Kind};

    fn unit(at: u64, len: u32, copy: bool) -> Unit {
        Unit {
            at,
            len,
            copy,
            kind: Kind::Opus,
            body: Body::Opus(vec![0; 10]),
            pauses: false,
        }
    }

    #[test]
    fn numbers_grow_across_the_wrap_and_back_for_reordered_packets() {
        let mut extender = Extender::new(16);
        let (first, _) = extender.extend(65_534, 1000);
        let (second, _) = extender.extend(1, 1000);
        let (late, _) = extender.extend(65_535, 1000);
        assert_eq!((second - first, late - first), (3, 1));
        let mut extender = Extender::new(32);
        let (first, _) = extender.extend_timestamp(u32::MAX - 100);
        let (second, jumped) = extender.extend_timestamp(859);
        assert_eq!((second - first, jumped), (960, false));
        assert!(extender.extend_timestamp(859 + 20 * 48_000).1);
    }

    #[test]
    fn a_copy_never_displaces_the_original_and_the_original_displaces_copies() {
        let mut waiting = Waiting::default();
        assert_eq!(waiting.insert(unit(0, 960, true), None), Inserted::Kept);
        assert_eq!(waiting.insert(unit(960, 960, true), None), Inserted::Kept);
        assert_eq!(waiting.insert(unit(0, 2880, false), None), Inserted::Kept);
        assert_eq!(waiting.insert(unit(960, 960, true), None), Inserted::Duplicate);
        assert_eq!(waiting.insert(unit(0, 2880, false), None), Inserted::Duplicate);
        assert_eq!(waiting.take(0), Some(unit(0, 2880, false)));
        assert_eq!(waiting.next_at(), None);
        assert_eq!(waiting.insert(unit(0, 960, false), Some(960)), Inserted::Late);
    }

    #[test]
    fn the_target_holds_the_longest_packet_and_the_jitter() {
        let start = Instant::now();
        let mut transit = Transit::new(Duration::ZERO);
        for n in 0..50u64 {
            transit.arrived(start + Duration::from_millis(20 * n + 20), 960 * n, 960, 0);
        }
        let steady = transit.target().unwrap();
        assert!(
            (steady - 35.0).abs() < 0.5,
            "a steady 20 ms stream wants {steady}"
        );
        let (mut at, mut ms) = (960 * 50, 1000);
        for _ in 0..10 {
            ms += 120;
            transit.arrived(start + Duration::from_millis(ms), at, 5_760, 0);
            at += 5_760;
        }
        let long = transit.target().unwrap();
        assert!((long - 135.0).abs() < 0.5, "a steady 120 ms stream wants {long}");
    }

    #[test]
    fn the_target_stands_still_while_copies_come_and_go_with_the_voice() {
        let start = Instant::now();
        let mut transit = Transit::new(Duration::ZERO);
        let mut targets = Vec::new();
        for n in 0..100u64 {
            let reach = if n % 3 == 0 { 0 } else { 2_880 };
            transit.arrived(
                start + Duration::from_millis(60 * n + 60),
                2_880 * n,
                2_880,
                reach,
            );
            targets.extend(transit.target());
        }
        let held = &targets[5..];
        assert!(
            held.iter().all(|target| (target - held[0]).abs() < 0.5),
            "{held:?}"
        );
    }

    #[test]
    fn the_buffer_stays_bounded_whatever_arrives() {
        let mut waiting = Waiting::default();
        for n in 0..10_000u64 {
            waiting.insert(unit(n.wrapping_mul(7_919) % 1_000_003, 960, n % 3 == 0), None);
            assert!(waiting.units.len() <= MAX_UNITS);
        }
    }
}
