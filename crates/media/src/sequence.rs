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
    /// Highest source number that was given its place for good.
    highest_sent: Option<u64>,
}

impl SequenceMap {
    /// Starts so that `first_in` becomes `first_out`.
    pub fn new(first_in: u64, first_out: u64) -> Self {
        Self {
            first_in,
            first_out,
            folded: 0,
            dropped: VecDeque::new(),
            highest_sent: None,
        }
    }

    /// The outgoing number, or `None` for a packet from before the start or from too far back.
    pub fn map(&mut self, seq: u64) -> Option<u64> {
        let out = self.place(seq)?;
        self.highest_sent = self.highest_sent.max(Some(seq));
        Some(out)
    }

    /// Notes a packet that will not be sent. Where later ones have gone out already, the number that was kept for it stays
    /// a gap, and is returned.
    pub fn drop(&mut self, seq: u64) -> Option<u64> {
        let place = self.place(seq)?;
        if self.highest_sent.is_some_and(|highest| seq <= highest) {
            return Some(place);
        }
        let at = self.dropped.partition_point(|dropped| *dropped < seq);
        self.dropped.insert(at, seq);
        if self.dropped.len() > REMEMBERED {
            self.dropped.pop_front();
            self.folded += 1;
        }
        None
    }

    fn place(&self, seq: u64) -> Option<u64> {
        let distance = seq.checked_sub(self.first_in)?;
        if self.folded > 0 && self.dropped.front().is_some_and(|oldest| seq < *oldest) {
            return None;
        }
        let at = self.dropped.partition_point(|dropped| *dropped < seq);
        if self.dropped.get(at) == Some(&seq) {
            return None;
        }
        let distance = distance.checked_sub(self.folded + at as u64)?;
        Some(self.first_out + distance)
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
        assert_eq!(map.drop(104), None);
        assert_eq!(map.drop(103), None, "in whatever order");
        assert_eq!(map.map(105), Some(10));
        assert_eq!(map.map(101), Some(8));
        assert_eq!(map.map(99), None);
        assert_eq!(map.map(103), None);
        assert_eq!(map.map(107), Some(12));
        assert_eq!(map.drop(106), Some(11), "later ones are out");
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
