//! The clips, as 16 kHz mono WAV.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::tools;

/// The group that the main tables are about.
pub const SPEECH: &str = "speech";
/// Clips of each group in a quick run.
const QUICK: &str = "4";

/// One clip.
#[derive(Clone, Debug, Deserialize)]
pub struct Clip {
    pub name: String,
    /// [`SPEECH`], or what a speech codec is weak on.
    pub group: String,
    pub wav: PathBuf,
    pub seconds: f64,
}

impl Clip {
    /// Directory name of its group.
    pub fn place(&self) -> Option<&OsStr> {
        self.wav.parent().and_then(Path::file_name)
    }
}

/// Converts what is in `clips`, and the weak inputs of `data`, into `out`.
pub fn prepare(clips: &Path, data: Option<&Path>, out: &Path, quick: bool) -> Result<Vec<Clip>> {
    ensure!(clips.is_dir(), "--clips {} is no directory", clips.display());
    let mut arguments: Vec<&OsStr> = vec![
        OsStr::new("--clips"),
        clips.as_os_str(),
        OsStr::new("--out"),
        out.as_os_str(),
    ];
    if let Some(data) = data {
        arguments.extend([OsStr::new("--data"), data.as_os_str()]);
    }
    if quick {
        arguments.extend(["--count", QUICK].map(OsStr::new));
    }
    tools::ask("speech_clips.py", &arguments)
}

/// All WAV files of a directory as clips, as they are.
pub fn of_directory(directory: &Path) -> Result<Vec<Clip>> {
    let entries =
        std::fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let mut wavs: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    wavs.retain(|path| path.extension().is_some_and(|ending| ending == "wav"));
    wavs.sort();
    ensure!(!wavs.is_empty(), "{} holds no WAV file", directory.display());
    let clip = |wav: PathBuf| {
        let seconds = read(&wav)?.len() as f64 / f64::from(auralink_codec::SAMPLE_RATE);
        let name = wav.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Clip {
            name,
            group: SPEECH.into(),
            wav,
            seconds,
        })
    };
    wavs.into_iter().map(clip).collect()
}

/// Samples of a sound file at 16 kHz, mono.
pub fn read(wav: &Path) -> Result<Vec<f32>> {
    Ok(auralink_audio::read_all(wav, auralink_codec::SAMPLE_RATE)?)
}
