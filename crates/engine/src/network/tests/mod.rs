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
