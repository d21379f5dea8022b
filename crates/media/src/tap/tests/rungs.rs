//! Which leg gets what, and what the publisher is asked for.

use auralink_types::{ConfigChange, Mode, Reason, Rung, SourceCodec};

use super::super::*;
use super::bench::*;

#[test]
fn without_an_active_policy_packets_pass_at_once_byte_for_byte_and_the_core_is_not_touched() {
    let off = auralink_types::AicConfig::default().policy();
    let mut bench = Bench::stock(off);
    for n in 0..50u8 {
        let mut payload = plain(100);
        payload[50] = n;
        let at = bench.now;
        bench.deliver(PayloadKind::Opus, payload.clone(), 960);
        let (sent_at, packet) = bench.of(1).last().unwrap();
        assert_eq!((*sent_at, &packet.payload[..]), (at, &payload[..]));
        bench.pass(20);
    }
    assert_eq!(bench.core.calls, 0);
    assert_eq!(bench.tap.poll_timeout(), None);
    assert!(bench.events.is_empty() && bench.hints.is_empty());
    bench.assert_seamless(1, 0);
}

#[test]
fn a_stock_leg_under_adaptive_gets_lean_packets_without_a_seam() {
    let mut bench = Bench::stock(adaptive());
    bench.talk_for(10_000);
    let snapshot = bench.tap.snapshot();
    let Rung::Lean(lean) = snapshot.legs[0].rung else {
        panic!("not lean")
    };
    assert_eq!(lean.packet.millis(), 60);
    bench.assert_seamless(1, 60);
    let coded = bench.of(1).iter().filter(|(_, packet)| is_coded(packet)).count();
    assert!(coded > 150, "{coded}");
    assert!(snapshot.downlink.ratio().unwrap() > 0.7);
    assert_eq!(snapshot.frames, 500);
    assert!(snapshot.compute_p50.is_some());
    assert!(
        bench
            .events
            .iter()
            .any(|(_, event)| *event == TapEvent::SessionStarted)
    );
}

