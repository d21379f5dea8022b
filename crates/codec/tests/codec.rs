//! Behaviour of the codec with the built-in model.
#![allow(clippy::unwrap_used)]

use auralink_codec::{
    Batch, DecodeJob, Decoder, EncodeJob, Encoder, FRAME_SAMPLES, Kernel, LEVELS_MAX, Model, ModelError,
    Received,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    model: String,
    pcm: Vec<f32>,
    codes: Vec<Vec<u16>>,
    decoded_6kbps: Vec<f32>,
    lost: Vec<usize>,
    concealed_6kbps: Vec<f32>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden.json")).unwrap()
}

const WEIGHTS: &[u8] = include_bytes!("../../../models/aic-speech-1.safetensors");
const MANIFEST: &[u8] = include_bytes!("../../../models/aic-speech-1.json");

fn encode(pcm: &[f32], levels: usize) -> Vec<Vec<u16>> {
    let mut encoder = Encoder::new(Model::builtin().unwrap());
    pcm.chunks_exact(FRAME_SAMPLES)
        .map(|frame| {
            let mut codes = vec![0; levels];
            encoder.encode(frame, &mut codes);
            codes
        })
        .collect()
}

fn decode(codes: &[Vec<u16>], levels: usize) -> Vec<f32> {
    let mut decoder = Decoder::new(Model::builtin().unwrap());
    let mut out = vec![0.0; codes.len() * FRAME_SAMPLES];
    for (codes, pcm) in codes.iter().zip(out.chunks_exact_mut(FRAME_SAMPLES)) {
        decoder.decode(&codes[..levels], pcm).unwrap();
    }
    out
}

#[test]
fn rust_codes_and_sound_equal_pytorchs() {
    let golden = golden();
    assert_eq!(
        golden.model,
        Model::builtin().unwrap().id().to_string(),
        "golden vectors of another model"
    );
    let codes = encode(&golden.pcm, LEVELS_MAX);
    let (mut equal, mut total) = (0, 0);
    for (ours, theirs) in codes.iter().zip(&golden.codes) {
        equal += ours.iter().zip(theirs).filter(|(a, b)| a == b).count();
        total += ours.len();
    }
    // A tie broken otherwise at one level changes the levels after it.
    assert!(
        equal as f64 >= 0.995 * total as f64,
        "{equal} of {total} codes equal"
    );
    let sound = decode(&golden.codes, 12);
    let worst = sound
        .iter()
        .zip(&golden.decoded_6kbps)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!(worst < 1e-3, "worst sample differs by {worst}");
}

#[test]
fn concealed_frames_equal_pytorchs() {
    let golden = golden();
    let mut decoder = Decoder::new(Model::builtin().unwrap());
    let mut pcm = [0.0; FRAME_SAMPLES];
    for (frame, (codes, expected)) in golden
        .codes
        .iter()
        .zip(golden.concealed_6kbps.chunks_exact(FRAME_SAMPLES))
        .enumerate()
    {
        if golden.lost.contains(&frame) {
            decoder.conceal(&mut pcm);
        } else {
            decoder.decode(&codes[..12], &mut pcm).unwrap();
        }
        for (ours, theirs) in pcm.iter().zip(expected) {
            assert!((ours - theirs).abs() < 1e-3, "frame {frame}");
        }
    }
}

#[test]
fn every_prefix_decodes_and_more_levels_come_closer() {
    let golden = golden();
    let codes = encode(&golden.pcm, LEVELS_MAX);
    let error = |levels: usize| {
        let sound = decode(&codes, levels);
        assert!(sound.iter().all(|s| s.is_finite()));
        // The output is one hop late.
        golden
            .pcm
            .iter()
            .zip(&sound[160..])
            .map(|(a, b)| (a - b) * (a - b))
            .sum::<f32>()
    };
    for levels in 1..=LEVELS_MAX {
        error(levels);
    }
    assert!(error(18) < error(6) && error(6) < error(1));
}

#[test]
fn a_coarse_copy_cut_from_a_rich_frame_is_nearly_as_good_as_one_coded_for_its_rate() {
    let golden = golden();
    let error = |codes: &[Vec<u16>]| {
        let sound = decode(codes, 3);
        golden
            .pcm
            .iter()
            .zip(&sound[160..])
            .map(|(a, b)| (a - b) * (a - b))
            .sum::<f32>()
    };
    let (cut, coded) = (error(&encode(&golden.pcm, 12)), error(&encode(&golden.pcm, 3)));
    assert!(cut < 1.5 * coded, "{cut} against {coded}");
}

#[test]
fn a_reset_stream_is_a_new_stream() {
    let golden = golden();
    let model = Model::builtin().unwrap();
    let (mut encoder, mut decoder) = (Encoder::new(model.clone()), Decoder::new(model));
    let mut once = || {
        let (mut codes, mut pcm) = ([0u16; 12], [0.0; FRAME_SAMPLES]);
        let mut out = Vec::new();
        encoder.reset();
        decoder.reset();
        for frame in golden.pcm.chunks_exact(FRAME_SAMPLES) {
            encoder.encode(frame, &mut codes);
            decoder.decode(&codes, &mut pcm).unwrap();
            out.extend_from_slice(&pcm);
        }
        out
    };
    assert_eq!(once(), once());
}

