//! The originals that a leg on a coded rung keeps until the core's packet has come.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use auralink_engine::Coded;
use auralink_types::PacketTime;

use super::original::{FRAME_TICKS, Original};

/// Originals kept at most; a full shelf is cleared at once.
const MOST: usize = 64;
/// Time for threads to be scheduled on top of the policy's own limit.
pub(super) const SLACK: Duration = Duration::from_millis(10);
/// How long a group that lacks its last frame waits beyond its packet time, so that jitter of the sender alone
/// does not undo a packet.
const STRAGGLER: Duration = Duration::from_millis(40);
/// Longest hole that a coded packet may bridge.
const BRIDGE_TICKS: u64 = 6 * FRAME_TICKS;

#[derive(Default)]
pub(super) struct Shelf {
    /// Originals from here on are kept.
    pub from: u64,
    kept: VecDeque<Arc<Original>>,
}

/// When a group of originals goes out without the core's packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    pub at: Instant,
    /// End of the group.
    pub until: u64,
    /// All its frames are there.
    pub complete: bool,
}

impl Shelf {
    /// Puts an original in its place, also one that another overtook; `false` when it is there already.
    pub(super) fn put(&mut self, original: &Arc<Original>) -> bool {
        let place = self.kept.partition_point(|kept| kept.at <= original.at);
        if place > 0 && self.kept[place - 1].at == original.at {
            return false;
        }
        self.kept.insert(place, original.clone());
        true
    }

    pub(super) fn is_full(&self) -> bool {
        self.kept.len() > MOST
    }

    /// The oldest that begins before then.
    pub(super) fn take_before(&mut self, end: u64) -> Option<Arc<Original>> {
        self.kept.pop_front_if(|kept| kept.at < end)
    }

    /// Whether a packet begins where audio has gone out up to, or an original begins, and covers what is kept.
    pub(super) fn fits(&self, packet: &Coded, gone_out: u64) -> bool {
        let straddled = self
            .kept
            .iter()
            .any(|kept| kept.at < packet.timestamp && kept.end() > packet.timestamp);
        packet.timestamp >= gone_out && packet.timestamp + packet.samples > self.from && !straddled
    }

    /// When the oldest group must go out, while packets are as long as that and audio has gone out up to there.
    pub(super) fn deadline(
        &self,
        packet: PacketTime,
        gone_out: u64,
        max_latency: Duration,
    ) -> Option<Deadline> {
        let front = self.kept.front()?;
        let bridged = front.at.saturating_sub(gone_out) <= BRIDGE_TICKS;
        let start = if bridged { gone_out } else { front.at };
        let until = start + packet.frames() as u64 * FRAME_TICKS;
        let wait = max_latency + SLACK;
        Some(match self.kept.iter().find(|kept| kept.end() >= until) {
            Some(last) => Deadline {
                at: last.taken + wait,
                until,
                complete: true,
            },
            None => Deadline {
                at: front.taken + packet.duration() + wait + STRAGGLER,
                until: u64::MAX,
                complete: false,
            },
        })
    }
}
