//! What a stock publisher is asked for, when, and how often.

use std::time::Duration;

use auralink_types::{Bitrate, Lean, PacketTime, Rung, SourceCodec};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::super::*;
use super::bench::*;

fn stock_publisher() -> PublisherCaps {
    PublisherCaps {
        models: Vec::new(),
        steerable: true,
        red: true,
        stereo: false,
    }
}

/// 60 ms of Opus at that rate, and the time it takes.
fn talk_60(bench: &mut Bench, rate: Bitrate) {
    let mut payload = vec![0x58, 0];
    payload.resize(rate.as_bps() as usize * 60 / 8000, 0);
    bench.deliver(PayloadKind::Opus, payload, 2880);
    bench.pass(60);
}

fn talk_60_for(bench: &mut Bench, rate: Bitrate, ms: u64) {
    for _ in 0..ms / 60 {
        talk_60(bench, rate);
    }
}

fn lean(bench: &Bench) -> Lean {
    match bench.hints.last().unwrap().1.source {
        SourceCodec::Lean(lean) => lean,
        other => panic!("asked for {other:?}"),
    }
}

/// A call in which the publisher was heard and then asked for a rate.
fn asked() -> (Bench, Lean) {
    let mut bench = Bench::new(adaptive(), stock_publisher());
    bench.tap.add_leg(bench.now, LegId(1), stock_caps());
    bench.drain();
    talk_60_for(&mut bench, Bitrate::kbps(46), 4_000);
    let asked = lean(&bench);
    (bench, asked)
}

#[test]
fn a_stock_publisher_is_asked_for_a_rate_once_their_own_was_heard_and_then_forwarded_untouched() {
    let mut bench = Bench::new(adaptive(), stock_publisher());
    bench.tap.add_leg(bench.now, LegId(1), stock_caps());
    bench.drain();
    let (_, first, keep_rate) = bench.hints[0].clone();
    assert!(
        matches!(first.source, SourceCodec::Lean(_)) && keep_rate,
        "{first:?}"
    );
    let from = bench.now;
    talk_60_for(&mut bench, Bitrate::kbps(46), 4_000);
    let (at, _, keep_rate) = bench.hints.last().unwrap();
    assert!(
        !keep_rate && *at - from < Duration::from_secs(4),
        "{:?}",
        bench.hints
    );
    assert!(matches!(bench.rung(1), Rung::Lean(_)), "coded meanwhile");
    let asked = lean(&bench);
    assert!(asked.bitrate <= Bitrate::kbps(16), "{asked:?}");
    talk_60_for(&mut bench, asked.bitrate, 4_000);
    assert_eq!(
        bench.rung(1),
        Rung::Original,
        "the publisher does what was asked for"
    );
    let (calls, wishes) = (bench.core.calls, bench.hints.len());
    talk_60_for(&mut bench, asked.bitrate, 60_000);
    assert_eq!((bench.core.calls, bench.hints.len()), (calls, wishes));
    bench.assert_seamless(1, 0);
}

#[test]
fn a_publisher_who_takes_the_packet_time_and_not_the_rate_is_coded() {
    let (mut bench, _) = asked();
    talk_60_for(&mut bench, Bitrate::kbps(46), 20_000);
    assert!(matches!(bench.rung(1), Rung::Lean(_)));
    let changes = bench
        .events
        .iter()
        .filter(|(_, event)| matches!(event, TapEvent::RungChanged { .. }));
    assert_eq!(changes.count(), 1, "{:?}", bench.events);
    bench.assert_seamless(1, 60);
}

#[test]
fn the_rate_is_given_back_with_the_policy_and_asked_for_at_once_when_it_returns() {
    let (mut bench, asked) = asked();
    talk_60_for(&mut bench, asked.bitrate, 5_000);
    let off = auralink_types::AicConfig::default().policy();
    bench.tap.set_policy(bench.now, off);
    bench.drain();
    assert_eq!(bench.hints.last().unwrap().1.source, SourceCodec::Own);
    bench.talk_for(1_000);
    bench.tap.set_policy(bench.now, adaptive());
    bench.drain();
    assert!(matches!(
        bench.hints.last(),
        Some((
            _,
            PublisherHint {
                source: SourceCodec::Lean(_),
                ..
            },
            false
        ))
    ));
}

#[test]
fn a_score_that_scatters_on_a_steady_line_moves_nothing_more_than_once_a_minute() {
    for (seed, mean) in [(1, 4.1f32), (2, 4.0), (3, 4.2), (4, 3.9)] {
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut bench, _) = asked();
        let from = bench.now;
        // This publisher takes no rate: the core codes and measures.
        while bench.now - from < Duration::from_secs(300) {
            bench.core.quality = Some(mean + rng.random_range(-0.35..0.35));
            talk_60(&mut bench, Bitrate::kbps(46));
        }
        let wishes = bench.hints.iter().filter(|(at, ..)| *at > from).count();
        assert!(wishes <= 5, "{wishes} wishes around {mean}: {:?}", bench.hints);
        let changes: Vec<_> = bench
            .events
            .iter()
            .filter(|(at, event)| *at > from && matches!(event, TapEvent::RungChanged { .. }))
            .collect();
        assert!(
            changes.len() <= 5,
            "{} changes around {mean}: {changes:?}",
            changes.len()
        );
    }
}

