//! What arrives as one layer of a track, on one timeline.
//!
//! A sender may change its SSRC in mid-track: an encoder starts anew, a device is changed, a gateway switches its source.
//! Sequence numbers and timestamps then start anywhere. Those who get the track hear of none of it: numbers go on behind
//! the last one, timestamps by the time that has passed.

use std::time::{Duration, Instant};

use str0m::rtp::Ssrc;

/// For so long stragglers of the SSRC just left are dropped; later it may be what the sender went back to.
const STRAGGLERS: Duration = Duration::from_millis(100);

/// Numbers of one packet on the layer's timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// Extended sequence number.
    pub seq: u64,
    /// RTP timestamp.
    pub timestamp: u32,
    /// Counts the changes of SSRC.
    pub generation: u32,
}

/// The stream in progress.
#[derive(Clone, Debug, Default)]
pub struct Arrival {
    ssrc: Option<Ssrc>,
    left: Option<(Ssrc, Instant)>,
    generation: u32,
    /// The stream's first number, and what it became.
    first: (u64, u64),
    timestamp_offset: u32,
    /// Highest number that went on, with its timestamp and when it came.
    last: Option<(u64, u32, Instant)>,
}

impl Arrival {
    /// The SSRC in progress.
    pub fn ssrc(&self) -> Option<Ssrc> {
        self.ssrc
    }

    /// Numbers of a packet; `None` for one that belongs before what is in progress. `clock` is in ticks per second.
    pub fn number(
        &mut self,
        now: Instant,
        ssrc: Ssrc,
        (seq, timestamp): (u64, u32),
        clock: u32,
    ) -> Option<Numbers> {
        if self.ssrc != Some(ssrc) {
            let straggler =
                |(left, at): (Ssrc, Instant)| left == ssrc && now.saturating_duration_since(at) < STRAGGLERS;
            if self.left.is_some_and(straggler) {
                return None;
            }
            self.change(now, ssrc, (seq, timestamp), clock);
        }
        let (from, to) = self.first;
        let numbers = Numbers {
            seq: to + seq.checked_sub(from)?,
            timestamp: timestamp.wrapping_add(self.timestamp_offset),
            generation: self.generation,
        };
        if self.last.is_none_or(|(highest, ..)| numbers.seq > highest) {
            self.last = Some((numbers.seq, numbers.timestamp, now));
        }
        Some(numbers)
    }

    fn change(&mut self, now: Instant, ssrc: Ssrc, (seq, timestamp): (u64, u32), clock: u32) {
        self.left = self.ssrc.replace(ssrc).map(|left| (left, now));
        let Some((highest, last, at)) = self.last else {
            // Room for packets that were overtaken by the first.
            let from = seq.saturating_sub(OVERTAKEN);
            self.first = (from, from);
            return;
        };
        self.generation += 1;
        self.first = (seq, highest + 1);
        let passed = now.saturating_duration_since(at).as_micros() as u64 * u64::from(clock) / 1_000_000;
        self.timestamp_offset = last.wrapping_add(passed.max(1) as u32).wrapping_sub(timestamp);
    }
}

/// Packets that may come after the first one of a track and belong before it.
const OVERTAKEN: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK: u32 = 48_000;

    fn at(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn one_ssrc_keeps_its_own_numbers() {
        let start = Instant::now();
        let mut arrival = Arrival::default();
        for (seq, timestamp) in [
            (70_000, 5),
            (70_001, 965),
            (69_999, 4_294_966_341),
            (70_002, 1925),
        ] {
            let numbers = arrival.number(start, 1.into(), (seq, timestamp), CLOCK).unwrap();
            assert_eq!((numbers.seq, numbers.timestamp), (seq, timestamp));
        }
    }

    #[test]
    fn another_ssrc_goes_on_where_the_last_one_ended_wherever_its_own_numbers_start() {
        for (seq, timestamp) in [(3, 7), (70_011, 2_000), (9_000_000, u32::MAX - 5)] {
            let start = Instant::now();
            let mut arrival = Arrival::default();
            arrival.number(start, 1.into(), (70_010, 96_000), CLOCK).unwrap();
            let first = arrival
                .number(at(start, 20), 2.into(), (seq, timestamp), CLOCK)
                .unwrap();
            assert_eq!(
                (first.seq, first.timestamp, first.generation),
                (70_011, 96_960, 1)
            );
            let next = timestamp.wrapping_add(960);
            let second = arrival
                .number(at(start, 40), 2.into(), (seq + 1, next), CLOCK)
                .unwrap();
            assert_eq!((second.seq, second.timestamp), (70_012, 97_920));
        }
    }

    #[test]
    fn stragglers_are_dropped_and_a_sender_may_go_back() {
        let start = Instant::now();
        let mut arrival = Arrival::default();
        arrival.number(start, 1.into(), (10, 0), CLOCK).unwrap();
        arrival.number(at(start, 20), 2.into(), (500, 0), CLOCK).unwrap();
        assert_eq!(arrival.number(at(start, 21), 1.into(), (11, 960), CLOCK), None);
        assert_eq!(
            arrival.number(at(start, 22), 2.into(), (499, 0), CLOCK),
            None,
            "from before the change"
        );
        let back = arrival
            .number(at(start, 220), 1.into(), (12, 1920), CLOCK)
            .unwrap();
        assert_eq!((back.seq, back.timestamp, back.generation), (12, 960 + 9600, 2));
    }
}
