//! Every UDP datagram counted, both ways: what all savings are measured on.

use std::time::{Duration, Instant};

use serde::Serialize;

/// IPv4 header (20) and UDP header (8), added to every datagram.
pub const IP_UDP_BYTES: usize = 28;

/// Width of a bucket until the history is full.
const BUCKET: Duration = Duration::from_millis(100);

/// Buckets kept; when full, neighbours are merged and the width doubles, so memory stays bounded.
const MAX_BUCKETS: usize = 36_000;

/// Which protocol a datagram on a WebRTC port carries (RFC 7983, RFC 5761).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatagramKind {
    /// ICE connectivity checks.
    Stun,
    /// Key exchange and data channels.
    Dtls,
    /// Media.
    Rtp,
    /// Reports and feedback.
    Rtcp,
    /// Anything else.
    Other,
}

impl DatagramKind {
    /// Tells them apart by the first two bytes.
    pub fn of(datagram: &[u8]) -> Self {
        match datagram {
            [0..=3, ..] => Self::Stun,
            [20..=63, ..] => Self::Dtls,
            [128..=191, 192..=223, ..] => Self::Rtcp,
            [128..=191, ..] => Self::Rtp,
            _ => Self::Other,
        }
    }
}

/// What flowed one way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Flow {
    /// Datagrams.
    pub datagrams: u64,
    /// Bytes on the wire, IP and UDP headers included.
    pub wire_bytes: u64,
    /// The part of `wire_bytes` that was ICE.
    pub stun_wire_bytes: u64,
    /// The part that was DTLS, data channels included.
    pub dtls_wire_bytes: u64,
    /// The part that was SRTP.
    pub rtp_wire_bytes: u64,
    /// The part that was SRTCP.
    pub rtcp_wire_bytes: u64,
    /// RTP packets of audio.
    pub audio_packets: u64,
    /// Their payload: no RTP header, extension or tag.
    pub audio_payload_bytes: u64,
    /// RTP packets of video.
    pub video_packets: u64,
    /// Their payload.
    pub video_payload_bytes: u64,
}

impl Flow {
    fn datagram(&mut self, datagram: &[u8]) {
        let wire = (datagram.len() + IP_UDP_BYTES) as u64;
        self.datagrams += 1;
        self.wire_bytes += wire;
        match DatagramKind::of(datagram) {
            DatagramKind::Stun => self.stun_wire_bytes += wire,
            DatagramKind::Dtls => self.dtls_wire_bytes += wire,
            DatagramKind::Rtp => self.rtp_wire_bytes += wire,
            DatagramKind::Rtcp => self.rtcp_wire_bytes += wire,
            DatagramKind::Other => {}
        }
    }
}

/// One slice of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Bucket {
    /// Bytes sent on the wire.
    pub up_bytes: u32,
    /// Datagrams sent.
    pub up_datagrams: u32,
    /// Audio payload bytes sent.
    pub up_audio_payload: u32,
    /// Audio packets sent.
    pub up_audio_packets: u32,
    /// Bytes received on the wire.
    pub down_bytes: u32,
    /// Datagrams received.
    pub down_datagrams: u32,
    /// Audio payload bytes received.
    pub down_audio_payload: u32,
    /// Audio packets received.
    pub down_audio_packets: u32,
}

impl Bucket {
    fn add(&mut self, other: &Self) {
        self.up_bytes = self.up_bytes.saturating_add(other.up_bytes);
        self.up_datagrams = self.up_datagrams.saturating_add(other.up_datagrams);
        self.up_audio_payload = self.up_audio_payload.saturating_add(other.up_audio_payload);
        self.up_audio_packets = self.up_audio_packets.saturating_add(other.up_audio_packets);
        self.down_bytes = self.down_bytes.saturating_add(other.down_bytes);
        self.down_datagrams = self.down_datagrams.saturating_add(other.down_datagrams);
        self.down_audio_payload = self.down_audio_payload.saturating_add(other.down_audio_payload);
        self.down_audio_packets = self.down_audio_packets.saturating_add(other.down_audio_packets);
    }
}

