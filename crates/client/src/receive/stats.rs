//! What one received track has been through.

use serde::Serialize;

use crate::unit::Kind;

/// Time in which nothing decodable was there when it had to be played.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Gap {
    /// Milliseconds since the receiver began.
    pub at_ms: f64,
    /// Length.
    pub ms: f64,
}

/// A change in what the sender sends.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Switch {
    /// Milliseconds since the receiver began, at playout.
    pub at_ms: f64,
    /// From then on.
    pub shape: Shape,
}

/// What a packet looks like from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Shape {
    /// Codec.
    pub kind: Kind,
    /// Audio per packet, milliseconds.
    pub packet_ms: u32,
    /// Whether it is wrapped in RED.
    pub red: bool,
    /// Rate of the neural codec in bits per second.
    pub neural_bps: Option<u64>,
}

/// What one track has been through.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ReceiveStats {
    /// Packets that arrived, duplicates not counted.
    pub packets: u64,
    /// Payload bytes in them.
    pub payload_bytes: u64,
    /// Packets missing from the sequence.
    pub packets_lost: u64,
    /// Packets that came twice.
    pub duplicates: u64,
    /// Packets that came after a later one.
    pub reordered: u64,
    /// Payloads that no decoder takes.
    pub undecodable: u64,
    /// Packets of the neural codec.
    pub neural_packets: u64,
    /// Packets that came after their time to be played.
    pub late: u64,
    /// 20 ms pieces played from a copy, because the original was lost.
    pub recovered: u64,
    /// Times a new stream or timeline began.
    pub restarts: u64,
    /// Milliseconds played.
    pub played_ms: f64,
    /// Milliseconds of them that were concealed.
    pub concealed_ms: f64,
    /// Every stretch that was concealed.
    pub gaps: Vec<Gap>,
    /// Number of gaps.
    pub gap_count: u64,
    /// The longest one, milliseconds.
    pub longest_gap_ms: f64,
    /// Time at the end in which nothing came any more, milliseconds; no gap, because nothing followed.
    pub silent_at_end_ms: f64,
    /// Milliseconds of silence that the sender meant (discontinuous transmission or mute).
    pub comfort_ms: f64,
    /// Milliseconds put in to lengthen the delay without a hole.
    pub stretched_ms: f64,
    /// Milliseconds taken out to shorten it.
    pub squeezed_ms: f64,
    /// Mean time from arrival of a packet to the playing of its first sample, milliseconds.
    pub mean_buffer_ms: f64,
    /// Changes of codec, packet time or redundancy.
    pub switches: Vec<Switch>,
}
