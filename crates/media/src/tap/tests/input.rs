//! What publishers and attackers send.

use auralink_types::Rung;
use auralink_wire::red;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::super::*;
use super::bench::*;

fn red_of(previous: &[u8], primary: &[u8]) -> Vec<u8> {
    let block = |payload, timestamp_offset| red::Block {
        payload_type: 111,
        timestamp_offset,
        payload,
    };
    let mut out = Vec::new();
    red::write(&[block(previous, 960)], &block(primary, 0), &mut out).unwrap();
    out
}

#[test]
fn losses_upstream_stay_visible_on_originals_and_padding_leaves_no_gap() {
    let off = auralink_types::AicConfig::default().policy();
    let mut bench = Bench::stock(off);
    bench.talk_for(100);
    bench.seq += 2;
    bench.timestamp = bench.timestamp.wrapping_add(2 * 960);
    bench.talk_for(100);
    let seqs: Vec<u64> = bench.of(1).iter().map(|(_, packet)| packet.seq).collect();
    assert_eq!(seqs[5] - seqs[4], 3);
    bench.deliver(PayloadKind::Opus, Vec::new(), 0);
    bench.talk_for(40);
    let seqs: Vec<u64> = bench.of(1).iter().map(|(_, packet)| packet.seq).collect();
    assert_eq!(seqs[10] - seqs[9], 1);
}

#[test]
fn a_lost_packet_is_taken_from_the_next_ones_red_block() {
    let mut bench = Bench::stock(adaptive());
    bench.talk_for(2_000);
    // The first after the loss carries what was lost.
    bench.seq += 1;
    bench.timestamp = bench.timestamp.wrapping_add(960);
    let before = bench.core.calls;
    bench.deliver(PayloadKind::Red, red_of(&plain(80), &plain(90)), 960);
    assert!(
        bench.core.calls - before >= 2,
        "the redundant block went to the core as well"
    );
    bench.pass(20);
    bench.talk_for(1_000);
    bench.assert_seamless(1, 80);
}

#[test]
fn a_leg_without_red_gets_the_primary_block() {
    let off = auralink_types::AicConfig::default().policy();
    let mut bench = Bench::new(off, PublisherCaps::default());
    bench.tap.add_leg(bench.now, LegId(1), LegCaps::default());
    bench.tap.add_leg(bench.now, LegId(2), stock_caps());
    let payload = red_of(&plain(80), &plain(90));
    bench.deliver(PayloadKind::Red, payload.clone(), 960);
    let (_, bare) = &bench.of(1)[0];
    assert_eq!(
        (bare.kind, &bare.payload[..]),
        (PayloadKind::Opus, &plain(90)[..])
    );
    let (_, whole) = &bench.of(2)[0];
    assert_eq!((whole.kind, &whole.payload[..]), (PayloadKind::Red, &payload[..]));
}

#[test]
fn a_pause_in_mid_packet_loses_nothing_and_dtx_passes_untouched() {
    let mut bench = Bench::stock(adaptive());
    bench.talk_for(2_000);
    for spurt in 0..20u32 {
        bench.talk_for(400 + u64::from(spurt % 3) * 20);
        bench.deliver(PayloadKind::Opus, vec![0x78], 960);
        bench.pass(20);
        // The sender's silence: nothing for 400 ms, the timestamps go on.
        bench.timestamp = bench.timestamp.wrapping_add(20 * 960);
        bench.pass(400);
        let (_, last) = bench.of(1).last().unwrap();
        assert_eq!(&last.payload[..], [0x78]);
    }
    let packets = bench.of(1);
    let pauses = packets.iter().zip(&packets[1..]).filter(|((_, a), (_, b))| {
        assert_eq!(b.seq, a.seq + 1);
        let gap = b.timestamp.wrapping_sub(a.timestamp.wrapping_add(ticks(a)));
        assert!(
            gap == 0 || (a.payload.len() == 1 && gap == 20 * 960),
            "gap of {} ms",
            gap / 48
        );
        gap > 0
    });
    assert_eq!(pauses.count(), 19);
    assert!(bench.fallbacks().is_empty(), "{:?}", bench.fallbacks());
    assert_ne!(bench.rung(1), Rung::Original);
}

