//! Sound files of the size and kinds that people have, through the program as they run it.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use auralink_audio::{WavWriter, read_all};

use crate::call::{BINARY, PATIENCE, Process, token};

/// What a long file may take, of which a third is the model and the program.
const MEMORY_KB: u64 = 100_000;

/// Stereo at 48 kHz, 16 bit, silent: a file that takes no room on the disk.
fn long(path: &Path, seconds: u64) {
    let length = seconds * 48_000 * 4;
    let mut file = File::create(path).unwrap();
    let mut header =
        b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x02\0\x80\xbb\0\0\0\xee\x02\0\x04\0\x10\0data"
            .to_vec();
    header.extend((length as u32).to_le_bytes());
    file.write_all(&header).unwrap();
    file.set_len(44 + length).unwrap();
}

fn tone(seconds: f32) -> Vec<f32> {
    let samples = (48_000.0 * seconds) as usize;
    (0..samples)
        .map(|n| 0.3 * (n as f32 * 0.03).sin() * (0.6 + 0.4 * (n as f32 * 0.0003).sin()))
        .collect()
}

fn auralink(arguments: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    command
}

/// The most memory that a process had, kB, and how it ended.
fn peak(mut child: Child) -> (u64, bool) {
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = line
            .and_then(|line| line.split_whitespace().next()?.parse().ok())
            .unwrap_or(peak)
            .max(peak);
        if let Some(ended) = child.try_wait().unwrap() {
            return (peak, ended.success());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_long_file_takes_no_more_memory_than_a_short_one() {
    let folder = tempfile::tempdir().unwrap();
    long(&folder.path().join("long.wav"), 600);
    for arguments in [
        &["codec", "encode", "--kbps", "0.5", "long.wav", "long.aic"][..],
        &["codec", "decode", "long.aic", "again.wav"],
    ] {
        let (peak, ended_well) = peak(auralink(arguments, folder.path()).spawn().unwrap());
        println!("{arguments:?}: {peak} kB");
        assert!(
            ended_well && peak > 1_000 && peak < MEMORY_KB,
            "{arguments:?}: {peak} kB"
        );
    }
    let length = fs::metadata(folder.path().join("again.wav")).unwrap().len();
    assert_eq!(length, 44 + 600 * 16_000 * 2);
}

#[test]
fn three_hours_can_be_published_at_once_and_in_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    long(&folder.path().join("long.wav"), 3 * 3_600);
    let server = Process::serve("memory");
    let url = format!("ws://{}", server.address);
    let token = token("ada");
    let arguments = [
        "join",
        "--url",
        &url,
        "--token",
        &token,
        "--publish",
        "long.wav",
        "--seconds",
        "4",
    ];
    let from = Instant::now();
    let (peak, ended_well) = peak(auralink(&arguments, folder.path()).spawn().unwrap());
    println!("join --publish: {peak} kB, {:.1} s", from.elapsed().as_secs_f64());
    assert!(ended_well && peak > 1_000 && peak < MEMORY_KB, "{peak} kB");
}

#[test]
fn nothing_overwrites_its_own_source() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    WavWriter::write_all(&path("x.wav"), 48_000, &tone(0.2)).unwrap();
    let before = fs::read(path("x.wav")).unwrap();
    fs::hard_link(path("x.wav"), path("hard.wav")).unwrap();
    std::os::unix::fs::symlink("x.wav", path("soft.wav")).unwrap();
    for target in ["x.wav", "hard.wav", "soft.wav", "./x.wav"] {
        let publish = ["join", "--token", "t", "--publish", "x.wav", "--record", target];
        for arguments in [&["codec", "encode", "x.wav", target][..], &publish] {
            let refused = auralink(arguments, folder.path()).output().unwrap();
            let error = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert!(
                !refused.status.success() && error.contains("name another"),
                "{arguments:?}: {error}"
            );
        }
    }
    let redirected = auralink(&["codec", "encode", "-", "x.wav"], folder.path())
        .stdin(File::open(path("x.wav")).unwrap())
        .status();
    assert!(!redirected.unwrap().success());
    assert_eq!(fs::read(path("x.wav")).unwrap(), before);
    let failed = auralink(&["codec", "encode", "nowhere.wav", "x.wav"], folder.path()).status();
    assert!(!failed.unwrap().success());
    assert_eq!(
        fs::read(path("x.wav")).unwrap(),
        before,
        "an encoder that fails writes nothing"
    );
}