#[test]
fn output_is_never_louder_than_the_input_plus_three_decibels() {
    let mut seed = 1u32;
    let mut noise = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        seed as f32 / u32::MAX as f32 - 0.5
    };
    let signals: [(&str, Vec<f32>); 5] = [
        ("silence", vec![0.0; 16_000]),
        ("dc", vec![0.5; 16_000]),
        (
            "square",
            (0..16_000)
                .map(|n| if n / 40 % 2 == 0 { 0.9 } else { -0.9 })
                .collect(),
        ),
        ("noise", (0..16_000).map(|_| noise()).collect()),
        (
            "sine",
            (0..16_000).map(|n| 0.5 * (n as f32 * 0.2).sin()).collect(),
        ),
    ];
    for (name, signal) in signals {
        let sound = decode(&encode(&signal, 12), 12);
        let power = |x: &[f32]| x.iter().map(|v| v * v).sum::<f32>() / x.len() as f32;
        assert!(sound.iter().all(|s| s.is_finite()), "{name}");
        assert!(
            power(&sound) <= 2.0 * power(&signal) + 1e-7,
            "{name}: {} > {}",
            power(&sound),
            power(&signal)
        );
    }
}

#[test]
fn a_broken_sample_does_not_poison_the_stream() {
    let mut encoder = Encoder::new(Model::builtin().unwrap());
    let mut codes = [0; 12];
    encoder.encode(&[f32::NAN; FRAME_SAMPLES], &mut codes);
    encoder.encode(&[f32::INFINITY; FRAME_SAMPLES], &mut codes);
    let frames: Vec<Vec<u16>> = (0..50)
        .map(|_| {
            encoder.encode(&[0.0; FRAME_SAMPLES], &mut codes);
            codes.to_vec()
        })
        .collect();
    assert!(
        decode(&frames, 12)[16_000 - FRAME_SAMPLES..]
            .iter()
            .all(|s| s.abs() < 1e-2)
    );
}

#[test]
fn a_lost_frame_is_stood_in_for_and_a_long_loss_fades_to_silence() {
    let golden = golden();
    let mut decoder = Decoder::new(Model::builtin().unwrap());
    let mut pcm = [0.0; FRAME_SAMPLES];
    for codes in golden.codes.iter().take(12) {
        decoder.decode(&codes[..12], &mut pcm).unwrap();
    }
    let power = |x: &[f32]| x.iter().map(|v| v * v).sum::<f32>();
    let before = power(&pcm);
    decoder.conceal(&mut pcm);
    assert!(power(&pcm) > 0.02 * before, "the first lost frame is not a hole");
    for _ in 0..100 {
        decoder.conceal(&mut pcm);
    }
    assert!(pcm.iter().all(|s| s.is_finite()) && power(&pcm) < 1e-3 * before.max(1e-3));
}

#[test]
fn codes_that_no_encoder_makes_are_refused() {
    let mut decoder = Decoder::new(Model::builtin().unwrap());
    let mut pcm = [0.0; FRAME_SAMPLES];
    assert!(decoder.decode(&[], &mut pcm).is_err());
    assert!(decoder.decode(&[0; 19], &mut pcm).is_err());
    assert!(decoder.decode(&[1024], &mut pcm).is_err());
    assert!(decoder.decode(&[1023; 18], &mut pcm).is_ok());
    assert!(pcm.iter().all(|s| s.is_finite()));
}

#[test]
fn damaged_models_are_refused_with_the_reason() {
    assert!(Model::load(WEIGHTS, MANIFEST).is_ok());
    for end in [0, 7, 100, WEIGHTS.len() / 2, WEIGHTS.len() - 1] {
        assert!(matches!(
            Model::load(&WEIGHTS[..end], MANIFEST),
            Err(ModelError::Hash { .. })
        ));
    }
    let edited = |key: &str, value: serde_json::Value| {
        let mut manifest: serde_json::Value = serde_json::from_slice(MANIFEST).unwrap();
        manifest[key] = value;
        Model::load(WEIGHTS, manifest.to_string().as_bytes()).unwrap_err()
    };
    assert_eq!(edited("format", 9.into()), ModelError::Format(9));
    assert!(matches!(edited("levels", 4.into()), ModelError::Manifest(_)));
    let narrow = serde_json::json!({"enc_width":128,"enc_blocks":4,"dec_width":192,"dec_blocks":6,"expand":3,"kernel":5});
    assert!(matches!(edited("shape", narrow), ModelError::Shape(_)));
    assert!(matches!(Model::load(WEIGHTS, b"{"), Err(ModelError::Manifest(_))));
}

