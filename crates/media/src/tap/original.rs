//! The publisher's packets, read as far as the tap needs it.

use std::sync::Arc;
use std::time::Instant;

use auralink_engine::InKind;
use auralink_types::{NeuralRate, PacketTime};
use auralink_wire::aic::{AicPacket, is_aic};
use auralink_wire::red::Red;

use super::{AudioPacket, PayloadKind};

/// RTP ticks of a 20 ms frame.
pub(super) const FRAME_TICKS: u64 = 960;
/// Longest Opus packet (RFC 6716, section 3.2.5).
const PACKET_TICKS_MAX: u64 = 6 * FRAME_TICKS;
/// A newer packet whose timestamp moved back, or on by more than this (10 minutes), starts a new timeline.
const JUMP_TICKS: i64 = 600 * 48_000;

/// One packet of the publisher as the legs keep it.
#[derive(Clone, Debug)]
pub(super) struct Original {
    pub seq: u64,
    /// Extended timestamp of its first sample; its low 32 bits are the packet's own.
    pub at: u64,
    /// Audio it holds in RTP ticks; 0 when it could not be read.
    pub ticks: u64,
    pub marker: bool,
    /// Bytes of its RTP header beyond the twelve that each has.
    pub extensions: usize,
    pub kind: PayloadKind,
    pub payload: Arc<[u8]>,
    /// The Opus packet inside RED; the payload itself otherwise.
    pub primary: Arc<[u8]>,
    pub coding: InKind,
    /// Model of an AIC payload.
    pub model: Option<u16>,
    /// Rate of an AIC payload.
    pub rate: Option<NeuralRate>,
    /// Opus without sound (RFC 6716 section 3.1: no frame has a byte), or a description of noise: the talker pauses.
    pub dtx: bool,
    pub stereo: bool,
    pub taken: Instant,
}

impl Original {
    pub(super) fn end(&self) -> u64 {
        self.at + self.ticks
    }
}

/// A redundant block of a RED payload.
#[derive(Clone, Debug)]
pub(super) struct Earlier {
    pub at: u64,
    pub ticks: u64,
    pub payload: Arc<[u8]>,
}

/// Reads packets and keeps the timeline of their timestamps.
#[derive(Clone, Debug, Default)]
pub(super) struct Reader {
    newest: Option<(u64, u64)>,
    aic: Option<AicPacket>,
}

/// What a packet turned out to be.
pub(super) struct Reading {
    pub original: Original,
    /// Earlier packets that RED carries along, oldest first.
    pub earlier: Vec<Earlier>,
    pub readable: bool,
}

impl Reader {
    /// Reads a packet that is not empty. One that cannot be read still has its place on the timeline.
    pub(super) fn read(&mut self, now: Instant, packet: AudioPacket) -> Reading {
        let at = self.place(packet.seq, packet.timestamp);
        let mut reading = Reading {
            original: Original {
                seq: packet.seq,
                at,
                ticks: 0,
                marker: packet.marker,
                extensions: packet.extensions,
                kind: packet.kind,
                primary: packet.payload.clone(),
                payload: packet.payload,
                coding: InKind::Opus,
                model: None,
                rate: None,
                dtx: false,
                stereo: false,
                taken: now,
            },
            earlier: Vec::new(),
            readable: false,
        };
        let original = &mut reading.original;
        if packet.kind == PayloadKind::Red {
            let Ok(red) = Red::parse(&original.payload) else {
                return reading;
            };
            for block in red.blocks() {
                let offset = u64::from(block.timestamp_offset);
                if offset == 0 || offset > at || block.payload.len() <= 1 {
                    continue;
                }
                if let Some(ticks) = opus_ticks(block.payload) {
                    let (at, payload) = (at - offset, block.payload.into());
                    reading.earlier.push(Earlier { at, ticks, payload });
                }
            }
            original.primary = red.primary().payload.into();
        }
        let silent = match original.primary[..] {
            [] | [_] => true,
            [toc, _] => toc & 3 == 3,
            _ => false,
        };
        if silent {
            original.dtx = true;
            original.ticks = FRAME_TICKS;
            reading.readable = !original.primary.is_empty();
            return reading;
        }
        if is_aic(&original.primary) {
            let aic = self.aic.get_or_insert_default();
            if aic.read(&original.primary).is_ok() {
                original.coding = InKind::Aic;
                original.model = Some(aic.model);
                original.rate = NeuralRate::from_levels(aic.levels().into());
                original.ticks = aic.frame_count() as u64 * FRAME_TICKS;
                original.dtx = aic.dtx;
                reading.readable = true;
            }
        } else if let Some(ticks) = opus_ticks(&original.primary) {
            original.ticks = ticks;
            original.stereo = original.primary[0] & 0x04 != 0;
            reading.readable = true;
        }
        reading
    }

