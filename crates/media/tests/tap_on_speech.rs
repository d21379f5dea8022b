//! The tap with the real core on real speech: what a stock and an AIC listener get, and what it costs.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use auralink_aicore::LocalCore;
use auralink_engine::{Outcome, ProbeGate, Processor as _};
use auralink_media::tap::*;
use auralink_opus::{Decoder, Encoder, EncoderConfig};
use auralink_quality::Estimator;
use auralink_types::{AicConfig, ConfigChange, Mode, Policy, Rung, TrackId};
use auralink_wire::aic::{AicPacket, is_aic};
use auralink_wire::red;

const FRAME_TICKS: u32 = 960;
const MS: Duration = Duration::from_millis(1);
/// Utterances joined to one talk.
const UTTERANCES: usize = 4;

/// 16 kHz speech, or `None`, loudly, without the data.
fn speech() -> Option<Vec<f32>> {
    let root = std::env::var_os("AURALINK_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let Ok(folder) = std::fs::read_dir(root.join("speech/test")) else {
        eprintln!("SKIPPED: no speech under {}; set AURALINK_DATA", root.display());
        return None;
    };
    let mut paths: Vec<_> = folder
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "flac"))
        .collect();
    paths.sort();
    let mut samples = Vec::new();
    for path in paths {
        let mut flac = claxon::FlacReader::open(&path).unwrap();
        if flac.streaminfo().sample_rate != 16_000 || flac.streaminfo().channels != 1 {
            continue;
        }
        let scale = 1.0 / (1i64 << (flac.streaminfo().bits_per_sample - 1)) as f32;
        samples.extend(flac.samples().map(|sample| sample.unwrap() as f32 * scale));
        if samples.len() > UTTERANCES * 16_000 * 8 {
            break;
        }
    }
    Some(samples)
}

/// What a stock LiveKit client sends: Opus 48 kbps in 20 ms packets with RED of distance 1.
fn stock_client(speech: &[f32]) -> Vec<Vec<u8>> {
    let config = EncoderConfig {
        bandwidth: None,
        ..EncoderConfig::lean(48_000, 20)
    };
    let mut encoder = Encoder::new(&config).unwrap();
    let mut before = Vec::new();
    let packets = speech.chunks_exact(320).map(|pcm| {
        let mut packet = vec![0; 1000];
        let len = encoder.encode(pcm, &mut packet).unwrap();
        packet.truncate(len);
        let block = |payload, timestamp_offset| red::Block {
            payload_type: 111,
            timestamp_offset,
            payload,
        };
        let mut payload = Vec::new();
        red::write(&[block(&before[..], 960)], &block(&packet, 0), &mut payload).unwrap();
        before = packet;
        payload
    });
    packets.collect()
}

/// Mean of the running estimates of what was heard against what it was made from.
fn mean_score(reference: &[f32], heard: &[f32]) -> f32 {
    let mut estimator = Estimator::new();
    let mut scores = Vec::new();
    for (reference, heard) in reference.chunks(320).zip(heard.chunks(320)) {
        estimator.push(reference, heard);
        scores.extend(estimator.estimate().map(|mos| mos.score().value()));
    }
    scores.iter().sum::<f32>() / scores.len() as f32
}

struct Run {
    sent: Vec<(LegId, OutPacket)>,
    events: Vec<TapEvent>,
    compute: Vec<Duration>,
    snapshot: TapSnapshot,
}

/// Plays the packets through tap and core. Time is virtual, but the core has to answer each frame before the next.
fn play(policy: Policy, legs: &[LegCaps], packets: &[Vec<u8>], kill_at: Option<usize>) -> Run {
    let mut core = LocalCore::start(1, Arc::new(|| {}));
    let faults = core.faults();
    let mut now = Instant::now();
    let mut tap = AudioTap::new(now, TrackId::from("TR_1"), PublisherCaps::default(), policy);
    for (id, caps) in legs.iter().enumerate() {
        tap.add_leg(now, LegId(id as u64), caps.clone());
    }
    let mut gate = ProbeGate::new();
    let (mut sent, mut events, mut compute) = (Vec::new(), Vec::new(), Vec::new());
    for (n, payload) in packets.iter().enumerate() {
        if kill_at == Some(n) {
            faults.kill_workers(Duration::from_secs(3600));
        }
        let packet = AudioPacket {
            kind: PayloadKind::Red,
            seq: n as u64,
            timestamp: n as u32 * FRAME_TICKS,
            marker: n == 0,
            extensions: 0,
            payload: payload.as_slice().into(),
            received: now,
        };
        tap.handle_packet(now, packet, &mut core);
        let patience = Instant::now() + Duration::from_secs(5);
        let mut answered = tap.stream().is_none();
        while !answered && Instant::now() < patience {
            let Some(outcome) = core.poll() else {
                std::thread::sleep(Duration::from_micros(50));
                continue;
            };
            answered = !matches!(outcome, Outcome::Coded { .. });
            if let Outcome::Took { compute: took, .. } = &outcome {
                compute.push(*took);
            }
            tap.handle_outcome(now + MS, &outcome, &mut core);
        }
        now += 20 * MS;
        if tap.poll_timeout().is_some_and(|due| due <= now) {
            tap.handle_timeout(now, &mut core, &mut gate);
        }
        while let Some(output) = tap.poll_output() {
            match output {
                TapOutput::Send { leg, packet } => sent.push((leg, packet)),
                TapOutput::Event(event) => events.push(event),
                TapOutput::Hint { hint, .. } => panic!("nobody can be steered here: {hint:?}"),
            }
        }
    }
    let snapshot = tap.snapshot();
    compute.sort_unstable();
    Run {
        sent,
        events,
        compute,
        snapshot,
    }
}