#[test]
fn pipes_carry_sound_in_and_out() {
    let folder = tempfile::tempdir().unwrap();
    WavWriter::write_all(&folder.path().join("x.wav"), 48_000, &tone(1.0)).unwrap();
    let shell = format!("'{BINARY}' codec encode - - < x.wav | '{BINARY}' codec decode - - | cat > y.wav");
    let status = Command::new("sh")
        .args(["-c", &shell])
        .current_dir(folder.path())
        .status();
    assert!(status.unwrap().success());
    let heard = read_all(&folder.path().join("y.wav"), 16_000).unwrap();
    assert_eq!(heard.len(), 16_000);
    assert!(heard.iter().any(|sample| sample.abs() > 0.1));
    // The same through a name, as `/dev/stdout` and named pipes are.
    for arguments in [
        &["encode", "x.wav", "x.aic"][..],
        &["decode", "x.aic", "/dev/stdout"],
    ] {
        let arguments = [&["codec"], arguments].concat();
        let mut child = auralink(&arguments, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = Vec::new();
        child.stdout.take().unwrap().read_to_end(&mut out).unwrap();
        assert!(child.wait().unwrap().success());
        if arguments.contains(&"decode") {
            fs::write(folder.path().join("z.wav"), out).unwrap();
            assert_eq!(read_all(&folder.path().join("z.wav"), 16_000).unwrap(), heard);
        }
    }
}

#[test]
fn what_no_sound_has_is_refused_alike_by_codec_and_join() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes =
        b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x03\0\x01\0\x80\xbb\0\0\0\xee\x02\0\x04\0\x20\0data\0\0\0\0"
            .to_vec();
    let mut samples = tone(2.0);
    samples[70_000] = f32::NAN;
    bytes.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    fs::write(folder.path().join("nan.wav"), bytes).unwrap();
    for arguments in [
        &["codec", "encode", "nan.wav", "x.aic"][..],
        &["join", "--token", "t", "--publish", "nan.wav"],
    ] {
        let refused = auralink(arguments, folder.path()).output().unwrap();
        let error = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            !refused.status.success() && error.contains("nan.wav: sample 70000 of channel 0 is NaN"),
            "{error}"
        );
    }
    assert!(!folder.path().join("x.aic").exists());
}

/// Joins and records for some seconds, then gets that signal; the file and how it ended.
fn recorded_until(signal: &str, folder: &Path) -> (PathBuf, bool) {
    let server = Process::serve("memory");
    let url = format!("ws://{}", server.address);
    let (ada, ben) = (token("ada"), token("ben"));
    let path = folder.join(format!("until-{signal}.wav"));
    let speak = [
        "join",
        "--url",
        &url,
        "--token",
        &ada,
        "--synthetic",
        "--seconds",
        "60",
    ];
    let mut speaker = auralink(&speak, folder).spawn().unwrap();
    let record = path.to_str().unwrap();
    let listen = [
        "join",
        "--url",
        &url,
        "--token",
        &ben,
        "--record",
        record,
        "--seconds",
        "60",
    ];
    let mut listener = auralink(&listen, folder).spawn().unwrap();
    let from = Instant::now();
    // Three seconds of sound are in the file, whatever its header says.
    while fs::metadata(&path).map_or(0, |file| file.len()) < 3 * 96_000 {
        assert!(from.elapsed() < PATIENCE, "nothing is recorded");
        std::thread::sleep(Duration::from_millis(50));
    }
    let sent = Command::new("kill")
        .args([&format!("-{signal}"), &listener.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
    let ended_well = listener.wait().unwrap().success();
    speaker.kill().unwrap();
    speaker.wait().unwrap();
    (path, ended_well)
}

#[test]
fn a_recording_is_whole_after_sigterm_and_readable_after_sigkill() {
    let folder = tempfile::tempdir().unwrap();
    let (path, ended_well) = recorded_until("TERM", folder.path());
    assert!(ended_well, "as with Ctrl-C");
    let bytes = fs::read(&path).unwrap();
    assert_eq!(
        bytes[40..44],
        (bytes.len() as u32 - 44).to_le_bytes(),
        "the header is true"
    );
    let (path, ended_well) = recorded_until("KILL", folder.path());
    assert!(!ended_well);
    let heard = read_all(&path, 48_000).unwrap();
    assert!(heard.len() >= 2 * 48_000, "{} samples", heard.len());
    let coded = auralink(
        &["codec", "encode", path.to_str().unwrap(), "x.aic"],
        folder.path(),
    )
    .status();
    assert!(coded.unwrap().success(), "our own codec reads it");
}
