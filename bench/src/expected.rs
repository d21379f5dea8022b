//! `./x bench expected`: what the ladder may expect of each rung, measured on held-back training speakers.
//!
//! One clip of each speaker in twenty whom the model never trained on (the rule of `training/data.py`), coded by
//! libopus at every rate and packet time of the table and by the built-in model at every rate, scored by PESQ-WB. With
//! `--write` the table of `auralink-quality` is written anew, which has to follow every new model.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use auralink_audio::WavWriter;
use auralink_codec as codec;
use auralink_opus::{Decoder, Encoder, EncoderConfig};
use auralink_types::NeuralRate;
use sha2::{Digest as _, Sha256};

use crate::rest::mean;
use crate::score::{self, Job};

/// Target rates of the table, kbps.
const OPUS_KBPS: [u32; 9] = [6, 8, 9, 10, 12, 16, 24, 32, 48];
/// Packet times of its columns, milliseconds.
const PACKETS_MS: [u32; 4] = [20, 60, 80, 120];
/// One speaker in so many is held back from training.
const HELD_BACK_PARTS: u32 = 20;
/// Shortest clip worth scoring, and how much of a longer one is taken: pieces of 5 s are scored.
const SECONDS: (f64, f64) = (6.0, 10.5);
/// Rate of clips and of what is written.
const RATE: u32 = 16_000;
/// The table, below the root.
const TABLE: &str = "crates/quality/src/expected_table.rs";

/// Options.
#[derive(clap::Args)]
pub struct ExpectedOptions {
    /// Speakers, one clip each.
    #[arg(long, value_name = "N", default_value_t = 16)]
    clips: usize,
    /// Write the table of `auralink-quality` anew.
    #[arg(long)]
    write: bool,
    /// Where to write what is printed, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where coded clips go.
    #[arg(long, value_name = "DIR", default_value = "out/expected")]
    out: PathBuf,
}

/// One way of coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Condition {
    Opus { kbps: u32, packet_ms: u32 },
    Neural(NeuralRate),
}

impl Condition {
    fn all() -> Vec<Self> {
        let opus = OPUS_KBPS
            .into_iter()
            .flat_map(|kbps| PACKETS_MS.map(|packet_ms| Self::Opus { kbps, packet_ms }));
        opus.chain(NeuralRate::ALL.map(Self::Neural)).collect()
    }

    fn name(self) -> String {
        match self {
            Self::Opus { kbps, packet_ms } => format!("opus {kbps} kbps {packet_ms} ms"),
            Self::Neural(rate) => format!("neural {} kbps", rate.bitrate().as_bps() as f64 / 1000.0),
        }
    }

    fn code(self, pcm: &[f32]) -> Result<Vec<f32>> {
        match self {
            Self::Opus { kbps, packet_ms } => through_opus(&EncoderConfig::lean(kbps * 1000, packet_ms), pcm),
            Self::Neural(rate) => through_model(rate.levels(), pcm),
        }
    }
}

