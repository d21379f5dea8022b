//! Every clip through every codec, decoded sound into files.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result};
use auralink_audio::WavWriter;
use auralink_codec::{FRAME_SAMPLES, Model, SAMPLE_RATE};
use auralink_quality::{log_mel_distance, savings::wire_bytes};
use serde::{Deserialize, Serialize};

use super::clips::{self, Clip};
use super::coded::Coded;
use super::condition::{Coder, Condition, LYRA_KBPS_PER_STAGE};
use super::{libopus, loss, ours, tools};

/// Threads that code; the machine may have other work.
const THREADS: usize = 2;
/// Packets of Lyra are 20 ms.
const LYRA_PACKETS_PER_SECOND: f64 = 50.0;

/// One clip under one condition.
#[derive(Clone, Debug)]
pub struct Sample {
    pub clip: usize,
    pub condition: usize,
    pub wav: PathBuf,
    pub payload_kbps: f64,
    pub wire_kbps: f64,
    pub mel_db: Option<f64>,
}

/// What Lyra cost, medians over clips.
#[derive(Clone, Copy, Debug, Default)]
pub struct LyraSpeed {
    pub encode_ms: f64,
    pub decode_ms: f64,
}

/// What is coded how.
pub struct Plan<'a> {
    pub clips: &'a [Clip],
    pub conditions: &'a [Condition],
    /// One in so many conditions for a clip, others from clip to clip; 1 is all.
    pub every: usize,
}

impl Plan<'_> {
    /// Pairs of clip and condition.
    fn jobs(&self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.clips.len())
            .flat_map(|clip| (0..self.conditions.len()).map(move |condition| (clip, condition)))
            .filter(|(clip, condition)| (clip + condition).is_multiple_of(self.every))
    }
}

/// Where the decoded file lies.
fn place(out: &Path, clip: &Clip, condition: &Condition) -> Result<PathBuf> {
    let directory = out.join(clip.place().context("a clip in no directory")?);
    std::fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
    Ok(directory.join(format!("{}.{}.wav", clip.name, condition.id)))
}

fn frames(clip: &Clip) -> usize {
    (clip.seconds * f64::from(auralink_codec::SAMPLE_RATE) / FRAME_SAMPLES as f64).ceil() as usize + 4
}

/// All but Lyra, on two threads.
pub fn native(model: &Arc<Model>, plan: &Plan<'_>, out: &Path) -> Result<Vec<Sample>> {
    let Plan {
        clips, conditions, ..
    } = *plan;
    let jobs: Vec<(usize, usize)> = plan
        .jobs()
        .filter(|(_, condition)| !matches!(conditions[*condition].coder, Coder::Lyra(_)))
        .collect();
    let bar = tools::progress("coding", jobs.len());
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::with_capacity(jobs.len()));
    let work = || -> Result<()> {
        while let Some(&(clip, condition)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let sample = one(model, &clips[clip], &conditions[condition], out)
                .map(|sample| Sample {
                    clip,
                    condition,
                    ..sample
                })
                .with_context(|| format!("{} {}", clips[clip].name, conditions[condition].id))?;
            found
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .push(sample);
            bar.inc(1);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .expect("no coder panics; if one does, the run is void")
        })
    })?;
    bar.finish_and_clear();
    Ok(found
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner))
}

fn one(model: &Arc<Model>, which: &Clip, how: &Condition, out: &Path) -> Result<Sample> {
    let pcm = clips::read(&which.wav)?;
    let lost = loss::pattern(&which.name, how.loss, frames(which));
    let coded = match how.coder {
        Coder::Ours(rate) => ours::code(model, rate, &pcm, &lost)?,
        Coder::Opus(opus) => libopus::code(opus, &pcm, how.loss, &lost)?,
        Coder::Noise(part) => spoiled(&pcm, part),
        Coder::Lyra(_) => anyhow::bail!("Lyra is coded elsewhere"),
    };
    let wav = place(out, which, how)?;
    WavWriter::write_all(&wav, SAMPLE_RATE, &coded.pcm)?;
    Ok(Sample {
        clip: 0,
        condition: 0,
        mel_db: log_mel_distance(&pcm, &coded.pcm).map(f64::from),
        wav,
        payload_kbps: coded.payload_kbps,
        wire_kbps: coded.wire_kbps,
    })
}

/// White noise at a part of the clip's effective value.
fn spoiled(pcm: &[f32], part: f32) -> Coded {
    let effective = (pcm.iter().map(|x| x * x).sum::<f32>() / pcm.len().max(1) as f32).sqrt();
    let mut state = 1u32;
    let noisy = pcm.iter().map(|&sample| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let uniform = (state >> 8) as f32 / (1 << 23) as f32 - 1.0;
        sample + effective * part * uniform * 3f32.sqrt()
    });
    Coded {
        pcm: noisy.collect(),
        payload_kbps: 256.0,
        wire_kbps: 256.0,
    }
}

#[derive(Serialize)]
struct LyraJobs<'a> {
    weights: &'a Path,
    jobs: Vec<LyraJob>,
}

#[derive(Serialize)]
struct LyraJob {
    r#in: PathBuf,
    out: PathBuf,
    stages: u32,
    copies: u32,
    copy_stages: u32,
    lost: Option<Vec<bool>>,
}

#[derive(Deserialize)]
struct LyraDone {
    encode_ms: f64,
    decode_ms: f64,
}

/// Lyra's part; nothing to do is no work.
pub fn lyra(weights: &Path, plan: &Plan<'_>, out: &Path) -> Result<(Vec<Sample>, LyraSpeed)> {
    let Plan {
        clips, conditions, ..
    } = *plan;
    let (mut samples, mut jobs) = (Vec::new(), Vec::new());
    for (clip, condition) in plan.jobs() {
        let (which, how) = (&clips[clip], &conditions[condition]);
        if let Coder::Lyra(lyra) = how.coder {
            let wav = place(out, which, how)?;
            let stages = lyra.stages + lyra.copies * lyra.copy_stages;
            let payload_kbps = f64::from(stages) * LYRA_KBPS_PER_STAGE;
            jobs.push(LyraJob {
                r#in: std::path::absolute(&which.wav)?,
                out: std::path::absolute(&wav)?,
                stages: lyra.stages,
                copies: lyra.copies,
                copy_stages: lyra.copy_stages,
                lost: (how.loss > 0).then(|| loss::pattern(&which.name, how.loss, frames(which))),
            });
            samples.push(Sample {
                clip,
                condition,
                wav,
                payload_kbps,
                wire_kbps: payload_kbps + wire_bytes(0, 0) as f64 * 8.0 * LYRA_PACKETS_PER_SECOND / 1000.0,
                mel_db: None,
            });
        }
    }
    let bar = tools::progress("Lyra V2", jobs.len());
    let (mut encode, mut decode) = (Vec::new(), Vec::new());
    tools::run("lyra.py", &LyraJobs { weights, jobs }, &bar, |done: LyraDone| {
        encode.push(done.encode_ms);
        decode.push(done.decode_ms);
    })?;
    bar.finish_and_clear();
    for sample in &mut samples {
        let reference = clips::read(&clips[sample.clip].wav)?;
        sample.mel_db = log_mel_distance(&reference, &clips::read(&sample.wav)?).map(f64::from);
    }
    let speed = LyraSpeed {
        encode_ms: super::speed::median(&mut encode),
        decode_ms: super::speed::median(&mut decode),
    };
    Ok((samples, speed))
}
