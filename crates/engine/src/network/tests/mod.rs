use super::*;

fn sample(loss: f32) -> NetworkSample {
    NetworkSample {
        loss,
        rtt: Duration::from_millis(30),
        jitter: Duration::from_millis(3),
        ..NetworkSample::default()
    }
}

#[test]
fn trouble_is_believed_at_once_and_peace_only_after_ten_seconds() {
    let start = Instant::now();
    let mut network = NetworkAnalyzer::default();
    network.handle_sample(start, sample(0.0));
    assert_eq!(network.class(), NetworkClass::Good);
    assert!(network.handle_sample(start, sample(0.5)), "the fall is told");
    assert_eq!(network.class(), NetworkClass::Poor);
    for second in 1..40 {
        network.handle_sample(start + Duration::from_secs(second), sample(0.0));
        if second < 10 {
            assert_eq!(network.class(), NetworkClass::Poor, "after {second} s");
        }
    }
    assert_eq!(network.class(), NetworkClass::Good);
}

/// Feeds one report a second.
fn feed(
    network: &mut NetworkAnalyzer,
    from: Instant,
    samples: impl IntoIterator<Item = NetworkSample>,
) -> Instant {
    let mut now = from;
    for sample in samples {
        now += Duration::from_secs(1);
        network.handle_sample(now, sample);
    }
    now
}

#[test]
fn single_losses_and_bursts_of_the_same_share_are_told_apart_without_seeing_the_sequence() {
    let reports = |lost_in: &[u32]| -> Vec<NetworkSample> {
        let lost = lost_in.iter().cycle().take(60);
        lost.map(|lost| NetworkSample {
            packets: 50,
            ..sample(*lost as f32 / 50.0)
        })
        .collect()
    };
    let burst = |lost_in: &[u32]| {
        let mut network = NetworkAnalyzer::default();
        feed(&mut network, Instant::now(), reports(lost_in));
        network.network().burst
    };
    let singles = burst(&[2, 1, 3, 2, 0, 4, 1, 2, 3, 2]);
    let bursts = burst(&[0, 0, 10, 0, 0, 0, 0, 10, 0, 0]);
    assert!(singles < 1.5 && bursts > 3.0, "{singles} and {bursts}");
}

#[test]
fn a_report_that_saw_the_sequence_is_believed_about_its_bursts() {
    let mut network = NetworkAnalyzer::default();
    let told = NetworkSample {
        burst: Some(4.0),
        ..sample(0.05)
    };
    feed(&mut network, Instant::now(), [told; 10]);
    assert!((network.network().burst - 4.0).abs() < 1e-3);
}

#[test]
fn a_standing_queue_lowers_the_estimate_and_an_empty_one_lets_it_climb_until_it_is_forgotten() {
    let at = |rtt_ms, sent| NetworkSample {
        rtt: Duration::from_millis(rtt_ms),
        sent: Some(Bitrate::kbps(sent)),
        ..sample(0.0)
    };
    let mut network = NetworkAnalyzer::default();
    let now = feed(&mut network, Instant::now(), [at(40, 60); 5]);
    assert_eq!(network.network().capacity, None);
    let now = feed(&mut network, now, [at(500, 60); 2]);
    let low = network.network().capacity.expect("an estimate");
    assert!(low < Bitrate::kbps(60) && low > Bitrate::kbps(40), "{low}");
    let now = feed(&mut network, now, vec![at(40, 25); 12]);
    assert!(
        network
            .network()
            .capacity
            .is_some_and(|rate| rate < Bitrate::kbps(60)),
        "the limit stands"
    );
    feed(&mut network, now, vec![at(40, 25); 90]);
    assert_eq!(network.network().capacity, None, "forgotten in the end");
}

#[test]
fn what_a_queue_dropped_is_not_taken_for_what_the_path_loses() {
    let full = NetworkSample {
        rtt: Duration::from_millis(1_500),
        sent: Some(Bitrate::kbps(120)),
        ..sample(0.6)
    };
    let mut network = NetworkAnalyzer::default();
    let now = feed(&mut network, Instant::now(), [sample(0.0); 3]);
    feed(&mut network, now, [full; 4]);
    let seen = network.network();
    assert_eq!(seen.loss, 0.0);
    assert!(seen.capacity.is_some_and(|rate| rate < Bitrate::kbps(60)));
}

#[test]
fn peace_has_to_last_longer_after_each_relapse() {
    let mut network = NetworkAnalyzer::default();
    let mut now = feed(&mut network, Instant::now(), [sample(0.0); 3]);
    let mut waits = Vec::new();
    for _ in 0..3 {
        now = feed(&mut network, now, [sample(0.5); 2]);
        let mut wait = 0;
        while network.class() != NetworkClass::Good && wait < 300 {
            now = feed(&mut network, now, [sample(0.0)]);
            wait += 1;
        }
        waits.push(wait);
    }
    assert!(waits.is_sorted() && waits[2] > waits[0] + 20, "{waits:?}");
}

#[test]
fn broken_reports_change_nothing_but_themselves() {
    let mut network = NetworkAnalyzer::default();
    let now = feed(&mut network, Instant::now(), [sample(0.0); 3]);
    for loss in [f32::NAN, f32::INFINITY, -1.0] {
        feed(&mut network, now, [sample(loss)]);
        assert_eq!(network.class(), NetworkClass::Good);
        assert!(network.network().loss.is_finite());
    }
}