/// Measures and prints; always a success.
pub async fn run(options: ExpectedOptions) -> Result<bool> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the benchmarks lie in no repository")?;
    let data = std::env::var_os("AURALINK_DATA").map_or_else(|| root.join("../shared/data"), PathBuf::from);
    let manifest = fs::read_to_string(data.join("MANIFEST.csv"))
        .with_context(|| format!("no MANIFEST.csv in {} (AURALINK_DATA)", data.display()))?;
    let clips = held_back(&manifest);
    ensure!(
        !clips.is_empty(),
        "no training speaker is held back in {}",
        data.display()
    );
    fs::create_dir_all(&options.out).with_context(|| format!("cannot make {}", options.out.display()))?;
    let mut jobs = Vec::new();
    let conditions = Condition::all();
    for clip in clips.iter().take(options.clips) {
        let pcm = decoded(&data.join(clip))?;
        let stem = Path::new(clip).file_stem().unwrap_or_default().to_string_lossy();
        let reference = options.out.join(format!("{stem}.wav"));
        WavWriter::write_all(&reference, RATE, &pcm)?;
        for condition in &conditions {
            let recorded = options
                .out
                .join(format!("{stem}.{}.wav", condition.name().replace(' ', "-")));
            WavWriter::write_all(&recorded, RATE, &condition.code(&pcm)?)?;
            jobs.push(Job {
                reference: reference.clone(),
                recorded,
                from_s: 0.0,
                to_s: SECONDS.1,
            });
        }
    }
    eprintln!(
        "scoring {} recordings of {} speakers",
        jobs.len(),
        jobs.len() / conditions.len()
    );
    let mut scores: BTreeMap<Condition, Vec<f64>> = BTreeMap::new();
    for (condition, score) in conditions.iter().cycle().zip(score::score(&jobs).await?) {
        scores
            .entry(*condition)
            .or_default()
            .extend(score.map(|score| score.pesq_wb));
    }
    let means: BTreeMap<Condition, f64> = scores
        .into_iter()
        .filter_map(|(condition, values)| Some((condition, mean(&values)?)))
        .collect();
    for (condition, pesq) in &means {
        println!("{:<22} PESQ-WB {pesq:.2}", condition.name());
    }
    if let Some(path) = &options.json {
        let named: BTreeMap<String, f64> = means.iter().map(|(of, pesq)| (of.name(), *pesq)).collect();
        fs::write(path, serde_json::to_string_pretty(&named)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let table = table(&means, jobs.len() / conditions.len())?;
    println!("{table}");
    if options.write {
        let path = root.join(TABLE);
        fs::write(&path, table).with_context(|| format!("cannot write {}", path.display()))?;
        println!("written: {}", path.display());
    }
    Ok(true)
}

/// The longest clip of every held-back speaker, by name.
fn held_back(manifest: &str) -> Vec<String> {
    let mut longest: BTreeMap<&str, (f64, &str)> = BTreeMap::new();
    for line in manifest.lines().skip(1) {
        // What follows the first four columns may be quoted; the fifth, the language, may hold a comma.
        let mut columns = line.splitn(5, ',');
        let (Some(path), Some("speech"), Some("train"), Some(speaker), Some(rest)) = (
            columns.next(),
            columns.next(),
            columns.next(),
            columns.next(),
            columns.next(),
        ) else {
            continue;
        };
        let rest = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once("\",").map_or("", |(_, rest)| rest),
            None => rest.split_once(',').map_or("", |(_, rest)| rest),
        };
        let seconds: f64 = rest
            .split(',')
            .next()
            .and_then(|text| text.parse().ok())
            .unwrap_or(0.0);
        let speaker = if speaker.is_empty() { path } else { speaker };
        if seconds < SECONDS.0 || !is_held_back(speaker) {
            continue;
        }
        let best = longest.entry(speaker).or_insert((seconds, path));
        if seconds > best.0 {
            *best = (seconds, path);
        }
    }
    longest.into_values().map(|(_, path)| path.to_owned()).collect()
}

fn is_held_back(speaker: &str) -> bool {
    let digest = Sha256::digest(speaker.as_bytes());
    let part = digest.iter().fold(0u32, |rest, byte| {
        (rest * 256 + u32::from(*byte)) % HELD_BACK_PARTS
    });
    part == 0
}

fn decoded(path: &Path) -> Result<Vec<f32>> {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(path)
        .args([
            "-t",
            &SECONDS.1.to_string(),
            "-ac",
            "1",
            "-ar",
            &RATE.to_string(),
            "-f",
            "f32le",
            "-",
        ])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start ffmpeg, which decodes the clips")?;
    ensure!(output.status.success(), "ffmpeg cannot decode {}", path.display());
    let samples = output.stdout.chunks_exact(4);
    Ok(samples
        .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        .collect())
}

fn through_opus(config: &EncoderConfig, pcm: &[f32]) -> Result<Vec<f32>> {
    let mut encoder = Encoder::new(config)?;
    let mut decoder = Decoder::new(config.sample_rate, 1, 0)?;
    let samples = config.packet_samples();
    let (mut packet, mut audio, mut out) = ([0u8; 1500], vec![0.0; samples], Vec::with_capacity(pcm.len()));
    for chunk in pcm.chunks_exact(samples) {
        let len = encoder.encode(chunk, &mut packet)?;
        decoder.decode(&packet[..len], &mut audio)?;
        out.extend_from_slice(&audio);
    }
    Ok(out)
}

