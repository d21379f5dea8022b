//! Plain counters of a tap and the snapshot made of them.

use std::time::{Duration, Instant};

use auralink_engine::{EXTENSION_BYTES, Phase, Prediction};
use auralink_quality::savings::{SavingsMeter, wire_bytes};
use auralink_types::{Mos, NetworkClass, Reason, Rung, SavingsBasis};

use super::leg::Leg;
use super::original::{FRAME_TICKS, Original};
use super::own::{BARE_HEADER, FULL_HEADER, Made, Side};
use super::{AudioTap, LegId};

/// Compute times remembered between two snapshots; beyond it the oldest go.
const TIMES: usize = 512;
/// Snapshots for which a client's report stands: one a second, and a report every ten.
const TOLD_FOR: u8 = 15;

/// What passed a tap since it was made, but for the fields that say otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct TapSnapshot {
    /// Publisher's leg, whole wire.
    pub uplink: SavingsMeter,
    /// Subscribers' legs together, whole wire, those gone included.
    pub downlink: SavingsMeter,
    /// Where the originals' bytes come from now: what the publisher sent or was heard to send unasked, or a stock
    /// client's preset where another rate was asked for before anything was known of their own.
    pub basis: SavingsBasis,
    /// 20 ms frames that arrived, pauses not counted.
    pub frames: u64,
    /// Median time a packet spent in compression since the last snapshot: in the core, or in the client that codes by itself.
    pub compute_p50: Option<Duration>,
    /// 99th percentile of the same.
    pub compute_p99: Option<Duration>,
    /// Lowest current quality estimate over the legs that get coded packets.
    pub quality: Option<Mos>,
    /// What is expected of the rung in use by what was measured of this track so far; absent where the publisher's packets are not what was asked for: how much
    /// an encoder sends says nothing of how it sounds.
    pub expected: Option<Mos>,
    /// What the first of those legs is expected to get from now on.
    pub prediction: Option<Prediction>,
    /// Fallbacks by reason, as in [`Reason::ALL`].
    pub fallbacks: [u64; Reason::ALL.len()],
    /// Packets that could not be read.
    pub bad_input: u64,
    /// Empty packets dropped.
    pub padding: u64,
    /// Packets that came after their audio had gone out, or twice.
    pub outdated: u64,
    /// Coded packets that came past their deadline or did not fit, and were not sent.
    pub unused: u64,
    /// Coded packets sent.
    pub coded: u64,
    /// Held originals sent in place of coded packets.
    pub rescued: u64,
    /// What the publisher sends now, if anything came yet.
    pub source: Option<Rung>,
    /// Every leg.
    pub legs: Vec<LegSnapshot>,
}

impl TapSnapshot {
    /// Fallbacks for this reason.
    pub fn fallbacks_for(&self, reason: Reason) -> u64 {
        self.fallbacks[index(reason)]
    }
}

/// One leg now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LegSnapshot {
    /// The leg.
    pub leg: LegId,
    /// What goes out.
    pub rung: Rung,
    /// Where its fallback machine stands.
    pub phase: Phase,
    /// Why it is not what the policy would like, if it is not.
    pub reason: Option<Reason>,
    /// Its network.
    pub network: NetworkClass,
    /// Its whole-wire bytes.
    pub savings: SavingsMeter,
}

impl AudioTap {
    /// Counters and states; compute times start anew.
    pub fn snapshot(&mut self) -> TapSnapshot {
        let times = self.stats.take_times();
        let coded = self
            .legs
            .iter()
            .map(|leg| leg.pilot.rung())
            .find(|rung| *rung != Rung::Original);
        let asked = self.steer.asked();
        let source = self.source.and_then(|source| source.rung(asked));
        let known = self.source.filter(|source| source.follows(asked) == Some(true));
        TapSnapshot {
            uplink: self.stats.uplink,
            downlink: self.stats.downlink,
            basis: self.own.basis(self.made()),
            frames: self.stats.ticks / FRAME_TICKS,
            compute_p50: times.map(|(median, _)| median),
            compute_p99: times.map(|(_, p99)| p99),
            quality: self.judge.quality().filter(|_| coded.is_some()),
            expected: coded
                .or(source.filter(|_| known.is_some()))
                .filter(|rung| *rung != Rung::Original)
                .map(|rung| self.judge.calibration().predict(rung)),
            prediction: self.predict(),
            fallbacks: self.stats.fallbacks,
            bad_input: self.stats.bad_input,
            padding: self.stats.padding,
            outdated: self.stats.outdated,
            unused: self.stats.unused,
            coded: self.stats.coded,
            rescued: self.stats.rescued,
            source,
            legs: self.legs.iter().map(leg_snapshot).collect(),
        }
    }

