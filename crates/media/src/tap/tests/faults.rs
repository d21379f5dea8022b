//! The core is late, stuck, full or dead: no audio is ever missing.

use auralink_engine::{Phase, wire_bitrate};
use auralink_types::{ConfigChange, Reason, Rung, SourceCodec};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::super::*;
use super::bench::*;

#[test]
fn a_core_killed_in_mid_stream_costs_no_audio_and_bypass_comes_within_three_frames() {
    let mut bench = Bench::stock(adaptive());
    // Killed at every phase of a 60 ms packet.
    for odd in [0, 1, 2] {
        bench.talk_for(4_000 + 20 * odd);
        assert!(is_coded(&bench.of(1).last().unwrap().1) || odd > 0);
        let coded_before = bench.rung(1) != Rung::Original;
        assert!(coded_before, "coded before the kill");
        let killed = bench.now;
        bench.core.kill();
        bench.talk_for(200);
        let after = bench.of(1).iter().filter(|(at, _)| *at >= killed);
        assert!(after.clone().all(|(_, packet)| !is_coded(packet)));
        let first = after.clone().next().unwrap().0;
        assert!(first - killed <= 60 * MS, "bypass after {:?}", first - killed);
        assert_eq!(bench.fallbacks().last().unwrap().1, Reason::CoreUnreachable);
        bench.core.dead = false;
        // Back-off doubles to 40 s here; then a second of proof.
        bench.talk_for(60_000);
        assert_ne!(bench.rung(1), Rung::Original, "back after probation");
    }
    bench.assert_seamless(1, 80);
    assert!(bench.longest_wait(1) <= 70 * MS, "{:?}", bench.longest_wait(1));
}

#[test]
fn of_many_listeners_one_tries_a_core_that_was_dead_and_the_others_follow_once_it_passed() {
    let mut bench = Bench::stock(adaptive());
    for leg in 2..=5 {
        bench.tap.add_leg(bench.now, LegId(leg), stock_caps());
    }
    bench.talk_for(4_000);
    bench.core.kill();
    bench.talk_for(1_000);
    bench.core.dead = false;
    bench.talk_for(20_000);
    let back: Vec<_> = bench
        .events
        .iter()
        .filter(|(_, event)| matches!(event, TapEvent::Recovered { .. }))
        .map(|(at, _)| *at)
        .collect();
    assert_eq!(back.len(), 5);
    assert!(
        back[1] - back[0] >= 1_000 * MS,
        "{:?} after the first",
        back[1] - back[0]
    );
    assert!(
        back[4] - back[0] <= 3_000 * MS,
        "{:?} after the first",
        back[4] - back[0]
    );
}

#[test]
fn a_dead_core_turns_a_neural_publisher_to_opus_at_once_where_a_listener_depends_on_it() {
    let caps = PublisherCaps {
        models: vec![MODEL],
        steerable: true,
        red: true,
        stereo: false,
    };
    let mut bench = Bench::new(adaptive(), caps);
    bench.tap.add_leg(bench.now, LegId(1), stock_caps());
    bench.tap.add_leg(bench.now, LegId(2), aic_caps());
    // He began with the neural codec, and what he is asked for does not reach him.
    let neural = |bench: &mut Bench| {
        bench.deliver(PayloadKind::Opus, aic(3, MODEL), 2880);
        bench.pass(60);
    };
    for _ in 0..50 {
        neural(&mut bench);
    }
    assert!(matches!(bench.rung(1), Rung::Lean(_)));
    bench.core.kill();
    let (killed, asked) = (bench.now, bench.hints.len());
    bench.pass(1);
    assert_eq!(bench.hints.len(), asked + 1, "asked again at once");
    assert!(matches!(bench.hints[asked].1.source, SourceCodec::Lean(_)));
    assert_eq!(
        bench.fallbacks().last().unwrap(),
        &(killed + MS, Reason::CoreUnreachable)
    );
    // Now he hears, and the packet in hand goes out as Opus.
    bench.pass(10);
    bench.talk_for(3_000);
    let audible = |(_, packet): &&(_, OutPacket)| !auralink_wire::aic::is_aic(&packet.payload);
    let times: Vec<_> = bench.of(1).iter().filter(audible).map(|(at, _)| *at).collect();
    let around = times.iter().position(|at| *at > killed).unwrap();
    let wait = times[around] - times[around - 1];
    assert!(wait <= 75 * MS, "{wait:?} between decodable packets");
    // The core comes back. Where originals are of no use, nobody waits for a probation.
    bench.core.dead = false;
    for _ in 0..40 {
        neural(&mut bench);
    }
    assert!(matches!(bench.rung(1), Rung::Lean(_)));
    bench.assert_seamless(1, 60);
    bench.assert_seamless(2, 0);
}

#[test]
fn a_core_that_stays_dead_is_tried_again_at_doubling_intervals_and_nobody_hears_of_it() {
    let mut bench = Bench::stock(adaptive());
    bench.talk_for(2_000);
    bench.core.kill();
    let calls = bench.core.calls;
    bench.talk_for(100_000);
    bench.assert_seamless(1, 0);
    assert!(
        bench.core.calls - calls < 10,
        "{} calls to a dead core",
        bench.core.calls - calls
    );
}

