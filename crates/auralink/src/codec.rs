//! `auralink codec`: the speech codec on files.

mod bench;
mod resample;
mod score;
mod sound;

use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use auralink_codec::file::AicFile;
use auralink_codec::{Decoder, Encoder, FRAME_SAMPLES, LEVELS_MAX, Model, OUTPUT_LAG_SAMPLES, SAMPLE_RATE};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// kbit/s of one quantiser level: 10 bits, 50 times a second.
const KBPS_PER_LEVEL: f64 = 0.5;

/// Work with the speech codec on files.
#[derive(Debug, clap::Subcommand)]
pub enum CodecCommand {
    /// Code a WAV file of any rate and channels as 16 kHz mono speech.
    Encode {
        /// Rate in kbit/s: 0.5 to 9 in steps of 0.5. Trained most for 1.5, 3, 6 and 9.
        #[arg(long, default_value = "6", value_parser = levels)]
        kbps: usize,
        /// The WAV file to read.
        input: PathBuf,
        /// The .aic file to write.
        output: PathBuf,
    },
    /// Decode an .aic file to a 16 kHz WAV file.
    Decode {
        /// The .aic file to read.
        input: PathBuf,
        /// The WAV file to write.
        output: PathBuf,
    },
    /// Say what the built-in model is, or what an .aic file holds.
    Info {
        /// An .aic file.
        file: Option<PathBuf>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Say how much a recording lost against what was spoken.
    Score {
        /// WAV file of what was spoken.
        reference: PathBuf,
        /// WAV file of what was heard.
        degraded: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Time encoder and decoder on one core: alone and in batches, on every kernel and width of the search.
    Bench {
        /// A WAV file to code; without one, a synthetic voice.
        file: Option<PathBuf>,
        /// Rate in kbit/s.
        #[arg(long, default_value = "6", value_parser = levels)]
        kbps: usize,
        /// Write JSON to this file.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
}

/// Do what the command says.
pub fn run(command: CodecCommand) -> anyhow::Result<()> {
    match command {
        CodecCommand::Encode { kbps, input, output } => encode(kbps, &input, &output),
        CodecCommand::Decode { input, output } => decode(&input, &output),
        CodecCommand::Info { file: None, json } => model_info(json),
        CodecCommand::Info {
            file: Some(file),
            json,
        } => file_info(&file, json),
        CodecCommand::Bench { file, kbps, json } => bench::run(file.as_deref(), kbps, json),
        CodecCommand::Score {
            reference,
            degraded,
            json,
        } => score::run(&reference, &degraded, json),
    }
}

/// Quantiser levels of a rate given in kbit/s.
fn levels(kbps: &str) -> Result<usize, String> {
    let value: f64 = kbps.parse().map_err(|_| format!("{kbps:?} is not a number"))?;
    let levels = value / KBPS_PER_LEVEL;
    if (1.0..=LEVELS_MAX as f64).contains(&levels) && levels.fract() == 0.0 {
        Ok(levels as usize)
    } else {
        Err(format!(
            "{kbps} is not 0.5 to {} in steps of 0.5",
            LEVELS_MAX as f64 * KBPS_PER_LEVEL
        ))
    }
}

fn encode(levels: usize, input: &Path, output: &Path) -> anyhow::Result<()> {
    let mut sound = sound::read(input)?;
    let samples = u32::try_from(sound.len()).context("the sound is longer than an .aic file can say")?;
    ensure!(samples > 0, "{}: no samples", input.display());
    let model = Model::builtin()?;
    let frames = AicFile::frames(samples);
    sound.resize(frames * FRAME_SAMPLES, 0.0);
    let mut codes = vec![0u16; frames * levels];
    let mut encoder = Encoder::new(model.clone());
    let progress = progress(frames, "encoding");
    for (pcm, codes) in sound
        .chunks_exact(FRAME_SAMPLES)
        .zip(codes.chunks_exact_mut(levels))
    {
        encoder.encode(pcm, codes);
        progress.inc(1);
    }
    progress.finish_and_clear();
    let file = AicFile {
        model: model.id(),
        levels: levels as u8,
        samples,
        codes,
    };
    let bytes = file.to_bytes();
    fs::write(output, &bytes).with_context(|| format!("writing {}", output.display()))?;
    eprintln!(
        "{}: {:.2} s at {} kbit/s, {} bytes, model {}",
        output.display(),
        f64::from(samples) / f64::from(SAMPLE_RATE),
        levels as f64 * KBPS_PER_LEVEL,
        bytes.len(),
        model.id()
    );
    Ok(())
}

fn open(input: &Path) -> anyhow::Result<AicFile> {
    let bytes = fs::read(input).with_context(|| format!("reading {}", input.display()))?;
    AicFile::parse(&bytes).with_context(|| input.display().to_string())
}

fn decode(input: &Path, output: &Path) -> anyhow::Result<()> {
    let file = open(input)?;
    let model = Model::builtin()?;
    if file.model != model.id() {
        bail!(
            "{}: coded by model {}, this build has {}",
            input.display(),
            file.model,
            model.id()
        );
    }
    let levels = usize::from(file.levels);
    let mut decoder = Decoder::new(model);
    let mut sound = vec![0.0f32; AicFile::frames(file.samples) * FRAME_SAMPLES];
    let progress = progress(sound.len() / FRAME_SAMPLES, "decoding");
    for (codes, pcm) in file
        .codes
        .chunks_exact(levels)
        .zip(sound.chunks_exact_mut(FRAME_SAMPLES))
    {
        decoder
            .decode(codes, pcm)
            .with_context(|| input.display().to_string())?;
        progress.inc(1);
    }
    progress.finish_and_clear();
    let kept = &sound[OUTPUT_LAG_SAMPLES..][..file.samples as usize];
    sound::write(output, kept)?;
    eprintln!(
        "{}: {:.2} s",
        output.display(),
        kept.len() as f64 / f64::from(SAMPLE_RATE)
    );
    Ok(())
}

fn model_info(json: bool) -> anyhow::Result<()> {
    let model = Model::builtin()?;
    let m = model.manifest();
    if json {
        let mut value = serde_json::to_value(m)?;
        value["id"] = model.id().to_string().into();
        println!("{}", serde_json::to_string_pretty(&value)?);
        return Ok(());
    }
    println!("{} (id {}), licence {}", m.name, model.id(), m.licence);
    println!(
        "  {} Hz, {} samples per frame, up to {} levels of 0.5 kbit/s",
        m.sample_rate, m.frame, m.levels
    );
    println!("  trained for {} steps, sha256 {}", m.steps, m.sha256);
    Ok(())
}

fn file_info(path: &Path, json: bool) -> anyhow::Result<()> {
    let file = open(path)?;
    let seconds = f64::from(file.samples) / f64::from(SAMPLE_RATE);
    let kbps = f64::from(file.levels) * KBPS_PER_LEVEL;
    let here = Model::builtin()?.id() == file.model;
    if json {
        let value = serde_json::json!({"model": file.model.to_string(), "levels": file.levels, "kbps": kbps,
            "seconds": seconds, "frames": AicFile::frames(file.samples), "decodable": here});
        println!("{value}");
        return Ok(());
    }
    println!(
        "{}: {seconds:.2} s at {kbps} kbit/s, coded by model {}",
        path.display(),
        file.model
    );
    if !here {
        println!("  this build has another model and cannot decode it");
    }
    Ok(())
}

/// A bar on a terminal's stderr, nothing elsewhere.
fn progress(frames: usize, doing: &'static str) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(frames as u64), target).with_message(doing);
    match ProgressStyle::with_template("{msg} {wide_bar} {percent} % {eta}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rates_on_the_ladder_are_taken() {
        assert_eq!(levels("6"), Ok(12));
        assert_eq!(levels("1.5"), Ok(3));
        assert_eq!(levels("9"), Ok(18));
        for bad in ["0", "0.3", "9.5", "NaN", "-3", "six", "1e308", ""] {
            assert!(levels(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_wav_file_comes_back_in_time_and_as_long_as_it_was() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name);
        let spec = hound::WavSpec {
            channels: 2,
            sample_rate: 48_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut wav = hound::WavWriter::create(path("in.wav"), spec)?;
        let tone = |n: f32| 9_000.0 * (n * 0.02).sin() * (0.6 + 0.4 * (n * 0.0005).sin());
        for n in 0..48_000 {
            wav.write_sample(tone(n as f32) as i16)?;
            wav.write_sample(tone(n as f32) as i16)?;
        }
        wav.finalize()?;
        run(CodecCommand::Encode {
            kbps: 12,
            input: path("in.wav"),
            output: path("x.aic"),
        })?;
        run(CodecCommand::Info {
            file: Some(path("x.aic")),
            json: false,
        })?;
        run(CodecCommand::Decode {
            input: path("x.aic"),
            output: path("out.wav"),
        })?;
        run(CodecCommand::Score {
            reference: path("in.wav"),
            degraded: path("out.wav"),
            json: true,
        })?;
        let (before, after) = (sound::read(&path("in.wav"))?, sound::read(&path("out.wav"))?);
        assert_eq!(before.len(), 16_000);
        assert_eq!(after.len(), 16_000);
        let at = |lag: usize| {
            before[800..15_000]
                .iter()
                .zip(&after[800 + lag..])
                .map(|(a, b)| a * b)
                .sum::<f32>()
        };
        assert!(
            (1..20).all(|lag| at(0) > at(lag)),
            "the decoded tone is in phase with the original"
        );
        Ok(())
    }

    #[test]
    fn what_is_not_an_aic_file_is_refused_by_name() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("noise.aic");
        fs::write(&path, b"RIFFxxxxWAVE")?;
        let refusal = decode(&path, &folder.path().join("out.wav")).expect_err("it is refused");
        assert!(format!("{refusal:#}").contains("noise.aic"));
        let mut file = AicFile {
            model: auralink_codec::ModelId(0),
            levels: 3,
            samples: 320,
            codes: vec![0; 6],
        };
        file.model.0 = !Model::builtin()?.id().0;
        fs::write(&path, file.to_bytes())?;
        let refusal = decode(&path, &folder.path().join("out.wav")).expect_err("it is refused");
        assert!(format!("{refusal:#}").contains("coded by model"));
        Ok(())
    }
}
