//! Counters of the media task and one coherent snapshot of them.

use std::time::Duration;

/// Buckets of the delay histogram: powers of √2 from 1 µs; the budget of 1 ms is in the middle.
const BUCKETS: usize = 48;

/// Time from the socket's receive to the socket's send.
#[derive(Clone, Debug)]
pub struct DelayHistogram {
    counts: [u64; BUCKETS],
    total: u64,
}

impl Default for DelayHistogram {
    fn default() -> Self {
        Self {
            counts: [0; BUCKETS],
            total: 0,
        }
    }
}

impl DelayHistogram {
    /// Counts one delay.
    pub fn record(&mut self, delay: Duration) {
        let micros = (delay.as_nanos() as f64 / 1e3).max(1.0);
        let bucket = (2.0 * micros.log2()).ceil() as usize;
        self.counts[bucket.min(BUCKETS - 1)] += 1;
        self.total += 1;
    }

    /// Upper bound of the bucket in which that share of the delays ends; `None` when nothing was recorded.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let wanted = (self.total as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        })?;
        Some(Duration::from_nanos(
            (2f64.powf(bucket as f64 / 2.0) * 1e3) as u64,
        ))
    }
}

/// Counters since the start; a bad input is counted, never an error to others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams received.
    pub datagrams_in: u64,
    /// Datagrams sent.
    pub datagrams_out: u64,
    /// Datagrams from nobody we know.
    pub stray: u64,
    /// Datagrams the socket would not take, and packets for lines without a stream.
    pub unsent: u64,
    /// Media packets received.
    pub packets_in: u64,
    /// Media packets forwarded, once per leg.
    pub packets_out: u64,
    /// Media packets dropped because they carry nothing.
    pub empty: u64,
    /// Media packets dropped because no leg's format fits or their place is gone.
    pub unfit: u64,
    /// Data packets passed on.
    pub data_out: u64,
    /// Data packets refused or dropped.
    pub data_dropped: u64,
    /// Keyframe requests sent to publishers.
    pub keyframe_requests: u64,
    /// Sessions ended by an error or a panic.
    pub failed_sessions: u64,
    /// Metric rows that found their queue full.
    pub rows_dropped: u64,
    /// Events for the application that found their queue full.
    pub events_dropped: u64,
}

impl Counters {
    /// Each by its name, with what it counts: a counter that is missing here does not compile.
    pub fn named(&self) -> [(&'static str, &'static str, u64); 14] {
        let Self {
            datagrams_in,
            datagrams_out,
            stray,
            unsent,
            packets_in,
            packets_out,
            empty,
            unfit,
            data_out,
            data_dropped,
            keyframe_requests,
            failed_sessions,
            rows_dropped,
            events_dropped,
        } = *self;
        [
            ("datagrams_in", "Datagrams received", datagrams_in),
            ("datagrams_out", "Datagrams sent", datagrams_out),
            (
                "stray",
                "Datagrams dropped because nobody we know sent them",
                stray,
            ),
            (
                "unsent",
                "Datagrams the socket would not take, and packets for lines without a stream",
                unsent,
            ),
            ("packets_in", "Media packets received", packets_in),
            (
                "packets_out",
                "Media packets forwarded, once per leg",
                packets_out,
            ),
            ("empty", "Media packets dropped because they carry nothing", empty),
            (
                "unfit",
                "Media packets dropped because no leg's format fits or their place is gone",
                unfit,
            ),
            ("data_out", "Data packets passed on", data_out),
            ("data_dropped", "Data packets refused or dropped", data_dropped),
            (
                "keyframe_requests",
                "Keyframe requests sent to publishers",
                keyframe_requests,
            ),
            (
                "failed_sessions",
                "Sessions ended by an error or a panic",
                failed_sessions,
            ),
            (
                "rows_dropped",
                "Metric rows dropped because their queue was full",
                rows_dropped,
            ),
            (
                "events_dropped",
                "Events dropped because their queue was full",
                events_dropped,
            ),
        ]
    }
}

/// One snapshot.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Participants now.
    pub participants: usize,
    /// Rooms now.
    pub rooms: usize,
    /// Published tracks now.
    pub tracks: usize,
    /// Ways of a track to a subscriber now.
    pub legs: usize,
    /// Of these, tracks under AIC.
    pub tapped: usize,
    /// Messages of signalling that wait for the media task.
    pub commands_waiting: usize,
    /// Joins turned away at a tenant's limits, since the start.
    pub joins_refused: u64,
    /// Counters since the start.
    pub counters: Counters,
    /// Median time from receive to send of forwarded media.
    pub forward_p50: Option<Duration>,
    /// 99th percentile of the same.
    pub forward_p99: Option<Duration>,
    /// Longest turn of the media task, in which everybody else waited.
    pub longest_turn: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_within_a_bucket_of_the_truth() {
        let mut histogram = DelayHistogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        for micros in 1..=1000 {
            histogram.record(Duration::from_micros(micros));
        }
        let p50 = histogram.quantile(0.5).unwrap().as_micros();
        assert!((500..=725).contains(&p50), "{p50}");
        let p99 = histogram.quantile(0.99).unwrap().as_micros();
        assert!((990..=1025).contains(&p99), "{p99}");
    }
}
