//! Our codec, driven frame by frame.

use std::sync::Arc;

use anyhow::Result;
use auralink_codec::{Beam, Decoder, Encoder, FRAME_SAMPLES, LEVELS_MAX, Model, OUTPUT_LAG_SAMPLES};
use auralink_wire::aic::HEADER_BYTES;

use super::coded::Coded;

/// One rate with its redundancy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ours {
    pub levels: usize,
    /// Earlier frames that a packet carries once more.
    pub copies: usize,
    /// Levels of these.
    pub copy_levels: usize,
    /// Width of the encoder's search.
    pub beam: Beam,
}

/// Codes and decodes a clip in packets of one frame. A lost frame is made from the first copy that arrives.
pub fn code(model: &Arc<Model>, ours: Ours, pcm: &[f32], lost: &[bool]) -> Result<Coded> {
    let mut encoder = Encoder::new(model.clone());
    encoder.set_beam(ours.beam);
    let mut decoder = Decoder::new(model.clone());
    // One frame more pushes the last samples out of the lag.
    let frames = pcm.len().div_ceil(FRAME_SAMPLES) + 1;
    let mut padded = pcm.to_vec();
    padded.resize(frames * FRAME_SAMPLES, 0.0);
    let codes: Vec<[u16; LEVELS_MAX]> = padded
        .chunks_exact(FRAME_SAMPLES)
        .map(|frame| {
            let mut codes = [0; LEVELS_MAX];
            encoder.encode(frame, &mut codes[..ours.levels]);
            codes
        })
        .collect();
    let arrived = |n: usize| n < frames && !lost.get(n).copied().unwrap_or(false);
    let mut out = vec![0.0; padded.len()];
    for (n, pcm) in out.chunks_exact_mut(FRAME_SAMPLES).enumerate() {
        if arrived(n) {
            decoder.decode(&codes[n][..ours.levels], pcm)?;
        } else if (n + 1..=n + ours.copies).any(arrived) {
            decoder.decode(&codes[n][..ours.copy_levels], pcm)?;
        } else {
            decoder.conceal(pcm);
        }
    }
    let bits = (ours.levels + ours.copies * ours.copy_levels) * auralink_codec::BITS_PER_LEVEL as usize;
    Ok(Coded::new(
        out,
        OUTPUT_LAG_SAMPLES,
        pcm.len(),
        bits as f64 / 8.0 * frames as f64,
        frames,
        HEADER_BYTES,
    ))
}
