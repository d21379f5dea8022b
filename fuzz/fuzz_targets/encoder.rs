//! Any samples, finite or not, code to codes that exist and decode.
#![no_main]
use auralink_codec::{Beam, Decoder, Encoder, FRAME_SAMPLES, Frame, LEVELS_MAX, Model};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let model = Model::builtin().expect("the built-in model loads");
    let (mut encoder, mut decoder) = (Encoder::new(model.clone()), Decoder::new(model));
    let Some((&choice, rest)) = bytes.split_first() else { return };
    encoder.set_beam(Beam::new(usize::from(choice >> 5)));
    encoder.set_dtx(choice & 1 == 1);
    let mut codes = [0u16; LEVELS_MAX];
    let codes = &mut codes[..1 + usize::from(choice >> 1 & 15)];
    let (words, _) = rest.as_chunks::<4>();
    for words in words.chunks(FRAME_SAMPLES).take(8) {
        let mut pcm = [0.0f32; FRAME_SAMPLES];
        for (sample, &word) in pcm.iter_mut().zip(words) {
            *sample = f32::from_le_bytes(word);
        }
        let frame = encoder.encode(&pcm, codes);
        decoder.decode(codes, &mut pcm).expect("its own codes decode");
        assert!(pcm.iter().all(|sample| sample.abs() <= 1.0), "sound in range");
        if let Frame::Noise(codes) = frame {
            decoder.decode_noise(&codes, &mut pcm).expect("its own noise decodes");
        }
    }
});
