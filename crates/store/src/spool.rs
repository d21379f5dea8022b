//! Where rows wait for the database. Sans-IO.

use std::collections::VecDeque;

/// Rows that may wait: 1,000 tracks for 100 seconds, about 50 MB. When full, the oldest goes and is counted,
/// because a dashboard wants the present and the database is away anyway.
pub const SPOOL_MAX: usize = 100_000;

/// A bounded queue that drops its oldest.
#[derive(Debug)]
pub(crate) struct Spool<T> {
    queue: VecDeque<T>,
    max: usize,
    dropped: u64,
}

impl<T> Spool<T> {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            max: max.max(1),
            dropped: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Rows dropped so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Adds the newest, at the cost of the oldest when full.
    pub(crate) fn push(&mut self, row: T) {
        if self.queue.len() == self.max {
            self.queue.pop_front();
            self.dropped += 1;
        }
        self.queue.push_back(row);
    }

    /// Takes the oldest, at most so many.
    pub(crate) fn take(&mut self, most: usize) -> Vec<T> {
        let count = most.min(self.queue.len());
        self.queue.drain(..count).collect()
    }

    /// Puts back what could not be written; the oldest of it goes when newer ones have filled the queue meanwhile.
    pub(crate) fn give_back(&mut self, batch: Vec<T>) {
        let room = self.max - self.queue.len();
        let lost = batch.len().saturating_sub(room);
        self.dropped += lost as u64;
        for row in batch.into_iter().skip(lost).rev() {
            self.queue.push_front(row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_spool_drops_its_oldest_and_counts_it() {
        let mut spool = Spool::new(3);
        (0..5).for_each(|number| spool.push(number));
        assert_eq!(spool.dropped(), 2);
        assert_eq!(spool.take(usize::MAX), [2, 3, 4]);
    }

    #[test]
    fn a_batch_that_failed_goes_back_in_front_and_gives_way_to_newer_ones() {
        let mut spool = Spool::new(4);
        (0..4).for_each(|number| spool.push(number));
        let batch = spool.take(3);
        (4..6).for_each(|number| spool.push(number));
        spool.give_back(batch);
        assert_eq!(spool.dropped(), 2);
        assert_eq!(spool.take(usize::MAX), [2, 3, 4, 5]);
    }
}
