//! Publisher and receiver wired together in virtual time: loss, order and switches are exact, so gaps are too.
#![allow(clippy::unwrap_used)]

mod pauses;
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use auralink_client::answer::LineTerms;
use auralink_client::publish::Publisher;
use auralink_client::receive::{BLOCK, Receiver};
use auralink_client::unit::Kind;
use auralink_client::{AudioSource, OwnSettings};
use auralink_types::{Bitrate, Lean, PacketTime, SourceCodec};
use proptest::prelude::*;
use support::{Call, Hum, Network, clean, lean, losing, neural};

#[test]
fn a_clean_call_has_no_gap_and_a_steady_delay() {
    let mut call = Call::new(true, clean());
    call.run(5_000);
    let stats = call.stats();
    assert_eq!(
        (stats.gap_count, stats.packets_lost, stats.late),
        (0, 0, 0),
        "{stats:?}"
    );
    assert!(call.sent - stats.packets <= 1, "only the last may be on its way");
    assert_eq!((stats.stretched_ms, stats.squeezed_ms), (0.0, 0.0));
    assert!(stats.mean_buffer_ms < 60.0, "{}", stats.mean_buffer_ms);
    assert!(call.quietest() > 0.8, "{}", call.quietest());
}

#[test]
fn red_recovers_every_single_loss() {
    let mut call = Call::new(true, losing(|index| index % 5 == 3));
    call.run(5_000);
    let stats = call.stats();
    let lost = (0..call.sent - 1).filter(|index| index % 5 == 3).count() as u64;
    assert!(
        stats.packets_lost >= lost - 1 && stats.packets_lost <= lost,
        "{} of {lost}",
        stats.packets_lost
    );
    assert_eq!(stats.gap_count, 0, "{:?}", stats.gaps);
    assert!(stats.recovered >= lost - 3, "{} of {lost}", stats.recovered);
}

#[test]
fn a_lost_packet_without_red_is_one_gap_of_its_length() {
    let mut call = Call::new(
        false,
        losing(|index| index == 100 || index == 150 || index == 151),
    );
    call.run(5_000);
    let stats = call.stats();
    let lengths: Vec<f64> = stats.gaps.iter().map(|gap| gap.ms).collect();
    assert_eq!(lengths, [20.0, 40.0]);
    assert_eq!(
        (stats.packets_lost, stats.concealed_ms, stats.longest_gap_ms),
        (3, 60.0, 40.0)
    );
    assert!((stats.gaps[1].at_ms - stats.gaps[0].at_ms - 1_000.0).abs() < 1e-6);
}

#[test]
fn opus_redundancy_fills_single_losses_of_speech() {
    let lost = |index| index > 60 && index % 5 == 3;
    let wish = SourceCodec::Lean(Lean {
        bitrate: Bitrate::kbps(24),
        packet: PacketTime::Ms60,
        fec: true,
    });
    let mut call = Call::new(true, losing(lost));
    // Only what sounds like speech is copied.
    call.publisher = Publisher::new(AudioSource::synthetic(), OwnSettings::default(), None, 0);
    call.publisher.negotiated(&LineTerms {
        opus: Some(111),
        receives: true,
        ..LineTerms::default()
    });
    call.publisher.hint(wish);
    call.publisher.begin(call.start);
    call.run(10_000);
    let stats = call.stats();
    assert!(stats.packets_lost > 15, "{stats:?}");
    assert!(
        stats.recovered as f64 > 0.7 * stats.packets_lost as f64,
        "{} of {}: {:?}",
        stats.recovered,
        stats.packets_lost,
        stats.gaps
    );
}

#[test]
fn an_outage_is_one_gap_and_the_call_goes_on_after_it() {
    let mut call = Call::new(false, losing(|index| (100..130).contains(&index)));
    call.run(6_000);
    let stats = call.stats();
    assert_eq!(stats.gap_count, 1, "{:?}", stats.gaps);
    assert!(
        (stats.longest_gap_ms - 600.0).abs() <= 20.0,
        "{}",
        stats.longest_gap_ms
    );
    assert!(
        call.heard[call.heard.len() - 9_600..]
            .iter()
            .any(|x| x.abs() > 0.2)
    );
}

#[test]
fn reordered_and_doubled_packets_cost_nothing() {
    let network: Network = Box::new(|index, _| match index % 10 {
        3 => vec![27],
        6 => vec![5, 9],
        _ => vec![5],
    });
    let mut call = Call::new(false, network);
    call.run(5_000);
    let stats = call.stats();
    assert!(stats.reordered >= 20 && stats.duplicates >= 20, "{stats:?}");
    assert_eq!((stats.gap_count, stats.packets_lost), (0, 0), "{:?}", stats.gaps);
}

#[test]
fn sequence_and_timestamp_may_wrap_in_mid_call() {
    let mut call = Call::starting_at(true, losing(|index| index % 7 == 5), 65_500, u32::MAX - 40_000);
    call.run(5_000);
    let stats = call.stats();
    assert_eq!((stats.gap_count, stats.restarts), (0, 0), "{:?}", stats.gaps);
    assert!(stats.packets_lost > 30);
}

#[test]
fn packets_that_grow_from_20_to_120_ms_leave_no_gap() {
    let mut call = Call::new(true, clean());
    call.run(2_000);
    assert!(call.publisher.hint(lean(PacketTime::Ms120)));
    call.run(4_000);
    assert!(call.publisher.hint(SourceCodec::Own));
    call.run(4_000);
    let stats = call.stats();
    assert_eq!(stats.gap_count, 0, "{:?} {:?}", stats.gaps, stats.switches);
    assert!(stats.stretched_ms > 60.0 && stats.squeezed_ms > 40.0, "{stats:?}");
    assert!(
        stats
            .switches
            .iter()
            .any(|switch| switch.shape.packet_ms == 120 && !switch.shape.red)
    );
    assert!(call.quietest() > 0.3, "{}", call.quietest());
}

