//! What the publisher sends, as far as decisions depend on it.

use auralink_engine::{InKind, wire_bitrate};
use auralink_types::{Bitrate, Lean, Neural, NeuralRate, PacketTime, Rung, SourceCodec};

use super::PayloadKind;
use super::original::{Original, packet_time};
use super::stats::on_wire;

/// Audio measured before the source's rate is believed: 1 s.
const MEASURED_TICKS: u64 = 48_000;
/// Half-life of that measurement: 8 s.
const RATE_TICKS: u64 = 8 * 48_000;

/// What the publisher sends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    pub coding: InKind,
    pub model: Option<u16>,
    pub rate: Option<NeuralRate>,
    pub packet: PacketTime,
    pub red: bool,
    pub stereo: bool,
    wire_bytes: u64,
    ticks: u64,
}

impl Source {
    pub(super) fn of(original: &Original) -> Self {
        Self {
            coding: original.coding,
            model: original.model,
            rate: original.rate,
            packet: packet_time(original.ticks),
            red: original.kind == PayloadKind::Red,
            stereo: original.stereo,
            wire_bytes: on_wire(original.payload.len()),
            ticks: original.ticks,
        }
    }

    /// Adds a packet's measure; `false` when it is of another kind.
    pub(super) fn add(&mut self, packet: &Self) -> bool {
        let same = self.coding == packet.coding
            && self.model == packet.model
            && self.rate == packet.rate
            && self.packet == packet.packet
            && self.red == packet.red
            && self.stereo == packet.stereo;
        if same {
            self.wire_bytes += packet.wire_bytes;
            self.ticks += packet.ticks;
            if self.ticks > RATE_TICKS {
                self.wire_bytes /= 2;
                self.ticks /= 2;
            }
        }
        same
    }

    /// Whole-wire rate. `None` until enough was heard; AIC packets are all alike, so the first one tells.
    pub(super) fn wire_bitrate(&self) -> Option<Bitrate> {
        let known = self.ticks >= MEASURED_TICKS || (self.coding == InKind::Aic && self.ticks > 0);
        known.then(|| Bitrate::bps(self.wire_bytes * 8 * 48_000 / self.ticks))
    }

    /// The same, or what it will be where the publisher does what he was asked for.
    pub(super) fn cost(&self, asked: SourceCodec) -> Option<Bitrate> {
        let obeys = asked != SourceCodec::Own && self.obeys(asked);
        self.wire_bitrate()
            .or_else(|| wire_bitrate(asked.rung()).filter(|_| obeys))
    }

    /// Whether this is what was asked for, as far as was heard: a stock client takes the packet time and not the rate.
    pub(super) fn obeys(&self, asked: SourceCodec) -> bool {
        match asked {
            SourceCodec::Own => self.coding == InKind::Opus,
            SourceCodec::Lean(lean) => {
                let most = lean.bitrate.as_bps() * 5 / 4;
                self.coding == InKind::Opus
                    && !self.red
                    && self.packet == lean.packet
                    && self.payload_bitrate().is_none_or(|rate| rate.as_bps() <= most)
            }
            SourceCodec::Neural(neural) => {
                self.coding == InKind::Aic && self.packet == neural.packet && self.rate == Some(neural.rate)
            }
        }
    }

    /// The rung it corresponds to: what was asked for where that is what comes, because encoders stay below their
    /// target rate; Opus without RED is lean only where something was asked for.
    pub(super) fn rung(&self, asked: SourceCodec) -> Rung {
        let steered = asked != SourceCodec::Own;
        match self.coding {
            InKind::Opus if steered && self.obeys(asked) => asked.rung(),
            InKind::Aic => Rung::Neural(Neural {
                rate: self.rate.unwrap_or(NeuralRate::Kbps6),
                packet: self.packet,
                copies: 0,
            }),
            InKind::Opus if !self.red && steered => {
                Rung::Lean(Lean::new(self.payload_bitrate().unwrap_or_default(), self.packet))
            }
            InKind::Opus => Rung::Original,
        }
    }

    fn payload_bitrate(&self) -> Option<Bitrate> {
        let headers = on_wire(0) * 8 * 1000 / u64::from(self.packet.millis());
        Some(Bitrate::bps(
            self.wire_bitrate()?.as_bps().saturating_sub(headers),
        ))
    }
}
