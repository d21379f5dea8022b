//! The ladder: of all rungs a leg can take, the cheapest on the whole wire that holds the floor.

mod candidates;

use auralink_quality::Content;
use auralink_quality::savings::Preset;
use auralink_types::{Bitrate, Mode, Mos, NetworkClass, PacketTime, Policy, QualityScore, Reason, Rung};

use crate::calibration::Calibration;
use crate::cost::wire_bitrate;
use crate::damage::after_loss;
use crate::network::Network;
use crate::prior::expected;
use candidates::candidates;

/// Part of a measured capacity that audio may fill.
const CAPACITY_SHARE: f64 = 0.85;
/// A coded rung must cost less than this part of the original, else the trouble is not worth it.
const WORTH: f64 = 0.95;
/// Rounding of scores and floors.
const EPSILON: f32 = 1e-3;
/// Part of a rung's own score that must be left where the original would keep all of its own.
const KEPT: f32 = 0.7;
/// Scores closer than this are the same to a listener (0.07 MOS); bits for less are not spent where perception counts.
const NOTICED: f32 = 0.02;
/// A rung stays while a better one would be cheaper by less than this part.
const STICKY: f64 = 0.15;
/// And while losses take less than this too much of its score (0.11 MOS): they are only estimated.
const SLACK: f32 = 0.03;
/// What the estimator errs by (0.3 MOS).
const SCATTER: f32 = 0.08;

/// What a leg and its source are like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Situation {
    /// The leg's network.
    pub network: Network,
    /// Receiver and core share a neural model.
    pub neural: bool,
    /// The receiver's Opus decoder enhances (NoLACE).
    pub enhanced: bool,
    /// Packet time of the source; coded packets are whole multiples, so that both have common borders.
    pub source_packet: Option<PacketTime>,
    /// The source is stereo, which the coded rungs would fold to mono.
    pub stereo: bool,
    /// Measured whole-wire rate of the source.
    pub original: Option<Bitrate>,
    /// The original reaches this receiver with every packet repeated once (RED).
    pub red: bool,
    /// The model wants an accelerator and has none: its targets are those of the processor.
    pub no_accelerator: bool,
    /// What the source sounds like: only speech goes neural.
    pub content: Content,
}

impl Situation {
    /// A stock receiver of a 20 ms source with RED.
    pub fn stock(network: Network) -> Self {
        Self {
            network,
            neural: false,
            enhanced: false,
            source_packet: None,
            stereo: false,
            original: None,
            red: true,
            no_accelerator: false,
            content: Content::Unknown,
        }
    }

    /// Rate that savings are counted from: the source's own, else a stock client's.
    pub(crate) fn reference(&self) -> Bitrate {
        self.original.unwrap_or_else(|| Preset::STOCK.wire_bitrate())
    }

    /// What is known of the capacity for one leg, headroom left out.
    fn room(&self) -> Option<f64> {
        self.network
            .capacity
            .map(|rate| rate.as_bps() as f64 * CAPACITY_SHARE)
    }

