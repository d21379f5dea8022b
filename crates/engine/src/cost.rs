//! What a rung costs on the whole wire.

use auralink_quality::savings::{extension_bytes, wire_bytes};
use auralink_types::{Bitrate, NeuralRate, PacketTime, Rung};

/// RTP header extensions of a coded audio packet: mid, audio level and absolute send time.
pub const EXTENSION_BYTES: usize = extension_bytes(&[1, 1, 3]);
/// AIC payload header.
const AIC_HEADER_BYTES: u64 = 7;

/// Rate of a coded rung with IP, UDP, RTP and SRTP; `None` for the original, which only a measurement knows.
pub fn wire_bitrate(rung: Rung) -> Option<Bitrate> {
    let payload = payload_bitrate(rung)?;
    Some(Bitrate::bps(
        payload.as_bps() + header_bitrate(rung.packet()?).as_bps(),
    ))
}

/// Rate of its RTP payloads alone, copies and payload header included.
fn payload_bitrate(rung: Rung) -> Option<Bitrate> {
    match rung {
        Rung::Original => None,
        Rung::Lean(lean) | Rung::Enhanced(lean) => Some(lean.bitrate),
        Rung::Neural(neural) => {
            // 10 bits per code, 3 codes per copied frame.
            let copied = u64::from(neural.copies) * NeuralRate::Kbps1_5.levels() as u64 * 10 / 8;
            let extra = per_second(AIC_HEADER_BYTES + copied, neural.packet);
            Some(Bitrate::bps(neural.rate.bitrate().as_bps() + extra))
        }
    }
}

/// Rate of everything around the payloads.
fn header_bitrate(packet: PacketTime) -> Bitrate {
    Bitrate::bps(per_second(wire_bytes(0, EXTENSION_BYTES) as u64, packet))
}

fn per_second(bytes: u64, packet: PacketTime) -> u64 {
    bytes * 8000 / u64::from(packet.millis())
}
