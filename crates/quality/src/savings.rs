//! Whole-wire accounting: what a packet costs with all its headers, and what was saved against the original.

use auralink_types::{Bitrate, PacketTime};

/// IPv4 header without options (RFC 791).
const IPV4_BYTES: usize = 20;
/// UDP header (RFC 768).
const UDP_BYTES: usize = 8;
/// RTP header without CSRCs and extensions (RFC 3550).
pub const RTP_BYTES: usize = 12;
/// Authentication tag of SRTP with AES-GCM (RFC 7714).
const SRTP_GCM_TAG_BYTES: usize = 16;

/// Bytes of a packet on IPv4 with AES-GCM, what browsers negotiate. `header_ext` is the whole extension block as
/// sent: see [`extension_bytes`].
pub const fn wire_bytes(payload: usize, header_ext: usize) -> usize {
    IPV4_BYTES + UDP_BYTES + RTP_BYTES + header_ext + payload + SRTP_GCM_TAG_BYTES
}

/// Bytes of a one-byte-form extension block (RFC 8285) that holds elements of those data lengths: four bytes of
/// profile and length, one byte before each element, padding to a multiple of four. 0 without elements.
pub const fn extension_bytes(elements: &[usize]) -> usize {
    let (mut sum, mut n) = (0, 0);
    while n < elements.len() {
        sum += 1 + elements[n];
        n += 1;
    }
    if sum == 0 { 0 } else { 4 + sum.next_multiple_of(4) }
}

/// What a client sends when nobody steers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    /// Opus target rate.
    pub bitrate: Bitrate,
    /// Audio per packet.
    pub packet: PacketTime,
    /// Earlier packets repeated by RED (RFC 2198); 0 without RED.
    pub red_distance: usize,
    /// Data bytes of each RTP header extension.
    pub extensions: &'static [usize],
}

impl Preset {
    /// A stock LiveKit browser client on a microphone: Opus 48 kbps in 20 ms packets with RED of distance 1 and
    /// the extensions mid (1), audio level (1), absolute send time (3), transport-wide sequence (2). The
    /// resulting RTP header of 28 bytes is what Chromium was seen to send.
    pub const STOCK: Self = Self {
        bitrate: Bitrate::kbps(48),
        packet: PacketTime::Ms20,
        red_distance: 1,
        extensions: &[1, 1, 3, 2],
    };

    /// RTP payload of one packet in full speech.
    pub fn payload_bytes(&self) -> usize {
        let block = (self.bitrate.as_bps() * u64::from(self.packet.millis()) / 8000) as usize;
        match self.red_distance {
            0 => block,
            distance => distance * (4 + block) + 1 + block,
        }
    }

    /// Wire bytes of one packet.
    pub fn packet_bytes(&self) -> usize {
        wire_bytes(self.payload_bytes(), extension_bytes(self.extensions))
    }

    /// Rate on the wire.
    pub fn wire_bitrate(&self) -> Bitrate {
        Bitrate::bps(self.packet_bytes() as u64 * 8000 / u64::from(self.packet.millis()))
    }
}

/// Adds up what one leg would have cost and what it did cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SavingsMeter {
    /// Wire bytes of the originals.
    pub original_bytes: u64,
    /// Wire bytes really sent.
    pub sent_bytes: u64,
}

impl SavingsMeter {
    /// Part saved, 0.8 = 80 %; negative where the replacement was dearer; `None` before any original.
    pub fn ratio(&self) -> Option<f64> {
        (self.original_bytes > 0).then(|| 1.0 - self.sent_bytes as f64 / self.original_bytes as f64)
    }

    /// Returns the sums and starts at zero, for one snapshot per period.
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}

impl std::ops::AddAssign for SavingsMeter {
    fn add_assign(&mut self, other: Self) {
        self.original_bytes += other.original_bytes;
        self.sent_bytes += other.sent_bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stock_client_costs_what_was_measured_on_the_wire() {
        let stock = Preset::STOCK;
        // RFC 2198: 4 bytes per redundant header, 1 for the primary, two blocks of 48 kbps × 20 ms = 120 bytes.
        assert_eq!(stock.payload_bytes(), 245);
        assert_eq!(RTP_BYTES + extension_bytes(stock.extensions), 28);
        assert_eq!(stock.packet_bytes(), 20 + 8 + 28 + 245 + 16);
        assert_eq!(stock.wire_bitrate(), Bitrate::bps(126_800));
    }

    #[test]
    fn lean_opus_at_60_ms_saves_over_80_percent_of_a_stock_client() {
        let lean = Preset {
            bitrate: Bitrate::kbps(12),
            packet: PacketTime::Ms60,
            red_distance: 0,
            extensions: &[1, 1],
        };
        let meter = SavingsMeter {
            original_bytes: 3 * Preset::STOCK.packet_bytes() as u64,
            sent_bytes: lean.packet_bytes() as u64,
        };
        assert_eq!((meter.original_bytes, meter.sent_bytes), (3 * 317, 154));
        let ratio = meter.ratio().unwrap();
        assert!((0.82..0.86).contains(&ratio), "{ratio}");
    }

    #[test]
    fn a_dearer_replacement_shows_as_a_negative_saving() {
        let mut meter = SavingsMeter::default();
        assert_eq!(meter.ratio(), None);
        (meter.original_bytes, meter.sent_bytes) = (100, 150);
        assert_eq!(meter.ratio(), Some(-0.5));
        assert_eq!(meter.take().sent_bytes, 150);
        assert_eq!(meter, SavingsMeter::default());
    }

    #[test]
    fn extension_blocks_are_padded_to_words_and_cost_nothing_when_empty() {
        assert_eq!(extension_bytes(&[]), 0);
        assert_eq!(extension_bytes(&[1]), 8);
        assert_eq!(extension_bytes(&[1, 1]), 8);
        assert_eq!(extension_bytes(&[3, 1]), 12);
    }
}