    /// Counts a packet that came, and what it stands for.
    pub(super) fn count(&mut self, now: Instant, original: &Original) {
        let made = self.made();
        let stand_in = self.own.stand_in(original);
        if !self.steer.may_still_thin(now) && !matches!(made, Made::AtRate(_)) {
            self.own.hear(original, stand_in, made);
        }
        let before = |side| self.own.cost(original, stand_in, made, side);
        self.stats.uplink.original_bytes += before(Side::Up);
        self.stats.uplink.sent_bytes += wire_bytes(original.payload.len(), original.extensions) as u64;
        for leg in &mut self.legs {
            let red = leg.caps.red;
            let before = before(Side::Down { red });
            leg.outlet.savings.original_bytes += before;
            self.stats.downlink.original_bytes += before;
        }
    }

    /// How the publisher makes packets now.
    fn made(&self) -> Made {
        let exceeds = |rate| self.source.is_some_and(|source| source.exceeds(rate));
        match self.steer.asked_rate() {
            _ if !self.policy.active => Made::Freely,
            Some(rate) if !exceeds(rate) => Made::AtRate(rate),
            _ => Made::AtOwnRate,
        }
    }

    /// Bytes of the header extensions on the lines of listeners.
    pub(super) fn extensions(&self) -> usize {
        if self.policy.active {
            BARE_HEADER
        } else {
            FULL_HEADER
        }
    }
}

fn leg_snapshot(leg: &Leg) -> LegSnapshot {
    let pilot = &leg.pilot;
    LegSnapshot {
        leg: leg.id,
        rung: pilot.rung(),
        phase: pilot.phase(),
        reason: pilot
            .trouble()
            .filter(|_| pilot.wanted() != Rung::Original)
            .or(pilot.reason()),
        network: leg.network.class(),
        savings: leg.outlet.savings,
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Stats {
    pub uplink: SavingsMeter,
    pub downlink: SavingsMeter,
    pub ticks: u64,
    pub fallbacks: [u64; Reason::ALL.len()],
    pub bad_input: u64,
    pub padding: u64,
    pub outdated: u64,
    pub unused: u64,
    pub coded: u64,
    pub rescued: u64,
    /// Bytes of the header extensions on the lines of listeners.
    pub extensions: usize,
    times: Vec<Duration>,
    next_time: usize,
    /// Median and 99th percentile as the client told them, and for how many more snapshots they stand.
    told: Option<((Duration, Duration), u8)>,
}

impl Stats {
    pub(super) fn fell_back(&mut self, reason: Reason) {
        self.fallbacks[index(reason)] += 1;
    }

    pub(super) fn took(&mut self, compute: Duration) {
        if self.times.len() < TIMES {
            self.times.push(compute);
        } else {
            self.times[self.next_time % TIMES] = compute;
        }
        self.next_time += 1;
    }

    /// Takes what the client says of its own coding: median and 99th percentile.
    pub(super) fn told(&mut self, times: (Duration, Duration)) {
        self.told = Some((times, TOLD_FOR));
    }

    /// Whole-wire bytes of a packet that goes out.
    pub(super) fn on_wire(&self, payload: usize) -> u64 {
        wire_bytes(payload, self.extensions) as u64
    }

    /// Median and 99th percentile since the last call.
    pub(super) fn take_times(&mut self) -> Option<(Duration, Duration)> {
        let told = self.told.take().filter(|(_, left)| *left > 0);
        self.told = told.map(|(times, left)| (times, left - 1));
        self.times.sort_unstable();
        let Some(last) = self.times.len().checked_sub(1) else {
            return told.map(|(times, _)| times);
        };
        let answer = (self.times[last / 2], self.times[last * 99 / 100]);
        self.times.clear();
        self.next_time = 0;
        Some(answer)
    }
}

/// Whole-wire bytes of a packet with this payload, counted like the cost of rungs.
pub(super) fn on_wire(payload: usize) -> u64 {
    wire_bytes(payload, EXTENSION_BYTES) as u64
}

fn index(reason: Reason) -> usize {
    // Every reason is in ALL, so the default is never used.
    Reason::ALL
        .iter()
        .position(|one| *one == reason)
        .unwrap_or_default()
}
