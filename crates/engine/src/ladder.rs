//! The ladder: of all rungs a leg can take, the cheapest on the whole wire that holds the floor.

use auralink_quality::{neural_mos, opus_mos};
use auralink_types::{
    Bitrate, Lean, Mode, Mos, NetworkClass, Neural, NeuralRate, PacketTime, Policy, QualityScore, Reason,
    Rung,
};

use crate::calibration::Calibration;
use crate::cost::wire_bitrate;
use crate::network::Network;

/// Rates the lean rung may have, kbps. Below 9 wide-band Opus falls apart; above 40 nothing is saved.
const LEAN_KBPS: [u64; 11] = [9, 10, 11, 12, 14, 16, 20, 24, 28, 32, 40];
/// Part of a measured capacity that audio may fill.
const CAPACITY_SHARE: f64 = 0.85;
/// A coded rung must cost less than this part of the original, else the trouble is not worth it.
const WORTH: f64 = 0.95;
/// Part of the way to perfect by which a poor network raises the floor: spare quality before AIC is given up.
const POOR_MARGIN: f32 = 0.25;
/// Rounding of scores and floors.
const EPSILON: f32 = 1e-3;

/// What a leg and its source are like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Situation {
    /// The leg's network.
    pub network: Network,
    /// Receiver and core share a neural model.
    pub neural: bool,
    /// Packet time of the source; coded packets are whole multiples, so that both have common borders.
    pub source_packet: Option<PacketTime>,
    /// The source is stereo, which the coded rungs would fold to mono.
    pub stereo: bool,
    /// Measured whole-wire rate of the source.
    pub original: Option<Bitrate>,
}

impl Situation {
    /// A stock receiver of a 20 ms source.
    pub fn stock(network: Network) -> Self {
        Self {
            network,
            neural: false,
            source_packet: None,
            stereo: false,
            original: None,
        }
    }
}

/// A rung with what is expected of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// The rung.
    pub rung: Rung,
    /// Why it is not what the policy would like, if it is not.
    pub reason: Option<Reason>,
    /// Expected score.
    pub expected: QualityScore,
}

impl Choice {
    fn original(reason: Option<Reason>) -> Self {
        Self {
            rung: Rung::Original,
            reason,
            expected: QualityScore::FULL,
        }
    }
}

/// Score to expect of a coded rung before anything was measured.
pub fn expected(rung: Rung) -> Option<Mos> {
    match rung {
        Rung::Original => None,
        Rung::Lean(lean) => Some(opus_mos(lean.bitrate, lean.packet)),
        Rung::Neural(neural) => Some(neural_mos(neural.rate)),
    }
}

/// Longest packet a policy allows: its packet time is delay that people notice in conversation.
pub fn delay_limit(policy: &Policy, network: &Network) -> PacketTime {
    let limit = match policy.mode {
        Mode::Conservative | Mode::Off => PacketTime::Ms40,
        Mode::Adaptive => PacketTime::Ms60,
        // Longer ones save 2 kbps more, and each packet lost or late is a syllable.
        Mode::Aggressive => PacketTime::Ms80,
    };
    match network.class {
        // One lost packet must not take a whole syllable along.
        NetworkClass::Poor | NetworkClass::Bad => limit.min(PacketTime::Ms60),
        _ => limit,
    }
}

