//! Prints what the content detector measures in each WAV of a folder, for `fit/content.py`:
//! `content_features <folder>` writes `figures.csv` into it: file, judgement so far, figures; a row each 0.26 s.

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use auralink_quality::ContentDetector;

/// Samples between two rows: as many as between two judgements.
const STEP: usize = 16 * 256;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from);
    let folder = folder.ok_or("usage: content_features <folder of 16 kHz WAV>")?;
    let mut csv = BufWriter::new(std::fs::File::create(folder.join("figures.csv"))?);
    let (mut spent, mut frames) = (Duration::ZERO, 0.0);
    let mut paths: Vec<_> = std::fs::read_dir(&folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "wav"));
    paths.sort();
    for path in &paths {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let pcm = auralink_audio::read_all(path, 16_000)?;
        let mut detector = ContentDetector::new();
        // The first window is twice as long as what follows.
        let first = STEP + 256;
        let steps =
            std::iter::once(&pcm[..first.min(pcm.len())]).chain(pcm[first.min(pcm.len())..].chunks(STEP));
        for step in steps {
            let begin = Instant::now();
            let content = detector.push(step);
            spent += begin.elapsed();
            frames += step.len() as f64 / 320.0;
            if let Some(figures) = detector.figures() {
                let values = figures.map(|value| format!("{value:.5}")).join(",");
                writeln!(csv, "{name},{},{values}", content.as_str())?;
            }
        }
    }
    println!(
        "{} files, {:.1} µs for a frame of 20 ms",
        paths.len(),
        spent.as_secs_f64() * 1e6 / frames.max(1.0)
    );
    Ok(())
}
