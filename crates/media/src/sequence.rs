//! Sequence numbers of one outgoing stream: dropped packets leave no gap, lost ones do.

use std::collections::VecDeque;

/// Dropped packets remembered, so that one arriving late before them still finds its place.
const REMEMBERED: usize = 64;

/// Maps a source's extended sequence numbers onto a stream whose numbers must be unbroken where packets were
/// dropped on purpose, and must show a gap where packets were lost, so that receivers ask for them again.
#[derive(Clone, Debug)]
pub struct SequenceMap {
    first_in: u64,
    first_out: u64,
    folded: u64,
    dropped: VecDeque<u64>,
    highest_in: u64,
}

impl SequenceMap {
    /// Starts so that `first_in` becomes `first_out`.
    pub fn new(first_in: u64, first_out: u64) -> Self {
        Self {
            first_in,
            first_out,
            folded: 0,
            dropped: VecDeque::new(),
            highest_in: first_in,
        }
    }

    /// The outgoing number, or `None` for a packet from before the start or from too far back.
    pub fn map(&mut self, seq: u64) -> Option<u64> {
        if seq < self.first_in || self.dropped.contains(&seq) {
            return None;
        }
        if self.folded > 0 && self.dropped.front().is_some_and(|oldest| seq < *oldest) {
            return None;
        }
        self.highest_in = self.highest_in.max(seq);
        let before = self.folded + self.dropped.iter().filter(|dropped| **dropped < seq).count() as u64;
        (seq - self.first_in)
            .checked_sub(before)
            .map(|distance| self.first_out + distance)
    }

    /// Notes a packet that will not be sent.
    pub fn drop(&mut self, seq: u64) {
        if seq < self.first_in || self.dropped.contains(&seq) {
            return;
        }
        if seq <= self.highest_in {
            // Later ones are out already: its number stays a gap.
            return;
        }
        self.highest_in = seq;
        self.dropped.push_back(seq);
        if self.dropped.len() > REMEMBERED {
            self.dropped.pop_front();
            self.folded += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_packets_leave_a_gap_and_dropped_ones_do_not() {
        let mut map = SequenceMap::new(100, 7);
        assert_eq!(map.map(100), Some(7));
        assert_eq!(map.map(102), Some(9));
        map.drop(103);
        map.drop(104);
        assert_eq!(map.map(105), Some(10));
        assert_eq!(map.map(101), Some(8));
        assert_eq!(map.map(99), None);
        assert_eq!(map.map(103), None);
    }

    #[test]
    fn a_long_run_of_drops_keeps_the_numbers_unbroken() {
        let mut map = SequenceMap::new(0, 0);
        let mut expected = 0;
        for seq in 0..10_000 {
            if seq % 3 == 2 {
                map.drop(seq);
            } else {
                assert_eq!(map.map(seq), Some(expected));
                expected += 1;
            }
        }
        assert_eq!(
            map.map(5),
            None,
            "a packet from before what is remembered has no place"
        );
    }
}