/// Mean rates over a stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Rates {
    /// Length of the stretch in seconds.
    pub seconds: f64,
    /// Sent on the wire, kbps.
    pub up_wire_kbps: f64,
    /// Audio payload sent, kbps.
    pub up_audio_payload_kbps: f64,
    /// Audio packets sent per second.
    pub up_audio_packets_per_s: f64,
    /// Received on the wire, kbps.
    pub down_wire_kbps: f64,
    /// Audio payload received, kbps.
    pub down_audio_payload_kbps: f64,
    /// Audio packets received per second.
    pub down_audio_packets_per_s: f64,
}

/// Counters of one peer connection.
#[derive(Clone, Debug)]
pub struct Traffic {
    start: Instant,
    width: Duration,
    buckets: Vec<Bucket>,
    sent: Flow,
    received: Flow,
}

impl Traffic {
    /// Starts counting.
    pub fn new(start: Instant) -> Self {
        Self {
            start,
            width: BUCKET,
            buckets: Vec::new(),
            sent: Flow::default(),
            received: Flow::default(),
        }
    }

    /// A datagram was handed to the socket.
    pub fn datagram_sent(&mut self, now: Instant, datagram: &[u8]) {
        self.sent.datagram(datagram);
        let bucket = self.bucket(now);
        bucket.up_bytes += (datagram.len() + IP_UDP_BYTES) as u32;
        bucket.up_datagrams += 1;
    }

    /// A datagram came from the socket.
    pub fn datagram_received(&mut self, now: Instant, datagram: &[u8]) {
        self.received.datagram(datagram);
        let bucket = self.bucket(now);
        bucket.down_bytes += (datagram.len() + IP_UDP_BYTES) as u32;
        bucket.down_datagrams += 1;
    }

    /// An audio packet with that much payload was written.
    pub fn audio_sent(&mut self, now: Instant, payload: usize) {
        self.sent.audio_packets += 1;
        self.sent.audio_payload_bytes += payload as u64;
        let bucket = self.bucket(now);
        bucket.up_audio_packets += 1;
        bucket.up_audio_payload += payload as u32;
    }

    /// An audio packet with that much payload arrived.
    pub fn audio_received(&mut self, now: Instant, payload: usize) {
        self.received.audio_packets += 1;
        self.received.audio_payload_bytes += payload as u64;
        let bucket = self.bucket(now);
        bucket.down_audio_packets += 1;
        bucket.down_audio_payload += payload as u32;
    }

    /// A video packet with that much payload arrived.
    pub fn video_received(&mut self, payload: usize) {
        self.received.video_packets += 1;
        self.received.video_payload_bytes += payload as u64;
    }

    /// Totals of what was sent.
    pub fn sent(&self) -> &Flow {
        &self.sent
    }

    /// Totals of what was received.
    pub fn received(&self) -> &Flow {
        &self.received
    }

    /// The history, oldest first.
    pub fn buckets(&self) -> &[Bucket] {
        &self.buckets
    }

    /// Width of each bucket.
    pub fn bucket_width(&self) -> Duration {
        self.width
    }

    fn bucket(&mut self, now: Instant) -> &mut Bucket {
        let since = now.saturating_duration_since(self.start);
        let mut index = (since.as_nanos() / self.width.as_nanos()) as usize;
        while index >= MAX_BUCKETS {
            let merged = self.buckets.chunks(2).map(|pair| {
                let mut sum = pair[0];
                if let Some(second) = pair.get(1) {
                    sum.add(second);
                }
                sum
            });
            self.buckets = merged.collect();
            self.width *= 2;
            index = (since.as_nanos() / self.width.as_nanos()) as usize;
        }
        if index >= self.buckets.len() {
            self.buckets.resize(index + 1, Bucket::default());
        }
        &mut self.buckets[index]
    }
}

