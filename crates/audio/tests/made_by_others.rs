//! Files as ffmpeg and sox write them, read like ffmpeg reads them. Without these programs the tests are skipped, and
//! say so; `wav` holds what needs no program.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use auralink_audio::{Reader, read_all};

const RATE: u32 = 16_000;

/// Whether a program is here; says so if not.
fn has(program: &str) -> bool {
    let there = Command::new(program)
        .arg(if program == "sox" { "--version" } else { "-version" })
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !there {
        eprintln!("SKIPPED: no {program}");
    }
    there
}

fn run(program: &str, arguments: &[&str], folder: &Path) -> bool {
    let mut command = Command::new(program);
    if program == "ffmpeg" {
        command.args(["-v", "error", "-nostdin", "-y"]);
    }
    command.args(arguments).current_dir(folder);
    command.status().is_ok_and(|status| status.success())
}

/// Three seconds of a tone that glides and swells, as `original.wav`: 44.1 kHz, stereo, the right side half as loud.
fn original(folder: &Path) {
    let glide = "aevalsrc=0.4*sin(2*PI*(300+100*t)*t)*(0.6+0.4*sin(7*t))|0.2*sin(2*PI*(300+100*t)*t)*(0.6+0.4*sin(7*t)):d=3:s=44100";
    assert!(run(
        "ffmpeg",
        &["-f", "lavfi", "-i", glide, "-c:a", "pcm_s24le", "original.wav"],
        folder
    ));
}

/// What ffmpeg makes of a file: its channels averaged, at its own rate.
fn by_ffmpeg(file: &Path, channels: usize) -> Vec<f32> {
    let mut command = Command::new("ffmpeg");
    command
        .args(["-v", "error", "-nostdin", "-i"])
        .arg(file)
        .args(["-f", "f32le", "-"]);
    averaged(command, channels)
}

/// The same by sox.
fn by_sox(file: &Path, channels: usize) -> Vec<f32> {
    let mut command = Command::new("sox");
    command
        .arg(file)
        .args(["-t", "raw", "-e", "floating-point", "-b", "32", "-L", "-"]);
    averaged(command, channels)
}

fn averaged(mut command: Command, channels: usize) -> Vec<f32> {
    let out = command.output().unwrap();
    let samples: Vec<f32> = out
        .stdout
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect();
    samples
        .chunks_exact(channels)
        .map(|frame| frame.iter().sum::<f32>() / channels as f32)
        .collect()
}

/// How much is left of `theirs` when `ours` is taken off, dB; and the difference of their lengths.
fn compare(ours: &[f32], theirs: &[f32]) -> (f32, usize) {
    let power = theirs.iter().map(|x| x * x).sum::<f32>();
    let rest = ours
        .iter()
        .zip(theirs)
        .map(|(a, b)| (a - b) * (a - b))
        .sum::<f32>();
    (
        10.0 * (rest / power).max(1e-12).log10(),
        ours.len().abs_diff(theirs.len()),
    )
}

/// Reads a file at its own rate and compares with ffmpeg.
fn check(file: &Path, rate: u32, channels: usize, error_db: f32, length: usize) {
    check_against(&by_ffmpeg(file, channels), file, rate, error_db, length);
}

fn check_against(theirs: &[f32], file: &Path, rate: u32, error_db: f32, length: usize) {
    let ours = read_all(file, rate).unwrap_or_else(|error| panic!("{error}"));
    let (error, longer) = compare(&ours, theirs);
    assert!(
        error < error_db && longer <= length,
        "{}: {error} dB off, {} samples against {}",
        file.display(),
        ours.len(),
        theirs.len()
    );
}

#[test]
fn every_wav_of_ffmpeg_is_what_ffmpeg_reads() {
    if !has("ffmpeg") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    original(folder.path());
    let codings = [
        ("pcm_u8", -30.0),
        ("pcm_s16le", -80.0),
        ("pcm_s24le", -100.0),
        ("pcm_s32le", -100.0),
        ("pcm_s64le", -100.0),
        ("pcm_f32le", -100.0),
        ("pcm_f64le", -100.0),
        ("pcm_alaw", -100.0),
        ("pcm_mulaw", -100.0),
        ("adpcm_ms", -100.0),
        // ffmpeg rounds its steps otherwise than the standard.
        ("adpcm_ima_wav", -40.0),
        ("mp3", -60.0),
    ];
    for (coding, error) in codings {
        for (channels, rate, options) in [
            (1, "8000", &[][..]),
            (2, "44100", &["-rf64", "always"]),
            (
                2,
                "48000",
                &[
                    "-metadata",
                    "title=odd",
                    "-write_bext",
                    "1",
                    "-metadata",
                    "description=x",
                ],
            ),
        ] {
            let path = folder.path().join(format!("{coding}-{rate}.wav"));
            let channels_text = channels.to_string();
            let shape = ["-c:a", coding, "-ac", &channels_text, "-ar", rate];
            let arguments = [
                &["-i", "original.wav"],
                &shape[..],
                options,
                &[path.to_str().unwrap()],
            ]
            .concat();
            assert!(run("ffmpeg", &arguments, folder.path()), "{coding}");
            let longer = if coding == "mp3" { 2_400 } else { 0 };
            check(&path, rate.parse().unwrap(), channels, error, longer);
        }
    }
}

