//! What the publisher should send, so that its uplink is spared as well.

use std::time::{Duration, Instant};

use auralink_engine::{Calibration, Choice, Network, Pace, Situation, choose, wire_bitrate};
use auralink_quality::Content;
use auralink_types::{Bitrate, Lean, NetworkClass, Neural, Policy, Rung, SourceCodec};

use super::PublisherCaps;
use super::leg::Leg;

/// Least time between two wishes, but for those that somebody cannot do without.
const PAUSE: Duration = Duration::from_secs(10);
/// Least time before a cheaper source is asked for: each wish is a negotiation with a stock client.
const CHEAPER: Duration = Duration::from_secs(60);
/// Time in which a publisher may do what they were asked for: a round trip, and packets growing to 120 ms.
const OBEYED_WITHIN: Duration = Duration::from_secs(3);
/// Pause before something is asked for that was not heard, or not done.
const INSIST: Duration = Duration::from_secs(1);
/// Rates closer than this sound alike, and the difference is not worth asking.
const NOTICED_PERCENT: u64 = 25;

#[derive(Clone, Debug)]
pub(super) struct Steer {
    asked: SourceCodec,
    /// All but the rate was asked for: their own is still being heard.
    keeps_rate: bool,
    /// A rate was asked for at some time.
    thinned: bool,
    asked_at: Option<Instant>,
    /// What comes is what was made of that, as far as it will be.
    settled: bool,
    /// Nobody listened when that was asked for.
    unheard: bool,
    pace: Pace,
}

/// A wish, and what it depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    /// What is wanted.
    pub source: SourceCodec,
    /// But for the rate.
    pub keep_rate: bool,
    /// Somebody listens.
    pub heard: bool,
    /// What was asked for last still serves everybody, within what scores scatter by.
    pub borne: bool,
}

