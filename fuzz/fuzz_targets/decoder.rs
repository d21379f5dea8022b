//! Any sequence of frames, pauses and losses decodes to finite sound in range, or is refused.
#![no_main]
use auralink_codec::{Decoder, FRAME_SAMPLES, Model, Received};
use libfuzzer_sys::fuzz_target;

/// Frames per input: enough for every state to follow every other.
const FRAMES: usize = 24;

fuzz_target!(|bytes: &[u8]| {
    let mut decoder = Decoder::new(Model::builtin().expect("the built-in model loads"));
    let mut pcm = [0.0f32; FRAME_SAMPLES];
    let mut rest = bytes;
    for _ in 0..FRAMES {
        let Some((&kind, tail)) = rest.split_first() else { break };
        let count = usize::from(kind >> 3).min(tail.len() / 2);
        let (codes, tail) = tail.split_at(2 * count);
        rest = tail;
        let mut read = [0u16; 31];
        for (code, pair) in read.iter_mut().zip(codes.chunks_exact(2)) {
            // Mostly codes that exist.
            let value = u16::from_le_bytes([pair[0], pair[1]]);
            *code = if kind & 4 == 0 { value & 1023 } else { value };
        }
        let codes = &read[..count];
        let received = match kind & 3 {
            0 | 1 => Received::Codes(codes),
            2 => Received::Noise(codes),
            _ if kind == 0xff => {
                decoder.reset();
                continue;
            }
            _ => Received::Nothing,
        };
        if decoder.receive(received, &mut pcm).is_ok() {
            assert!(pcm.iter().all(|sample| sample.abs() <= 1.0), "sound in range");
        }
    }
});
