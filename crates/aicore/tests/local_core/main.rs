//! The core with real codecs on a voice-like sound.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod pauses;
mod support;

use std::time::{Duration, Instant};

use auralink_engine::{Coded, InKind, Outcome, Processor as _, Refused, StreamId};
use auralink_opus::{Decoder, Encoder, EncoderConfig};
use auralink_types::{Bitrate, Lean, Neural, NeuralRate, PacketTime, Reason, Rung};
use auralink_wire::aic;
use support::{LEAN, NEURAL, PATIENCE, coded, collect, core, submit, took, voice};

#[test]
fn one_decode_serves_every_rung_and_packets_join_without_holes() {
    let (mut core, woken) = core();
    let stream = core.open(&[LEAN, NEURAL]).unwrap();
    for (n, packet) in voice(90).iter().enumerate() {
        submit(&mut core, stream, InKind::Opus, 5_000 + n as u64 * 960, packet).unwrap();
    }
    let outcomes = collect(&mut core, &woken, |o| took(o) == 90);
    for rung in [LEAN, NEURAL] {
        let packets = coded(&outcomes, rung);
        assert_eq!(packets.len(), 30);
        for (n, packet) in packets.iter().enumerate() {
            assert_eq!(
                (packet.timestamp, packet.samples),
                (5_000 + n as u64 * 2880, 2880)
            );
            assert_eq!(aic::is_aic(&packet.payload), rung == NEURAL);
        }
        assert!(
            packets.last().unwrap().quality.is_some(),
            "a second of sound is enough for an estimate"
        );
    }
    let neural = &coded(&outcomes, NEURAL)[10];
    let packet = aic::AicPacket::parse(&neural.payload).unwrap();
    assert_eq!(
        (packet.frame_count(), packet.copy_count(), packet.model),
        (3, 3, core.models()[0])
    );
}

#[test]
fn a_neural_publisher_is_decoded_for_stock_receivers() {
    let (mut core, woken) = core();
    let (first, second) = (core.open(&[NEURAL]).unwrap(), core.open(&[LEAN]).unwrap());
    for (n, packet) in voice(60).iter().enumerate() {
        submit(&mut core, first, InKind::Opus, n as u64 * 960, packet).unwrap();
    }
    let neural = coded(&collect(&mut core, &woken, |o| took(o) == 60), NEURAL);
    // One packet gets lost on the way: its copies are in the next.
    for packet in neural.iter().enumerate().filter(|(n, _)| *n != 7).map(|(_, p)| p) {
        submit(&mut core, second, InKind::Aic, packet.timestamp, &packet.payload).unwrap();
    }
    let lean = coded(&collect(&mut core, &woken, |o| took(o) == 19), LEAN);
    assert_eq!(lean.len(), 20, "the hole was filled");
    let mut decoder = Decoder::new(16_000, 1, 0).unwrap();
    let mut pcm = vec![0.0; 1920];
    let mut power = 0.0;
    for packet in &lean {
        let samples = decoder.decode(&packet.payload, &mut pcm).unwrap();
        power += pcm[..samples].iter().map(|s| s * s).sum::<f32>();
    }
    assert!(power / (20.0 * 960.0) > 1e-4, "the voice is there");
}