impl Steer {
    pub(super) fn new() -> Self {
        Self {
            asked: SourceCodec::Own,
            keeps_rate: false,
            thinned: false,
            asked_at: None,
            settled: true,
            unheard: false,
            pace: Pace::with_patience(CHEAPER),
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

    /// What may be counted on: not a rate that they were not told.
    pub(super) fn counted_on(&self) -> SourceCodec {
        if self.keeps_rate {
            SourceCodec::Own
        } else {
            self.asked
        }
    }

    /// The rate that was asked for, if one was.
    pub(super) fn asked_rate(&self) -> Option<Bitrate> {
        match self.counted_on() {
            SourceCodec::Own => None,
            SourceCodec::Lean(lean) => Some(lean.bitrate),
            SourceCodec::Neural(neural) => Some(neural.rate.bitrate()),
        }
    }

    /// Whether they were asked so lately that they may still be about to do it.
    pub(super) fn awaits(&self, now: Instant) -> bool {
        self.asked_at
            .is_some_and(|at| now.saturating_duration_since(at) < OBEYED_WITHIN)
    }

    /// Whether the time to do what was asked for has passed just now; says so once.
    pub(super) fn settles(&mut self, now: Instant) -> bool {
        !self.awaits(now) && !std::mem::replace(&mut self.settled, true)
    }

    /// Whether packets may come at a rate that is no longer asked for.
    pub(super) fn may_still_thin(&self, now: Instant) -> bool {
        self.thinned && self.awaits(now)
    }

    /// The user thought again: what they want now does not wait.
    pub(super) fn forget_pace(&mut self) {
        self.asked_at = None;
        self.pace = Pace::with_patience(CHEAPER);
    }

    /// The same wish once more, for a publisher who sends the neural codec although they were not asked for it.
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

    /// The new wish, if it changed and may be told now.
    pub(super) fn decide(&mut self, now: Instant, wish: Wish) -> Option<SourceCodec> {
        let source = wish.source;
        let keep_rate = wish.keep_rate && matches!(source, SourceCodec::Lean(_));
        // What is known by now completes what was asked for.
        let completes = self.keeps_rate && !keep_rate && matches!(source, SourceCodec::Lean(_));
        if !completes && (source == self.asked || !self.may_ask(now, &wish)) {
            return None;
        }
        let (from, to) = (self.asked.rung(), source.rung());
        if ![from, to].contains(&Rung::Original) && !self.keeps_rate {
            self.pace.handle_switch(now, from, to);
        }
        let asked = std::mem::replace(&mut self.asked, source);
        self.keeps_rate = keep_rate;
        self.unheard = !wish.heard;
        self.thinned |= self.asked_rate().is_some();
        // A rate that they are not told yet is no news to them.
        if keep_rate && asked.rung().packet() == source.rung().packet() {
            return None;
        }
        self.asked_at = Some(now);
        self.settled = false;
        Some(source)
    }

    /// Whoever comes to hear it first does not wait, and nobody waits for what they cannot do without.
    fn may_ask(&self, now: Instant, wish: &Wish) -> bool {
        let (from, to) = match (self.asked, wish.source) {
            (SourceCodec::Neural(_), _) | (_, SourceCodec::Own) => return true,
            (SourceCodec::Lean(from), SourceCodec::Lean(to)) => (from, to),
            (SourceCodec::Own, _) | (_, SourceCodec::Neural(_)) => {
                let fresh = self
                    .asked_at
                    .is_some_and(|at| now.saturating_duration_since(at) < PAUSE);
                return !fresh || (self.unheard && wish.heard);
            }
        };
        let alike = from.packet == to.packet && from.fec == to.fec && sound_alike(from.bitrate, to.bitrate);
        if alike {
            return false;
        }
        if self.unheard && wish.heard {
            return true;
        }
        let dearer = wire_bitrate(Rung::Lean(to)) > wire_bitrate(Rung::Lean(from));
        if dearer {
            !wish.borne && !self.awaits(now)
        } else {
            self.pace.may_cheapen(now)
        }
    }
}

fn sound_alike(a: Bitrate, b: Bitrate) -> bool {
    let (low, high) = (a.min(b).as_bps(), a.max(b).as_bps());
    (high - low) * 100 < low * NOTICED_PERCENT
}

/// The cheapest source that serves two kinds of listeners.
pub(super) fn serves_both(one: SourceCodec, other: SourceCodec) -> SourceCodec {
    match (one, other) {
        (SourceCodec::Own, _) | (_, SourceCodec::Own) => SourceCodec::Own,
        (SourceCodec::Lean(a), SourceCodec::Lean(b)) => SourceCodec::Lean(dearer_lean(a, b)),
        (SourceCodec::Neural(a), SourceCodec::Neural(b)) => SourceCodec::Neural(dearer_neural(a, b)),
        // Not everybody decodes the neural codec by themselves.
        (lean @ SourceCodec::Lean(_), _) | (_, lean) => lean,
    }
}

fn dearer_lean(a: Lean, b: Lean) -> Lean {
    Lean {
        bitrate: a.bitrate.max(b.bitrate),
        packet: a.packet.min(b.packet),
        fec: a.fec || b.fec,
    }
}

fn dearer_neural(a: Neural, b: Neural) -> Neural {
    Neural {
        rate: a.rate.max(b.rate),
        packet: a.packet.min(b.packet),
        copies: a.copies.max(b.copies),
    }
}

/// The cheapest source that serves every leg. The neural codec only where every leg decodes it by itself: no listener
/// may depend on the core for hearing anything at all (docs/adr/0005-neural-at-the-source.md).
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
            .reduce(dearer_neural)
            .map_or(SourceCodec::Own, SourceCodec::Neural);
    }
    // A leg that would rather have the original, or neural, is served by the dearest lean rung of the others.
    let lean = rungs.iter().filter_map(|rung| match rung {
        Rung::Lean(lean) | Rung::Enhanced(lean) => Some(*lean),
        _ => None,
    });
    lean.reduce(dearer_lean)
        .map_or(SourceCodec::Own, SourceCodec::Lean)
}
