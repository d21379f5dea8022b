use crate::error::OpusError;

/// Longest audio of one packet in milliseconds (RFC 6716 section 3.2.5, R5).
pub const MAX_PACKET_MS: u32 = 120;

/// Samples per channel that a packet holds, read from its first two bytes (RFC 6716 section 3.1).
///
/// Refuses what no Opus decoder may accept: an empty packet, a code 3 packet without a frame count or with count
/// zero (which is how AIC payloads mark themselves), more than 120 ms, an uneven code 1 packet.
pub fn packet_samples(packet: &[u8], sample_rate: u32) -> Result<usize, OpusError> {
    let invalid = |why| OpusError::InvalidPacket {
        len: packet.len(),
        why,
    };
    let (&toc, rest) = packet.split_first().ok_or_else(|| invalid("empty"))?;
    let frames = match toc & 3 {
        0 => 1,
        1 if !rest.len().is_multiple_of(2) => {
            return Err(invalid("two equal frames in an odd number of bytes"));
        }
        1 => 2,
        2 if rest.is_empty() => return Err(invalid("length of the first of two frames is missing")),
        2 => 2,
        _ => match rest.first().map(|count| count & 0x3f) {
            None => return Err(invalid("frame count is missing")),
            Some(0) => return Err(invalid("frame count is zero")),
            Some(count) => usize::from(count),
        },
    };
    let samples = frame_samples(toc, sample_rate as usize) * frames;
    if samples * 1000 > sample_rate as usize * MAX_PACKET_MS as usize {
        return Err(invalid("more than 120 ms"));
    }
    Ok(samples)
}

/// Whether a packet of one frame, as [`crate::Encoder`] makes up to 60 ms, carries a low-rate copy of the packet before it
/// (LBRR flag, RFC 6716 sections 4.2.3 and 4.2.4).
pub fn packet_has_fec(packet: &[u8]) -> bool {
    let [toc, flags, ..] = *packet else { return false };
    let (config, single) = (toc >> 3, toc & 3 == 0);
    if config >= 16 || !single {
        return false;
    }
    // One voice activity flag for each 20 ms of a channel, then its LBRR flag.
    let frames = match config {
        3 | 7 | 11 => 3,
        2 | 6 | 10 => 2,
        _ => 1,
    };
    let middle = flags >> (7 - frames) & 1 == 1;
    let side = toc & 4 != 0 && flags >> (6 - 2 * frames.min(3)) & 1 == 1;
    middle || side
}

/// Channels the packet was coded with, 1 or 2; `None` when it is empty.
pub fn packet_channels(packet: &[u8]) -> Option<u8> {
    packet.first().map(|toc| 1 + ((toc >> 2) & 1))
}

fn frame_samples(toc: u8, sample_rate: usize) -> usize {
    let config = toc >> 3;
    match (config, config & 3) {
        // CELT: 2.5, 5, 10, 20 ms.
        (16.., step) => (sample_rate << step) / 400,
        // Hybrid: 10, 20 ms.
        (12..=15, step) => (sample_rate << (step & 1)) / 100,
        // SILK: 10, 20, 40, 60 ms.
        (_, 3) => sample_rate * 60 / 1000,
        (_, step) => (sample_rate << step) / 100,
    }
}