#[test]
fn a_sender_that_stops_in_mid_packet_is_not_the_cores_fault() {
    let mut bench = Bench::stock(adaptive());
    bench.talk_for(2_020);
    bench.pass(5_000);
    bench.assert_seamless(1, 0);
    assert!(bench.fallbacks().is_empty());
}

#[test]
fn a_timestamp_that_jumps_or_starts_anew_is_followed() {
    let mut bench = Bench::stock(adaptive());
    for timestamp in [5, 3_000_000_000, 17, 2_000_000_000] {
        bench.talk_for(3_000);
        bench.timestamp = timestamp;
        let before = bench.of(1).len();
        bench.talk_for(3_000);
        let after = &bench.of(1)[before..];
        assert!(
            after
                .iter()
                .any(|(_, packet)| packet.timestamp.wrapping_sub(timestamp) < 150 * 960)
        );
        assert!(bench.now - after.last().unwrap().0 <= 100 * MS, "audio flows on");
    }
    let seqs = bench.of(1).windows(2).map(|pair| (pair[0].1.seq, pair[1].1.seq));
    assert!(seqs.into_iter().all(|(a, b)| b == a + 1));
}

#[test]
fn random_payloads_and_every_truncation_do_no_harm() {
    let mut rng = StdRng::seed_from_u64(1);
    let low = policy(auralink_types::ConfigChange {
        min_quality_score: Some(0.2),
        ..Default::default()
    });
    let mut bench = Bench::stock(low);
    bench.core.stuck = true;
    bench.tap.add_leg(bench.now, LegId(2), aic_caps());
    let mut inputs: Vec<(PayloadKind, Vec<u8>)> = Vec::new();
    for whole in [
        aic(6, MODEL),
        red_of(&plain(80), &plain(90)),
        plain(120),
        red_of(&[], &aic(3, 9)),
    ] {
        for len in 0..=whole.len() {
            inputs.push((PayloadKind::Opus, whole[..len].to_vec()));
            inputs.push((PayloadKind::Red, whole[..len].to_vec()));
        }
    }
    for _ in 0..10_000 {
        let len = rng.random_range(0..200);
        let kind = if rng.random() {
            PayloadKind::Red
        } else {
            PayloadKind::Opus
        };
        inputs.push((kind, (0..len).map(|_| rng.random()).collect()));
    }
    for (kind, payload) in inputs {
        let packet = AudioPacket {
            kind,
            seq: rng.random_range(0..u64::from(u32::MAX)),
            timestamp: rng.random(),
            marker: rng.random(),
            extensions: rng.random_range(0..64),
            payload: shared(&payload),
            received: bench.now,
        };
        bench.hand(packet);
        bench.pass(rng.random_range(0..3));
    }
    assert!(bench.tap.snapshot().bad_input > 1_000);
    for leg in [1, 2] {
        assert!(
            bench
                .of(leg)
                .windows(2)
                .all(|pair| pair[1].1.payload.len() <= 200)
        );
    }
}

#[test]
fn what_cannot_be_read_does_not_disturb_what_can() {
    let mut bench = Bench::stock(adaptive());
    bench.talk_for(2_000);
    for _ in 0..50 {
        bench.talk_for(200);
        // An AIC mark without codes, out of the blue.
        let (seq, timestamp) = (bench.seq, bench.timestamp);
        bench.deliver(PayloadKind::Opus, vec![0x03, 0x00, 0xff], 0);
        (bench.seq, bench.timestamp) = (seq, timestamp);
    }
    bench.assert_seamless(1, 80);
    assert_eq!(bench.tap.snapshot().bad_input, 50);
}
