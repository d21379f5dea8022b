use auralink_types::{Media, NetworkClass, QualityMetric, Reason, SavingsBasis, UserKey};

use super::*;

fn row(tenant: &str, session: &str) -> MetricRow {
    MetricRow {
        owner: UserKey::new(tenant, "ada"),
        call_id: "RM_1".into(),
        session_id: session.into(),
        track_id: "TR_1".into(),
        ts_us: 0,
        media: Media::Audio,
        original_bandwidth_kbps: 120.0,
        compressed_bandwidth_kbps: 24.0,
        savings_basis: SavingsBasis::Measured,
        inference_latency_ms: Some(0.4),
        inference_latency_p99_ms: Some(0.9),
        quality_score: Some(0.9),
        quality_metric: QualityMetric::EstimatedPesqWb,
        psnr_db: None,
        prediction: None,
        model_used: "lean-12k-60ms".into(),
        frames: 50,
        fallback_triggered: false,
        fallback_reason: None,
        network_class: NetworkClass::Good,
    }
}

struct Bench {
    engine: AlertEngine,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            engine: AlertEngine::new(now, AlertRules::default()),
            now,
        }
    }

    /// So many seconds with one row each; gives what changed, as `kind+` or `kind-`, sessions in brackets.
    fn run(&mut self, seconds: u32, mut row_of: impl FnMut(u32) -> Option<MetricRow>) -> Vec<String> {
        let mut said = Vec::new();
        for second in 0..seconds {
            self.now += Duration::from_secs(1);
            if let Some(row) = row_of(second) {
                self.engine.handle_row(&row);
            }
            self.engine.handle_timeout(self.now);
            while let Some(change) = self.engine.poll_change() {
                let sign = if change.raised { '+' } else { '-' };
                let about = change
                    .subject
                    .session
                    .as_ref()
                    .map_or(String::new(), |(id, _)| format!("[{id}]"));
                said.push(format!("{}{sign}{about}", change.kind.as_str()));
                assert!(!change.message().is_empty());
            }
        }
        said.sort();
        said
    }
}

fn good() -> Option<MetricRow> {
    Some(row("one", "AS_1"))
}

fn fallen() -> Option<MetricRow> {
    Some(MetricRow {
        fallback_triggered: true,
        fallback_reason: Some(Reason::Overload),
        ..row("one", "AS_1")
    })
}

fn blurred() -> Option<MetricRow> {
    Some(MetricRow {
        quality_score: Some(0.4),
        inference_latency_p99_ms: Some(50.0),
        ..row("one", "AS_1")
    })
}

#[test]
fn a_healthy_call_raises_nothing() {
    let mut bench = Bench::new();
    assert_eq!(bench.run(3700, |_| good()), [""; 0]);
}

#[test]
fn one_fallback_in_a_while_is_no_alert_and_many_are_until_they_stop() {
    let mut bench = Bench::new();
    let rare = bench.run(1200, |second| if second % 200 == 100 { fallen() } else { good() });
    assert_eq!(
        rare, [""; 0],
        "each is over 1 % of its minute, but not for three checks in a row after it is gone"
    );
}

#[test]
fn lasting_trouble_is_raised_once_and_cleared_once() {
    let mut bench = Bench::new();
    bench.run(60, |_| good());
    let raised = bench.run(60, |_| fallen());
    assert_eq!(raised, ["capacity+", "fallback_rate+"]);
    assert_eq!(
        bench.run(300, |_| fallen()),
        ["error_budget+"],
        "the hour's budget is judged when there is enough of it"
    );
    assert_eq!(bench.engine.raised(), 3);
    assert_eq!(bench.run(180, |_| good()), ["capacity-", "fallback_rate-"]);
}

#[test]
fn a_bad_session_is_named_and_its_tenant_too() {
    let mut bench = Bench::new();
    let raised = bench.run(60, |_| blurred());
    assert_eq!(
        raised,
        ["latency+", "latency+[AS_1]", "quality+", "quality+[AS_1]"]
    );
    // The call ends: nothing more is seen, so nothing is wrong any more, and nothing is remembered.
    let cleared = bench.run(180, |_| None);
    assert_eq!(
        cleared,
        ["latency-", "latency-[AS_1]", "quality-", "quality-[AS_1]"]
    );
    bench.run(3700, |_| None);
    assert!(bench.engine.watched.is_empty());
}

#[test]
fn what_comes_and_goes_does_not_flap() {
    let mut bench = Bench::new();
    // 100 s of trouble, 40 s without, over and over: the minute after trouble still holds some of it.
    let said = bench.run(1400, |second| if second % 140 < 100 { blurred() } else { good() });
    assert_eq!(
        said.iter().filter(|change| change.ends_with('-')).count(),
        0,
        "{said:?}"
    );
    assert!(said.len() <= 5, "{said:?}");
}

#[test]
fn too_few_seconds_prove_nothing() {
    let mut bench = Bench::new();
    assert_eq!(
        bench.run(300, |second| (second % 10 == 0).then(blurred).flatten()),
        [""; 0]
    );
}

#[test]
fn an_alert_from_before_a_restart_clears_when_all_is_well() {
    let mut bench = Bench::new();
    let subject = Subject {
        tenant: "one".into(),
        session: None,
    };
    bench.engine.restore(subject, AlertKind::Latency);
    assert_eq!(bench.run(120, |_| good()), ["latency-"]);
}

#[test]
fn tenants_do_not_see_each_others_trouble() {
    let mut bench = Bench::new();
    let now = bench.now;
    for second in 0..60 {
        bench.engine.handle_row(&blurred().unwrap());
        bench.engine.handle_row(&row("two", "AS_2"));
        bench.engine.handle_timeout(now + Duration::from_secs(second + 1));
    }
    let changes: Vec<_> = std::iter::from_fn(|| bench.engine.poll_change()).collect();
    assert!(!changes.is_empty());
    assert!(
        changes
            .iter()
            .all(|change| change.subject.tenant.as_str() == "one")
    );
}

#[test]
fn the_table_of_sessions_is_bounded_and_the_tenant_is_still_watched() {
    let mut bench = Bench::new();
    for n in 0..SESSIONS_MAX + 500 {
        bench.engine.handle_row(&row("one", &format!("AS_{n}")));
    }
    assert!(bench.engine.watched.len() <= SESSIONS_MAX);
    bench.engine.handle_row(&row("late", "AS_x"));
    assert!(
        bench
            .engine
            .watched
            .keys()
            .any(|subject| subject.tenant.as_str() == "late")
    );
}
