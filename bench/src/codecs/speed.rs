//! Time per frame of 20 ms on one thread.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use auralink_codec as codec;
use auralink_opus as opus;
use serde::Serialize;

use super::condition::{NOLACE, PLAIN};

/// Frames measured, 20 s.
const FRAMES: usize = 1000;
/// Frames before the first that counts.
const WARM_UP: usize = 50;
const FRAME_MS: f64 = 20.0;

/// What one stream costs.
#[derive(Clone, Debug, Serialize)]
pub struct Speed {
    pub codec: String,
    /// Median over frames, for 20 ms of sound.
    pub encode_ms: f64,
    pub decode_ms: f64,
    /// Streams that one core codes, decodes, or does both with at once, each on its own.
    pub encode_streams: f64,
    pub decode_streams: f64,
    pub both_streams: f64,
}

impl Speed {
    pub fn new(codec: impl Into<String>, encode_ms: f64, decode_ms: f64) -> Self {
        let streams = |ms: f64| if ms > 0.0 { FRAME_MS / ms } else { 0.0 };
        Self {
            codec: codec.into(),
            encode_ms,
            decode_ms,
            encode_streams: streams(encode_ms),
            decode_streams: streams(decode_ms),
            both_streams: streams(encode_ms + decode_ms),
        }
    }
}

/// Streams of a batch: as many as the codec takes in one go, four times.
const BATCH: usize = 64;
/// Rounds of a batch measured.
const ROUNDS: usize = 40;

/// Ours at every rate, libopus with its decoders, on the same speech.
pub fn measure(model: &Arc<codec::Model>, pcm: &[f32]) -> Result<Vec<Speed>> {
    let mut all = Vec::new();
    for levels in [3, 6, 12, 18] {
        all.push(ours(model, levels, pcm)?);
    }
    all.push(batched(model, 12, pcm)?);
    for (packet_ms, complexity) in [(20, PLAIN), (20, NOLACE), (60, PLAIN), (60, NOLACE)] {
        all.push(libopus(packet_ms, complexity, pcm)?);
    }
    Ok(all)
}

fn ours(model: &Arc<codec::Model>, levels: usize, pcm: &[f32]) -> Result<Speed> {
    let mut encoder = codec::Encoder::new(model.clone());
    let mut decoder = codec::Decoder::new(model.clone());
    let mut codes = [0u16; codec::LEVELS_MAX];
    let mut out = [0.0; codec::FRAME_SAMPLES];
    let (mut encode, mut decode) = (Vec::new(), Vec::new());
    for frame in pcm
        .chunks_exact(codec::FRAME_SAMPLES)
        .cycle()
        .take(WARM_UP + FRAMES)
    {
        let begin = Instant::now();
        encoder.encode(frame, &mut codes[..levels]);
        encode.push(millis(begin));
        let begin = Instant::now();
        decoder.decode(&codes[..levels], &mut out)?;
        decode.push(millis(begin));
    }
    Ok(Speed::new(
        format!("AuraLink {} kbps", levels as f64 / 2.0),
        median(&mut encode[WARM_UP..]),
        median(&mut decode[WARM_UP..]),
    ))
}

/// Many streams in one call, time for one of them.
fn batched(model: &Arc<codec::Model>, levels: usize, pcm: &[f32]) -> Result<Speed> {
    let mut batch = codec::Batch::new(model.clone());
    let mut encoders: Vec<_> = (0..BATCH).map(|_| codec::Encoder::new(model.clone())).collect();
    let mut decoders: Vec<_> = (0..BATCH).map(|_| codec::Decoder::new(model.clone())).collect();
    let mut codes = vec![[0u16; codec::LEVELS_MAX]; BATCH];
    let mut out = vec![[0.0f32; codec::FRAME_SAMPLES]; BATCH];
    let (mut encode, mut decode) = (Vec::new(), Vec::new());
    let mut frames = pcm.chunks_exact(codec::FRAME_SAMPLES).cycle();
    for _ in 0..ROUNDS {
        // Each stream is somewhere else in the speech.
        let mut jobs: Vec<_> = encoders
            .iter_mut()
            .zip(&mut codes)
            .zip(frames.by_ref())
            .map(|((encoder, codes), pcm)| codec::EncodeJob {
                encoder,
                pcm,
                codes: &mut codes[..levels],
            })
            .collect();
        let begin = Instant::now();
        batch.encode(&mut jobs);
        encode.push(millis(begin) / BATCH as f64);
        let mut jobs: Vec<_> = decoders
            .iter_mut()
            .zip(&codes)
            .zip(&mut out)
            .map(|((decoder, codes), pcm)| codec::DecodeJob {
                decoder,
                received: codec::Received::Codes(&codes[..levels]),
                pcm,
            })
            .collect();
        let begin = Instant::now();
        batch
            .decode(&mut jobs)
            .map_err(|(stream, problem)| anyhow::anyhow!("stream {stream}: {problem}"))?;
        decode.push(millis(begin) / BATCH as f64);
    }
    Ok(Speed::new(
        format!("AuraLink {} kbps, {BATCH} streams together", levels as f64 / 2.0),
        median(&mut encode),
        median(&mut decode),
    ))
}

fn libopus(packet_ms: u32, complexity: u8, pcm: &[f32]) -> Result<Speed> {
    const BITRATE: u32 = 9_000;
    let config = opus::EncoderConfig::lean(BITRATE, packet_ms);
    let mut encoder = opus::Encoder::new(&config)?;
    let mut decoder = opus::Decoder::new(config.sample_rate, 1, complexity)?;
    let samples = config.packet_samples();
    let frames = f64::from(packet_ms) / FRAME_MS;
    let (mut room, mut out) = ([0; opus::MAX_PACKET_BYTES], vec![0.0; samples]);
    let (mut encode, mut decode) = (Vec::new(), Vec::new());
    for chunk in pcm.chunks_exact(samples).cycle().take(WARM_UP + FRAMES) {
        let begin = Instant::now();
        let len = encoder.encode(chunk, &mut room)?;
        encode.push(millis(begin) / frames);
        let begin = Instant::now();
        decoder.decode(&room[..len], &mut out)?;
        decode.push(millis(begin) / frames);
    }
    let with = if complexity == NOLACE { " + NoLACE" } else { "" };
    Ok(Speed::new(
        format!("Opus 9 kbps {packet_ms} ms{with}"),
        median(&mut encode[WARM_UP..]),
        median(&mut decode[WARM_UP..]),
    ))
}

fn millis(begin: Instant) -> f64 {
    begin.elapsed().as_secs_f64() * 1000.0
}

/// The middle one; 0 of nothing.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
