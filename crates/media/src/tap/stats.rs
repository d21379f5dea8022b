//! Plain counters of a tap and the snapshot made of them.

use std::time::Duration;

use auralink_engine::{EXTENSION_BYTES, Phase, Prediction};
use auralink_quality::savings::{Preset, SavingsMeter, wire_bytes};
use auralink_types::{Mos, NetworkClass, Reason, Rung, SavingsBasis};

use super::leg::Leg;
use super::original::{FRAME_TICKS, Original};
use super::{AudioTap, LegId};

/// Compute times remembered between two snapshots; beyond it the oldest go.
const TIMES: usize = 512;

/// What passed a tap since it was made, but for the fields that say otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct TapSnapshot {
    /// Publisher's leg, whole wire.
    pub uplink: SavingsMeter,
    /// Subscribers' legs together, whole wire, those gone included.
    pub downlink: SavingsMeter,
    /// Where the originals' bytes come from now: the packets themselves, or a stock client's preset while the
    /// publisher is steered.
    pub basis: SavingsBasis,
    /// 20 ms frames that arrived, pauses not counted.
    pub frames: u64,
    /// Median time a packet spent in compression since the last snapshot.
    pub compute_p50: Option<Duration>,
    /// 99th percentile of the same.
    pub compute_p99: Option<Duration>,
    /// Lowest current quality estimate over the legs that get coded packets.
    pub quality: Option<Mos>,
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
        let coded = self.legs.iter().any(|leg| leg.rung != Rung::Original);
        TapSnapshot {
            uplink: self.stats.uplink,
            downlink: self.stats.downlink,
            basis: if self.steer.steers() {
                SavingsBasis::Preset
            } else {
                SavingsBasis::Measured
            },
            frames: self.stats.ticks / FRAME_TICKS,
            compute_p50: times.map(|(median, _)| median),
            compute_p99: times.map(|(_, p99)| p99),
            quality: self.quality.filter(|_| coded).map(|(_, mos)| mos),
            prediction: self.predict(),
            fallbacks: self.stats.fallbacks,
            bad_input: self.stats.bad_input,
            padding: self.stats.padding,
            outdated: self.stats.outdated,
            unused: self.stats.unused,
            coded: self.stats.coded,
            rescued: self.stats.rescued,
            source: self.source.map(|source| source.rung(self.steer.asked())),
            legs: self.legs.iter().map(leg_snapshot).collect(),
        }
    }
}

fn leg_snapshot(leg: &Leg) -> LegSnapshot {
    LegSnapshot {
        leg: leg.id,
        rung: leg.rung,
        phase: leg.fallback.phase(),
        reason: leg
            .fallback
            .reason()
            .filter(|_| leg.wanted != Rung::Original)
            .or(leg.reason),
        network: leg.network.class(),
        savings: leg.savings,
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
    times: Vec<Duration>,
    next_time: usize,
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

    /// Median and 99th percentile since the last call.
    pub(super) fn take_times(&mut self) -> Option<(Duration, Duration)> {
        self.times.sort_unstable();
        let last = self.times.len().checked_sub(1)?;
        let answer = (self.times[last / 2], self.times[last * 99 / 100]);
        self.times.clear();
        self.next_time = 0;
        Some(answer)
    }
}

/// Whole-wire bytes of a packet with this payload.
pub(super) fn on_wire(payload: usize) -> u64 {
    wire_bytes(payload, EXTENSION_BYTES) as u64
}

/// Whole-wire bytes that would have flowed for this packet's audio without AIC.
pub(super) fn baseline(original: &Original, steered: bool) -> u64 {
    if steered && !original.dtx && original.ticks > 0 {
        Preset::STOCK.packet_bytes() as u64 * original.ticks / FRAME_TICKS
    } else {
        on_wire(original.payload.len())
    }
}

fn index(reason: Reason) -> usize {
    // Every reason is in ALL, so the default is never used.
    Reason::ALL
        .iter()
        .position(|one| *one == reason)
        .unwrap_or_default()
}
