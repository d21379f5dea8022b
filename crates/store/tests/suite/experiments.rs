//! Experiments: checked whole, exposed once, compared by unit.

use auralink_store::{Exposure, NewExperiment, Sample, StoreError};
use auralink_types::experiment::{Arm, Unit};
use auralink_types::{ConfigChange, FieldError};

use crate::people::{operator, row, user, write};
use crate::support::{Db, at, both};

both! {
    an_experiment_is_checked_whole_and_named_once,
    outcomes_are_means_and_variances_over_units_not_sessions,
    an_ended_experiment_runs_no_more,
}

fn arm(name: &str, control: bool) -> Arm {
    Arm {
        name: name.into(),
        weight: 1,
        control,
        change: ConfigChange::default(),
    }
}

fn new(name: &str, unit: Unit) -> NewExperiment {
    NewExperiment {
        name: name.into(),
        unit,
        arms: vec![arm("control", true), arm("lean", false)],
        primary: "saved_percent".into(),
    }
}

async fn an_experiment_is_checked_whole_and_named_once(db: Db) {
    let boss = operator(&db.store, "one");
    let refused = async |new: NewExperiment| match boss.create_experiment(&new, at(0)).await {
        Err(StoreError::Invalid(FieldError { field, .. })) => field,
        other => panic!("{other:?}"),
    };
    let mut bad = new("x", Unit::User);
    bad.arms.pop();
    assert_eq!(refused(bad).await, "arms");
    let mut bad = new("x", Unit::User);
    bad.arms[1].control = true;
    assert_eq!(refused(bad).await, "arms");
    let mut bad = new("x", Unit::User);
    bad.arms[1].name = "control".into();
    assert_eq!(refused(bad).await, "arms[1].name");
    let mut bad = new("x", Unit::User);
    bad.arms[0].weight = 0;
    assert_eq!(refused(bad).await, "arms[0].weight");
    let mut bad = new("x", Unit::User);
    bad.arms[1].change.min_quality_score = Some(2.0);
    assert_eq!(refused(bad).await, "arms[1].change.min_quality_score");
    assert_eq!(refused(new("", Unit::User)).await, "name");

    let made = boss
        .create_experiment(&new("x", Unit::Call), at(0))
        .await
        .unwrap();
    assert_eq!(made.arms, new("x", Unit::Call).arms);
    assert!(matches!(
        boss.create_experiment(&new("x", Unit::User), at(1)).await,
        Err(StoreError::Taken { what: "name" })
    ));
    // Another tenant may use the name, and sees nothing of this one.
    let other = operator(&db.store, "two");
    other
        .create_experiment(&new("x", Unit::User), at(1))
        .await
        .unwrap();
    assert!(matches!(
        other.experiment(&made.experiment_id).await,
        Err(StoreError::Missing { .. })
    ));
    assert!(matches!(
        user(&db.store, "one", "ada").experiments(None, 10).await,
        Err(StoreError::OperatorOnly)
    ));
    assert_eq!(db.store.running_experiments().await.unwrap().len(), 2);
}

async fn outcomes_are_means_and_variances_over_units_not_sessions(db: Db) {
    let boss = operator(&db.store, "one");
    let experiment = boss
        .create_experiment(&new("x", Unit::User), at(0))
        .await
        .unwrap();
    // ada saves 80 % in two sessions, bob 60 %, eve is the control and saves nothing.
    for (name, session, after, arm) in [
        ("ada", "AS_1", 20.0, "lean"),
        ("ada", "AS_2", 20.0, "lean"),
        ("bob", "AS_3", 40.0, "lean"),
        ("eve", "AS_4", 100.0, "control"),
    ] {
        let rows = (0..10).map(|second| {
            let mut row = row("one", name, session, at(second).as_micros());
            row.original_bandwidth_kbps = 100.0;
            row.compressed_bandwidth_kbps = after;
            row.fallback_triggered = name == "bob" && second == 0;
            if name == "eve" {
                row.inference_latency_ms = None;
            }
            row
        });
        write(&db.store, rows).await;
        let exposure = Exposure {
            tenant: "one".into(),
            experiment_id: experiment.experiment_id.clone(),
            user: name.into(),
            call_id: "RM_1".into(),
            session_id: session.into(),
            arm: arm.into(),
            at: at(0),
        };
        db.store.expose(&exposure).await.unwrap();
        db.store.expose(&exposure).await.unwrap();
    }
    let outcomes = boss.outcomes(&experiment.experiment_id).await.unwrap();
    let [control, lean] = &outcomes[..] else {
        panic!("{outcomes:?}")
    };
    assert_eq!(
        (control.arm.as_str(), control.units, control.exposures),
        ("control", 1, 1)
    );
    assert_eq!(control.latency_ms, Sample::default());
    assert_eq!(control.saved_percent.n, 1);
    assert_eq!((lean.arm.as_str(), lean.units, lean.exposures), ("lean", 2, 3));
    let near = |sample: Sample, n: u64, mean: f64, variance: f64| {
        assert_eq!(sample.n, n);
        assert!(
            (sample.mean - mean).abs() < 1e-6 && (sample.variance - variance).abs() < 1e-6,
            "{sample:?}"
        );
    };
    near(lean.saved_percent, 2, 70.0, 200.0);
    near(lean.fallbacks_per_hour, 2, 180.0, 64_800.0);
    near(lean.latency_ms, 2, 0.4, 0.0);
}

async fn an_ended_experiment_runs_no_more(db: Db) {
    let boss = operator(&db.store, "one");
    let experiment = boss
        .create_experiment(&new("x", Unit::User), at(0))
        .await
        .unwrap();
    let ended = boss
        .end_experiment(&experiment.experiment_id, at(5))
        .await
        .unwrap();
    assert_eq!(ended.ended_at, Some(at(5)));
    let again = boss
        .end_experiment(&experiment.experiment_id, at(6))
        .await
        .unwrap();
    assert_eq!(again.ended_at, Some(at(5)));
    assert_eq!(db.store.running_experiments().await.unwrap(), []);
    assert_eq!(boss.experiments(None, 10).await.unwrap().rows, [again]);
}
