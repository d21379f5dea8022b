//! What was found, for people and for programs.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use crate::call::Media;
use crate::histogram::Histogram;
use crate::plan::Plan;

/// One kind of media in the time that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Flow {
    /// What it is.
    pub media: Media,
    /// Packets sent to the server, simulcast layers together.
    pub sent: u64,
    /// Packets received from it, all listeners together.
    pub received: u64,
    /// Payload bytes received.
    pub received_bytes: u64,
    /// Streams in which something was received, each listener's counted.
    pub streams: usize,
    /// Packets missing between the first and the last of each stream; of messages nothing can be said.
    pub lost: u64,
    /// Mean of the streams' jitter.
    pub jitter_ms: Option<f64>,
    /// Packets whose way was timed: sent from here and passed on with their end unchanged.
    pub timed: u64,
    /// From before the call that sends it until the kernel has it for the listener.
    pub way_ms_p50: Option<f64>,
    /// As above.
    pub way_ms_p99: Option<f64>,
    /// As above.
    pub way_ms_longest: Option<f64>,
}

impl Flow {
    /// With the figures of a histogram.
    pub(crate) fn timed(mut self, way: &Histogram) -> Self {
        self.timed = way.count();
        self.way_ms_p50 = way.ms_at(0.5);
        self.way_ms_p99 = way.ms_at(0.99);
        self.way_ms_longest = way.longest_ms();
        self
    }
}

/// What a crowd found.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// How long it was measured.
    pub seconds: f64,
    /// By kind of media.
    pub flows: Vec<Flow>,
    /// Datagrams that this process read too late and lost.
    pub unread: u64,
    /// Processor time of this process, per second.
    pub own_busy: f64,
}

impl Found {
    /// Packets received, messages included.
    pub fn received(&self) -> u64 {
        self.flows.iter().map(|flow| flow.received).sum()
    }

    /// Packets lost.
    pub fn lost(&self) -> u64 {
        self.flows.iter().map(|flow| flow.lost).sum()
    }
}

/// How joining went.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Joins {
    /// People who began to join.
    pub begun: u64,
    /// Who were connected.
    pub connected: u64,
    /// From the beginning until media can flow.
    pub ms_p50: Option<f64>,
    /// As above.
    pub ms_p99: Option<f64>,
    /// Who could not join or fell out, and why, the first few.
    pub failures: Vec<String>,
    /// How many these were.
    pub failed: u64,
}

/// The server's process in the time that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct ServerUse {
    /// Processor time per second.
    pub busy: f64,
    /// Processor time per packet it sent to somebody here, microseconds.
    pub us_per_packet: Option<f64>,
    /// Packets it sent for one second of processor time.
    pub packets_per_busy_second: Option<f64>,
    /// Resident memory at the end, MiB.
    pub resident_mib: f64,
    /// What of that came with the participants, KiB for each.
    pub resident_kib_per_person: Option<f64>,
}

impl ServerUse {
    /// From what the process said before and after.
    pub(crate) fn new(found: &Found, busy: Duration, before: u64, after: u64, people: usize) -> Self {
        let packets = found.received() as f64;
        let seconds = busy.as_secs_f64();
        Self {
            busy: seconds / found.seconds,
            us_per_packet: (packets > 0.0).then(|| seconds * 1e6 / packets),
            packets_per_busy_second: (seconds > 0.0).then(|| packets / seconds),
            resident_mib: after as f64 / (1 << 20) as f64,
            resident_kib_per_person: (people > 0)
                .then(|| after.saturating_sub(before) as f64 / 1024.0 / people as f64),
        }
    }
}

/// Everything.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was asked.
    pub plan: Plan,
    /// Participants at the end.
    pub people: usize,
    /// How joining went.
    pub joins: Joins,
    /// What was counted once everybody was there.
    pub found: Found,
    /// The server's process, where it was named.
    pub server: Option<ServerUse>,
}

impl Report {
    /// For people.
    pub fn table(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).expect("a String takes all that is written");
        text
    }

    fn write(&self, to: &mut String) -> std::fmt::Result {
        let ms = |value: Option<f64>| value.map_or("-".to_owned(), |ms| format!("{ms:.2} ms"));
        let (joins, found) = (&self.joins, &self.found);
        writeln!(
            to,
            "{} people; {} of {} joined, p50 {}, p99 {}",
            self.people,
            joins.connected,
            joins.begun,
            ms(joins.ms_p50),
            ms(joins.ms_p99)
        )?;
        for failure in &joins.failures {
            writeln!(to, "  failed: {failure}")?;
        }
        if joins.failed > joins.failures.len() as u64 {
            writeln!(to, "  and {} more", joins.failed - joins.failures.len() as u64)?;
        }
        writeln!(
            to,
            "{:<6} {:>9} {:>11} {:>8} {:>9} {:>9} {:>10} {:>10} {:>10} {:>10}",
            "", "sent/s", "received/s", "streams", "lost", "loss", "jitter", "way p50", "way p99", "longest"
        )?;
        for flow in &found.flows {
            let whole = flow.received + flow.lost;
            writeln!(
                to,
                "{:<6} {:>9.0} {:>11.0} {:>8} {:>9} {:>7.3} % {:>10} {:>10} {:>10} {:>10}",
                format!("{:?}", flow.media).to_lowercase(),
                flow.sent as f64 / found.seconds,
                flow.received as f64 / found.seconds,
                flow.streams,
                flow.lost,
                if whole > 0 {
                    100.0 * flow.lost as f64 / whole as f64
                } else {
                    0.0
                },
                ms(flow.jitter_ms),
                ms(flow.way_ms_p50),
                ms(flow.way_ms_p99),
                ms(flow.way_ms_longest),
            )?;
        }
        writeln!(
            to,
            "over {:.1} s; this process was busy {:.0} % of a core and read {} datagrams too late",
            found.seconds,
            100.0 * found.own_busy,
            found.unread
        )?;
        if let Some(server) = &self.server {
            let figure =
                |value: Option<f64>, unit| value.map_or("-".to_owned(), |value| format!("{value:.1} {unit}"));
            writeln!(
                to,
                "the server was busy {:.0} % of a core, {} a packet sent; {:.1} MiB, {} a person",
                100.0 * server.busy,
                figure(server.us_per_packet, "µs"),
                server.resident_mib,
                figure(server.resident_kib_per_person, "KiB"),
            )?;
        }
        Ok(())
    }
}