fn through_model(levels: usize, pcm: &[f32]) -> Result<Vec<f32>> {
    let model = codec::Model::builtin()?;
    let (mut encoder, mut decoder) = (codec::Encoder::new(model.clone()), codec::Decoder::new(model));
    let (mut codes, mut frame) = (vec![0u16; levels], [0.0f32; codec::FRAME_SAMPLES]);
    let mut out = Vec::with_capacity(pcm.len());
    for chunk in pcm.chunks_exact(codec::FRAME_SAMPLES) {
        encoder.encode(chunk, &mut codes);
        decoder.decode(&codes, &mut frame)?;
        out.extend_from_slice(&frame);
    }
    Ok(out)
}

/// The table as source text. More bits never count for less: differences of that kind are noise of few clips.
fn table(means: &BTreeMap<Condition, f64>, speakers: usize) -> Result<String> {
    let of = |condition: Condition| {
        means
            .get(&condition)
            .copied()
            .with_context(|| format!("{} could not be scored", condition.name()))
    };
    let mut text = format!(
        "//! Mean PESQ-WB over {speakers} training speakers held back from the model. Written by `./x bench expected --write`.\n\n"
    );
    let _ = writeln!(
        text,
        "/// Target kbps of libopus 1.6.1 (voip, wide band, constrained VBR, complexity 10, decoder without enhancement), and\n\
         /// the score in packets of 20, 60, 80 and 120 ms.\n\
         pub(crate) const OPUS: [(f32, [f32; {}]); {}] = [",
        PACKETS_MS.len(),
        OPUS_KBPS.len()
    );
    let mut best = [0.0f64; PACKETS_MS.len()];
    for kbps in OPUS_KBPS {
        for (best, packet_ms) in best.iter_mut().zip(PACKETS_MS) {
            *best = best.max(of(Condition::Opus { kbps, packet_ms })?);
        }
        let row = best.map(|score| format!("{score:.2}")).join(", ");
        let _ = writeln!(text, "    ({kbps}.0, [{row}]),");
    }
    let _ = writeln!(
        text,
        "];\n\n/// The built-in model at 1.5, 3, 6 and 9 kbps.\npub(crate) const NEURAL: [f32; {}] = [",
        NeuralRate::ALL.len()
    );
    let mut best = 0.0f64;
    let mut row = Vec::new();
    for rate in NeuralRate::ALL {
        best = best.max(of(Condition::Neural(rate))?);
        row.push(format!("{best:.2}"));
    }
    // One line, as rustfmt would have it.
    text.pop();
    let _ = writeln!(text, "{}];", row.join(", "));
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_clip_of_each_speaker_held_back_from_training_is_taken_and_none_of_the_others() {
        let manifest = "path,kind,split,speaker,language,seconds,rest\n\
            a/1.opus,speech,train,libri_39,,9.0,x\n\
            a/2.opus,speech,train,libri_39,,12.5,x\n\
            a/3.opus,speech,train,ocean_0003,\"en (L1 zh, f, age 21)\",8.0,\"q, r\"\n\
            a/4.opus,speech,train,flemishguy,,30.0,x\n\
            a/5.opus,speech,train,libri_4441,,4.2,x\n\
            a/6.flac,speech,test,libri_39,,20.0,x\n";
        assert_eq!(held_back(manifest), ["a/2.opus", "a/3.opus"]);
    }

    #[test]
    fn the_table_is_source_text_in_which_more_bits_never_score_less() {
        let mut means: BTreeMap<Condition, f64> = Condition::all()
            .into_iter()
            .enumerate()
            .map(|(n, condition)| (condition, 1.0 + n as f64 * 0.05))
            .collect();
        let opus = |kbps, packet_ms| Condition::Opus { kbps, packet_ms };
        means.insert(opus(48, 20), 1.5);
        let text = table(&means, 3).unwrap();
        assert!(text.contains("    (6.0, [1.00, 1.05, 1.10, 1.15]),\n"), "{text}");
        assert!(text.contains("    (48.0, [2.40, "), "{text}");
        assert!(text.contains("over 3 training speakers"), "{text}");
        means.remove(&opus(6, 80));
        assert!(
            table(&means, 3)
                .unwrap_err()
                .to_string()
                .contains("opus 6 kbps 80 ms")
        );
    }
}
