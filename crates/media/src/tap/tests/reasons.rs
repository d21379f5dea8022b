//! Every reason to fall back: how fast, what goes out instead, and the way back. And who is not touched by it.

use std::time::Duration;

use auralink_engine::{Phase, expected, wire_bitrate};
use auralink_types::{Bitrate, ConfigChange, Neural, NeuralRate, PacketTime, Reason, Rung};
use auralink_wire::red;

use super::super::*;
use super::bench::*;

/// Three packets of 60 ms and the time a packet may take.
const THREE_FRAMES: Duration = Duration::from_millis(3 * 60 + 30);

/// A stock client's packets: RED that repeats the packet before.
fn talk_for(bench: &mut Bench, ms: u64) {
    for _ in 0..ms / 20 {
        let before = plain(120);
        let block = |payload, timestamp_offset| red::Block {
            payload_type: 111,
            timestamp_offset,
            payload,
        };
        let mut payload = Vec::new();
        red::write(&[block(&before[..], 960)], &block(&before, 0), &mut payload).unwrap();
        bench.deliver(PayloadKind::Red, payload, 960);
        bench.pass(20);
    }
}

/// The stock client's own RED, or Opus with redundancy in band: a lost packet is in the next one.
fn redundant(rung: Rung) -> bool {
    match rung {
        Rung::Original => true,
        Rung::Lean(lean) => lean.fec,
        _ => false,
    }
}

fn coded() -> Bench {
    let mut bench = Bench::stock(adaptive());
    talk_for(&mut bench, 4_000);
    assert_ne!(bench.rung(1), Rung::Original);
    bench
}

/// Until the originals flow, at most a second; how long that took.
fn until_original(bench: &mut Bench) -> Duration {
    let start = bench.now;
    while bench.rung(1) != Rung::Original && bench.now - start < Duration::from_secs(1) {
        bench.talk();
    }
    bench.now - start
}

fn report(bench: &mut Bench, leg: u64, loss: f32, rtt_ms: u64) {
    bench.tap.set_leg_network(
        bench.now,
        LegId(leg),
        loss,
        Duration::from_millis(rtt_ms),
        Duration::from_millis(3),
    );
}

#[test]
fn whatever_the_core_fails_of_originals_flow_within_three_frames_and_coded_packets_are_back_after_a_trial() {
    type Fault = fn(&mut FakeCore, bool);
    let faults: [(Reason, Fault); 4] = [
        (Reason::Late, |core, on| core.stuck = on),
        (Reason::ModelFailure, |core, on| {
            if on {
                core.fail(Reason::ModelFailure);
            }
        }),
        (Reason::CoreUnreachable, |core, on| {
            if on { core.kill() } else { core.dead = false }
        }),
        (Reason::Overload, |core, on| core.full = on),
    ];
    for (reason, fault) in faults {
        let mut bench = coded();
        fault(&mut bench.core, true);
        bench.pass(1);
        let took = until_original(&mut bench);
        assert!(took <= THREE_FRAMES, "{reason}: {took:?}");
        assert_eq!(bench.fallbacks().last().unwrap().1, reason);
        let leg = bench.tap.snapshot().legs[0];
        assert_eq!((leg.phase, leg.reason), (Phase::Bypass, Some(reason)));
        fault(&mut bench.core, false);
        bench.talk_for(9_000);
        assert_eq!(bench.rung(1), Rung::Original, "{reason}: ten seconds of bypass");
        bench.talk_for(12_000);
        assert_ne!(
            bench.rung(1),
            Rung::Original,
            "{reason}: back after a clean trial"
        );
        bench.assert_seamless(1, 80);
    }
}

#[test]
fn an_unstable_network_makes_the_rung_more_conservative_and_heavy_loss_leaves_no_rung_without_redundancy() {
    let mut bench = Bench::stock(adaptive());
    talk_for(&mut bench, 20_000);
    let calm = bench.rung(1);
    for _ in 0..20 {
        report(&mut bench, 1, 0.02, 60);
        talk_for(&mut bench, 1_000);
    }
    let careful = bench.rung(1);
    assert!(
        wire_bitrate(careful) > wire_bitrate(calm),
        "{careful:?} after {calm:?}"
    );
    assert_eq!(bench.tap.snapshot().legs[0].reason, Some(Reason::UnstableNetwork));
    for _ in 0..3 {
        report(&mut bench, 1, 0.5, 60);
        talk_for(&mut bench, 200);
    }
    assert!(redundant(bench.rung(1)), "{:?}", bench.rung(1));
    assert_eq!(bench.tap.snapshot().legs[0].reason, Some(Reason::UnstableNetwork));
    for _ in 0..150 {
        report(&mut bench, 1, 0.0, 60);
        talk_for(&mut bench, 1_000);
    }
    assert_eq!(bench.rung(1), calm, "as before once it is calm");
    bench.assert_seamless(1, 80);
}

#[test]
fn a_network_that_breaks_down_is_answered_within_two_hundred_milliseconds_of_its_report() {
    let mut bench = coded();
    assert!(!redundant(bench.rung(1)));
    for _ in 0..4 {
        report(&mut bench, 1, 0.0, 60);
        talk_for(&mut bench, 1_000);
    }
    let mut took = Duration::MAX;
    for _ in 0..5 {
        report(&mut bench, 1, 0.6, 60);
        let from = bench.now;
        talk_for(&mut bench, 200);
        if redundant(bench.rung(1)) {
            took = bench.now - from;
            break;
        }
        talk_for(&mut bench, 800);
    }
    assert!(took <= Duration::from_millis(200), "{took:?}");
}