#[test]
fn wav_out_of_a_pipe_is_read() {
    if !has("ffmpeg") || !has("sox") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    original(folder.path());
    for command in [
        "ffmpeg -v error -nostdin -i original.wav -f wav - > piped.wav",
        "sox original.wav -t wav - 2>/dev/null > piped.wav",
        "cat original.wav | sox -t wav - -b 24 -e signed -t wavpcm - 2>/dev/null > piped.wav",
    ] {
        assert!(run("sh", &["-c", command], folder.path()));
        check(&folder.path().join("piped.wav"), 44_100, 2, -80.0, 0);
    }
}

#[test]
fn every_wav_of_sox_is_what_sox_reads() {
    if !has("ffmpeg") || !has("sox") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    original(folder.path());
    for (name, options) in [
        ("8", &["-b", "8", "-e", "unsigned-integer"][..]),
        ("24", &["-b", "24"]),
        ("32", &["-b", "32", "-e", "signed-integer"]),
        ("f32", &["-b", "32", "-e", "floating-point"]),
        ("f64", &["-b", "64", "-e", "floating-point"]),
        ("a", &["-e", "a-law"]),
        ("u", &["-e", "mu-law"]),
        ("ima", &["-e", "ima-adpcm"]),
        ("ms", &["-e", "ms-adpcm"]),
        ("gsm", &["-e", "gsm-full-rate", "-r", "8000", "-c", "1"]),
        ("big", &["-B"]),
        ("comment", &["--comment", "odd"]),
    ] {
        let file = format!("{name}.WAV");
        let mut arguments = vec!["original.wav"];
        arguments.extend_from_slice(options);
        arguments.push(&file);
        assert!(run("sox", &arguments, folder.path()), "{name}");
        let file = folder.path().join(file);
        // sox rounds the predictions of ADPCM otherwise than the standards.
        let error = if ["ima", "ms"].contains(&name) {
            -50.0
        } else {
            -80.0
        };
        let (channels, rate) = if name == "gsm" { (1, 8_000) } else { (2, 44_100) };
        check_against(&by_sox(&file, channels), &file, rate, error, 0);
    }
}

#[test]
fn flac_ogg_and_mp3_are_read_whatever_they_are_called() {
    if !has("ffmpeg") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    original(folder.path());
    for (coding, form, rate, error, longer) in [
        ("flac", "flac", "44100", -100.0, 0),
        ("flac", "flac", "96000", -100.0, 0),
        ("libvorbis", "ogg", "44100", -60.0, 0),
        ("libopus", "ogg", "48000", -40.0, 0),
        ("libopus", "opus", "16000", -40.0, 0),
        ("libmp3lame", "mp3", "44100", -60.0, 1_200),
        ("libmp3lame", "mp3", "16000", -60.0, 1_200),
        ("mp2", "mp2", "48000", -60.0, 1_200),
    ] {
        for channels in [1, 2] {
            let path = folder.path().join(format!("{coding}-{rate}-{channels}.wav"));
            let channels_text = channels.to_string();
            let options = [
                "-ac",
                &channels_text,
                "-ar",
                rate,
                "-f",
                form,
                path.to_str().unwrap(),
            ];
            let arguments = [&["-i", "original.wav", "-c:a", coding], &options[..]].concat();
            if !run("ffmpeg", &arguments, folder.path()) {
                eprintln!("SKIPPED: this ffmpeg has no {coding}");
                continue;
            }
            let own = if coding == "libopus" { "48000" } else { rate };
            check(&path, own.parse().unwrap(), channels, error, longer);
        }
    }
}

