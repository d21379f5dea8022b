//! What a caller's frame of sound holds, and the same as work for a worker.

use std::sync::Arc;
use std::time::Instant;

use auralink_types::PacketTime;
use auralink_wire::proto::{AudioCoding, AudioFrame};

use crate::input::Source;
use crate::stream::Frame;

/// Opus counts its packets' length with this clock.
const OPUS_CLOCK: u32 = 48_000;
/// Ticks of 20 ms.
const FRAME_TICKS: usize = 960;

/// Packet time of what the sender sends, and whether it is stereo; what is unclear is left to the default.
pub(super) fn shape(audio: &AudioFrame) -> (Option<PacketTime>, bool) {
    match audio.coding {
        AudioCoding::Pcm(format) => {
            let ms = audio.payload.len() / format.bytes_per_ms().max(1);
            (
                PacketTime::from_frames(ms / 20).filter(|_| ms.is_multiple_of(20)),
                format.channels == 2,
            )
        }
        AudioCoding::Opus => (
            auralink_opus::packet_samples(&audio.payload, OPUS_CLOCK)
                .ok()
                .filter(|ticks| ticks.is_multiple_of(FRAME_TICKS))
                .and_then(|ticks| PacketTime::from_frames(ticks / FRAME_TICKS)),
            auralink_opus::packet_channels(&audio.payload) == Some(2),
        ),
        AudioCoding::Aic => {
            let parsed = auralink_wire::aic::AicPacket::parse(&audio.payload).ok();
            (
                parsed.and_then(|packet| PacketTime::from_frames(packet.frame_count())),
                false,
            )
        }
    }
}

/// For a worker.
pub(super) fn frame(audio: &AudioFrame, deadline: Instant) -> Frame {
    Frame {
        source: match audio.coding {
            AudioCoding::Opus => Source::Opus,
            AudioCoding::Aic => Source::Aic,
            AudioCoding::Pcm(format) => Source::Pcm(format),
        },
        timestamp: audio.timestamp,
        payload: Arc::from(&audio.payload[..]),
        deadline,
    }
}
