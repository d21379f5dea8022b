use super::*;
use auralink_quality::savings::Preset;
use auralink_types::{AicConfig, ConfigChange, Lean, Neural, NeuralRate};

fn policy(mode: Mode, floor: Option<f64>) -> Policy {
    let change = ConfigChange {
        enabled: Some(true),
        mode: Some(mode),
        min_quality_score: floor,
        ..Default::default()
    };
    AicConfig::default().apply(&change).unwrap().policy()
}

fn network(class: NetworkClass, loss: f32) -> Network {
    Network {
        class,
        loss,
        ..Network::default()
    }
}

fn saved(rung: Rung) -> f64 {
    let stock = Preset::STOCK.wire_bitrate().as_bps() as f64;
    1.0 - wire_bitrate(rung).unwrap().as_bps() as f64 / stock
}

#[test]
fn each_mode_saves_what_it_promises_to_a_stock_receiver_and_holds_its_floor() {
    for (mode, promise) in [
        (Mode::Conservative, 0.50),
        (Mode::Adaptive, 0.80),
        (Mode::Aggressive, 0.85),
    ] {
        let policy = policy(mode, None);
        let situation = Situation::stock(network(NetworkClass::Good, 0.0));
        let choice = choose(&policy, &situation, &Calibration::default());
        assert!(
            saved(choice.rung) >= promise,
            "{mode}: {:?} saves {}",
            choice.rung,
            saved(choice.rung)
        );
        assert!(choice.expected.value() + EPSILON >= policy.floor.value());
        assert_eq!(choice.reason, None);
    }
}

#[test]
fn neural_needs_a_receiver_that_decodes_it_and_a_floor_it_holds() {
    let low = policy(Mode::Aggressive, Some(0.22));
    let mut situation = Situation::stock(network(NetworkClass::Good, 0.0));
    assert!(matches!(
        choose(&low, &situation, &Calibration::default()).rung,
        Rung::Lean(_)
    ));
    situation.neural = true;
    assert!(matches!(
        choose(&low, &situation, &Calibration::default()).rung,
        Rung::Neural(_)
    ));
    let high = policy(Mode::Adaptive, None);
    assert!(matches!(
        choose(&high, &situation, &Calibration::default()).rung,
        Rung::Lean(_)
    ));
}

#[test]
fn a_path_too_narrow_for_the_floor_gets_the_best_that_fits() {
    let policy = policy(Mode::Conservative, None);
    let mut situation = Situation::stock(network(NetworkClass::Fair, 0.02));
    situation.neural = true;
    situation.network.capacity = Some(Bitrate::kbps(25));
    let choice = choose(&policy, &situation, &Calibration::default());
    assert!(wire_bitrate(choice.rung).unwrap() <= Bitrate::kbps(25));
    assert_eq!(choice.reason, Some(Reason::UnstableNetwork));
}

#[test]
fn loss_buys_copies_first_and_then_the_original() {
    let policy = policy(Mode::Adaptive, Some(0.2));
    let mut situation = Situation::stock(network(NetworkClass::Fair, 0.03));
    situation.neural = true;
    let Rung::Neural(fair) = choose(&policy, &situation, &Calibration::default()).rung else {
        panic!("not neural")
    };
    assert!(fair.copies as usize >= fair.packet.frames());
    situation.network = network(NetworkClass::Bad, 0.5);
    assert!(matches!(
        choose(&policy, &situation, &Calibration::default()).rung,
        Rung::Neural(_)
    ));
    situation.neural = false;
    let stock = choose(&policy, &situation, &Calibration::default());
    assert_eq!(
        (stock.rung, stock.reason),
        (Rung::Original, Some(Reason::UnstableNetwork))
    );
}

