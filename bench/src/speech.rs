//! What is said in the calls: a file of the user's, recordings from the shared data, or a made-up voice.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use auralink_audio::{Reader, WavWriter, read_all};
use auralink_client::{SAMPLE_RATE, made_up_voice};

/// Pause between two utterances, in samples.
const PAUSE: usize = SAMPLE_RATE as usize / 4;

/// Utterances are brought to this level, so that no clip is drowned by its neighbour: -26 dBFS, as ITU-T P.56 has it.
const LEVEL: f32 = 0.05;

/// Highest sample that the level may lead to.
const PEAK: f32 = 0.9;

/// What both people say.
pub struct Speech {
    /// One file each, 48 kHz mono.
    pub wavs: [PathBuf; 2],
    /// Where it came from.
    pub about: String,
}

/// Prepares `seconds` of speech for each of two people, as files in `directory`.
pub fn prepare(given: Option<&Path>, seconds: f64, directory: &Path) -> Result<Speech> {
    let samples = (seconds * f64::from(SAMPLE_RATE)) as usize;
    let wavs = ["anna", "bert"].map(|name| directory.join(format!("said-by-{name}.wav")));
    let (voices, about) = if let Some(path) = given {
        let pcm = beginning(path, samples)?;
        // The second person says the same from the middle on, so that the two are not in step.
        let mut later = pcm.clone();
        later.rotate_left(pcm.len() / 2);
        ([pcm, later], path.display().to_string())
    } else {
        match recordings() {
            Some(directory) => {
                let (voices, clips) = from_clips(&directory, samples)?;
                (
                    voices,
                    format!("{clips} lossless utterances of the shared test speech"),
                )
            }
            None => {
                eprintln!(
                    "no speech at hand (no --audio, no $AURALINK_DATA): a made-up voice is used, so the quality figures say little"
                );
                let pcm = made_up_voice();
                let mut later = pcm.clone();
                later.rotate_left(pcm.len() / 2);
                ([pcm, later], "a made-up voice (no speech was at hand)".to_owned())
            }
        }
    };
    for (pcm, path) in voices.iter().zip(&wavs) {
        let said: Vec<f32> = pcm.iter().copied().cycle().take(samples).collect();
        WavWriter::write_all(path, SAMPLE_RATE, &said)?;
    }
    Ok(Speech { wavs, about })
}

/// As much of a file as a run needs: the second person says what comes as long after.
fn beginning(path: &Path, samples: usize) -> Result<Vec<f32>> {
    let mut pcm = vec![0.0; 2 * samples];
    let count = Reader::open(path, SAMPLE_RATE)?.read(&mut pcm)?;
    pcm.truncate(count);
    Ok(pcm)
}

/// Directory with the lossless test speech, if there is one.
fn recordings() -> Option<PathBuf> {
    let data = std::env::var_os("AURALINK_DATA").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(|root| root.join("../shared/data"));
    let found = data
        .into_iter()
        .chain(beside)
        .map(|data| data.join("speech/test"));
    found.into_iter().find(|directory| directory.is_dir())
}

/// Clips in turn to one and the other voice, until both have enough; and how many were taken.
fn from_clips(directory: &Path, samples: usize) -> Result<([Vec<f32>; 2], usize)> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "flac"));
    // Spread over speakers and collections: neighbours in the alphabet are often of the same one.
    paths.sort();
    let stride = 11;
    let order = (0..stride).flat_map(|first| (first..paths.len()).step_by(stride));
    let mut voices = [Vec::with_capacity(samples), Vec::with_capacity(samples)];
    let mut clips = 0;
    for index in order {
        let turn = usize::from(voices[0].len() > voices[1].len());
        if voices[turn].len() >= samples {
            break;
        }
        voices[turn].extend(levelled(read_all(&paths[index], SAMPLE_RATE)?));
        voices[turn].extend(std::iter::repeat_n(0.0, PAUSE));
        clips += 1;
    }
    if voices.iter().any(Vec::is_empty) {
        bail!("{} holds no two FLAC files", directory.display());
    }
    Ok((voices, clips))
}

fn levelled(mut pcm: Vec<f32>) -> Vec<f32> {
    let rms = (pcm.iter().map(|x| x * x).sum::<f32>() / pcm.len().max(1) as f32).sqrt();
    let peak = pcm.iter().fold(0.0f32, |a, b| a.max(b.abs()));
    if rms > 0.0 && peak > 0.0 {
        let gain = (LEVEL / rms).min(PEAK / peak);
        pcm.iter_mut().for_each(|sample| *sample *= gain);
    }
    pcm
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_users_is_repeated_until_it_lasts() {
        let directory = tempfile::tempdir().unwrap();
        let given = directory.path().join("given.wav");
        let tone: Vec<f32> = (0..48_000).map(|n| (n as f32 * 0.1).sin() * 0.3).collect();
        WavWriter::write_all(&given, SAMPLE_RATE, &tone).unwrap();
        let speech = prepare(Some(&given), 2.5, directory.path()).unwrap();
        for wav in &speech.wavs {
            assert_eq!(read_all(wav, SAMPLE_RATE).unwrap().len(), 120_000);
        }
        assert!(speech.about.contains("given.wav"));
    }

    #[test]
    fn loud_and_quiet_clips_come_out_alike_and_never_clip() {
        let tone = |gain: f32| {
            (0..4_800)
                .map(|n| gain * (n as f32 * 0.1).sin())
                .collect::<Vec<_>>()
        };
        let rms = |pcm: &[f32]| (pcm.iter().map(|x| x * x).sum::<f32>() / pcm.len() as f32).sqrt();
        for gain in [0.001, 0.1, 1.0] {
            assert!((rms(&levelled(tone(gain))) - LEVEL).abs() < 1e-3);
        }
        let mut click = vec![0.0; 48_000];
        click[100] = 1.0;
        assert!(levelled(click).iter().all(|x| x.abs() <= PEAK + 1e-6));
        assert!(levelled(vec![0.0; 10]).iter().all(|x| *x == 0.0));
    }
}