    fn place(&mut self, seq: u64, timestamp: u32) -> u64 {
        let Some((newest_seq, newest_at)) = self.newest else {
            self.newest = Some((seq, u64::from(timestamp)));
            return u64::from(timestamp);
        };
        let step = i64::from(timestamp.wrapping_sub(newest_at as u32) as i32);
        let mut at = newest_at.checked_add_signed(step);
        if seq > newest_seq {
            if !(0..=JUMP_TICKS).contains(&step) {
                // Low bits stay the packet's own, the rest moves on.
                let era = (newest_at >> 32) + 1;
                at = Some(era << 32 | u64::from(timestamp));
            }
            self.newest = Some((seq, at.unwrap_or(newest_at)));
        }
        at.unwrap_or(u64::from(timestamp))
    }
}

/// Packet time nearest below or equal to the audio of a packet; shorter packets count as 20 ms.
pub(super) fn packet_time(ticks: u64) -> PacketTime {
    PacketTime::from_frames((ticks / FRAME_TICKS).max(1) as usize).unwrap_or(PacketTime::Ms120)
}

/// RTP ticks of an Opus packet (RFC 6716, section 3.1); `None` for what no decoder may accept.
fn opus_ticks(packet: &[u8]) -> Option<u64> {
    let (&toc, rest) = packet.split_first()?;
    let config = u64::from(toc >> 3);
    let frame = match (config, config & 3) {
        (16.., step) => 120 << step,
        (12..=15, step) => 480 << (step & 1),
        (_, 3) => 2880,
        (_, step) => 480 << step,
    };
    let frames = match toc & 3 {
        0 => 1,
        3 => u64::from(rest.first()? & 0x3f),
        _ => 2,
    };
    let ticks = frame * frames;
    (1..=PACKET_TICKS_MAX).contains(&ticks).then_some(ticks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeline_survives_wraps_and_restarts_and_keeps_the_low_bits() {
        let mut reader = Reader::default();
        let first = reader.place(1, u32::MAX - 959);
        let wrapped = reader.place(2, 0);
        assert_eq!(wrapped - first, 960);
        let late = reader.place(1, u32::MAX - 959);
        assert_eq!(late, first);
        let restarted = reader.place(3, 4_000_000_000);
        assert!(restarted > wrapped);
        assert_eq!(restarted as u32, 4_000_000_000);
        let back = reader.place(4, 17);
        assert!(back > restarted);
        assert_eq!(back as u32, 17);
    }

    #[test]
    fn packet_lengths_follow_the_table_of_rfc_6716() {
        assert_eq!(opus_ticks(&[0x08, 0]), Some(960), "silk nb 20 ms");
        assert_eq!(opus_ticks(&[0x58, 0]), Some(2880), "silk wb 60 ms");
        assert_eq!(opus_ticks(&[0x78, 0]), Some(960), "hybrid fb 20 ms");
        assert_eq!(opus_ticks(&[0x80, 0]), Some(120), "celt nb 2.5 ms");
        assert_eq!(opus_ticks(&[0xf9, 0]), Some(1920), "two celt frames of 20 ms");
        assert_eq!(opus_ticks(&[0x5b, 0]), None, "no frames");
        assert_eq!(opus_ticks(&[0x5b, 3]), None, "180 ms");
        assert_eq!(opus_ticks(&[]), None);
    }
}