    /// The path is too narrow for the original.
    fn squeezed(&self) -> bool {
        match (self.room(), self.original) {
            (Some(room), Some(needs)) => needs.as_bps() as f64 > room,
            (Some(_), None) => true,
            (None, _) => false,
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
    /// Expected score where no packet is lost: what the core will measure.
    pub expected: QualityScore,
    /// Expected score at the receiver, losses counted.
    pub heard: QualityScore,
}

/// Longest packet a policy allows: its packet time is delay that people notice in conversation.
fn delay_limit(policy: &Policy, network: &Network) -> PacketTime {
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
///
/// The floor holds twice: for what the core measures, and, as a part of what the original would have been worth, for
/// what is left of it on a lossy path. So loss first buys redundancy and rate, and then the original.
pub fn choose(policy: &Policy, situation: &Situation, calibration: &Calibration) -> Choice {
    if !policy.active {
        let reason = if policy.opt_out {
            Reason::OptOut
        } else {
            Reason::Disabled
        };
        return original(Some(reason), situation, policy);
    }
    let situation = &seen(policy, situation);
    if situation.stereo && situation.network.capacity.is_none() {
        return original(Some(Reason::Content), situation, policy);
    }
    let mut choice = pick(policy, situation, calibration);
    if !situation.content.suits_speech_codec() && matches!(choice.rung, Rung::Neural(_)) {
        let without = Situation {
            neural: false,
            ..*situation
        };
        choice = Choice {
            reason: Some(Reason::Content),
            ..pick(policy, &without, calibration)
        };
    }
    if choice.reason.is_none() && dearer_than_calm(policy, situation, calibration, &choice) {
        choice.reason = Some(Reason::UnstableNetwork);
    }
    if choice.reason.is_none() && situation.no_accelerator {
        let with = Situation {
            no_accelerator: false,
            ..*situation
        };
        let differs = pick(policy, &with, calibration).rung != choice.rung;
        choice.reason = differs.then_some(Reason::NoAccelerator);
    }
    choice
}

/// Whether a leg on `current` should stay there although `better` is what [`choose`] says: it still does what it must, or
/// nearly, and the other is hardly cheaper. Rungs that come and go cost seams.
pub fn stays(
    current: Rung,
    better: Rung,
    policy: &Policy,
    situation: &Situation,
    calibration: &Calibration,
) -> bool {
    let (Some(now), Some(then)) = (wire_bitrate(current), wire_bitrate(better)) else {
        return false;
    };
    let situation = &seen(policy, situation);
    let source = situation.source_packet.unwrap_or(PacketTime::Ms20);
    let aligned = current
        .packet()
        .is_some_and(|packet| packet.frames() % source.frames() == 0);
    let decodes = match current {
        Rung::Neural(_) => situation.neural && situation.content.suits_speech_codec(),
        Rung::Enhanced(_) => situation.enhanced,
        Rung::Original | Rung::Lean(_) => true,
    };
    let Some(rated) = Rated::new(current, policy, situation, calibration).filter(|_| aligned && decodes)
    else {
        return false;
    };
    if then > now {
        return rated.holds(policy, situation, NOTICED, SLACK);
    }
    rated.holds(policy, situation, 0.0, 0.0) && now.as_bps() as f64 * (1.0 - STICKY) <= then.as_bps() as f64
}

/// Whether a rung still does what it must, within what measured scores and estimated losses scatter by: the question where
/// another rung costs a negotiation.
pub fn bears(rung: Rung, policy: &Policy, situation: &Situation, calibration: &Calibration) -> bool {
    let situation = &seen(policy, situation);
    let Some(rated) = Rated::new(rung, policy, situation, calibration) else {
        return rung == Rung::Original;
    };
    rated.holds(policy, situation, SCATTER, SLACK)
}

/// The network as the policy wants it seen: as it is, or as it will be.
fn seen(policy: &Policy, situation: &Situation) -> Situation {
    let network = if policy.predictive {
        situation.network.ahead()
    } else {
        situation.network
    };
    Situation {
        network,
        ..*situation
    }
}

/// A candidate that fits, with what it costs and what it is worth.
#[derive(Clone, Copy, Debug)]
struct Rated {
    rung: Rung,
    cost: f64,
    clean: QualityScore,
    heard: QualityScore,
}

impl Rated {
    fn new(rung: Rung, policy: &Policy, situation: &Situation, calibration: &Calibration) -> Option<Self> {
        let cost = wire_bitrate(rung)?.as_bps() as f64;
        let fits = situation.room().is_none_or(|room| cost <= room)
            && situation
                .original
                .is_none_or(|rate| cost < WORTH * rate.as_bps() as f64);
        let clean = calibration.predict(rung);
        let heard = after_loss(rung, clean, &situation.network, situation.red, policy.perceptual);
        fits.then(|| Self {
            rung,
            cost,
            clean: clean.score(),
            heard: heard.score(),
        })
    }

    /// Whether it is good enough; the score may be `scatter` under the floor, and losses take `slack` more than they should.
    fn holds(&self, policy: &Policy, situation: &Situation, scatter: f32, slack: f32) -> bool {
        let floor = policy.floor.value();
        // What cannot get through is no yardstick.
        let whole = if situation.squeezed() {
            1.0
        } else {
            untouched(situation, policy).value()
        };
        // However low the floor: losses must not take much more of it than they would of the original.
        let least = whole * floor.max(KEPT * self.clean.value());
        self.clean.value() + EPSILON + scatter >= floor && self.heard.value() + EPSILON + slack >= least
    }

    fn choice(self, reason: Option<Reason>) -> Choice {
        Choice {
            rung: self.rung,
            reason,
            expected: self.clean,
            heard: self.heard,
        }
    }
}

fn untouched(situation: &Situation, policy: &Policy) -> QualityScore {
    after_loss(
        Rung::Original,
        Mos::new(Mos::MAX),
        &situation.network,
        situation.red,
        policy.perceptual,
    )
    .score()
}

fn original(reason: Option<Reason>, situation: &Situation, policy: &Policy) -> Choice {
    Choice {
        rung: Rung::Original,
        reason,
        expected: QualityScore::FULL,
        heard: untouched(situation, policy),
    }
}

fn pick(policy: &Policy, situation: &Situation, calibration: &Calibration) -> Choice {
    let rated =
        candidates(policy, situation).filter_map(|rung| Rated::new(rung, policy, situation, calibration));
    let squeezed = situation.squeezed();
    let holding = rated
        .clone()
        .filter(|rated| rated.holds(policy, situation, 0.0, 0.0));
    let chosen = spent(policy, situation, holding.clone())
        .or_else(|| holding.min_by(|a, b| a.cost.total_cmp(&b.cost)));
    if let Some(rated) = chosen {
        return rated.choice(None);
    }
    if squeezed {
        // Its own losses are the queue's; they go with the queue.
        let best = rated.max_by(|a, b| {
            let by_score = a.clean.value().total_cmp(&b.clean.value());
            by_score.then(b.cost.total_cmp(&a.cost))
        });
        // Nothing fits: the least that there is, because the original fits even less.
        let least = || {
            let wide = Situation {
                network: Network {
                    capacity: None,
                    ..situation.network
                },
                ..*situation
            };
            candidates(policy, situation)
                .filter_map(|rung| Rated::new(rung, policy, &wide, calibration))
                .min_by(|a, b| a.cost.total_cmp(&b.cost))
        };
        if let Some(rated) = best.or_else(least) {
            return rated.choice(Some(Reason::UnstableNetwork));
        }
    }
    let calm = without_loss(situation);
    let worth_it = |rung: &Rung| {
        let cost = wire_bitrate(*rung).map_or(f64::INFINITY, |rate| rate.as_bps() as f64);
        cost < WORTH * situation.reference().as_bps() as f64
    };
    let mut able = candidates(policy, &calm).filter(|rung| {
        expected(*rung).is_some_and(|mos| mos.score().value() + EPSILON >= policy.floor.value())
    });
    let lossless = candidates(policy, &calm)
        .filter_map(|rung| Rated::new(rung, policy, &calm, calibration))
        .any(|rated| rated.holds(policy, &calm, 0.0, 0.0));
    let reason = if lossless || squeezed {
        Some(Reason::UnstableNetwork)
    } else if able.any(|rung| worth_it(&rung)) {
        Some(Reason::Quality)
    } else if situation.original.is_some() {
        // The source is as cheap as any rung that would do.
        None
    } else {
        Some(Reason::Quality)
    };
    original(reason, situation, policy)
}

/// Where the user said how much to save: the best of what saves that much. Without such a wish the mode's floor
/// decides alone.
fn spent(
    policy: &Policy,
    situation: &Situation,
    holding: impl Iterator<Item = Rated> + Clone,
) -> Option<Rated> {
    let target = policy.explicit_target?;
    let most = (1.0 - target) * situation.reference().as_bps() as f64;
    let within = holding.filter(|rated| rated.cost <= most);
    let best = within
        .clone()
        .map(|rated| rated.heard.value())
        .max_by(f32::total_cmp)?;
    let spare = if policy.perceptual { NOTICED } else { 0.0 };
    within
        .filter(|rated| rated.heard.value() >= best - spare)
        .min_by(|a, b| a.cost.total_cmp(&b.cost))
}

fn without_loss(situation: &Situation) -> Situation {
    let network = Network {
        capacity: situation.network.capacity,
        ..Network::default()
    };
    Situation {
        network,
        ..*situation
    }
}

fn dearer_than_calm(
    policy: &Policy,
    situation: &Situation,
    calibration: &Calibration,
    choice: &Choice,
) -> bool {
    if situation.network.loss <= 0.0 && situation.network.capacity.is_none() {
        return false;
    }
    let calm = Situation {
        network: Network::default(),
        ..*situation
    };
    let cost = |rung| wire_bitrate(rung).unwrap_or_else(|| situation.reference());
    cost(choice.rung) > cost(pick(policy, &calm, calibration).rung)
}

#[cfg(test)]
mod tests;
