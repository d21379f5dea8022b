//! `auralink codec`: the speech codec on files.

mod bench;
mod convert;
mod score;

use std::io::{IsTerminal, Read as _};
use std::path::{Path, PathBuf};

use anyhow::Context;
use auralink_codec::file::AicFile;
use auralink_codec::{LEVELS_MAX, Model, SAMPLE_RATE};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// kbit/s of one quantiser level: 10 bits, 50 times a second.
const KBPS_PER_LEVEL: f64 = 0.5;

/// Work with the speech codec on files.
#[derive(Debug, clap::Subcommand)]
pub enum CodecCommand {
    /// Code a sound file (WAV, FLAC, Ogg, MP3) of any rate and channels as 16 kHz mono speech.
    Encode {
        /// Rate in kbit/s: 0.5 to 9 in steps of 0.5. Trained most for 1.5, 3, 6 and 9.
        #[arg(long, default_value = "6", value_parser = levels)]
        kbps: usize,
        /// The sound file to read; - is standard input.
        input: PathBuf,
        /// The .aic file to write; - is standard output.
        output: PathBuf,
    },
    /// Decode an .aic file to a 16 kHz WAV file.
    Decode {
        /// The .aic file to read; - is standard input.
        input: PathBuf,
        /// The WAV file to write; - is standard output.
        output: PathBuf,
    },
    /// Say what the built-in model is, or what an .aic file holds.
    Info {
        /// An .aic file; - is standard input.
        file: Option<PathBuf>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Say how much a recording lost against what was spoken.
    Score {
        /// Sound file of what was spoken.
        reference: PathBuf,
        /// Sound file of what was heard.
        degraded: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Time encoder and decoder on one core: alone and in batches, on every kernel and width of the search.
    Bench {
        /// A sound file to code; without one, a synthetic voice.
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
        CodecCommand::Encode { kbps, input, output } => convert::encode(kbps, &input, &output),
        CodecCommand::Decode { input, output } => convert::decode(&input, &output),
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
    let mut bytes = Vec::new();
    let mut from = convert::source(path).with_context(|| path.display().to_string())?;
    from.read_to_end(&mut bytes)
        .with_context(|| path.display().to_string())?;
    let file = AicFile::parse(&bytes).with_context(|| path.display().to_string())?;
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

/// A bar on a terminal's stderr, nothing elsewhere; without a number of frames it shows only the time.
fn progress(frames: impl Into<Option<u64>>, doing: &'static str) -> ProgressBar {
    let frames = frames.into();
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(frames, target).with_message(doing);
    let style = match frames {
        Some(_) => "{msg} {wide_bar} {percent} % {eta}",
        None => "{msg} {spinner} {elapsed}",
    };
    match ProgressStyle::with_template(style) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use auralink_audio::{WavWriter, read_all};

    use super::convert::decode;
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
        let tone = |n: f32| 0.27 * (n * 0.02).sin() * (0.6 + 0.4 * (n * 0.0005).sin());
        let said: Vec<f32> = (0..48_000).map(|n| tone(n as f32)).collect();
        WavWriter::write_all(&path("in.wav"), 48_000, &said)?;
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
        let read = |name| read_all(&path(name), SAMPLE_RATE);
        let (before, after) = (read("in.wav")?, read("out.wav")?);
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
