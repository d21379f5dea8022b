//! The content detector on made sounds, and on real ones where the data is at hand.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use auralink_quality::{Content, ContentDetector};

const RATE: f32 = 16_000.0;

fn noise(samples: usize, level: f32) -> Vec<f32> {
    let mut state = 3u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        level * ((state >> 8) as f32 / (1 << 23) as f32 - 1.0)
    };
    (0..samples).map(|_| next()).collect()
}

/// Chords of held notes.
fn chords(samples: usize) -> Vec<f32> {
    let chord = [
        [220.0, 277.2, 329.6],
        [246.9, 311.1, 370.0],
        [196.0, 246.9, 293.7],
    ];
    let note = |n: usize, hz: f32| {
        (1..6)
            .map(|k| (std::f32::consts::TAU * hz * k as f32 * n as f32 / RATE).sin() / k as f32)
            .sum::<f32>()
    };
    (0..samples)
        .map(|n| chord[n / 12_000 % 3].iter().map(|hz| 0.05 * note(n, *hz)).sum())
        .collect()
}

fn heard(pcm: &[f32]) -> Content {
    let mut detector = ContentDetector::new();
    for frame in pcm.chunks(320) {
        detector.push(frame);
    }
    detector.content()
}

#[test]
fn silence_and_too_little_sound_are_unknown_and_may_go_neural() {
    assert_eq!(heard(&[0.0; 160_000]), Content::Unknown);
    assert_eq!(heard(&noise(10_000, 0.1)), Content::Unknown);
    assert!(Content::Unknown.suits_speech_codec());
}

#[test]
fn held_chords_and_noise_are_not_for_a_speech_codec() {
    assert_eq!(heard(&chords(96_000)), Content::Music);
    assert_eq!(heard(&noise(96_000, 0.1)), Content::Noise);
}

#[test]
fn a_pause_changes_nothing() {
    let mut detector = ContentDetector::new();
    detector.push(&chords(96_000));
    assert_eq!(detector.push(&[0.0; 320_000]), Content::Music);
    assert_eq!(detector.push(&noise(320_000, 1e-4)), Content::Music);
}

#[test]
fn chunk_sizes_do_not_change_the_judgement_and_broken_samples_do_no_harm() {
    let pcm = [noise(50_000, 0.1), chords(50_000)].concat();
    let whole = ContentDetector::new().push(&pcm);
    for size in [1, 37, 960] {
        let mut detector = ContentDetector::new();
        for chunk in pcm.chunks(size) {
            detector.push(chunk);
        }
        assert_eq!(detector.content(), whole);
    }
    let mut detector = ContentDetector::new();
    detector.push(&[f32::NAN; 16_000]);
    detector.push(&[f32::INFINITY; 16_000]);
    assert_eq!(detector.push(&chords(96_000)), Content::Music);
}

#[test]
fn test_speech_stays_with_the_speech_codec() {
    let root = std::env::var_os("AURALINK_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")),
        PathBuf::from,
    );
    let folder = root.join("speech/test");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        eprintln!("SKIPPED: no speech in {}", folder.display());
        return;
    };
    let (mut clips, mut sent) = (0, Vec::new());
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.extension().is_none_or(|ending| ending != "flac") {
            continue;
        }
        let mut reader = claxon::FlacReader::open(&path).unwrap();
        let info = reader.streaminfo();
        if info.sample_rate != 16_000 {
            continue;
        }
        let scale = 2f32.powi(1 - info.bits_per_sample as i32);
        let pcm: Vec<f32> = reader
            .samples()
            .map(|sample| sample.unwrap() as f32 * scale)
            .collect();
        clips += 1;
        if !heard(&pcm).suits_speech_codec() {
            sent.push(path);
        }
    }
    println!(
        "{} of {clips} clips of speech were sent to Opus: {sent:?}",
        sent.len()
    );
    assert!(sent.len() <= 1, "{sent:?}");
}
