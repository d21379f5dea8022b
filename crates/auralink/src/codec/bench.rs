//! Frame times of the codec on this machine.

use std::path::Path;
use std::time::Instant;

use anyhow::ensure;
use auralink_codec::{Decoder, Encoder, FRAME_SAMPLES, Model, SAMPLE_RATE};
use serde::Serialize;

use super::{KBPS_PER_LEVEL, progress, sound};

/// Frames timed at least, whatever the length of the sound.
const FRAMES: usize = 3_000;
/// Frames run before the clock counts.
const WARM: usize = 100;

/// Times of one side, in milliseconds per 20 ms frame.
#[derive(Debug, Serialize)]
struct Side {
    median_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

impl Side {
    fn of(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        Self {
            median_ms: at(0.5),
            p99_ms: at(0.99),
            max_ms: at(1.0),
        }
    }
}

#[derive(Debug, Serialize)]
struct Report {
    model: String,
    kbps: f64,
    frames: usize,
    encode: Side,
    decode: Side,
}

/// Time both sides on a file, or on a synthetic voice, and print it.
pub(super) fn run(file: Option<&Path>, levels: usize, json: bool) -> anyhow::Result<()> {
    let sound = file.map_or_else(|| Ok(voice()), sound::read)?;
    ensure!(
        sound.len() >= FRAME_SAMPLES,
        "the sound is shorter than one frame of 20 ms"
    );
    let model = Model::builtin()?;
    let (mut encoder, mut decoder) = (Encoder::new(model.clone()), Decoder::new(model.clone()));
    let (mut codes, mut heard) = (vec![0u16; levels], [0.0f32; FRAME_SAMPLES]);
    let (mut encoding, mut decoding) = (Vec::with_capacity(FRAMES), Vec::with_capacity(FRAMES));
    let bar = progress(WARM + FRAMES, "timing");
    for pcm in sound.chunks_exact(FRAME_SAMPLES).cycle().take(WARM + FRAMES) {
        let begin = Instant::now();
        encoder.encode(pcm, &mut codes);
        let between = Instant::now();
        decoder.decode(&codes, &mut heard)?;
        let end = Instant::now();
        encoding.push((between - begin).as_secs_f64() * 1e3);
        decoding.push((end - between).as_secs_f64() * 1e3);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let report = Report {
        model: model.id().to_string(),
        kbps: levels as f64 * KBPS_PER_LEVEL,
        frames: FRAMES,
        encode: Side::of(encoding.split_off(WARM)),
        decode: Side::of(decoding.split_off(WARM)),
    };
    if json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!(
            "model {}, {} kbit/s, {} frames of 20 ms",
            report.model, report.kbps, report.frames
        );
        for (name, side) in [("encode", &report.encode), ("decode", &report.decode)] {
            println!(
                "  {name}  median {:.3} ms  p99 {:.3} ms  max {:.3} ms",
                side.median_ms, side.p99_ms, side.max_ms
            );
        }
    }
    Ok(())
}

/// Gliding harmonics under a syllable envelope, two seconds.
fn voice() -> Vec<f32> {
    (0..2 * SAMPLE_RATE)
        .map(|n| {
            let t = n as f32 / SAMPLE_RATE as f32;
            let phase = 2.0 * std::f32::consts::PI * (130.0 * t + 3.0 * (4.0 * t).sin());
            let harmonics: f32 = (1..20).map(|k| (k as f32 * phase).sin() / k as f32).sum();
            0.15 * harmonics * (0.5 + 0.5 * (25.0 * t).sin())
        })
        .collect()
}
