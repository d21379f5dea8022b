//! What a frame costs on this machine: alone and in a batch, on every kernel, for every width of the search.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use auralink_audio::Reader;
use auralink_codec::{
    Batch, Beam, DecodeJob, Decoder, EncodeJob, Encoder, FRAME_SAMPLES, Kernel, LEVELS_MAX, Model, Received,
    SAMPLE_RATE,
};
use indicatif::ProgressBar;
use serde::Serialize;

use super::{KBPS_PER_LEVEL, progress};

/// Frames timed alone, and frames run before the clock counts.
const FRAMES: usize = 500;
const WARM: usize = 50;
/// Streams coded together.
const STREAMS: usize = 64;
/// Rounds of one frame of every stream.
const ROUNDS: usize = 25;
/// Candidates of the search.
const BEAMS: [usize; 4] = [1, 4, 8, 16];
/// A frame's time.
const FRAME_MS: f64 = FRAME_SAMPLES as f64 * 1e3 / SAMPLE_RATE as f64;

/// Wall times of one side, in milliseconds per 20 ms frame.
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

/// One kernel and one width of the search.
#[derive(Debug, Serialize)]
struct Row {
    kernel: &'static str,
    beam: usize,
    encode: Side,
    decode: Side,
    /// Processor time per frame and stream when [`STREAMS`] streams are coded together, mean.
    batch_encode_ms: f64,
    batch_decode_ms: f64,
    /// Streams that one core codes, or decodes, in real time, from the batch's time.
    encode_streams_per_core: u32,
    decode_streams_per_core: u32,
}

#[derive(Debug, Serialize)]
struct Report {
    model: String,
    kbps: f64,
    frames: usize,
    batch_streams: usize,
    /// What the batch's times are: time of the processor, or of the wall where the system does not tell.
    batch_clock: &'static str,
    rows: Vec<Row>,
}