#[test]
fn packets_grow_step_by_step_from_one_coder_and_no_sample_is_missing() {
    let mut bench = Bench::stock(policy(ConfigChange {
        mode: Some(Mode::Aggressive),
        ..ConfigChange::default()
    }));
    bench.talk_for(10_000);
    bench.assert_seamless(1, 80);
    let coded: Vec<_> = bench
        .of(1)
        .iter()
        .filter(|(_, packet)| is_coded(packet))
        .collect();
    let mut longer = Vec::new();
    for pair in coded.windows(2) {
        let [before, after] = [ticks(&pair[0].1), ticks(&pair[1].1)];
        if after != before {
            assert_eq!(after, before + 960, "by one frame at a time");
            longer.push(pair[1].0);
        }
    }
    assert_eq!((longer.len(), ticks(&coded.last().unwrap().1)), (2, 80 * 48));
    assert!(longer.windows(2).all(|pair| pair[1] - pair[0] >= 400 * MS));
    let first = bench
        .of(1)
        .iter()
        .position(|(_, packet)| is_coded(packet))
        .unwrap();
    assert!(
        bench.of(1)[first..].iter().all(|(_, packet)| is_coded(packet)),
        "no original between the steps"
    );
    let told = bench.events.iter().filter_map(|(_, event)| match event {
        TapEvent::RungChanged { to, .. } => Some(*to),
        _ => None,
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [bench.rung(1)],
        "steps are no changes of rung"
    );
}

#[test]
fn what_a_steered_publisher_is_about_to_send_is_not_coded_meanwhile() {
    let caps = PublisherCaps {
        models: vec![MODEL],
        steerable: true,
        red: true,
        stereo: false,
    };
    let mut bench = Bench::new(adaptive(), caps);
    bench.tap.add_leg(bench.now, LegId(1), stock_caps());
    bench.talk_for(400);
    let Some(SourceCodec::Lean(lean)) = bench.hints.last().map(|(_, hint, _)| hint.source) else {
        panic!("not lean: {:?}", bench.hints)
    };
    assert_eq!(lean.packet.millis(), 60);
    for _ in 0..100 {
        let mut payload = vec![0x58, 0];
        payload.resize(lean.bitrate.as_bps() as usize * 60 / 8000, 0);
        bench.deliver(PayloadKind::Opus, payload, 2880);
        bench.pass(60);
    }
    assert_eq!(bench.core.calls, 0);
    bench.assert_seamless(1, 0);
}

#[test]
fn a_publisher_who_does_not_do_what_he_is_asked_is_coded_after_three_seconds() {
    let caps = PublisherCaps {
        models: vec![MODEL],
        steerable: true,
        red: true,
        stereo: false,
    };
    let mut bench = Bench::new(adaptive(), caps);
    bench.tap.add_leg(bench.now, LegId(1), stock_caps());
    bench.talk_for(2_900);
    assert_eq!(bench.rung(1), Rung::Original);
    bench.talk_for(3_000);
    assert!(matches!(bench.rung(1), Rung::Lean(_)));
    bench.assert_seamless(1, 60);
}

#[test]
fn the_neural_codec_is_never_asked_for_while_somebody_cannot_decode_it() {
    let caps = PublisherCaps {
        models: vec![MODEL],
        steerable: true,
        red: true,
        stereo: false,
    };
    let low = policy(ConfigChange {
        min_quality_score: Some(0.2),
        ..ConfigChange::default()
    });
    let mut bench = Bench::new(low, caps);
    bench.tap.add_leg(bench.now, LegId(1), stock_caps());
    bench.tap.add_leg(bench.now, LegId(2), aic_caps());
    for _ in 0..30 {
        bench.tap.set_uplink_network(bench.now, 0.3, 100 * MS, 30 * MS);
        bench.talk_for(1_000);
    }
    let neural =
        |(_, hint, _): &(_, auralink_types::PublisherHint, _)| matches!(hint.source, SourceCodec::Neural(_));
    assert!(!bench.hints.iter().any(neural), "{:?}", bench.hints);
    bench.tap.remove_leg(bench.now, LegId(1));
    bench.talk_for(12_000);
    assert!(bench.hints.last().is_some_and(neural), "{:?}", bench.hints);
}

#[test]
fn policy_flips_take_effect_at_once_and_cost_no_audio() {
    let mut bench = Bench::stock(adaptive());
    bench.talk_for(1_990);
    let off = policy(ConfigChange {
        opt_out: Some(true),
        ..ConfigChange::default()
    });
    bench.tap.set_policy(bench.now, off);
    bench.drain();
    bench.assert_seamless(1, 0);
    let flipped = bench.now;
    bench.talk_for(500);
    assert!(
        bench
            .of(1)
            .iter()
            .filter(|(at, _)| *at > flipped)
            .all(|(_, packet)| !is_coded(packet))
    );
    let calls = bench.core.calls;
    bench.talk_for(500);
    assert_eq!(
        bench.core.calls, calls,
        "an opted-out user's audio reached the core"
    );
    bench.tap.set_policy(bench.now, adaptive());
    bench.talk_for(15_000);
    assert!(matches!(bench.rung(1), Rung::Lean(_)));
    bench.assert_seamless(1, 60);
}

#[test]
fn an_aic_leg_and_a_stock_leg_of_one_track_get_what_each_can_take() {
    let low = policy(ConfigChange {
        min_quality_score: Some(0.2),
        ..ConfigChange::default()
    });
    let mut bench = Bench::stock(low);
    bench.tap.add_leg(bench.now, LegId(2), aic_caps());
    let vetoed = LegCaps {
        opted_out: true,
        ..aic_caps()
    };
    bench.tap.add_leg(bench.now, LegId(3), vetoed);
    bench.talk_for(5_000);
    assert!(matches!(bench.rung(1), Rung::Lean(_)));
    assert!(matches!(bench.rung(2), Rung::Neural(_)));
    assert_eq!(bench.rung(3), Rung::Original);
    assert!(bench.of(3).iter().all(|(_, packet)| !is_coded(packet)));
    for leg in [1, 2, 3] {
        bench.assert_seamless(leg, 120);
    }
}

#[test]
fn music_moves_a_neural_leg_to_opus_without_a_seam_and_speech_brings_it_back() {
    let low = policy(ConfigChange {
        min_quality_score: Some(0.2),
        ..ConfigChange::default()
    });
    let mut bench = Bench::stock(low);
    bench.tap.add_leg(bench.now, LegId(2), aic_caps());
    bench.talk_for(5_000);
    assert!(matches!(bench.rung(2), Rung::Neural(_)));
    bench.core.content = auralink_quality::Content::Music;
    bench.talk_for(6_000);
    assert!(matches!(bench.rung(2), Rung::Lean(_)), "{:?}", bench.rung(2));
    let leg = |bench: &mut Bench| {
        bench
            .tap
            .snapshot()
            .legs
            .into_iter()
            .find(|leg| leg.leg == LegId(2))
    };
    assert_eq!(leg(&mut bench).unwrap().reason, Some(Reason::Content));
    bench.core.content = auralink_quality::Content::Speech;
    bench.talk_for(36_000);
    assert!(matches!(bench.rung(2), Rung::Neural(_)), "{:?}", bench.rung(2));
    bench.assert_seamless(2, 120);
}

#[test]
fn a_neural_publisher_reaches_aic_legs_untouched_and_stock_legs_as_opus() {
    let mut bench = Bench::stock(adaptive());
    bench.tap.add_leg(bench.now, LegId(2), aic_caps());
    for _ in 0..200 {
        bench.deliver(PayloadKind::Opus, aic(3, MODEL), 2880);
        bench.pass(60);
    }
    assert!(
        bench
            .of(2)
            .iter()
            .all(|(_, packet)| packet.payload[..] == aic(3, MODEL)[..])
    );
    assert!(matches!(bench.rung(1), Rung::Lean(_)));
    let late = bench.of(1).iter().skip(10);
    assert!(late.clone().count() > 100 && late.clone().all(|(_, packet)| is_coded(packet)));
    bench.assert_seamless(2, 0);
    bench.assert_seamless(1, 0);
}

#[test]
fn a_lean_source_is_forwarded_as_it_is() {
    let mut bench = Bench::stock(adaptive());
    for _ in 0..500 {
        let mut payload = vec![0x58, 0];
        payload.resize(112, 0);
        bench.deliver(PayloadKind::Opus, payload, 2880);
        bench.pass(60);
    }
    assert_eq!(bench.rung(1), Rung::Original);
    assert_eq!(bench.tap.snapshot().legs[0].reason, None);
    bench.assert_seamless(1, 0);
}

#[test]
fn a_steerable_publisher_is_asked_for_the_cheapest_source_that_serves_every_leg() {
    let caps = PublisherCaps {
        models: vec![MODEL],
        steerable: true,
        red: true,
        stereo: false,
    };
    let low = policy(ConfigChange {
        min_quality_score: Some(0.2),
        ..ConfigChange::default()
    });
    let mut bench = Bench::new(low, caps);
    bench.drain();
    assert!(
        matches!(bench.hints[0].1.source, SourceCodec::Lean(_)),
        "lean while nobody listens"
    );
    bench.talk_for(1_000);
    bench.tap.add_leg(bench.now, LegId(2), aic_caps());
    bench.drain();
    assert!(
        matches!(bench.hints.last().unwrap().1.source, SourceCodec::Neural(_)),
        "the first listener does not wait for the pause between wishes"
    );
    bench.talk_for(12_000);
    bench.tap.add_leg(bench.now, LegId(1), stock_caps());
    bench.talk_for(100);
    assert!(matches!(
        bench.hints.last().unwrap().1.source,
        SourceCodec::Lean(_)
    ));
    let vetoed = LegCaps {
        opted_out: true,
        ..stock_caps()
    };
    bench.tap.add_leg(bench.now, LegId(3), vetoed);
    bench.talk_for(100);
    assert_eq!(bench.hints.last().unwrap().1.source, SourceCodec::Own);
}

#[test]
fn a_publisher_that_cannot_be_steered_hears_nothing() {
    let mut bench = Bench::stock(adaptive());
    bench.talk_for(2_000);
    assert!(bench.hints.is_empty());
}

#[test]
fn stereo_stays_as_it_is() {
    let mut bench = Bench::stock(policy(ConfigChange {
        mode: Some(Mode::Aggressive),
        ..ConfigChange::default()
    }));
    for _ in 0..200 {
        let mut payload = plain(200);
        payload[0] = 0x7c;
        bench.deliver(PayloadKind::Opus, payload, 960);
        bench.pass(20);
    }
    assert_eq!(bench.rung(1), Rung::Original);
    assert_eq!(bench.tap.snapshot().legs[0].reason, Some(Reason::Content));
}

#[test]
fn rungs_change_at_most_once_in_ten_seconds_but_for_the_way_to_originals() {
    let mut bench = Bench::stock(adaptive());
    for second in 0..120u64 {
        let mode = if second % 2 == 0 {
            Mode::Aggressive
        } else {
            Mode::Conservative
        };
        bench.tap.set_policy(
            bench.now,
            policy(ConfigChange {
                mode: Some(mode),
                ..ConfigChange::default()
            }),
        );
        bench.talk_for(1_000);
    }
    let changes = bench
        .events
        .iter()
        .filter(|(_, event)| matches!(event, TapEvent::RungChanged { to, .. } if *to != Rung::Original));
    let times: Vec<_> = changes.map(|(at, _)| *at).collect();
    assert!(times.len() > 3);
    assert!(
        times.windows(2).all(|pair| pair[1] - pair[0] >= 10_000 * MS),
        "{times:?}"
    );
    bench.assert_seamless(1, 160);
}