#[test]
fn a_stuck_core_is_left_after_three_late_packets_and_originals_go_out_on_the_same_timeline() {
    let mut bench = Bench::stock(adaptive());
    bench.talk_for(2_000);
    bench.core.stuck = true;
    let stuck = bench.now;
    bench.talk_for(1_000);
    bench.assert_seamless(1, 0);
    let (at, reason) = bench.fallbacks()[0];
    assert_eq!(reason, Reason::Late);
    assert!(at - stuck <= 300 * MS, "left after {:?}", at - stuck);
    // 60 ms of audio, then 20 ms limit and 10 ms of slack.
    assert!(bench.longest_wait(1) <= 95 * MS, "{:?}", bench.longest_wait(1));
    assert_eq!(bench.tap.snapshot().fallbacks_for(Reason::Late), 1);
}

#[test]
fn one_late_packet_in_ten_is_replaced_by_its_originals_and_the_rung_stays() {
    let mut bench = Bench::stock(adaptive());
    bench.core.one_late_in = Some(10);
    bench.talk_for(30_000);
    bench.assert_seamless(1, 120);
    assert!(bench.fallbacks().is_empty());
    let snapshot = bench.tap.snapshot();
    assert!(snapshot.rescued > 100, "{snapshot:?}");
    assert!(
        snapshot.unused > 30,
        "late packets were thrown away: {snapshot:?}"
    );
}

#[test]
fn a_full_core_is_left_with_the_reason_overload() {
    let mut bench = Bench::stock(adaptive());
    bench.talk_for(2_000);
    bench.core.full = true;
    bench.talk_for(500);
    assert_eq!(bench.fallbacks()[0].1, Reason::Overload);
    bench.assert_seamless(1, 0);
}

#[test]
fn quality_under_the_floor_buys_a_dearer_rung_first() {
    let mut bench = Bench::stock(adaptive());
    bench.core.quality = Some(4.2);
    bench.talk_for(4_000);
    let before = wire_bitrate(bench.rung(1)).unwrap();
    bench.core.quality = Some(3.8);
    bench.talk_for(2_000);
    bench.core.quality = Some(4.2);
    bench.talk_for(1_000);
    assert!(wire_bitrate(bench.rung(1)).unwrap() > before);
    assert!(bench.fallbacks().is_empty());
    bench.assert_seamless(1, 80);
}

#[test]
fn content_that_no_rung_carries_goes_out_as_it_came_and_is_tried_again() {
    let mut bench = Bench::stock(adaptive());
    bench.talk_for(2_000);
    bench.core.quality = Some(1.5);
    bench.talk_for(2_000);
    assert_eq!(bench.fallbacks()[0].1, Reason::Quality);
    assert_eq!(bench.rung(1), Rung::Original);
    bench.core.quality = Some(4.2);
    bench.talk_for(30_000);
    assert_ne!(bench.rung(1), Rung::Original);
    bench.assert_seamless(1, 80);
}

#[test]
fn the_snapshot_tells_where_a_leg_stands() {
    let mut bench = Bench::stock(adaptive());
    bench.talk_for(2_000);
    bench.core.kill();
    bench.talk_for(100);
    let leg = bench.tap.snapshot().legs[0];
    assert_eq!(
        (leg.phase, leg.reason),
        (Phase::Bypass, Some(Reason::CoreUnreachable))
    );
}

#[test]
fn whatever_the_core_does_audio_goes_out_once_and_in_order() {
    let (mut coded, mut rescued, mut fallbacks) = (0, 0, 0);
    for seed in 0..40 {
        let mut rng = StdRng::seed_from_u64(seed);
        let change = ConfigChange {
            max_latency_ms: Some(rng.random_range(1..=60)),
            ..ConfigChange::default()
        };
        let on = policy(change);
        let mut bench = Bench::stock(on.clone());
        bench.tap.add_leg(bench.now, LegId(2), aic_caps());
        for _ in 0..3_000 {
            match rng.random_range(0..400) {
                0 => bench.core.kill(),
                1..=8 => bench.core.dead = false,
                9 => bench.core.stuck = true,
                10..=14 => bench.core.stuck = false,
                15 => bench.core.full = !bench.core.full,
                16..=20 => bench.core.delay = rng.random_range(0..120) * MS,
                21..=25 => bench.core.delay = 2 * MS,
                26 => bench.core.quality = Some(rng.random_range(1.0..4.6)),
                27 => bench.core.quality = None,
                28 => {
                    let off = policy(ConfigChange {
                        opt_out: Some(true),
                        ..ConfigChange::default()
                    });
                    bench.tap.set_policy(bench.now, off);
                    bench.drain();
                }
                29..=40 => bench.tap.set_policy(bench.now, on.clone()),
                41 => {
                    let low = ConfigChange {
                        min_quality_score: Some(0.2),
                        ..ConfigChange::default()
                    };
                    bench.tap.set_policy(bench.now, policy(low));
                }
                42 => bench.deliver(PayloadKind::Opus, vec![0x78], 960),
                _ => {}
            }
            bench.talk();
        }
        bench.pass(400);
        for leg in [1, 2] {
            bench.assert_seamless(leg, 0);
        }
        let snapshot = bench.tap.snapshot();
        coded += snapshot.coded;
        rescued += snapshot.rescued;
        fallbacks += bench.fallbacks().len();
    }
    // The runs were as wild as they claim.
    assert!(
        coded > 2_000 && rescued > 500 && fallbacks > 100,
        "{coded} {rescued} {fallbacks}"
    );
}