fn opus_at(packet: &OutPacket) -> Vec<u8> {
    match packet.kind {
        PayloadKind::Opus => packet.payload.to_vec(),
        PayloadKind::Red => red::Red::parse(&packet.payload)
            .unwrap()
            .primary()
            .payload
            .to_vec(),
    }
}

/// Decodes what a stock leg got; panics at the first hole or repetition.
fn listen(run: &Run, leg: LegId) -> Vec<f32> {
    let mut decoder = Decoder::new(16_000, 1, 0).unwrap();
    let mut heard = Vec::new();
    let mut room = vec![0.0; 1920];
    let mut last_seq = None;
    for (_, packet) in run.sent.iter().filter(|(to, _)| *to == leg) {
        assert_eq!(
            packet.timestamp as usize,
            heard.len() * 3,
            "the timeline has a seam"
        );
        assert!(last_seq.is_none_or(|seq| packet.seq == seq + 1));
        last_seq = Some(packet.seq);
        let samples = decoder.decode(&opus_at(packet), &mut room).unwrap();
        heard.extend_from_slice(&room[..samples]);
    }
    heard
}

fn policy(change: ConfigChange) -> Policy {
    let change = ConfigChange {
        enabled: Some(true),
        ..change
    };
    AicConfig::default().apply(&change).unwrap().policy()
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() - 1) * percent / 100]
}

fn report(name: &str, run: &Run) {
    println!(
        "{name}: {} frames, compute mean {:?} p50 {:?} p99 {:?}, downlink saved {:.1} %, quality {:?}, legs {:?}",
        run.compute.len(),
        run.compute.iter().sum::<Duration>() / run.compute.len() as u32,
        percentile(&run.compute, 50),
        percentile(&run.compute, 99),
        100.0 * run.snapshot.downlink.ratio().unwrap(),
        run.snapshot.quality.map(|mos| mos.value()),
        run.snapshot.legs.iter().map(|leg| leg.rung).collect::<Vec<_>>(),
    );
}

#[test]
fn a_stock_listener_hears_the_whole_talk_at_a_fraction_of_the_wire() {
    let Some(speech) = speech() else { return };
    let packets = stock_client(&speech);
    let untouched = listen(
        &play(
            AicConfig::default().policy(),
            &[LegCaps::default()],
            &packets,
            None,
        ),
        LegId(0),
    );
    for (mode, saves) in [
        (Mode::Conservative, 0.45),
        (Mode::Adaptive, 0.70),
        (Mode::Aggressive, 0.75),
    ] {
        let policy = policy(ConfigChange {
            mode: Some(mode),
            ..ConfigChange::default()
        });
        let floor = policy.floor;
        let run = play(
            policy,
            &[LegCaps {
                red: true,
                ..LegCaps::default()
            }],
            &packets,
            None,
        );
        report(mode.as_str(), &run);
        let heard = listen(&run, LegId(0));
        assert!(heard.len() + 120 * 16 >= packets.len() * 320);
        let score = mean_score(&untouched, &heard);
        println!(
            "{mode}: score against the untouched stream {score:.3}, floor {:.2}",
            floor.value()
        );
        println!("{mode}: {:?}", run.events);
        assert!(score > floor.value() - 0.08, "{mode}: {score}");
        let saved = run.snapshot.downlink.ratio().unwrap();
        assert!(saved > saves, "{mode} saved {saved}");
        assert!(
            matches!(run.snapshot.legs[0].rung, Rung::Lean(_)),
            "{:?}",
            run.events
        );
    }
}

#[test]
fn an_aic_listener_gets_codes_while_a_stock_listener_of_the_same_track_gets_opus() {
    let Some(speech) = speech() else { return };
    let packets = stock_client(&speech);
    let models = LocalCore::start(1, Arc::new(|| {})).models();
    assert!(!models.is_empty(), "no built-in model");
    let policy = policy(ConfigChange {
        min_quality_score: Some(0.2),
        ..ConfigChange::default()
    });
    let legs = [
        LegCaps {
            models: models.clone(),
            ..LegCaps::default()
        },
        LegCaps::default(),
    ];
    let run = play(policy.clone(), &legs[..1], &packets, None);
    report("neural alone", &run);
    let codes: Vec<_> = run
        .sent
        .iter()
        .filter(|(_, packet)| is_aic(&packet.payload))
        .collect();
    assert!(
        codes.len() * 60 * 16 > speech.len() / 2,
        "only {} neural packets, {:?}",
        codes.len(),
        run.events
    );
    for (_, packet) in codes {
        assert_eq!(AicPacket::parse(&packet.payload).unwrap().model, models[0]);
    }
    let run = play(policy, &legs, &packets, None);
    report("neural and lean", &run);
    let heard = listen(&run, LegId(1));
    assert!(heard.len() + 120 * 16 >= packets.len() * 320);
}

#[test]
fn killing_the_core_in_mid_talk_costs_the_listener_nothing() {
    let Some(speech) = speech() else { return };
    let packets = stock_client(&speech);
    let kill_at = packets.len() / 2 + 1;
    let run = play(
        policy(ConfigChange::default()),
        &[LegCaps::default()],
        &packets,
        Some(kill_at),
    );
    // Not one sample is missing although the core is gone for good.
    assert_eq!(listen(&run, LegId(0)).len(), packets.len() * 320);
    assert!(
        run.events
            .iter()
            .any(|event| matches!(event, TapEvent::Fallback { .. }))
    );
    assert_eq!(run.snapshot.legs[0].rung, Rung::Original);
}
