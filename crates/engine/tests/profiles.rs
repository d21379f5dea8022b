//! The engine on every network profile of the fault matrix, three seeds each, in virtual time.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod call;

use std::time::Duration;

use auralink_engine::Trend;
use auralink_link::{PROFILES, Profile};
use auralink_types::NetworkClass::{self, Bad, Fair, Good, Poor};
use auralink_types::{ConfigChange, Rung};
use call::{Call, adaptive, policy};

const SEEDS: [u64; 3] = [1, 2, 3];

fn profile(name: &str) -> Profile {
    Profile::named(name).unwrap()
}

/// Profiles that stay as they are for the whole call.
fn steady() -> impl Iterator<Item = Profile> {
    let moves = ["dip", "audio-dip", "audio-slide", "rising-loss", "outage"];
    PROFILES
        .into_iter()
        .filter(move |profile| !moves.iter().any(|name| profile.name.starts_with(name)))
}

#[test]
fn every_steady_profile_gets_its_class() {
    let expected: [(&str, &[NetworkClass]); 12] = [
        ("clean", &[Good]),
        ("wifi", &[Good, Fair]),
        ("lossy-wifi", &[Fair, Poor]),
        ("congested-wifi", &[Poor]),
        ("4g", &[Good, Fair]),
        ("3g", &[Fair, Poor]),
        ("edge", &[Poor]),
        ("satellite", &[Poor]),
        ("random-1", &[Good, Fair]),
        ("random-5", &[Fair, Poor]),
        ("random-20", &[Poor, Bad]),
        ("random-50", &[Bad]),
    ];
    for (name, allowed) in expected {
        for seed in SEEDS {
            let share = Call::new(profile(name), seed, adaptive())
                .run(600)
                .share_of(allowed, 60);
            assert!(share >= 0.95, "{name} {seed}: {share}");
        }
    }
}

#[test]
fn no_steady_profile_makes_the_rung_or_the_class_flap() {
    for profile in steady() {
        for seed in SEEDS {
            let call = Call::new(profile, seed, adaptive()).run(600);
            let switches = call.switches_a_minute_from(30);
            assert!(
                switches <= 2.0,
                "{} {seed}: {switches} switches a minute",
                profile.name
            );
            let classes = call.classes.len() as f64 / 10.0;
            assert!(
                classes <= 1.5,
                "{} {seed}: {classes} classes a minute",
                profile.name
            );
        }
    }
}

#[test]
fn on_clean_wifi_and_4g_speech_is_coded_all_the_time() {
    for name in ["clean", "wifi", "4g"] {
        for seed in SEEDS {
            let call = Call::new(profile(name), seed, adaptive()).run(600);
            let all = call.from(5).count();
            let coded = call
                .from(5)
                .filter(|second| second.rung != Rung::Original)
                .count();
            assert!(
                coded as f64 >= 0.999 * all as f64,
                "{name} {seed}: {coded} of {all}"
            );
        }
    }
}

#[test]
fn loss_first_makes_the_rung_more_conservative_and_then_turns_it_off() {
    let mut last = Call::new(profile("clean"), 1, adaptive()).run(60).rate_from(30);
    for name in ["random-3", "random-10"] {
        let now = Call::new(profile(name), 1, adaptive()).run(400).rate_from(60);
        assert!(now > last, "{name}: {now} kbps after {last}");
        last = now;
    }
    assert!(
        last > 120.0,
        "10 % is too much for Opus with one copy: the original and its RED, {last} kbps"
    );
}

#[test]
fn a_narrow_path_is_never_fed_more_than_it_carries_for_long() {
    for seed in SEEDS {
        let call = Call::new(profile("narrow-30"), seed, adaptive()).run(600);
        let flooded = call.from(15).filter(|second| second.lost > 2).count();
        assert!(
            flooded <= 30,
            "{flooded} seconds of 585 lost packets to the queue"
        );
        let slow = call
            .from(30)
            .filter(|second| second.delay > Duration::from_millis(600))
            .count();
        assert!(
            slow <= 60,
            "{slow} seconds of 570 queued for more than half a second"
        );
    }
    for name in ["narrow-150", "narrow-500"] {
        let call = Call::new(profile(name), 1, adaptive()).run(120);
        assert!(call.seconds.iter().all(|second| second.lost == 0), "{name}");
        assert!(
            call.from(30).all(|second| second.network.capacity.is_none()),
            "{name}"
        );
    }
}

#[test]
fn after_a_dip_and_after_an_outage_everything_is_as_before_within_a_minute() {
    let wish = Call::new(profile("clean"), 1, adaptive())
        .run(30)
        .seconds
        .last()
        .unwrap()
        .rung;
    for (name, over) in [
        ("dip", 60),
        ("audio-dip", 60),
        ("outage-0.2", 31),
        ("outage-2", 32),
        ("outage-10", 40),
        ("outage-30", 60),
    ] {
        for seed in SEEDS {
            let call = Call::new(profile(name), seed, adaptive()).run(over + 120);
            let back = call.from(over + 60);
            assert!(
                back.clone()
                    .all(|second| second.rung == wish && second.network.class == Good),
                "{name} {seed}: {:?}",
                back.last()
            );
        }
    }
}

#[test]
fn who_predicts_meets_a_closing_path_with_less_delay() {
    let trouble = |predictive| {
        let wish = policy(ConfigChange {
            enable_predictive_compression: Some(predictive),
            ..ConfigChange::default()
        });
        let mut sum = 0.0;
        for seed in SEEDS {
            let call = Call::new(profile("audio-slide"), seed, wish.clone()).run(90);
            sum += call
                .from(20)
                .map(|second| second.delay.as_secs_f64())
                .sum::<f64>();
        }
        sum
    };
    let (with, without) = (trouble(true), trouble(false));
    assert!(
        with < without,
        "{with} s of delay with prediction, {without} s without"
    );
}

#[test]
fn a_path_that_closes_is_a_trend_before_the_call_suffers() {
    for seed in SEEDS {
        let call = Call::new(profile("audio-slide"), seed, adaptive()).run(70);
        let first =
            |found: &dyn Fn(&call::Second) -> bool| call.seconds.iter().find(|s| found(s)).map(|s| s.at);
        let worse = first(&|second| second.network.trend == Trend::Worse).expect("a trend");
        let slow = first(&|second| second.delay > Duration::from_millis(400));
        assert!(
            slow.is_none_or(|slow| worse < slow),
            "trend at {worse:?}, slow at {slow:?}"
        );
    }
}

#[test]
fn losing_one_report_in_five_changes_nothing_that_matters() {
    for seed in SEEDS {
        let call = Call::new(profile("feedback-loss"), seed, adaptive()).run(300);
        assert!(call.share_of(&[Good, Fair], 60) > 0.95);
        assert!(call.from(5).all(|second| second.rung != Rung::Original));
    }
}
