//! One stream that comes in: what of it is missing and how evenly it comes.

use std::time::{Duration, SystemTime};

use crate::call::Media;

/// One received stream.
#[derive(Debug)]
pub struct Incoming {
    /// What it carries.
    pub media: Media,
    /// Who sends it, as the crowd numbers its publishers; `None` when it is somebody else, or not yet known.
    pub publisher: Option<usize>,
    /// Layer that the last packet was found in.
    pub layer: usize,
    clock: u32,
    first: Option<u64>,
    highest: u64,
    received: u64,
    last: Option<(SystemTime, u32)>,
    /// Interarrival jitter in seconds (RFC 3550 section 6.4.1).
    jitter: f64,
}

impl Incoming {
    /// One of which nothing has come.
    pub fn new(media: Media) -> Self {
        Self {
            media,
            publisher: None,
            layer: 0,
            clock: if media == Media::Video { 90_000 } else { 48_000 },
            first: None,
            highest: 0,
            received: 0,
            last: None,
            jitter: 0.0,
        }
    }

    /// A packet came.
    pub fn arrived(&mut self, at: SystemTime, sequence: u64, timestamp: u32) {
        let first = *self.first.get_or_insert(sequence);
        self.highest = self.highest.max(sequence);
        // One that was overtaken by the first belongs to no count.
        self.received += u64::from(sequence >= first);
        if let Some((last, was)) = self.last {
            let apart = seconds_between(last, at);
            let meant = f64::from(timestamp.wrapping_sub(was).cast_signed()) / f64::from(self.clock);
            // Of a stream that paused, or whose timestamps jumped, it says nothing.
            if (apart - meant).abs() < 1.0 {
                self.jitter += ((apart - meant).abs() - self.jitter) / 16.0;
            }
        }
        self.last = Some((at, timestamp));
    }

    /// Begins to count anew.
    pub fn restart(&mut self) {
        self.first = (self.received > 0).then_some(self.highest + 1);
        self.received = 0;
    }

    /// Packets received since the count began.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Packets that are missing between the first and the last received.
    pub fn lost(&self) -> u64 {
        let Some(first) = self.first.filter(|_| self.received > 0) else {
            return 0;
        };
        (self.highest + 1)
            .saturating_sub(first)
            .saturating_sub(self.received)
    }

    /// How unevenly it comes.
    pub fn jitter(&self) -> Duration {
        Duration::from_secs_f64(self.jitter)
    }
}

fn seconds_between(from: SystemTime, to: SystemTime) -> f64 {
    match to.duration_since(from) {
        Ok(ahead) => ahead.as_secs_f64(),
        Err(behind) => -behind.duration().as_secs_f64(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(ms)
    }

    #[test]
    fn what_is_missing_between_the_first_and_the_last_is_lost() {
        let mut stream = Incoming::new(Media::Audio);
        for sequence in [10, 11, 14, 13] {
            stream.arrived(at(sequence * 20), sequence, sequence as u32 * 960);
        }
        assert_eq!((stream.received(), stream.lost()), (4, 1));
        stream.restart();
        assert_eq!((stream.received(), stream.lost()), (0, 0));
        stream.arrived(at(340), 17, 17 * 960);
        assert_eq!(
            (stream.received(), stream.lost()),
            (1, 2),
            "15 and 16 came in neither count"
        );
    }

    #[test]
    fn jitter_is_none_of_an_even_stream_and_no_matter_of_pauses() {
        let mut stream = Incoming::new(Media::Audio);
        for n in 0..100 {
            stream.arrived(at(n * 20), n, n as u32 * 960);
        }
        assert!(stream.jitter() < Duration::from_micros(1));
        stream.arrived(at(60_000), 100, 100 * 960);
        assert!(stream.jitter() < Duration::from_micros(1));
        for n in 101..300 {
            stream.arrived(at(60_000 + (n - 100) * 20 + n % 2 * 10), n, n as u32 * 960);
        }
        assert!(stream.jitter().abs_diff(Duration::from_millis(10)) < Duration::from_millis(1));
    }
}
