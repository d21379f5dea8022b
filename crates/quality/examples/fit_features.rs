//! Prints the estimator's features for each piece of 3.2 s of decoded speech, for `fit/estimator.py`:
//! `fit_features <folder of references> <folder of decoded CLIP.CONDITION.wav>` writes `features.csv` into the second.
//!
//! All are 16 kHz mono 16-bit WAV, aligned. `auralink-bench speech-code` makes the decoded ones.

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use auralink_audio::read_all;
use auralink_quality::{Estimator, Features};

const PIECE: usize = 51_200;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(references), Some(coded)) = (args.next(), args.next()) else {
        return Err("usage: fit_features <folder of references> <folder of decoded>".into());
    };
    let mut csv = BufWriter::new(std::fs::File::create(coded.join("features.csv"))?);
    writeln!(csv, "clip,condition,piece,estimate,{}", Features::NAMES.join(","))?;
    let (mut spent, mut frames) = (Duration::ZERO, 0u32);
    let mut paths: Vec<_> = std::fs::read_dir(&coded)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "wav"));
    paths.sort();
    for path in &paths {
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let Some((clip, condition)) = name.split_once('.') else {
            continue;
        };
        let (reference, decoded) = (
            read_all(&references.join(format!("{clip}.wav")), 16_000)?,
            read_all(path, 16_000)?,
        );
        // The delay was taken off, so there is nothing to skip.
        let mut estimator = Estimator::with_delay(0);
        let pieces = reference.chunks_exact(PIECE).zip(decoded.chunks_exact(PIECE));
        for (piece, (reference, decoded)) in pieces.enumerate() {
            let begin = Instant::now();
            for (a, b) in reference.chunks(320).zip(decoded.chunks(320)) {
                estimator.push(a, b);
                frames += 1;
            }
            spent += begin.elapsed();
            if let (Some(features), Some(mos)) = (estimator.features(), estimator.estimate()) {
                let values = features.values().map(|value| value.to_string()).join(",");
                writeln!(csv, "{clip},{condition},{piece},{},{values}", mos.value())?;
            }
        }
    }
    let micros = spent.as_secs_f64() * 1e6 / f64::from(frames.max(1));
    println!(
        "{} files, {frames} frames, {micros:.1} µs for a frame of 20 ms",
        paths.len()
    );
    Ok(())
}
