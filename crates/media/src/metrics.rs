//! Counters of the shards, and snapshots of them.

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
        self.record_for(1, delay);
    }

    /// Counts so many of one delay.
    pub fn record_for(&mut self, count: u64, delay: Duration) {
        let micros = (delay.as_nanos() as f64 / 1e3).max(1.0);
        let bucket = (2.0 * micros.log2()).ceil() as usize;
        self.counts[bucket.min(BUCKETS - 1)] += count;
        self.total += count;
    }

    fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.total += other.total;
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

/// Declares the counters once: their fields, their names and texts for exports, and their sum.
macro_rules! counters {
    ($($name:ident: $what:literal,)*) => {
        /// Counters since the start; a bad input is counted, never an error to others.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $(#[doc = $what] pub $name: u64,)*
        }

        impl Counters {
            /// Each by its name, with what it counts.
            pub fn named(&self) -> Vec<(&'static str, &'static str, u64)> {
                vec![$((stringify!($name), $what, self.$name)),*]
            }

            fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

counters! {
    datagrams_in: "Datagrams received",
    datagrams_out: "Datagrams sent",
    handed_over: "Datagrams received at another shard's socket and handed over",
    relayed: "Packets of a room's tracks given to its parts on other shards, once to each",
    relayed_lost: "Of these and of lossy data, lost because that shard was behind",
    stray: "Datagrams dropped because nobody we know sent them",
    unsent: "Datagrams the socket or a shard would not take, and packets for lines without a stream",
    packets_in: "Media packets received",
    packets_out: "Media packets forwarded, once per leg",
    empty: "Media packets dropped because they carry nothing",
    unfit: "Media packets dropped because no leg's format fits or their place is gone",
    data_out: "Data packets passed on",
    data_dropped: "Data packets refused or dropped",
    keyframe_requests: "Keyframe requests sent to publishers",
    failed_sessions: "Sessions ended by an error or a panic",
    shard_deaths: "Shards that died and began anew",
    rows_dropped: "Metric rows dropped because their queue was full",
    events_dropped: "Events dropped because their queue was full",
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
    /// Messages of signalling that wait for the shards.
    pub commands_waiting: usize,
    /// Joins turned away at a tenant's limits, since the start.
    pub joins_refused: u64,
    /// Counters since the start.
    pub counters: Counters,
    /// Time from receive to send of forwarded media.
    pub delays: DelayHistogram,
    /// Length of the shards' turns, in which everybody else on the shard waited.
    pub turns: DelayHistogram,
}

impl Stats {
    /// Takes another shard's figures in.
    pub(crate) fn add(&mut self, other: &Self) {
        self.participants += other.participants;
        self.rooms += other.rooms;
        self.tracks += other.tracks;
        self.legs += other.legs;
        self.tapped += other.tapped;
        self.commands_waiting += other.commands_waiting;
        self.joins_refused += other.joins_refused;
        self.counters.add(&other.counters);
        self.delays.add(&other.delays);
        self.turns.add(&other.turns);
    }
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