/// The cheapest rung that holds the floor; where none does, the original, or what still fits a narrow path.
pub fn choose(policy: &Policy, situation: &Situation, calibration: &Calibration) -> Choice {
    if !policy.active {
        let reason = if policy.opt_out {
            Reason::OptOut
        } else {
            Reason::Disabled
        };
        return Choice::original(Some(reason));
    }
    if situation.stereo && situation.network.capacity.is_none() {
        return Choice::original(Some(Reason::Content));
    }
    let narrow = situation
        .network
        .capacity
        .map(|rate| rate.as_bps() as f64 * CAPACITY_SHARE);
    let original = situation.original.map(|rate| rate.as_bps() as f64);
    let squeezed = match (narrow, original) {
        (Some(room), Some(needs)) => needs > room,
        (Some(_), None) => true,
        (None, _) => false,
    };
    let unstable = matches!(situation.network.class, NetworkClass::Poor | NetworkClass::Bad);
    let floor = match situation.network.class {
        NetworkClass::Poor if !squeezed => policy.floor.value() + POOR_MARGIN * (1.0 - policy.floor.value()),
        _ => policy.floor.value(),
    };
    let rated = candidates(policy, situation).filter_map(|rung| {
        let cost = wire_bitrate(rung)?.as_bps() as f64;
        let fits = narrow.is_none_or(|room| cost <= room) && original.is_none_or(|rate| cost < WORTH * rate);
        fits.then(|| (rung, cost, calibration.score(rung)))
    });
    // With heavy loss plain Opus without redundancy is worse than the sender's own stream; codes with copies are
    // not.
    let lossy = situation.network.class == NetworkClass::Bad && !squeezed;
    let holds = |&(rung, _, score): &(Rung, f64, QualityScore)| {
        score.value() + EPSILON >= floor && (!lossy || matches!(rung, Rung::Neural(_)))
    };
    let cheapest = rated.clone().filter(holds).min_by(|a, b| a.1.total_cmp(&b.1));
    if let Some((rung, _, expected)) = cheapest {
        let reason = (unstable && !squeezed).then_some(Reason::UnstableNetwork);
        return Choice {
            rung,
            reason,
            expected,
        };
    }
    if squeezed {
        let best = rated.max_by(|a, b| a.2.value().total_cmp(&b.2.value()).then(b.1.total_cmp(&a.1)));
        if let Some((rung, _, expected)) = best {
            return Choice {
                rung,
                reason: Some(Reason::UnstableNetwork),
                expected,
            };
        }
    }
    let reason = if unstable {
        Some(Reason::UnstableNetwork)
    } else if original.is_some_and(|rate| cheapest_possible(policy, situation) >= WORTH * rate) {
        None
    } else {
        Some(Reason::Quality)
    };
    Choice::original(reason)
}

fn cheapest_possible(policy: &Policy, situation: &Situation) -> f64 {
    candidates(policy, situation)
        .filter(|rung| {
            expected(*rung).is_some_and(|mos| mos.score().value() + EPSILON >= policy.floor.value())
        })
        .filter_map(wire_bitrate)
        .map(|rate| rate.as_bps() as f64)
        .fold(f64::INFINITY, f64::min)
}

fn candidates<'a>(policy: &Policy, situation: &'a Situation) -> impl Iterator<Item = Rung> + Clone + use<'a> {
    let source = situation.source_packet.unwrap_or(PacketTime::Ms20);
    let longest = delay_limit(policy, &situation.network).max(source);
    let packets = move || {
        PacketTime::ALL
            .into_iter()
            .filter(move |packet| *packet <= longest && packet.frames() % source.frames() == 0)
    };
    let lean = packets().flat_map(|packet| {
        LEAN_KBPS.into_iter().map(move |kbps| {
            Rung::Lean(Lean {
                bitrate: Bitrate::kbps(kbps),
                packet,
            })
        })
    });
    let class = situation.network.class;
    let neural = packets().filter(|_| situation.neural).flat_map(move |packet| {
        NeuralRate::ALL.into_iter().map(move |rate| {
            Rung::Neural(Neural {
                rate,
                packet,
                copies: copies(class, packet),
            })
        })
    });
    lean.chain(neural)
}

/// Copies that cover as many lost packets in a row as the class makes likely.
fn copies(class: NetworkClass, packet: PacketTime) -> u8 {
    let packets = match class {
        NetworkClass::Unknown | NetworkClass::Good => 0,
        NetworkClass::Fair => 1,
        NetworkClass::Poor | NetworkClass::Bad => 2,
    };
    (packets * packet.frames()).min(6) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use auralink_quality::savings::Preset;
    use auralink_types::{AicConfig, ConfigChange};

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
            capacity: None,
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
        situation.network = network(NetworkClass::Bad, 0.2);
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
            let measured = expected(before.rung).unwrap().value() - 0.3;
            calibration.learn(before.rung, Mos::new(measured));
        }
        let after = choose(&policy, &situation, &calibration);
        assert!(wire_bitrate(after.rung) > wire_bitrate(before.rung));
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
}
