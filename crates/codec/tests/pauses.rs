//! Pauses in real speech: what is saved, and that nobody hears where they begin and end.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use auralink_codec::{Decoder, Encoder, FRAME_SAMPLES, Frame, Model, NOISE_CODES, OUTPUT_LAG_SAMPLES};

const SECOND: usize = 16_000;

/// Speakers that nothing was trained on; `None`, loudly, where the data is not there.
fn clips(most: usize) -> Option<Vec<Vec<f32>>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/speech/test");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        eprintln!("SKIPPED: no speech at {}", folder.display());
        return None;
    };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "flac"));
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let mut flac = claxon::FlacReader::open(path).unwrap();
        let full = 2f32.powi(flac.streaminfo().bits_per_sample as i32 - 1);
        (flac.streaminfo().sample_rate == 16_000).then(|| {
            flac.samples()
                .map(|s| s.unwrap() as f32 / full)
                .collect::<Vec<f32>>()
        })
    };
    Some(paths.iter().filter_map(read).take(most).collect())
}

fn noise(seed: u32, dbfs: f32) -> impl FnMut() -> f32 {
    let (mut state, mut last) = (seed, 0.0);
    let scale = 3.0f32.sqrt() * 10f32.powf(dbfs / 20.0);
    move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // A little coloured, as rooms are.
        last = 0.6 * last + 0.8 * (state as f32 / u32::MAX as f32 * 2.0 - 1.0);
        scale * last
    }
}

/// Half a dialogue: others speak for as long as this one does. A room is always there.
fn dialogue(clips: &[Vec<f32>], dbfs: f32) -> (Vec<f32>, Vec<bool>) {
    let (mut sound, mut spoken) = (vec![0.0; 2 * SECOND], vec![false; 2 * SECOND]);
    for clip in clips {
        let len = clip.len().min(4 * SECOND) / FRAME_SAMPLES * FRAME_SAMPLES;
        sound.extend_from_slice(&clip[..len]);
        spoken.extend(std::iter::repeat_n(true, len));
        sound.extend(std::iter::repeat_n(0.0, len));
        spoken.extend(std::iter::repeat_n(false, len));
    }
    let mut room = noise(7, dbfs);
    sound.iter_mut().for_each(|s| *s += room());
    (sound, spoken)
}

/// The dialogue sent with pauses and received; frames, and the sound heard in time with the input.
fn call(sound: &[f32]) -> (Vec<Frame>, Vec<f32>) {
    let model = Model::builtin().unwrap();
    let (mut encoder, mut decoder) = (Encoder::new(model.clone()), Decoder::new(model));
    encoder.set_dtx(true);
    let (mut codes, mut frames, mut heard) = ([0; 12], Vec::new(), Vec::new());
    for pcm in sound.chunks_exact(FRAME_SAMPLES) {
        let mut out = [0.0; FRAME_SAMPLES];
        let frame = encoder.encode(pcm, &mut codes);
        match frame {
            Frame::Speech => decoder.decode(&codes, &mut out).unwrap(),
            Frame::Noise(codes) => decoder.decode_noise(&codes, &mut out).unwrap(),
            Frame::Pause => decoder.conceal(&mut out),
        }
        assert_eq!(decoder.pausing(), frame != Frame::Speech);
        frames.push(frame);
        heard.extend(out);
    }
    heard.drain(..OUTPUT_LAG_SAMPLES);
    (frames, heard)
}

fn power(x: &[f32]) -> f32 {
    x.iter().map(|v| v * v).sum::<f32>() / x.len() as f32
}

#[test]
fn pauses_are_found_in_quiet_and_noisy_rooms_and_speech_is_kept() {
    let Some(clips) = clips(6) else { return };
    for dbfs in [-75.0, -50.0] {
        let (sound, spoken) = dialogue(&clips, dbfs);
        let (frames, _) = call(&sound);
        let loud = |at: usize| power(&sound[at * FRAME_SAMPLES..(at + 1) * FRAME_SAMPLES]) > 1e-4;
        let is_spoken = |at: usize| spoken[at * FRAME_SAMPLES];
        let share = |want: &dyn Fn(usize) -> bool, kind: &dyn Fn(Frame) -> bool| {
            let all: Vec<usize> = (200..frames.len()).filter(|&at| want(at)).collect();
            all.iter().filter(|&&at| kind(frames[at])).count() as f32 / all.len() as f32
        };
        let paused = share(&|at| !is_spoken(at), &|f| f != Frame::Speech);
        let kept = share(&|at| is_spoken(at) && loud(at), &|f| f == Frame::Speech);
        let sent = share(&|_| true, &|f| f != Frame::Pause);
        eprintln!(
            "room {dbfs} dBFS: {:.0} % of frames sent, {:.1} % of pauses found, {:.2} % of loud speech kept",
            100.0 * sent,
            100.0 * paused,
            100.0 * kept
        );
        assert!(paused > 0.8, "{dbfs}: {paused} of the pauses found");
        assert!(kept > 0.995, "{dbfs}: {kept} of the speech kept");
        let descriptions = frames.iter().filter(|f| matches!(f, Frame::Noise(_))).count();
        let pauses = frames.iter().filter(|&&f| f != Frame::Speech).count();
        assert!(
            descriptions * 10 <= pauses,
            "{descriptions} descriptions in {pauses} frames"
        );
    }
}