#[test]
fn a_score_well_under_the_floor_is_acted_on_at_once() {
    let (mut bench, asked) = asked();
    bench.core.quality = Some(4.2);
    talk_60_for(&mut bench, Bitrate::kbps(46), 30_000);
    let (from, wishes) = (bench.now, bench.hints.len());
    bench.core.quality = Some(3.3);
    talk_60_for(&mut bench, Bitrate::kbps(46), 5_000);
    let (at, hint, _) = bench.hints[wishes..].first().expect("asked for more");
    assert!(*at - from < Duration::from_secs(5));
    assert!(
        matches!(hint.source, SourceCodec::Lean(lean) if lean.bitrate > asked.bitrate),
        "{hint:?}"
    );
}

#[test]
fn what_is_no_voice_is_not_thinned_at_its_source() {
    let caps = PublisherCaps {
        steerable: false,
        ..stock_publisher()
    };
    let mut bench = Bench::new(adaptive(), caps);
    bench.tap.add_leg(bench.now, LegId(1), stock_caps());
    bench.talk_for(5_000);
    assert!(bench.hints.is_empty());
}

#[test]
fn a_second_in_which_nothing_was_measured_has_no_quality_and_nobody_sends_a_rung_of_nothing() {
    let mut bench = Bench::new(adaptive(), stock_publisher());
    bench.tap.add_leg(bench.now, LegId(1), stock_caps());
    let check = |bench: &mut Bench| {
        let snapshot = bench.tap.snapshot();
        if let Some(Rung::Lean(lean)) = snapshot.source {
            assert!(lean.bitrate >= Bitrate::kbps(6), "{lean:?}");
        }
        if let Some(expected) = snapshot.expected {
            assert!(expected.score().value() >= 0.8, "{expected:?}: {snapshot:?}");
        }
    };
    // Packets grow to what was asked for, over a pause that costs next to nothing.
    for (toc, ticks) in [(0x78, 960), (0x79, 1920), (0x58, 2880)] {
        for _ in 0..60 {
            bench.deliver(PayloadKind::Opus, vec![toc, 1, 2], ticks);
            bench.pass(u64::from(ticks) / 48);
            check(&mut bench);
        }
    }
    let packet = PacketTime::Ms60;
    assert_eq!(lean(&bench).packet, packet);
    talk_60_for(&mut bench, Bitrate::kbps(46), 4_000);
    check(&mut bench);
    let asked = lean(&bench);
    talk_60_for(&mut bench, asked.bitrate, 4_000);
    let snapshot = bench.tap.snapshot();
    assert_eq!(snapshot.source, Some(Rung::Lean(asked)));
    assert!(snapshot.expected.is_some() && snapshot.quality.is_none());
}

#[test]
fn listeners_are_spared_what_a_publisher_does_not_spare_and_get_it_untouched_again_when_they_do() {
    let (mut bench, asked) = asked();
    let sent = |bench: &mut Bench, rate, ms| {
        let before = bench.tap.snapshot().downlink;
        talk_60_for(bench, rate, ms);
        let after = bench.tap.snapshot().downlink;
        (after.original_bytes - before.original_bytes) as f64 / (after.sent_bytes - before.sent_bytes) as f64
    };
    for _ in 0..3 {
        talk_60_for(&mut bench, Bitrate::kbps(46), 12_000);
        assert!(matches!(bench.rung(1), Rung::Lean(_)), "not obeyed");
        // The bench's coded packets are of 30 bytes.
        let times = sent(&mut bench, Bitrate::kbps(46), 6_000);
        assert!(times > 8.0, "{times}");
        talk_60_for(&mut bench, asked.bitrate, 12_000);
        assert_eq!(bench.rung(1), Rung::Original, "obeyed");
    }
    bench.assert_seamless(1, 60);
}

/// A call with a publisher who says that they send two channels.
fn said_to_be_stereo() -> Bench {
    let caps = PublisherCaps {
        stereo: true,
        red: false,
        ..stock_publisher()
    };
    let mut bench = Bench::new(adaptive(), caps);
    bench.tap.add_leg(bench.now, LegId(1), stock_caps());
    bench.drain();
    assert!(bench.hints.is_empty(), "nothing was heard");
    bench
}

#[test]
fn a_track_said_to_be_stereo_that_comes_in_one_channel_is_saved_like_any_voice() {
    let mut bench = said_to_be_stereo();
    bench.talk_for(3_000);
    assert!(
        matches!(bench.hints.first(), Some((_, hint, _)) if matches!(hint.source, SourceCodec::Lean(_))),
        "{:?}",
        bench.hints
    );
    assert!(matches!(bench.rung(1), Rung::Lean(_)));
}

#[test]
fn a_track_that_comes_in_two_channels_is_left_alone_also_when_it_begins_with_one() {
    let mut bench = said_to_be_stereo();
    bench.talk_for(200);
    for _ in 0..500 {
        let mut payload = plain(160);
        payload[0] |= 0x04;
        bench.deliver(PayloadKind::Opus, payload, 960);
        bench.pass(20);
    }
    assert!(bench.hints.is_empty(), "{:?}", bench.hints);
    assert_eq!(bench.rung(1), Rung::Original);
}