/// Times everything on a file, or on a synthetic voice, and prints it; JSON goes to a file.
pub(super) fn run(file: Option<&Path>, levels: usize, json: Option<PathBuf>) -> anyhow::Result<()> {
    let sound = file.map_or_else(|| Ok(voice()), beginning)?;
    ensure!(
        sound.len() >= FRAME_SAMPLES,
        "the sound is shorter than one frame of 20 ms"
    );
    let kernels: Vec<Kernel> = Kernel::ALL
        .into_iter()
        .filter(|kernel| kernel.detected())
        .collect();
    let steps = kernels.len() * BEAMS.len() * (WARM + FRAMES + ROUNDS);
    let bar = progress(steps as u64, "timing");
    let mut report = Report {
        model: Model::builtin()?.id().to_string(),
        kbps: levels as f64 * KBPS_PER_LEVEL,
        frames: FRAMES,
        batch_streams: STREAMS,
        batch_clock: if processor_time().is_some() {
            "processor"
        } else {
            "wall"
        },
        rows: Vec::new(),
    };
    for kernel in kernels {
        let model = Model::builtin_for(kernel)?;
        for beam in BEAMS {
            let beam = Beam::new(beam);
            let (encode, decode) = alone(&model, beam, levels, &sound, &bar)?;
            let (batch_encode_ms, batch_decode_ms) = together(&model, beam, levels, &sound, &bar)?;
            report.rows.push(Row {
                kernel: kernel.name(),
                beam: beam.candidates(),
                encode,
                decode,
                batch_encode_ms,
                batch_decode_ms,
                encode_streams_per_core: (FRAME_MS / batch_encode_ms) as u32,
                decode_streams_per_core: (FRAME_MS / batch_decode_ms) as u32,
            });
        }
    }
    bar.finish_and_clear();
    print(&report);
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(&report)?;
        std::fs::write(&path, text + "\n").with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

fn alone(
    model: &std::sync::Arc<Model>,
    beam: Beam,
    levels: usize,
    sound: &[f32],
    bar: &ProgressBar,
) -> anyhow::Result<(Side, Side)> {
    let (mut encoder, mut decoder) = (Encoder::new(model.clone()), Decoder::new(model.clone()));
    encoder.set_beam(beam);
    let (mut codes, mut heard) = (vec![0u16; levels], [0.0f32; FRAME_SAMPLES]);
    let (mut encoding, mut decoding) = (Vec::with_capacity(FRAMES), Vec::with_capacity(FRAMES));
    for pcm in sound.chunks_exact(FRAME_SAMPLES).cycle().take(WARM + FRAMES) {
        let begin = Instant::now();
        encoder.encode(pcm, &mut codes);
        let between = Instant::now();
        decoder.decode(&codes, &mut heard)?;
        decoding.push(between.elapsed().as_secs_f64() * 1e3);
        encoding.push((between - begin).as_secs_f64() * 1e3);
        bar.inc(1);
    }
    Ok((
        Side::of(encoding.split_off(WARM)),
        Side::of(decoding.split_off(WARM)),
    ))
}

fn together(
    model: &std::sync::Arc<Model>,
    beam: Beam,
    levels: usize,
    sound: &[f32],
    bar: &ProgressBar,
) -> anyhow::Result<(f64, f64)> {
    struct Stream {
        encoder: Encoder,
        decoder: Decoder,
        codes: [u16; LEVELS_MAX],
        heard: [f32; FRAME_SAMPLES],
    }
    let mut streams: Vec<Stream> = std::iter::repeat_with(|| {
        let mut encoder = Encoder::new(model.clone());
        encoder.set_beam(beam);
        Stream {
            encoder,
            decoder: Decoder::new(model.clone()),
            codes: [0; LEVELS_MAX],
            heard: [0.0; FRAME_SAMPLES],
        }
    })
    .take(STREAMS)
    .collect();
    let frames: Vec<&[f32]> = sound.chunks_exact(FRAME_SAMPLES).collect();
    let mut batch = Batch::new(model.clone());
    let (mut encoding, mut decoding) = (Duration::ZERO, Duration::ZERO);
    for round in 0..ROUNDS {
        // Every stream is elsewhere in the sound.
        let mut jobs: Vec<EncodeJob<'_>> = streams
            .iter_mut()
            .enumerate()
            .map(|(number, stream)| EncodeJob {
                encoder: &mut stream.encoder,
                pcm: frames[(round + number * 7) % frames.len()],
                codes: &mut stream.codes[..levels],
            })
            .collect();
        encoding += timed(|| batch.encode(&mut jobs));
        let mut jobs: Vec<DecodeJob<'_>> = streams
            .iter_mut()
            .map(|stream| DecodeJob {
                decoder: &mut stream.decoder,
                received: Received::Codes(&stream.codes[..levels]),
                pcm: &mut stream.heard,
            })
            .collect();
        let mut done = Ok(());
        decoding += timed(|| done = batch.decode(&mut jobs));
        done.map_err(|(_, error)| error)?;
        bar.inc(1);
    }
    let per_frame = |time: Duration| time.as_secs_f64() * 1e3 / (ROUNDS * STREAMS) as f64;
    Ok((per_frame(encoding), per_frame(decoding)))
}

/// Time of this thread's processor that the work takes, so that a busy machine does not count; else of the wall.
fn timed(work: impl FnOnce()) -> Duration {
    let (begin, wall) = (processor_time(), Instant::now());
    work();
    match (begin, processor_time()) {
        (Some(begin), Some(end)) => end.saturating_sub(begin),
        _ => wall.elapsed(),
    }
}

/// What Linux says in the first number of this file, in nanoseconds.
fn processor_time() -> Option<Duration> {
    // Giving way brings the number up to date.
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

fn print(report: &Report) {
    println!(
        "model {}, {} kbit/s; ms per 20 ms frame, alone (wall, {} frames) and per stream in a batch of {} ({} time)",
        report.model, report.kbps, report.frames, report.batch_streams, report.batch_clock
    );
    println!(
        "kernel    beam  encode p50   p99  decode p50   p99  batch encode  decode  streams per core: encode  decode"
    );
    for row in &report.rows {
        println!(
            "{:9} {:4}  {:10.3} {:5.3}  {:10.3} {:5.3}  {:12.3}  {:6.3}  {:24}  {:6}",
            row.kernel,
            row.beam,
            row.encode.median_ms,
            row.encode.p99_ms,
            row.decode.median_ms,
            row.decode.p99_ms,
            row.batch_encode_ms,
            row.batch_decode_ms,
            row.encode_streams_per_core,
            row.decode_streams_per_core
        );
    }
}

/// As much of a file as is timed.
fn beginning(file: &Path) -> anyhow::Result<Vec<f32>> {
    let mut sound = vec![0.0; (WARM + FRAMES) * FRAME_SAMPLES];
    let count = Reader::open(file, SAMPLE_RATE)?.read(&mut sound)?;
    sound.truncate(count);
    Ok(sound)
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
