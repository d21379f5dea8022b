//! What goes out to one subscriber: its numbers and its bytes.

use std::collections::VecDeque;

use auralink_engine::Coded;
use auralink_quality::savings::SavingsMeter;

use super::original::Original;
use super::stats::Stats;
use super::{LegId, OutPacket, PayloadKind, TapOutput};
use crate::sequence::SequenceMap;

/// First sequence number of a leg.
const FIRST_SEQ: u64 = 1024;

/// Where packets and counts of a leg go.
pub(super) struct Sink<'a> {
    pub out: &'a mut VecDeque<TapOutput>,
    pub stats: &'a mut Stats,
}

impl<'a> Sink<'a> {
    pub(super) fn new(out: &'a mut VecDeque<TapOutput>, stats: &'a mut Stats) -> Self {
        Self { out, stats }
    }
}

pub(super) struct Outlet {
    leg: LegId,
    /// Its receiver takes RED.
    pub red: bool,
    pub savings: SavingsMeter,
    /// Maps the publisher's numbers while originals go out at once.
    map: Option<SequenceMap>,
    last: u64,
}

impl Outlet {
    pub(super) fn new(leg: LegId, red: bool) -> Self {
        Self {
            leg,
            red,
            savings: SavingsMeter::default(),
            map: None,
            last: FIRST_SEQ - 1,
        }
    }

    /// Sequence number of the last packet.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// The publisher's numbers are followed no more.
    pub(super) fn unmap(&mut self) {
        self.map = None;
    }

    /// Takes a padding packet: nothing goes out and no gap stays.
    pub(super) fn skip(&mut self, seq: u64) {
        if let Some(map) = &mut self.map {
            map.drop(seq);
        }
    }

    /// Its number where the publisher's are followed; none where it can have none any more.
    pub(super) fn map(&mut self, original: &Original) -> Option<u64> {
        let next = self.last + 1;
        self.map
            .get_or_insert_with(|| SequenceMap::new(original.seq, next))
            .map(original.seq)
    }

    /// An original under that number.
    pub(super) fn send_as(&mut self, seq: u64, original: &Original, sink: &mut Sink<'_>) {
        let unwrap = original.kind == PayloadKind::Red && !self.red && original.ticks > 0;
        let (kind, payload) = if unwrap {
            (PayloadKind::Opus, original.primary.clone())
        } else {
            (original.kind, original.payload.clone())
        };
        let packet = OutPacket {
            kind,
            seq,
            timestamp: original.at as u32,
            marker: original.marker,
            payload,
        };
        self.send(packet, sink);
    }

    /// An original under the next number.
    pub(super) fn send_next(&mut self, original: &Original, sink: &mut Sink<'_>) {
        self.send_as(self.last + 1, original, sink);
    }

    /// A packet of the core under the next number.
    pub(super) fn send_coded(&mut self, coded: &Coded, marker: bool, sink: &mut Sink<'_>) {
        let packet = OutPacket {
            kind: PayloadKind::Opus,
            seq: self.last + 1,
            timestamp: coded.timestamp as u32,
            marker,
            payload: coded.payload.clone(),
        };
        self.send(packet, sink);
        sink.stats.coded += 1;
    }

    fn send(&mut self, packet: OutPacket, sink: &mut Sink<'_>) {
        let bytes = sink.stats.on_wire(packet.payload.len());
        self.savings.sent_bytes += bytes;
        sink.stats.downlink.sent_bytes += bytes;
        self.last = self.last.max(packet.seq);
        sink.out.push_back(TapOutput::Send {
            leg: self.leg,
            packet,
        });
    }
}