#[test]
fn every_kernel_makes_the_same_codes_and_sound() {
    let golden = golden();
    let oracle = decode(&golden.codes, 12);
    for kernel in Kernel::ALL.into_iter().filter(|kernel| kernel.detected()) {
        let model = Model::load_for(kernel, WEIGHTS, MANIFEST).unwrap();
        assert_eq!(model.kernel(), kernel);
        let (mut encoder, mut decoder) = (Encoder::new(model.clone()), Decoder::new(model));
        let (mut equal, mut worst) = (0, 0.0f32);
        let frames = golden
            .pcm
            .chunks_exact(FRAME_SAMPLES)
            .zip(&golden.codes)
            .zip(oracle.chunks_exact(FRAME_SAMPLES));
        for ((sound, expected), oracle) in frames {
            let (mut codes, mut pcm) = ([0; LEVELS_MAX], [0.0; FRAME_SAMPLES]);
            encoder.encode(sound, &mut codes);
            equal += codes.iter().zip(expected).filter(|(a, b)| a == b).count();
            decoder.decode(&expected[..12], &mut pcm).unwrap();
            worst = pcm
                .iter()
                .zip(oracle)
                .fold(worst, |worst, (a, b)| worst.max((a - b).abs()));
        }
        let total = golden.codes.len() * LEVELS_MAX;
        assert!(
            equal * 1000 >= 995 * total,
            "{kernel}: {equal} of {total} codes equal"
        );
        assert!(worst < 1e-4, "{kernel}: worst sample differs by {worst}");
    }
    let absent = Kernel::ALL.into_iter().find(|kernel| !kernel.detected()).unwrap();
    assert_eq!(
        Model::load_for(absent, WEIGHTS, MANIFEST).unwrap_err(),
        ModelError::Kernel(absent)
    );
}

#[test]
fn a_stream_in_a_batch_is_the_same_to_the_bit_as_alone() {
    let golden = golden();
    let model = Model::builtin().unwrap();
    let frames: Vec<&[f32]> = golden.pcm.chunks_exact(FRAME_SAMPLES).collect();
    // More streams than one group, each elsewhere in the sound, with other levels, and some of them with losses.
    let streams = 19;
    let sound = |stream: usize, at: usize| frames[(stream * 3 + at) % frames.len()];
    let levels = |stream: usize| 1 + stream % LEVELS_MAX;
    let lost = |stream: usize, at: usize| stream % 3 == 1 && (3..5).contains(&at);
    let mut batch = Batch::new(model.clone());
    let fresh = || (Encoder::new(model.clone()), Decoder::new(model.clone()));
    let (mut together, mut alone): (Vec<_>, Vec<_>) = (0..streams).map(|_| (fresh(), fresh())).unzip();
    for at in 0..8 {
        let mut codes: Vec<Vec<u16>> = (0..streams).map(|stream| vec![0; levels(stream)]).collect();
        let mut pcm = vec![[0.0; FRAME_SAMPLES]; streams];
        let mut jobs: Vec<EncodeJob<'_>> = together
            .iter_mut()
            .zip(&mut codes)
            .enumerate()
            .map(|(stream, ((encoder, _), codes))| EncodeJob {
                encoder,
                pcm: sound(stream, at),
                codes,
            })
            .collect();
        batch.encode(&mut jobs);
        let mut jobs: Vec<DecodeJob<'_>> = together
            .iter_mut()
            .zip(&codes)
            .zip(&mut pcm)
            .enumerate()
            .map(|(stream, (((_, decoder), codes), pcm))| DecodeJob {
                decoder,
                received: if lost(stream, at) {
                    Received::Nothing
                } else {
                    Received::Codes(codes)
                },
                pcm,
            })
            .collect();
        batch.decode(&mut jobs).unwrap();
        for (stream, (encoder, decoder)) in alone.iter_mut().enumerate() {
            let (mut own, mut heard) = (vec![0; levels(stream)], [0.0; FRAME_SAMPLES]);
            encoder.encode(sound(stream, at), &mut own);
            assert_eq!(own, codes[stream], "stream {stream}, frame {at}");
            if lost(stream, at) {
                decoder.conceal(&mut heard);
            } else {
                decoder.decode(&own, &mut heard).unwrap();
            }
            assert_eq!(heard, pcm[stream], "stream {stream}, frame {at}");
        }
    }
}

#[test]
fn a_batch_names_the_job_whose_codes_make_no_sense_and_touches_none() {
    let model = Model::builtin().unwrap();
    let mut batch = Batch::new(model.clone());
    let [mut a, mut b] = std::array::from_fn(|_| Decoder::new(model.clone()));
    let (mut first, mut second) = ([9.0; FRAME_SAMPLES], [9.0; FRAME_SAMPLES]);
    let mut jobs = [
        DecodeJob {
            decoder: &mut a,
            received: Received::Codes(&[1, 2, 3]),
            pcm: &mut first,
        },
        DecodeJob {
            decoder: &mut b,
            received: Received::Codes(&[1, 1024]),
            pcm: &mut second,
        },
    ];
    let (number, error) = batch.decode(&mut jobs).unwrap_err();
    assert_eq!(
        (number, error.to_string().as_str()),
        (1, "code 1024 is not under 1024")
    );
    assert_eq!((first, second), ([9.0; FRAME_SAMPLES], [9.0; FRAME_SAMPLES]));
}