#[test]
fn a_pause_sounds_like_the_room_and_neither_end_clicks() {
    let Some(clips) = clips(6) else { return };
    let (sound, _) = dialogue(&clips, -55.0);
    let (frames, heard) = call(&sound);
    let (mut deep, mut off) = (0, 0.0);
    for at in 10..frames.len() - 11 {
        let here = at * FRAME_SAMPLES;
        let steady = |range: std::ops::Range<usize>| frames[range].iter().all(|&f| f != Frame::Speech);
        if steady(at - 5..at + 6) {
            let ratio = power(&heard[here..here + FRAME_SAMPLES]) / power(&sound[here..here + FRAME_SAMPLES]);
            off += 10.0 * ratio.log10();
            deep += 1;
        }
        if (frames[at] == Frame::Speech) != (frames[at - 1] == Frame::Speech) {
            // A click is a step larger than the sound around it has.
            let step = |range: std::ops::Range<usize>| {
                heard[range]
                    .windows(2)
                    .fold(0.0f32, |most, w| most.max((w[1] - w[0]).abs()))
            };
            let edge = here - OUTPUT_LAG_SAMPLES;
            let around = step(edge - 640..edge - 80).max(step(edge + 80..edge + 640));
            let across = step(edge - 80..edge + 80);
            assert!(
                across <= 2.0 * around + 1e-3,
                "frame {at}: a step of {across}, around it {around}"
            );
        }
    }
    let mean = off / deep as f32;
    assert!(
        deep > 100 && (-5.0..=1.0).contains(&mean),
        "noise is {mean} dB off in {deep} frames"
    );
}

#[test]
fn pauses_make_a_call_no_louder_than_its_input_plus_three_decibels() {
    let Some(clips) = clips(6) else { return };
    for dbfs in [-70.0, -50.0] {
        let (sound, _) = dialogue(&clips, dbfs);
        let ((frames, heard), window) = (call(&sound), SECOND / 5);
        let frames_per = window / FRAME_SAMPLES;
        let mut paused = 0;
        for (number, out) in heard.chunks_exact(window).enumerate() {
            let at = number * frames_per;
            // Until its second description a pause may still sound like the voice that died away before it.
            if number > 1
                && frames[at - 20..at + frames_per]
                    .iter()
                    .all(|&f| f != Frame::Speech)
            {
                let (out, input) = (power(out), power(&sound[number * window..][..window]));
                // What is under -67 dBFS nobody hears.
                assert!(
                    out <= 2.0 * input + 2e-7,
                    "{dbfs}, window {number}: {out} for {input}"
                );
                paused += 1;
            }
        }
        assert!(paused > 10, "{paused} windows in pauses");
        let (out, input) = (power(&heard), power(&sound));
        assert!(out <= 2.0 * input, "{dbfs}: {out} for {input} over all");
    }
}

#[test]
fn music_like_tones_and_loud_rooms_are_not_pauses() {
    let model = Model::builtin().unwrap();
    let mut hum = noise(3, -28.0);
    let tone: Vec<f32> = (0..6 * SECOND).map(|n| 0.1 * (n as f32 * 0.17).sin()).collect();
    let room: Vec<f32> = (0..6 * SECOND).map(|_| hum()).collect();
    for sound in [tone, room] {
        let mut encoder = Encoder::new(model.clone());
        encoder.set_dtx(true);
        let mut codes = [0; 6];
        for pcm in sound.chunks_exact(FRAME_SAMPLES) {
            assert_eq!(encoder.encode(pcm, &mut codes), Frame::Speech);
        }
    }
}

#[test]
fn digital_silence_is_a_pause_after_the_hangover_and_stays_silent() {
    let model = Model::builtin().unwrap();
    let (mut encoder, mut decoder) = (Encoder::new(model.clone()), Decoder::new(model));
    encoder.set_dtx(true);
    let (mut codes, mut pcm) = ([0; 12], [1.0; FRAME_SAMPLES]);
    for at in 0..60 {
        let frame = encoder.encode(&[0.0; FRAME_SAMPLES], &mut codes);
        match (at, frame) {
            (0..10, Frame::Speech) => {}
            (10 | 30 | 50, Frame::Noise(codes)) => {
                assert_eq!(codes, [0; NOISE_CODES]);
                decoder.decode_noise(&codes, &mut pcm).unwrap();
                assert!(pcm.iter().all(|s| s.abs() < 1e-9));
            }
            (_, Frame::Pause) if at > 10 && at % 20 != 10 => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_long_loss_fades_to_the_room_and_not_to_nothing() {
    let Some(clips) = clips(3) else { return };
    let (sound, _) = dialogue(&clips, -50.0);
    let model = Model::builtin().unwrap();
    let (mut encoder, mut decoder) = (Encoder::new(model.clone()), Decoder::new(model));
    let (mut codes, mut pcm) = ([0; 12], [0.0; FRAME_SAMPLES]);
    for frame in sound.chunks_exact(FRAME_SAMPLES).take(400) {
        encoder.encode(frame, &mut codes);
        decoder.decode(&codes, &mut pcm).unwrap();
    }
    let mut last = 0.0;
    for _ in 0..100 {
        decoder.conceal(&mut pcm);
        last = power(&pcm);
    }
    let room = 10.0 * last.log10();
    assert!(
        (-70.0..-47.0).contains(&room),
        "after two seconds of loss it is {room} dBFS"
    );
}

#[test]
fn noise_that_makes_no_sense_is_refused_and_changes_nothing() {
    let mut decoder = Decoder::new(Model::builtin().unwrap());
    let mut pcm = [0.0; FRAME_SAMPLES];
    for codes in [&[1, 2, 3][..], &[1, 2, 3, 4, 5], &[0, 0, 0, 1024], &[]] {
        assert!(decoder.decode_noise(codes, &mut pcm).is_err());
        assert!(!decoder.pausing());
    }
    decoder.decode_noise(&[1023; NOISE_CODES], &mut pcm).unwrap();
    assert!(decoder.pausing() && pcm.iter().all(|s| s.abs() <= 1.0));
    decoder.reset();
    assert!(!decoder.pausing());
}
