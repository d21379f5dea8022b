use std::time::Duration;

use auralink_types::ConfigChange;
use auralink_types::experiment::Arm;

use super::*;
use crate::{Calibration, Network, Situation, choose, wire_bitrate};

fn on() -> AicConfig {
    AicConfig {
        enabled: true,
        ..AicConfig::default()
    }
}

fn people(names: impl IntoIterator<Item = impl ToString>) -> Vec<UserKey> {
    let key = |name: &dyn ToString| UserKey::new("one", name.to_string());
    names.into_iter().map(|name| key(&name)).collect()
}

/// Half are in the control arm, which changes nothing or what `control` says; the others in one with that change.
fn experiment(unit: Unit, control: ConfigChange, treated: ConfigChange) -> Vec<Experiment> {
    let arm = |name: &str, change| Arm {
        name: name.into(),
        weight: 1,
        control: name == "control",
        change,
    };
    let arms = vec![arm("control", control), arm("treated", treated)];
    vec![Experiment::new("e", "one", unit, arms).unwrap()]
}

#[test]
fn an_unknown_user_has_aic_off_and_a_change_is_seen_with_its_version() {
    let book = PolicyBook::new();
    let ada = UserKey::new("devkey", "ada");
    assert!(!book.get(&ada).active);
    book.set(ada.clone(), on()).unwrap();
    assert!(book.get(&ada).active);
    assert_eq!(book.version(), 1);
    assert!(
        !book.get(&UserKey::new("other", "ada")).active,
        "another tenant's ada is somebody else"
    );
}

#[test]
fn some_are_forgotten_and_others_set_at_once() {
    let book = PolicyBook::new();
    let users = people(0..5_000);
    let (old, new) = users.split_at(4_000);
    book.set_all(old.iter().map(|user| (user.clone(), on()))).unwrap();
    let even = |user: &UserKey| user.user.as_str().ends_with(['0', '2', '4', '6', '8']);
    book.amend(even, new.iter().map(|user| (user.clone(), on())))
        .unwrap();
    assert_eq!(book.version(), 2);
    for user in old {
        assert_eq!(book.get(user).active, !even(user), "{user:?}");
    }
    assert!(new.iter().all(|user| book.get(user).active));
    assert_eq!(book.page.load().users, 3_000);
}

#[test]
fn what_does_not_fit_is_refused_as_a_whole_and_changes_of_those_present_always_fit() {
    let book = PolicyBook::new();
    let users = people(0..4);
    book.set(users[0].clone(), on()).unwrap();
    let mut page = Page::clone(&book.page.load());
    page.users = BOOK_CAPACITY - 2;
    book.page.store(Arc::new(page));

    let all = || users.iter().map(|user| (user.clone(), on()));
    assert_eq!(book.set_all(all()), Err(BookFull));
    assert!(
        !book.get(&users[1]).active && book.version() == 1,
        "nobody came in"
    );
    assert_eq!(book.amend(|user| *user == users[2], all()), Err(BookFull));
    book.set_all(all().take(3)).unwrap();
    assert_eq!(book.set(users[3].clone(), on()), Err(BookFull));
    book.set(users[0].clone(), AicConfig::default()).unwrap();
    assert!(!book.get(&users[0]).active);
    book.remove(&users[3]);
    assert_eq!(
        book.set(users[3].clone(), on()),
        Err(BookFull),
        "they were not there"
    );
    book.remove(&users[0]);
    book.set(users[3].clone(), on()).unwrap();
}

#[test]
fn who_sees_one_of_a_set_sees_the_others_too() {
    let book = PolicyBook::new();
    let users = people(["ada", "bob"]);
    let rounds = 2_000_u32;
    let seen = |user| book.get(user).max_latency;
    // Above what the default has, so that it only rises.
    let config = |round| AicConfig {
        max_latency_ms: 100 + round,
        ..on()
    };
    std::thread::scope(|threads| {
        threads.spawn(|| {
            for round in 1..=rounds {
                let all = users.iter().map(|user| (user.clone(), config(round)));
                book.set_all(all).unwrap();
            }
        });
        let mut first = Duration::ZERO;
        while first < config(rounds).policy().max_latency {
            first = seen(&users[0]);
            let second = seen(&users[1]);
            assert!(second >= first, "{second:?} after {first:?}");
        }
    });
    assert_eq!(book.version(), u64::from(rounds));
}

