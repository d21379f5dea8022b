//! What the receiver of a path reports: RTCP receiver reports without the bytes (RFC 3550, section 6.4).

use std::time::{Duration, Instant};

/// One report.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    /// Share of packets lost since the last report, 0 to 1.
    pub loss: f32,
    /// Interarrival jitter.
    pub jitter: Duration,
    /// Packets that should have come since the last report.
    pub expected: u32,
}

/// Counts what arrives.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    highest: Option<u64>,
    received: u64,
    reported: (u64, u64),
    jitter: f64,
    last: Option<(Instant, Duration)>,
}

impl Meter {
    /// A packet arrived: its extended sequence number, its media time, and when.
    pub fn arrived(&mut self, seq: u64, media: Duration, at: Instant) {
        if self.highest.is_none() {
            self.reported.0 = seq;
        }
        self.highest = Some(self.highest.map_or(seq, |highest| highest.max(seq)));
        self.received += 1;
        if let Some((last_at, last_media)) = self.last.replace((at, media)) {
            let came = at.saturating_duration_since(last_at).as_secs_f64();
            let apart = media.as_secs_f64() - last_media.as_secs_f64();
            self.jitter += ((came - apart).abs() - self.jitter) / 16.0;
        }
    }

    /// What is reported now; `None` before the first packet, and while none came: nothing new can be said then.
    pub fn report(&mut self) -> Option<Report> {
        let next = self.highest? + 1;
        let (from, received) = self.reported;
        let expected = next - from;
        if expected == 0 {
            return None;
        }
        let came = self.received - received;
        self.reported = (next, self.received);
        Some(Report {
            loss: 1.0 - (came.min(expected) as f32 / expected as f32),
            jitter: Duration::from_secs_f64(self.jitter),
            expected: expected as u32,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_tells_what_was_lost_since_the_last_one_and_silence_is_no_report() {
        let start = Instant::now();
        let mut meter = Meter::default();
        assert_eq!(meter.report(), None);
        for seq in [10u64, 11, 13, 14] {
            let at = Duration::from_millis(20 * seq);
            meter.arrived(seq, at, start + at);
        }
        let report = meter.report().unwrap();
        assert_eq!((report.expected, report.jitter), (5, Duration::ZERO));
        assert!((report.loss - 0.2).abs() < 1e-6);
        assert_eq!(meter.report(), None);
    }
}