#[test]
fn going_to_the_neural_codec_and_back_leaves_no_gap() {
    let mut call = Call::new(true, clean());
    for _ in 0..5 {
        call.run(1_500);
        assert!(call.publisher.hint(neural(PacketTime::Ms60, 0)));
        call.run(1_500);
        assert!(call.publisher.hint(SourceCodec::Own));
    }
    call.run(1_000);
    let stats = call.stats();
    assert_eq!((stats.gap_count, stats.late), (0, 0), "{:?}", stats.gaps);
    let kinds: Vec<Kind> = stats.switches.iter().map(|switch| switch.shape.kind).collect();
    assert_eq!(kinds.windows(2).filter(|pair| pair[0] != pair[1]).count(), 10);
    assert!(stats.neural_packets > 100);
    assert!(call.quietest() > 0.4, "{}", call.quietest());
}

#[test]
fn copies_fill_what_a_burst_took() {
    let mut call = Call::new(true, losing(|index| index > 100 && index % 10 < 2));
    assert!(call.publisher.hint(neural(PacketTime::Ms20, 2)));
    call.run(5_000);
    let stats = call.stats();
    assert!(stats.packets_lost > 20);
    assert!(stats.concealed_ms <= 40.0, "{:?}", stats.gaps);
    assert!(stats.recovered > 20, "{}", stats.recovered);
}

#[test]
fn jitter_is_absorbed_once_it_is_known() {
    let mut state = 1u64;
    let network: Network = Box::new(move |_, _| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        vec![10 + (state >> 33) % 60]
    });
    let mut call = Call::new(true, network);
    call.run(20_000);
    let stats = call.stats();
    let late: f64 = stats
        .gaps
        .iter()
        .filter(|gap| gap.at_ms > 3_000.0)
        .map(|gap| gap.ms)
        .sum();
    assert!(late < 0.02 * 17_000.0, "{late} ms concealed: {:?}", stats.gaps);
    assert_eq!(stats.packets_lost, 0);
}

#[test]
fn a_timeline_that_begins_anew_is_played_from_there() {
    let mut call = Call::new(true, clean());
    call.run(2_000);
    let mut other = Call::starting_at(true, clean(), 30_000, 3_000_000_000);
    other.run(2_000);
    let restarts = call.stats().restarts;
    std::mem::swap(&mut call.publisher, &mut other.publisher);
    call.first_seq = 40_000;
    call.run(2_000);
    assert_eq!(restarts, 0);
    assert_eq!(call.stats().restarts, 1);
    assert!(
        call.heard[call.heard.len() - 9_600..]
            .iter()
            .any(|x| x.abs() > 0.2)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn nothing_that_arrives_makes_the_receiver_panic_or_overshoot(
        packets in proptest::collection::vec(
            (any::<u16>(), any::<u32>(), proptest::collection::vec(any::<u8>(), 0..80), any::<bool>(), 0u64..40),
            1..60,
        ),
        ssrcs in 1u32..4,
    ) {
        let start = Instant::now();
        let mut receiver = Receiver::new(start, Some(Arc::new(Hum)), Duration::from_millis(40)).unwrap();
        let mut now = start;
        let mut block = [0.0; BLOCK];
        for (index, (seq, timestamp, payload, red, wait)) in packets.iter().enumerate() {
            let near = if index % 3 == 0 { *timestamp } else { 960 * index as u32 };
            receiver.arrived(now, index as u32 % ssrcs, *seq, near, payload, *red);
            now += Duration::from_millis(*wait);
            receiver.pull(now, &mut block);
            prop_assert!(block.iter().all(|x| x.is_finite()));
        }
        for _ in 0..300 {
            now += Duration::from_millis(10);
            receiver.pull(now, &mut block);
        }
        prop_assert!(receiver.stats().packets + receiver.stats().duplicates <= packets.len() as u64);
    }
}

#[test]
fn what_a_timestamp_means_does_not_change_with_the_codec() {
    let heard = |wish: SourceCodec| {
        let model = auralink_client::neural::builtin().unwrap();
        let mut call = Call::new(false, clean());
        call.publisher = Publisher::new(
            AudioSource::synthetic(),
            OwnSettings::default(),
            Some(model.clone()),
            0,
        );
        call.publisher.negotiated(&LineTerms {
            opus: Some(111),
            receives: true,
            ..LineTerms::default()
        });
        call.publisher.hint(wish);
        call.publisher.begin(call.start);
        call.receiver = Receiver::new(call.start, Some(model), Duration::from_millis(70)).unwrap();
        call.run(3_000);
        assert_eq!(call.stats().gap_count, 0);
        call.heard
    };
    let (opus, neural) = (heard(SourceCodec::Own), heard(neural(PacketTime::Ms20, 0)));
    let likeness = |lag: i64| -> f64 {
        let pairs = (24_000..120_000).step_by(3);
        pairs
            .map(|n: i64| f64::from(opus[n as usize]) * f64::from(neural[(n + lag) as usize]))
            .sum()
    };
    let best = (-2_400..=2_400)
        .max_by(|a, b| likeness(*a).total_cmp(&likeness(*b)))
        .unwrap();
    assert!(
        best.abs() <= 48,
        "the neural path is {best} samples off at 48 kHz"
    );
}
