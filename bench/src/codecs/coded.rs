//! A clip after a codec.

use auralink_quality::savings::wire_bytes;

/// Decoded sound with what it cost.
#[derive(Clone, Debug)]
pub struct Coded {
    /// Aligned with the reference and as long.
    pub pcm: Vec<f32>,
    /// Bits of the codec a second.
    pub payload_kbps: f64,
    /// With IP, UDP, RTP, SRTP and, for ours, the header of the payload.
    pub wire_kbps: f64,
}

impl Coded {
    /// From the decoder's raw output: takes the lag off, and counts.
    pub fn new(
        mut pcm: Vec<f32>,
        lag: usize,
        samples: usize,
        payload_bytes: f64,
        packets: usize,
        header_bytes: usize,
    ) -> Self {
        let seconds = pcm.len() as f64 / f64::from(auralink_codec::SAMPLE_RATE);
        pcm.drain(..lag.min(pcm.len()));
        pcm.resize(samples, 0.0);
        let kbps = |bytes: f64| bytes * 8.0 / 1000.0 / seconds;
        let overhead = wire_bytes(header_bytes, 0) as f64 * packets as f64;
        Self {
            pcm,
            payload_kbps: kbps(payload_bytes),
            wire_kbps: kbps(payload_bytes + overhead),
        }
    }
}
