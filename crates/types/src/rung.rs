//! The audio ladder: what goes out on one leg.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::Bitrate;

/// Audio carried by one packet. Longer packets spend fewer header bytes and add delay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PacketTime {
    /// 20 ms.
    #[default]
    Ms20,
    /// 40 ms.
    Ms40,
    /// 60 ms.
    Ms60,
    /// 80 ms.
    Ms80,
    /// 100 ms.
    Ms100,
    /// 120 ms.
    Ms120,
}

impl PacketTime {
    /// Every packet time, shortest first.
    pub const ALL: [Self; 6] = [
        Self::Ms20,
        Self::Ms40,
        Self::Ms60,
        Self::Ms80,
        Self::Ms100,
        Self::Ms120,
    ];

    /// Number of 20 ms frames in a packet.
    pub const fn frames(self) -> usize {
        match self {
            Self::Ms20 => 1,
            Self::Ms40 => 2,
            Self::Ms60 => 3,
            Self::Ms80 => 4,
            Self::Ms100 => 5,
            Self::Ms120 => 6,
        }
    }

    /// The packet time with that many 20 ms frames.
    pub fn from_frames(frames: usize) -> Option<Self> {
        Self::ALL.into_iter().find(|time| time.frames() == frames)
    }

    /// Length in milliseconds.
    pub const fn millis(self) -> u32 {
        20 * self.frames() as u32
    }

    /// Length.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.millis() as u64)
    }
}

/// Rate of the neural codec; each is a prefix of the next (10 bits per level, 50 frames a second).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum NeuralRate {
    /// 1.5 kbps, 3 levels.
    Kbps1_5,
    /// 3 kbps, 6 levels.
    Kbps3,
    /// 6 kbps, 12 levels.
    Kbps6,
    /// 9 kbps, 18 levels.
    Kbps9,
}

impl NeuralRate {
    /// Every rate, lowest first.
    pub const ALL: [Self; 4] = [Self::Kbps1_5, Self::Kbps3, Self::Kbps6, Self::Kbps9];

    /// Residual quantiser levels per frame.
    pub const fn levels(self) -> usize {
        match self {
            Self::Kbps1_5 => 3,
            Self::Kbps3 => 6,
            Self::Kbps6 => 12,
            Self::Kbps9 => 18,
        }
    }

    /// The rate with that many levels.
    pub fn from_levels(levels: usize) -> Option<Self> {
        Self::ALL.into_iter().find(|rate| rate.levels() == levels)
    }

    /// Payload rate without headers and copies.
    pub const fn bitrate(self) -> Bitrate {
        Bitrate::bps(500 * self.levels() as u64)
    }
}

/// Opus re-encoded for the wire: no RED, long packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lean {
    /// Target rate of the Opus encoder, the redundancy included.
    pub bitrate: Bitrate,
    /// Audio per packet.
    pub packet: PacketTime,
    /// Each packet carries a coarse copy of the one before (LBRR, RFC 6716 section 2.1.7), which every Opus decoder reads.
    #[serde(default)]
    pub fec: bool,
}

impl Lean {
    /// Without redundancy.
    pub const fn new(bitrate: Bitrate, packet: PacketTime) -> Self {
        Self {
            bitrate,
            packet,
            fec: false,
        }
    }
}

/// The neural speech codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Neural {
    /// Rate of the current frames.
    pub rate: NeuralRate,
    /// Audio per packet.
    pub packet: PacketTime,
    /// Coarse copies (1.5 kbps prefixes) of this many earlier frames ride along, 0 to 6.
    pub copies: u8,
}

/// What goes out on one leg.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Rung {
    /// The sender's packets, byte for byte.
    #[default]
    Original,
    /// Opus, thinned.
    Lean(Lean),
    /// The same at 8 to 10 kbps, for receivers whose decoder enhances it (NoLACE). The packets are plain Opus.
    Enhanced(Lean),
    /// The neural codec; only for receivers that can decode it.
    Neural(Neural),
}

impl Rung {
    /// Name for rows, labels and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Original => "original",
            Self::Lean(_) => "lean",
            Self::Enhanced(_) => "enhanced",
            Self::Neural(_) => "neural",
        }
    }

    /// Audio per packet of a coded rung.
    pub const fn packet(self) -> Option<PacketTime> {
        match self {
            Self::Original => None,
            Self::Lean(lean) | Self::Enhanced(lean) => Some(lean.packet),
            Self::Neural(neural) => Some(neural.packet),
        }
    }

    /// Whether one coder makes both.
    pub fn same_family(self, other: Self) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }

    /// The same with packets of that length.
    #[must_use]
    pub const fn with_packet(self, packet: PacketTime) -> Self {
        match self {
            Self::Original => self,
            Self::Lean(lean) => Self::Lean(Lean { packet, ..lean }),
            Self::Enhanced(lean) => Self::Enhanced(Lean { packet, ..lean }),
            Self::Neural(neural) => Self::Neural(Neural { packet, ..neural }),
        }
    }
}