#[test]
fn a_killed_worker_reports_its_streams_and_comes_back() {
    let (mut core, woken) = core();
    let stream = core.open(&[LEAN]).unwrap();
    core.faults().kill_workers(Duration::from_millis(300));
    let outcomes = collect(&mut core, &woken, |o| {
        o.iter().any(|o| matches!(o, Outcome::Failed { .. }))
    });
    assert!(
        matches!(outcomes[..], [Outcome::Failed { stream: s, reason: Reason::CoreUnreachable }] if s == stream)
    );
    assert_eq!(
        submit(&mut core, stream, InKind::Opus, 0, &[0]),
        Err(Refused::UnknownStream)
    );
    assert_eq!(
        core.open(&[LEAN]),
        Err(Refused::Unreachable),
        "it stays down for a while"
    );
    let until = Instant::now() + PATIENCE;
    let again = loop {
        assert!(Instant::now() < until, "the worker never came back");
        match core.open(&[LEAN]) {
            Ok(stream) => break stream,
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    for (n, packet) in voice(6).iter().enumerate() {
        submit(&mut core, again, InKind::Opus, n as u64 * 960, packet).unwrap();
    }
    assert_eq!(
        coded(&collect(&mut core, &woken, |o| took(o) == 6), LEAN).len(),
        2
    );
}

#[test]
fn a_worker_that_is_stuck_for_ever_is_noticed_given_up_and_replaced() {
    let (mut core, woken) = core();
    let stream = core.open(&[LEAN]).unwrap();
    core.faults().stick_workers();
    submit(&mut core, stream, InKind::Opus, 0, &voice(1)[0]).unwrap();
    let outcomes = collect(&mut core, &woken, |o| !o.is_empty());
    assert!(
        matches!(outcomes[..], [Outcome::Failed { stream: s, reason: Reason::CoreUnreachable }] if s == stream),
        "{outcomes:?}"
    );
    let until = Instant::now() + PATIENCE;
    let again = loop {
        assert!(Instant::now() < until, "no worker took the stuck one's place");
        match core.open(&[LEAN]) {
            Ok(stream) => break stream,
            Err(refused) => assert_eq!(refused, Refused::Unreachable),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    for (n, packet) in voice(6).iter().enumerate() {
        submit(&mut core, again, InKind::Opus, n as u64 * 960, packet).unwrap();
    }
    let outcomes = collect(&mut core, &woken, |o| took(o) == 6);
    assert_eq!(coded(&outcomes, LEAN).len(), 2);
    assert_eq!(core.share().stats().replaced, 1);
}

#[test]
fn a_worker_that_is_never_idle_is_not_taken_for_stuck() {
    let (mut core, woken) = core();
    let stream = core.open(&[NEURAL]).unwrap();
    let packets = voice(50);
    // Longer than a worker may take over one job.
    let until = Instant::now() + Duration::from_secs(3);
    for n in 0.. {
        let packet = &packets[n as usize % packets.len()];
        while let Err(refused) = submit(&mut core, stream, InKind::Opus, n * 960, packet) {
            assert_eq!(refused, Refused::Full, "the worker is alive");
            let _ = woken.recv_timeout(Duration::from_millis(5));
            while let Some(outcome) = core.poll() {
                assert!(!matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
            }
        }
        if Instant::now() > until {
            break;
        }
    }
}

#[test]
fn ten_thousand_random_payloads_harm_nothing() {
    let (mut core, woken) = core();
    let stream = core.open(&[LEAN, NEURAL]).unwrap();
    let mut seed = 7u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for n in 0..10_000u64 {
        let len = random() % 40;
        let mut payload: Vec<u8> = (0..len).map(|_| random() as u8).collect();
        if n % 2 == 0 && len >= 2 {
            (payload[0], payload[1]) = (payload[0] | 3, payload[1] & !0x3f);
        }
        let kind = if n.is_multiple_of(2) {
            InKind::Aic
        } else {
            InKind::Opus
        };
        while submit(&mut core, stream, kind, n * 960, &payload) == Err(Refused::Full) {
            let _ = woken.recv_timeout(Duration::from_millis(5));
            while let Some(outcome) = core.poll() {
                assert!(!matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
            }
        }
    }
    // The queue may still be full; a dead worker would say unreachable instead.
    let until = Instant::now() + PATIENCE;
    while let Err(refused) = core.open(&[LEAN]) {
        assert_eq!(refused, Refused::Full, "the worker is alive");
        assert!(Instant::now() < until, "the queue never drained");
        let _ = woken.recv_timeout(Duration::from_millis(5));
        while core.poll().is_some() {}
    }
}

fn lean(kbps: u64, packet: PacketTime) -> Rung {
    let bitrate = Bitrate::kbps(kbps);
    Rung::Lean(Lean::new(bitrate, packet))
}

fn neural(rate: NeuralRate, packet: PacketTime) -> Rung {
    let copies = 0;
    Rung::Neural(Neural { rate, packet, copies })
}

#[test]
fn packets_get_longer_and_dearer_from_the_same_coder_without_a_hole() {
    let (mut core, woken) = core();
    let steps = [
        [
            lean(12, PacketTime::Ms40),
            neural(NeuralRate::Kbps6, PacketTime::Ms40),
        ],
        [
            lean(12, PacketTime::Ms60),
            neural(NeuralRate::Kbps6, PacketTime::Ms80),
        ],
        [
            lean(16, PacketTime::Ms60),
            neural(NeuralRate::Kbps3, PacketTime::Ms80),
        ],
        [
            lean(16, PacketTime::Ms20),
            neural(NeuralRate::Kbps3, PacketTime::Ms20),
        ],
    ];
    let stream = core.open(&steps[0]).unwrap();
    // 13 frames a step: neither 40, 60 nor 80 ms packets are whole at its end.
    for (n, packet) in voice(13 * steps.len()).iter().enumerate() {
        if n % 13 == 0 {
            core.set_rungs(stream, &steps[n / 13]).unwrap();
        }
        submit(&mut core, stream, InKind::Opus, 5_000 + n as u64 * 960, packet).unwrap();
    }
    let outcomes = collect(&mut core, &woken, |o| took(o) == 13 * steps.len());
    for family in [0, 1] {
        let of = |rung| steps.iter().any(|step| step[family] == rung);
        let packets = outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Coded { packet, .. } if of(packet.rung) => Some(packet),
            _ => None,
        });
        let mut due = 5_000;
        let mut rungs = Vec::new();
        for packet in packets {
            assert_eq!(packet.timestamp, due, "{:?}", packet.rung);
            due += packet.samples;
            if rungs.last() != Some(&packet.rung) {
                rungs.push(packet.rung);
            }
        }
        assert_eq!(due, 5_000 + 13 * 4 * 960, "to the last frame");
        assert_eq!(rungs, steps.map(|step| step[family]));
    }
}

#[test]
fn a_rate_that_deserves_it_carries_what_lies_above_8_khz() {
    let config = EncoderConfig {
        sample_rate: 48_000,
        bandwidth: None,
        signal: auralink_opus::Signal::Music,
        ..EncoderConfig::lean(96_000, 20)
    };
    let mut encoder = Encoder::new(&config).unwrap();
    let wave = |hz: f32, n: usize| (2.0 * std::f32::consts::PI * hz * n as f32 / 48_000.0).sin();
    let packets: Vec<Vec<u8>> = (0..100)
        .map(|frame| {
            let pcm: Vec<f32> = (frame * 960..(frame + 1) * 960)
                .map(|n| 0.2 * wave(400.0, n) + 0.1 * wave(10_000.0, n))
                .collect();
            let mut packet = vec![0; 1500];
            let len = encoder.encode(&pcm, &mut packet).unwrap();
            packet.truncate(len);
            packet
        })
        .collect();
    let high = |rung: Rung| {
        let (mut core, woken) = core();
        let stream = core.open(&[rung]).unwrap();
        for (n, packet) in packets.iter().enumerate() {
            submit(&mut core, stream, InKind::Opus, n as u64 * 960, packet).unwrap();
        }
        let coded = coded(&collect(&mut core, &woken, |o| took(o) == packets.len()), rung);
        assert_eq!(coded.len(), 33);
        let mut decoder = Decoder::new(48_000, 1, 0).unwrap();
        let (mut heard, mut room) = (Vec::new(), [0.0; 5760]);
        for packet in &coded {
            let samples = decoder.decode(&packet.payload, &mut room).unwrap();
            heard.extend_from_slice(&room[..samples]);
        }
        // The share of a tone at 10 kHz in the second second.
        let heard = &heard[48_000..];
        let part = |shift: f32| -> f32 {
            let sum: f32 = heard
                .iter()
                .enumerate()
                .map(|(n, x)| {
                    x * (2.0 * std::f32::consts::PI * (10_000.0 * n as f32 / 48_000.0 + shift)).sin()
                })
                .sum();
            sum / heard.len() as f32
        };
        2.0 * part(0.0).hypot(part(0.25))
    };
    let (wide, narrow) = (high(lean(32, PacketTime::Ms60)), high(lean(12, PacketTime::Ms60)));
    assert!(wide > 0.02 && narrow < 0.002, "{wide} and {narrow} of 0.1");
}

#[test]
fn forty_streams_at_once_each_get_all_of_their_own_packets() {
    const STREAMS: u64 = 40;
    const FRAMES: usize = 30;
    let (mut core, woken) = core();
    let voice = voice(FRAMES + STREAMS as usize);
    let rungs = |n: u64| {
        if n.is_multiple_of(2) {
            vec![NEURAL]
        } else {
            vec![LEAN, NEURAL]
        }
    };
    let streams: Vec<_> = (0..STREAMS).map(|n| core.open(&rungs(n)).unwrap()).collect();
    let from = |n: u64| n * 1_000_000;
    let mut outcomes = Vec::new();
    for frame in 0..FRAMES {
        // More than one round holds, and the last frame of one stream is a packet's while another's is not.
        for (n, &stream) in (0..STREAMS).zip(&streams) {
            let packet = &voice[frame + n as usize];
            submit(
                &mut core,
                stream,
                InKind::Opus,
                from(n) + frame as u64 * 960,
                packet,
            )
            .unwrap();
        }
        outcomes.extend(collect(&mut core, &woken, |o| took(o) == STREAMS as usize));
    }
    for (n, &stream) in (0..STREAMS).zip(&streams) {
        for rung in rungs(n) {
            let times = coded_of(&outcomes, stream, rung).map(|packet| packet.timestamp);
            let expected = (0..FRAMES as u64 / 3).map(|packet| from(n) + packet * 2880);
            assert!(times.eq(expected), "stream {n}, {rung:?}");
        }
    }
    let payloads = |n: usize| coded_of(&outcomes, streams[n], NEURAL).map(|packet| packet.payload.clone());
    assert!(payloads(0).ne(payloads(2)), "each says something else");
}

/// The packets of one stream's rung.
fn coded_of(outcomes: &[Outcome], of: StreamId, rung: Rung) -> impl Iterator<Item = &Coded> {
    outcomes.iter().filter_map(move |outcome| match outcome {
        Outcome::Coded { stream, packet } if *stream == of && packet.rung == rung => Some(packet),
        _ => None,
    })
}