#[test]
fn a_measured_shortfall_moves_the_choice_up() {
    let policy = policy(Mode::Adaptive, None);
    let situation = Situation::stock(network(NetworkClass::Good, 0.0));
    let mut calibration = Calibration::default();
    let before = choose(&policy, &situation, &calibration);
    for _ in 0..40 {
        // A little under the floor, however far above it the rung was expected.
        let measured = 1.0 + (Mos::MAX - 1.0) * policy.floor.value() - 0.2;
        calibration.learn(before.rung, Mos::new(measured));
    }
    let after = choose(&policy, &situation, &calibration);
    assert!(wire_bitrate(after.rung) > wire_bitrate(before.rung));
}

#[test]
fn music_noise_and_crosstalk_stay_on_opus_and_the_reason_is_told() {
    let low = policy(Mode::Aggressive, Some(0.22));
    let mut situation = Situation {
        neural: true,
        ..Situation::stock(network(NetworkClass::Good, 0.0))
    };
    for content in [Content::Music, Content::Noise, Content::Crosstalk] {
        situation.content = content;
        let choice = choose(&low, &situation, &Calibration::default());
        assert!(matches!(choice.rung, Rung::Lean(_)), "{content:?}: {choice:?}");
        assert_eq!(choice.reason, Some(Reason::Content));
    }
    for content in [Content::Unknown, Content::Speech] {
        situation.content = content;
        let choice = choose(&low, &situation, &Calibration::default());
        assert!(matches!(choice.rung, Rung::Neural(_)), "{content:?}: {choice:?}");
    }
    situation.content = Content::Music;
    let adaptive = choose(&policy(Mode::Adaptive, None), &situation, &Calibration::default());
    assert_ne!(
        adaptive.reason,
        Some(Reason::Content),
        "Opus was the choice anyway"
    );
}

#[test]
fn packets_are_whole_multiples_of_the_sources_and_stay_within_the_delay_limit() {
    for source in PacketTime::ALL {
        for mode in [Mode::Conservative, Mode::Adaptive, Mode::Aggressive] {
            let policy = policy(mode, None);
            let situation = Situation {
                source_packet: Some(source),
                ..Situation::stock(network(NetworkClass::Good, 0.0))
            };
            let limit = delay_limit(&policy, &situation.network).max(source);
            if let Rung::Lean(lean) = choose(&policy, &situation, &Calibration::default()).rung {
                assert_eq!(lean.packet.frames() % source.frames(), 0);
                assert!(lean.packet <= limit);
            }
        }
    }
}

#[test]
fn a_source_as_cheap_as_the_rung_is_left_alone() {
    let policy = policy(Mode::Adaptive, None);
    let situation = Situation {
        original: Some(Bitrate::kbps(24)),
        source_packet: Some(PacketTime::Ms60),
        ..Situation::stock(network(NetworkClass::Good, 0.0))
    };
    let choice = choose(&policy, &situation, &Calibration::default());
    assert_eq!((choice.rung, choice.reason), (Rung::Original, None));
}

#[test]
fn an_inactive_policy_leaves_everything_alone() {
    let off = AicConfig::default().policy();
    let choice = choose(
        &off,
        &Situation::stock(Network::default()),
        &Calibration::default(),
    );
    assert_eq!(
        (choice.rung, choice.reason),
        (Rung::Original, Some(Reason::Disabled))
    );
}

fn changed(change: ConfigChange) -> Policy {
    let change = ConfigChange {
        enabled: Some(true),
        ..change
    };
    AicConfig::default().apply(&change).unwrap().policy()
}

#[test]
fn a_target_that_the_user_set_is_met_and_the_rest_goes_into_quality() {
    let situation = Situation::stock(network(NetworkClass::Good, 0.0));
    let at = |target| {
        let policy = changed(ConfigChange {
            target_compression_ratio: target,
            ..ConfigChange::default()
        });
        choose(&policy, &situation, &Calibration::default())
    };
    let (preset, modest, greedy) = (at(None), at(Some(0.6)), at(Some(0.95)));
    assert!(saved(modest.rung) >= 0.6 && modest.expected.value() > preset.expected.value());
    assert_eq!(
        greedy.rung, preset.rung,
        "the floor is stronger than a target out of reach"
    );
}

