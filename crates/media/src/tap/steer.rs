//! What the publisher should send, so that its uplink is spared as well.

use std::time::{Duration, Instant};

use auralink_engine::{Calibration, Choice, Network, Situation, choose};
use auralink_quality::Content;
use auralink_types::{Lean, NetworkClass, Neural, Policy, Rung, SourceCodec};

use super::PublisherCaps;
use super::leg::Leg;

/// Least time between two wishes, but for those that somebody cannot do without.
const PAUSE: Duration = Duration::from_secs(10);
/// Time in which a publisher may do what he was asked for: a round trip, and packets growing to 120 ms.
const OBEYED_WITHIN: Duration = Duration::from_secs(3);
/// Pause before something is asked for that was not heard, or not done.
const INSIST: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub(super) struct Steer {
    asked: SourceCodec,
    asked_at: Option<Instant>,
    /// Nobody listened when that was asked for.
    unheard: bool,
}

impl Steer {
    pub(super) fn new() -> Self {
        Self {
            asked: SourceCodec::Own,
            asked_at: None,
            unheard: false,
        }
    }

    /// Whether the publisher was asked for anything but its own coding.
    pub(super) fn steers(&self) -> bool {
        self.asked != SourceCodec::Own
    }

    /// What the publisher was asked for last.
    pub(super) fn asked(&self) -> SourceCodec {
        self.asked
    }

    /// Whether he was asked so lately that he may still be about to do it.
    pub(super) fn awaits(&self, now: Instant) -> bool {
        self.asked_at
            .is_some_and(|at| now.saturating_duration_since(at) < OBEYED_WITHIN)
    }

    /// The same wish once more, for a publisher who sends the neural codec although he was not asked for it.
    pub(super) fn insist(&mut self, now: Instant, urgent: bool) -> Option<SourceCodec> {
        let pause = if urgent { Duration::ZERO } else { INSIST };
        let lately = self
            .asked_at
            .is_some_and(|at| now.saturating_duration_since(at) <= pause);
        if matches!(self.asked, SourceCodec::Neural(_)) || lately {
            return None;
        }
        self.asked_at = Some(now);
        Some(self.asked)
    }

    /// The new wish, if it changed and may be told now. Whoever comes to hear it first does not wait.
    pub(super) fn decide(&mut self, now: Instant, wish: SourceCodec, heard: bool) -> Option<SourceCodec> {
        if wish == self.asked {
            return None;
        }
        let fresh = self
            .asked_at
            .is_some_and(|at| now.saturating_duration_since(at) < PAUSE);
        let needed = wish == SourceCodec::Own || matches!(self.asked, SourceCodec::Neural(_));
        if fresh && !needed && !(self.unheard && heard) {
            return None;
        }
        self.asked = wish;
        self.asked_at = Some(now);
        self.unheard = !heard;
        Some(wish)
    }
}

/// The cheapest source that serves every leg. The neural codec only where every leg decodes it by itself: no listener
/// may depend on the core for hearing anything at all (docs/adr/0003-neural-at-the-source.md).
pub(super) fn wish(
    policy: &Policy,
    caps: &PublisherCaps,
    legs: &[Leg],
    uplink: Network,
    calibration: &Calibration,
    stereo: bool,
    content: Content,
) -> SourceCodec {
    if !policy.active || !caps.steerable || stereo || legs.iter().any(|leg| leg.caps.opted_out) {
        return SourceCodec::Own;
    }
    let shared = |leg: &Leg| caps.models.iter().any(|model| leg.caps.models.contains(model));
    let ideal = |network: Network, neural: bool| -> Choice {
        let situation = Situation {
            neural,
            content,
            ..Situation::stock(network)
        };
        choose(policy, &situation, calibration)
    };
    let all_neural = !legs.is_empty() && legs.iter().all(shared);
    if uplink.class == NetworkClass::Bad
        && all_neural
        && let Rung::Neural(neural) = ideal(uplink, true).rung
    {
        return SourceCodec::Neural(neural);
    }
    let mut rungs: Vec<Rung> = legs
        .iter()
        .map(|leg| ideal(leg.network.network(), all_neural).rung)
        .collect();
    if legs.is_empty() {
        rungs.push(ideal(Network::default(), false).rung);
    }
    let neural = rungs.iter().filter_map(|rung| match rung {
        Rung::Neural(neural) => Some(*neural),
        _ => None,
    });
    if all_neural && neural.clone().count() == rungs.len() {
        return neural
            .reduce(|a, b| Neural {
                rate: a.rate.max(b.rate),
                packet: a.packet.min(b.packet),
                copies: a.copies.max(b.copies),
            })
            .map_or(SourceCodec::Own, SourceCodec::Neural);
    }
    // A leg that would rather have the original, or neural, is served by the dearest lean rung of the others.
    let lean = rungs.iter().filter_map(|rung| match rung {
        Rung::Lean(lean) | Rung::Enhanced(lean) => Some(*lean),
        _ => None,
    });
    lean.reduce(|a, b| Lean {
        bitrate: a.bitrate.max(b.bitrate),
        packet: a.packet.min(b.packet),
        fec: a.fec || b.fec,
    })
    .map_or(SourceCodec::Own, SourceCodec::Lean)
}