/// Mean rates over the buckets that begin in `from..to` (since the start of counting).
pub fn rates(buckets: &[Bucket], width: Duration, from: Duration, to: Duration) -> Rates {
    let first = from.as_nanos().div_ceil(width.as_nanos().max(1)) as usize;
    let end = ((to.as_nanos() / width.as_nanos().max(1)) as usize).min(buckets.len());
    if first >= end {
        return Rates::default();
    }
    let seconds = (end - first) as f64 * width.as_secs_f64();
    let sum = |field: fn(&Bucket) -> u32| -> f64 {
        let total: u64 = buckets[first..end]
            .iter()
            .map(|bucket| u64::from(field(bucket)))
            .sum();
        total as f64
    };
    let kbps = |field: fn(&Bucket) -> u32| sum(field) * 8.0 / 1000.0 / seconds;
    Rates {
        seconds,
        up_wire_kbps: kbps(|bucket| bucket.up_bytes),
        up_audio_payload_kbps: kbps(|bucket| bucket.up_audio_payload),
        up_audio_packets_per_s: sum(|bucket| bucket.up_audio_packets) / seconds,
        down_wire_kbps: kbps(|bucket| bucket.down_bytes),
        down_audio_payload_kbps: kbps(|bucket| bucket.down_audio_payload),
        down_audio_packets_per_s: sum(|bucket| bucket.down_audio_packets) / seconds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_counts_with_its_ip_and_udp_headers() {
        let start = Instant::now();
        let mut traffic = Traffic::new(start);
        traffic.datagram_sent(start, &[0x80, 111, 0, 0]);
        traffic.datagram_sent(start + Duration::from_millis(150), &[0x80, 200, 0, 0]);
        traffic.datagram_sent(start + Duration::from_millis(150), &[0, 1]);
        assert_eq!(traffic.sent().wire_bytes, 32 + 32 + 30);
        assert_eq!(traffic.sent().rtp_wire_bytes, 32);
        assert_eq!(traffic.sent().rtcp_wire_bytes, 32);
        assert_eq!(traffic.sent().stun_wire_bytes, 30);
        let seen: Vec<_> = traffic.buckets().iter().map(|bucket| bucket.up_bytes).collect();
        assert_eq!(seen, [32, 62]);
    }

    #[test]
    fn rates_are_bytes_over_the_seconds_asked_for() {
        let start = Instant::now();
        let mut traffic = Traffic::new(start);
        for ms in (0..10_000).step_by(20) {
            let now = start + Duration::from_millis(ms);
            traffic.audio_sent(now, 120);
            traffic.datagram_sent(now, &[0x80; 172]);
        }
        let width = traffic.bucket_width();
        let got = rates(
            traffic.buckets(),
            width,
            Duration::from_secs(2),
            Duration::from_secs(8),
        );
        assert_eq!(got.seconds, 6.0);
        assert!((got.up_wire_kbps - 80.0).abs() < 1e-9);
        assert!((got.up_audio_payload_kbps - 48.0).abs() < 1e-9);
        assert!((got.up_audio_packets_per_s - 50.0).abs() < 1e-9);
    }

    #[test]
    fn a_history_that_is_full_gets_coarser_and_loses_nothing() {
        let start = Instant::now();
        let mut traffic = Traffic::new(start);
        for second in 0..8_000 {
            traffic.datagram_received(start + Duration::from_secs(second), &[0x80; 72]);
        }
        assert!(traffic.buckets().len() <= MAX_BUCKETS);
        assert!(traffic.bucket_width() > BUCKET);
        let total: u64 = traffic
            .buckets()
            .iter()
            .map(|bucket| u64::from(bucket.down_bytes))
            .sum();
        assert_eq!(total, 800_000);
    }
}
