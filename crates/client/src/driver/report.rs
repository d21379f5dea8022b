//! What an AIC client tells the server about its own coding.

use std::time::{Duration, Instant};

use auralink_types::{PublisherReport, REPORT_TOPIC, SourceCodec, TrackId};

use super::Driver;
use crate::error::JoinError;

/// Between two reports: each costs about 250 bytes on the wire with its acknowledgement, 1 % of lean speech.
const EVERY: Duration = Duration::from_secs(10);
/// Before the first: what savings are counted from may be known by then.
const FIRST: Duration = Duration::from_millis(1_500);
/// Times kept between two reports.
const TIMES: usize = 1_024;

/// How long coding took since the last report.
pub(super) struct Coding {
    times: Vec<Duration>,
    next: Instant,
}

impl Coding {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            times: Vec::with_capacity(TIMES),
            next: now + FIRST,
        }
    }

    /// Notes the time that coding a packet of so many 20 ms frames took.
    pub(super) fn took(&mut self, time: Duration, frames: u32) {
        if self.times.len() < TIMES {
            self.times.push(time / frames.max(1));
        }
    }

    /// Median and 99th percentile in microseconds, and starts anew.
    fn take(&mut self) -> Option<(u32, u32)> {
        self.times.sort_unstable();
        let last = self.times.len().checked_sub(1)?;
        let micros = |at: usize| u32::try_from(self.times[at].as_micros()).unwrap_or(u32::MAX);
        let answer = (micros(last / 2), micros(last * 99 / 100));
        self.times.clear();
        Some(answer)
    }
}

impl Driver {
    /// Sends a report if one is due and there is something to tell.
    pub(super) fn report(&mut self, now: Instant) -> Result<(), JoinError> {
        let (Some(publisher), Some(track)) = (&self.publisher, &self.published) else {
            return Ok(());
        };
        if !self.options.aic || now < self.coding.next || publisher.wish() == SourceCodec::Own {
            return Ok(());
        }
        let own_bps = publisher.own_bitrate();
        // What the client's own encoder makes of the talk is waited for once, and then told with each report.
        self.coding.next = now + if own_bps.is_some() { EVERY } else { FIRST };
        let times = self.coding.take();
        let report = PublisherReport {
            track: TrackId::new(track.clone()),
            coding_p50_us: times.map(|(median, _)| median),
            coding_p99_us: times.map(|(_, p99)| p99),
            own_bps,
        };
        // A report is a small struct of numbers and a name: it always serialises.
        let Ok(payload) = serde_json::to_vec(&report) else {
            return Ok(());
        };
        // A channel that is full or not open loses a report; the next one tells as much.
        self.session.send_data(REPORT_TOPIC, &payload, false)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_per_frame_and_only_once() {
        let mut coding = Coding::new(Instant::now());
        assert_eq!(coding.take(), None);
        for micros in 1..=100 {
            coding.took(Duration::from_micros(3 * micros), 3);
        }
        assert_eq!(coding.take(), Some((50, 99)));
        assert_eq!(coding.take(), None);
    }
}