#[test]
fn without_the_accelerator_its_model_wants_a_leg_gets_what_a_processor_can_and_says_so() {
    let six = Rung::Neural(Neural {
        rate: NeuralRate::Kbps6,
        packet: PacketTime::Ms20,
        copies: 0,
    });
    // Just what 6 kbps holds, which is more than a processor is left to do.
    let held = expected(six).unwrap().score().value() - 0.005;
    let low = policy(ConfigChange {
        min_quality_score: Some(f64::from(held)),
        ..ConfigChange::default()
    });
    let rung = |missing| {
        let mut bench = Bench::new(low.clone(), PublisherCaps::default());
        bench.tap.add_leg(bench.now, LegId(1), aic_caps());
        bench.core.no_accelerator = missing;
        bench.talk_for(4_000);
        (bench.rung(1), bench.tap.snapshot().legs[0].reason)
    };
    let (with, without) = (rung(false), rung(true));
    assert_eq!((matches!(with.0, Rung::Neural(_)), with.1), (true, None));
    assert_eq!(
        (matches!(without.0, Rung::Lean(_)), without.1),
        (true, Some(Reason::NoAccelerator))
    );
}

#[test]
fn a_receiver_that_cannot_decode_the_publishers_codes_gets_opus_and_the_reason_says_so() {
    let mut bench = Bench::stock(adaptive());
    for _ in 0..200 {
        bench.deliver(PayloadKind::Opus, aic(3, MODEL), 2880);
        bench.pass(60);
    }
    let leg = bench.tap.snapshot().legs[0];
    assert!(matches!(leg.rung, Rung::Lean(_)));
    assert_eq!(leg.reason, Some(Reason::ReceiverNotCapable));
}

#[test]
fn a_veto_is_obeyed_with_the_next_packet_and_its_reason_stays() {
    let mut bench = coded();
    let out = policy(ConfigChange {
        opt_out: Some(true),
        ..ConfigChange::default()
    });
    bench.tap.set_policy(bench.now, out);
    bench.talk();
    assert_eq!(bench.rung(1), Rung::Original);
    assert_eq!(bench.tap.snapshot().legs[0].reason, Some(Reason::OptOut));
}

#[test]
fn a_narrow_path_is_left_for_a_cheaper_rung_without_waiting() {
    let mut bench = Bench::stock(adaptive());
    bench.talk_for(20_000);
    let before = bench.rung(1);
    bench.tap.set_leg_capacity(LegId(1), Some(Bitrate::kbps(22)));
    bench.talk_for(3_000);
    let after = bench.rung(1);
    assert!(
        wire_bitrate(after).unwrap() <= Bitrate::kbps(22),
        "{after:?} after {before:?}"
    );
    assert_ne!(after, Rung::Original);
    bench.assert_seamless(1, 80);
}

#[test]
fn one_bad_listener_moves_nobody_elses_rate() {
    let sent = |bad: bool| {
        let mut bench = Bench::stock(adaptive());
        bench.tap.add_leg(bench.now, LegId(2), stock_caps());
        bench.tap.add_leg(bench.now, LegId(3), aic_caps());
        for second in 0..60 {
            for leg in 1..=3 {
                // The third listener's network is in turn lossy, slow and narrow.
                let (loss, rtt) = match (leg, bad, second / 20) {
                    (3, true, 0) => (0.4, 80),
                    (3, true, 1) => (0.1, 2_000),
                    _ => (0.0, 40),
                };
                report(&mut bench, leg, loss, rtt);
            }
            let narrow = (bad && second >= 40).then(|| Bitrate::kbps(10));
            bench.tap.set_leg_capacity(LegId(3), narrow);
            bench.talk_for(1_000);
        }
        let bytes = |leg| {
            bench
                .of(leg)
                .iter()
                .map(|(_, packet)| packet.payload.len())
                .sum::<usize>()
        };
        let rungs = [bytes(1) as f64, bytes(2) as f64];
        (rungs, bytes(3))
    };
    let ((calm, third), (beside, worse)) = (sent(false), sent(true));
    assert_ne!(third, worse, "the bad network does show");
    for (before, after) in calm.into_iter().zip(beside) {
        assert!(
            (after / before - 1.0).abs() <= 0.05,
            "{after} bytes instead of {before}"
        );
    }
}

#[test]
fn one_bad_sender_costs_its_own_listeners_alone() {
    let sent = |bad: bool| {
        // Two tracks at one core: the other's sender sends rubbish and stops and starts.
        let mut good = Bench::stock(adaptive());
        let mut other = Bench::stock(adaptive());
        for step in 0..3_000u32 {
            std::mem::swap(&mut good.core, &mut other.core);
            if bad && step % 3 == 0 {
                other.deliver(PayloadKind::Red, vec![0xff; 40], 960);
            } else if !bad || step % 7 != 0 {
                other.talk();
            }
            std::mem::swap(&mut good.core, &mut other.core);
            good.talk();
        }
        good.of(1)
            .iter()
            .map(|(_, packet)| packet.payload.len())
            .sum::<usize>() as f64
    };
    let (calm, beside) = (sent(false), sent(true));
    assert!(
        (beside / calm - 1.0).abs() <= 0.05,
        "{beside} bytes instead of {calm}"
    );
}