#[test]
fn a_surround_voice_keeps_its_level_in_every_container() {
    if !has("ffmpeg") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    original(folder.path());
    for (layout, filter) in [
        ("5.1", "pan=5.1|FC=c0"),
        ("7.1", "pan=7.1|FC=c0"),
        ("5.1(side)", "pan=5.1(side)|FC=c0"),
    ] {
        for (coding, name) in [
            ("pcm_s16le", "x.wav"),
            ("pcm_f32le", "f.wav"),
            ("flac", "x.flac"),
            ("libvorbis", "x.ogg"),
        ] {
            let arguments = ["-i", "original.wav", "-af", filter, "-c:a", coding, name];
            assert!(run("ffmpeg", &arguments, folder.path()), "{layout} {coding}");
            let heard = read_all(&folder.path().join(name), 44_100).unwrap();
            let said = by_ffmpeg(&folder.path().join("original.wav"), 2);
            // The left side is a third louder than the average of both.
            let level = |pcm: &[f32]| (pcm.iter().map(|x| x * x).sum::<f32>() / pcm.len() as f32).sqrt();
            let ratio = level(&heard) / (level(&said) * 4.0 / 3.0);
            assert!((0.97..1.03).contains(&ratio), "{layout} {name}: {ratio}");
        }
    }
}

#[test]
fn other_files_are_named_and_the_remedy_works() {
    if !has("ffmpeg") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    original(folder.path());
    for (file, coding, what) in [
        ("x.m4a", "aac", "MP4"),
        ("x.aac", "aac", "AAC"),
        ("x.aiff", "pcm_s16be", "AIFF"),
        ("x.caf", "pcm_s16be", "CAF"),
        ("x.au", "pcm_s16be", "AU"),
        ("x.mka", "pcm_s16le", "Matroska"),
        ("x.w64", "pcm_s16le", "Wave64"),
        ("x.wma", "wmav2", "Windows Media"),
        ("x.oga", "flac", "FLAC in Ogg"),
    ] {
        assert!(
            run(
                "ffmpeg",
                &["-i", "original.wav", "-c:a", coding, file],
                folder.path()
            ),
            "{file}"
        );
        let named = folder.path().join(format!("{file}.wav"));
        std::fs::rename(folder.path().join(file), &named).unwrap();
        let error = Reader::open(&named, RATE).err().unwrap().to_string();
        assert!(
            error.contains(what) && error.contains("ffmpeg -i FILE out.wav"),
            "{error}"
        );
        assert!(run(
            "ffmpeg",
            &["-i", named.to_str().unwrap(), "out.wav"],
            folder.path()
        ));
        assert!(read_all(&folder.path().join("out.wav"), RATE).unwrap().len() > 40_000);
    }
}

#[test]
fn cut_or_damaged_files_of_every_kind_are_read_or_refused() {
    if !has("ffmpeg") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    original(folder.path());
    for (coding, name) in [
        ("flac", "x.flac"),
        ("libvorbis", "x.ogg"),
        ("libopus", "x.opus"),
        ("libmp3lame", "x.mp3"),
    ] {
        let arguments = ["-i", "original.wav", "-c:a", coding, name];
        if !run("ffmpeg", &arguments, folder.path()) {
            eprintln!("SKIPPED: this ffmpeg has no {coding}");
            continue;
        }
        let whole = std::fs::read(folder.path().join(name)).unwrap();
        let lengths = (0..64).chain((64..whole.len()).step_by(whole.len() / 40));
        let heard = |bytes: Vec<u8>| {
            let mut out = vec![0.0; 2 * RATE as usize];
            let mut reader = Reader::new(name, std::io::Cursor::new(bytes), RATE).ok()?;
            reader.read(&mut out).ok()
        };
        let most = lengths.filter_map(|length| heard(whole[..length].to_vec())).max();
        assert!(
            most.is_some_and(|samples| samples > 4_000),
            "{name}: a part is read: {most:?}"
        );
        let mut state = 7u32;
        for _ in 0..150 {
            let mut bytes = whole.clone();
            for _ in 0..3 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let place = (state >> 8) as usize % bytes.len();
                bytes[place] ^= 1 << (state % 8);
            }
            let _ = heard(bytes);
        }
    }
}

#[test]
fn what_cannot_be_opened_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |path: PathBuf| Reader::open(&path, RATE).err().unwrap().to_string();
    assert!(refused(folder.path().to_owned()).contains("a directory"));
    assert!(refused(folder.path().join("nowhere.wav")).contains("nowhere.wav: cannot be read: No such file"));
    let empty = folder.path().join("empty.wav");
    std::fs::write(&empty, []).unwrap();
    assert!(refused(empty).contains("empty.wav: empty"));
}
