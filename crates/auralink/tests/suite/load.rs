//! `auralink load` against a server as it is run.

use std::process::{Command, Output};

use serde_json::Value;

use crate::call::{BINARY, Process};

fn load(address: &str, arguments: &[&str]) -> Output {
    let url = format!("ws://{address}");
    let mut command = Command::new(BINARY);
    command.args(["load", "--url", &url]).args(arguments);
    // Where coded pictures are kept.
    command.env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"));
    command.output().unwrap()
}

/// What a load found.
fn found(address: &str, arguments: &[&str]) -> Value {
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("load.json");
    let mut all = arguments.to_vec();
    all.extend([
        "--joins-per-second",
        "50",
        "--duration",
        "4",
        "--json",
        json.to_str().unwrap(),
    ]);
    let output = load(address, &all);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap()
}

fn flow<'a>(report: &'a Value, media: &str) -> &'a Value {
    let flows = report["found"]["flows"].as_array().unwrap();
    flows.iter().find(|flow| flow["media"] == media).unwrap()
}

#[test]
fn everybody_in_every_room_hears_everybody_who_talks_and_each_packets_way_is_timed() {
    let server = Process::serve("memory");
    let report = found(
        &server.address,
        &[
            "--rooms",
            "2",
            "--publishers",
            "2",
            "--subscribers",
            "3",
            "--media",
            "audio,data",
        ],
    );
    assert_eq!(report["joins"]["connected"], 10);
    let audio = flow(&report, "audio");
    // Two rooms, in each two speakers with four listeners.
    assert_eq!(audio["streams"], 16);
    let (sent, received) = (
        audio["sent"].as_f64().unwrap(),
        audio["received"].as_f64().unwrap(),
    );
    assert!((received / sent - 4.0).abs() < 0.2, "{audio}");
    assert!(audio["timed"].as_f64().unwrap() > 0.8 * received, "{audio}");
    assert!(audio["way_ms_p50"].as_f64().unwrap() < 1000.0, "{audio}");
    let data = flow(&report, "data");
    assert!(
        data["received"].as_f64().unwrap() > 3.0 * data["sent"].as_f64().unwrap(),
        "{data}"
    );
}

#[test]
fn pictures_come_in_layers_and_each_viewer_is_shown_one() {
    let encoders = Command::new("ffmpeg").arg("-encoders").output();
    if !encoders.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("libvpx")) {
        eprintln!("SKIPPED: no ffmpeg with libvpx");
        return;
    }
    let server = Process::serve("memory");
    let people = ["--publishers", "1", "--subscribers", "2"];
    let report = found(&server.address, &[&["--media", "video"][..], &people].concat());
    assert_eq!(report["joins"]["connected"], 3);
    let video = flow(&report, "video");
    assert_eq!(video["streams"], 2);
    let count = |what: &str| video[what].as_u64().unwrap();
    // Four seconds of 30 pictures, each a packet or more; a busy machine may be late.
    assert!(count("sent") > 3 * 4 * 30 / 2, "{video}");
    assert!(count("received") > 2 * 4 * 30 / 2, "{video}");
    assert!(count("timed") > count("received") / 2, "{video}");
    assert!(20 * count("lost") < count("received"), "{video}");
    assert!(
        report["found"]["flows"].as_array().unwrap().len() == 1,
        "{report}"
    );
}

#[test]
fn several_loads_share_a_room_by_its_name() {
    let server = Process::serve("memory");
    let shared = ["--room-name", "shared", "--publishers"];
    let report = std::thread::scope(|threads| {
        threads.spawn(|| {
            let talkers = [&shared[..], &["2", "--subscribers", "0", "--duration", "12"]].concat();
            let output = load(&server.address, &talkers);
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
        });
        let listeners = [&shared[..], &["0", "--subscribers", "3", "--name", "others"]].concat();
        found(&server.address, &listeners)
    });
    assert_eq!(report["joins"]["connected"], 3);
    let audio = flow(&report, "audio");
    assert_eq!((&audio["streams"], &audio["sent"]), (&6.into(), &0.into()));
    assert!(audio["received"].as_u64().unwrap() > 6 * 4 * 50 / 2, "{audio}");
}

#[test]
fn people_who_understand_aic_send_what_the_server_asks_for() {
    let server = Process::serve("memory");
    let packets = |aic: &str| {
        let report = found(&server.address, &["--aic", aic, "--subscribers", "2"]);
        flow(&report, "audio")["sent"].as_u64().unwrap()
    };
    let (off, capable) = (packets("off"), packets("capable"));
    assert!(2 * capable < off, "{capable} packets of {off}");
}

#[test]
fn people_come_and_go_for_as_long_as_it_takes() {
    let server = Process::serve("memory");
    let report = found(
        &server.address,
        &["--leaves-per-second", "5", "--subscribers", "4"],
    );
    let begun = report["joins"]["begun"].as_u64().unwrap();
    assert!(
        (23..=27).contains(&begun),
        "six and five a second for four seconds, got {begun}"
    );
    assert_eq!(report["joins"]["failed"], 0, "{report}");
}

#[test]
fn who_asks_for_what_cannot_be_is_told_by_which_option() {
    for (arguments, said) in [
        (
            &["--talking", "9"][..],
            "--talking: must be 1 to --publishers (2), got 9",
        ),
        (
            &["--video-file", "/nowhere.mp4"],
            "--video-file /nowhere.mp4: there is no such file",
        ),
        (&["--audio-file", "/nowhere.wav"], "--audio-file /nowhere.wav"),
        (&["--server-pid", "4294967295"], "--server-pid 4294967295"),
        (&["--duration", "-1"], "--duration"),
        (&["--url", "ftp://host"], "ftp"),
    ] {
        let mut command = Command::new(BINARY);
        let output = command.arg("load").args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && text.contains(said),
            "{arguments:?}: {text}"
        );
    }
    let server = Process::serve("memory");
    let output = load(&server.address, &["--secret", "another"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("nobody could join") && text.contains("401"),
        "{text}"
    );
}