#[test]
fn without_perceptual_optimisation_bits_are_spent_on_differences_nobody_hears() {
    let situation = Situation::stock(network(NetworkClass::Good, 0.0));
    let at = |perceptual| {
        let policy = changed(ConfigChange {
            target_compression_ratio: Some(0.5),
            enable_perceptual_optimization: Some(perceptual),
            ..ConfigChange::default()
        });
        choose(&policy, &situation, &Calibration::default())
    };
    let (with, without) = (at(true), at(false));
    assert!(wire_bitrate(with.rung) < wire_bitrate(without.rung));
    let heard = without.heard.value() - with.heard.value();
    assert!((0.0..=0.02).contains(&heard), "{heard}");
}

#[test]
fn predicted_loss_and_capacity_count_only_where_the_policy_predicts() {
    let mut ahead = network(NetworkClass::Good, 0.0);
    ahead.loss_ahead = 0.03;
    let mut narrow = network(NetworkClass::Good, 0.0);
    narrow.capacity_ahead = Some(Bitrate::kbps(25));
    let at = |network, predictive| {
        let policy = changed(ConfigChange {
            enable_predictive_compression: Some(predictive),
            ..ConfigChange::default()
        });
        choose(&policy, &Situation::stock(network), &Calibration::default()).rung
    };
    let calm = at(network(NetworkClass::Good, 0.0), true);
    assert_eq!(at(ahead, false), calm);
    assert_eq!(at(narrow, false), calm);
    assert!(
        wire_bitrate(at(ahead, true)) > wire_bitrate(calm),
        "more redundancy in advance"
    );
    assert!(
        wire_bitrate(at(narrow, true)) < wire_bitrate(calm),
        "less rate in advance"
    );
}

#[test]
fn loss_buys_a_copy_in_every_packet_before_the_original_comes_back() {
    let policy = policy(Mode::Adaptive, None);
    let at = |loss| {
        choose(
            &policy,
            &Situation::stock(network(NetworkClass::Fair, loss)),
            &Calibration::default(),
        )
    };
    assert!(matches!(at(0.0).rung, Rung::Lean(Lean { fec: false, .. })));
    let copying = at(0.03);
    assert!(
        matches!(copying.rung, Rung::Lean(Lean { fec: true, .. })),
        "{copying:?}"
    );
    assert_eq!(copying.reason, Some(Reason::UnstableNetwork));
    assert_eq!(at(0.2).rung, Rung::Original);
}

#[test]
fn without_an_accelerator_the_dearest_codes_are_left_out_and_the_reason_says_so() {
    let six = Rung::Neural(Neural {
        rate: NeuralRate::Kbps6,
        packet: PacketTime::Ms20,
        copies: 0,
    });
    let just_held = expected(six).unwrap().score().value() - 0.005;
    let policy = policy(Mode::Adaptive, Some(f64::from(just_held)));
    let mut situation = Situation::stock(network(NetworkClass::Good, 0.0));
    situation.neural = true;
    let with = choose(&policy, &situation, &Calibration::default());
    assert!(matches!(
        with.rung,
        Rung::Neural(Neural {
            rate: NeuralRate::Kbps6,
            ..
        })
    ));
    situation.no_accelerator = true;
    let without = choose(&policy, &situation, &Calibration::default());
    assert!(matches!(without.rung, Rung::Lean(_)));
    assert_eq!(without.reason, Some(Reason::NoAccelerator));
}

#[test]
fn a_receiver_that_enhances_takes_the_enhanced_rung_where_it_is_the_cheapest_that_holds() {
    let policy = policy(Mode::Aggressive, Some(0.68));
    let mut situation = Situation::stock(network(NetworkClass::Good, 0.0));
    let plain = choose(&policy, &situation, &Calibration::default());
    situation.enhanced = true;
    let enhanced = choose(&policy, &situation, &Calibration::default());
    assert!(matches!(enhanced.rung, Rung::Enhanced(_)), "{enhanced:?}");
    assert!(wire_bitrate(enhanced.rung) < wire_bitrate(plain.rung));
}