#[test]
fn a_running_experiment_changes_the_policy_of_those_with_aic_on_until_it_ends() {
    let book = PolicyBook::new();
    let users = people(0..40);
    book.set_all(users.iter().map(|user| (user.clone(), on())))
        .unwrap();
    let off = ConfigChange {
        enabled: Some(false),
        ..ConfigChange::default()
    };
    let by = |unit| experiment(unit, off.clone(), ConfigChange::default());
    let before = book.version();
    book.set_experiments(&"one".into(), by(Unit::User));
    assert!(
        book.version() > before,
        "media looks at the book only when its version rises"
    );
    let treated = users.iter().filter(|user| book.get(user).active).count();
    assert!((8..32).contains(&treated), "{treated}");
    assert!(users.iter().all(|user| book.get(user).observed));
    assert!(!book.get(&UserKey::new("one", "without")).observed);

    book.set_experiments(&"one".into(), by(Unit::Call));
    assert!(users.iter().all(|user| book.get(user).active), "no call, no arm");
    let arms = |call: &str| {
        let call = CallId::from(call);
        users
            .iter()
            .filter(|user| book.get_in(user, &call).active)
            .count()
    };
    let calls: Vec<_> = (0..20).map(|n| arms(&format!("RM_{n}"))).collect();
    assert!(
        calls.iter().all(|count| *count == 0 || *count == users.len()),
        "{calls:?}"
    );
    assert!(calls.contains(&0) && calls.contains(&users.len()));

    book.set_experiments(&"one".into(), Vec::new());
    assert!(users.iter().all(|user| book.get(user) == on().policy()));
    book.remove(&users[0]);
    assert!(!book.get(&users[0]).active);
}

#[test]
fn an_arm_that_differs_only_in_its_target_gets_other_sound() {
    let book = PolicyBook::new();
    let users = people(0..40);
    book.set_all(users.iter().map(|user| (user.clone(), on())))
        .unwrap();
    let target = 0.65;
    let change = ConfigChange {
        target_compression_ratio: Some(target),
        ..ConfigChange::default()
    };
    book.set_experiments(
        &"one".into(),
        experiment(Unit::User, ConfigChange::default(), change),
    );
    let situation = Situation::stock(Network::default());
    let saved = |user: &UserKey| {
        let choice = choose(&book.get(user), &situation, &Calibration::default());
        let rate = wire_bitrate(choice.rung).unwrap().as_bps() as f64;
        1.0 - rate / situation.reference().as_bps() as f64
    };
    let (treated, control): (Vec<_>, Vec<_>) = users
        .iter()
        .partition(|user| book.get(user).explicit_target.is_some());
    assert!(!treated.is_empty() && !control.is_empty());
    let cheapest = saved(control[0]);
    assert!(control.iter().all(|user| saved(user) == cheapest));
    for user in treated {
        let saved = saved(user);
        assert!((target..cheapest).contains(&saved), "{saved} of {cheapest}");
    }
}

#[test]
fn of_two_experiments_the_later_has_the_last_word_on_what_both_change() {
    let book = PolicyBook::new();
    let ada = UserKey::new("one", "ada");
    book.set(ada.clone(), on()).unwrap();
    let both = |latency, floor| {
        let change = ConfigChange {
            max_latency_ms: Some(latency),
            min_quality_score: floor,
            ..ConfigChange::default()
        };
        experiment(Unit::User, change.clone(), change).remove(0)
    };
    book.set_experiments(&"one".into(), vec![both(50, Some(0.6)), both(90, None)]);
    let policy = book.get(&ada);
    assert_eq!(policy.max_latency, Duration::from_millis(90));
    assert_eq!(policy.floor.value(), 0.6);
}
