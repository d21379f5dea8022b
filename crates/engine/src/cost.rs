//! What a rung costs on the whole wire.

use auralink_quality::savings::{extension_bytes, wire_bytes};
use auralink_types::{Bitrate, Neural, NeuralRate, PacketTime, Rung};

/// RTP header extensions of a coded audio packet: mid, audio level and absolute send time.
pub const EXTENSION_BYTES: usize = extension_bytes(&[1, 1, 3]);
/// AIC payload header.
const AIC_HEADER_BYTES: usize = 7;

/// Rate of a coded rung with IP, UDP, RTP and SRTP; `None` for the original, which only a measurement knows.
pub fn wire_bitrate(rung: Rung) -> Option<Bitrate> {
    match rung {
        Rung::Original => None,
        Rung::Lean(lean) => Some(rate(lean.bitrate, 0, lean.packet)),
        Rung::Neural(Neural {
            rate: codes,
            packet,
            copies,
        }) => {
            // 10 bits per code, 3 codes per copied frame.
            let copied = usize::from(copies) * NeuralRate::Kbps1_5.levels() * 10 / 8;
            Some(rate(codes.bitrate(), AIC_HEADER_BYTES + copied, packet))
        }
    }
}

fn rate(payload: Bitrate, extra_bytes: usize, packet: PacketTime) -> Bitrate {
    let per_packet = wire_bytes(extra_bytes, EXTENSION_BYTES) as u64 * 8000 / u64::from(packet.millis());
    Bitrate::bps(payload.as_bps() + per_packet)
}
