//! What the publisher sends, as far as decisions depend on it.

use auralink_engine::{InKind, wire_bitrate};
use auralink_types::{Bitrate, Lean, Neural, NeuralRate, PacketTime, Rung, SourceCodec};

use super::original::{Original, packet_time};
use super::stats::on_wire;
use super::{LegCaps, PayloadKind};

/// Audio measured before the source's rate is believed: 1 s.
const MEASURED_TICKS: u64 = 48_000;
/// Half-life of that measurement: 8 s.
const RATE_TICKS: u64 = 8 * 48_000;
/// Part of the rate asked for up to which a publisher is said to do what was asked for: speech of variable rate exceeds
/// its target for seconds.
const RATE_EXCEEDED_PERCENT: u64 = 135;
/// Rate of the least Opus encoder (RFC 6716 section 2.1.1); what sends less is in a pause.
const LEAST_RATE: Bitrate = Bitrate::kbps(6);

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
    payload_bytes: u64,
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
            payload_bytes: original.payload.len() as u64,
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
            self.payload_bytes += packet.payload_bytes;
            self.ticks += packet.ticks;
            if self.ticks > RATE_TICKS {
                self.wire_bytes /= 2;
                self.payload_bytes /= 2;
                self.ticks /= 2;
            }
        }
        same
    }

    /// Whether it is coded so that a receiver decodes it without help.
    pub(super) fn is_playable(&self, caps: &LegCaps) -> bool {
        self.coding == InKind::Opus || self.model.is_some_and(|model| caps.models.contains(&model))
    }

    /// Whether two channels come; `None` until enough was heard to say that they don't. An Opus encoder that joins equal
    /// channels says so in each packet; that two channels are alike although both are coded only a decoder could tell.
    pub(super) fn sends_stereo(&self) -> Option<bool> {
        let known = self.stereo || self.wire_bitrate().is_some();
        known.then_some(self.stereo)
    }

    /// Whole-wire rate. `None` until enough was heard; AIC packets are all alike, so the first one tells.
    pub(super) fn wire_bitrate(&self) -> Option<Bitrate> {
        self.rate_of(self.wire_bytes)
    }

    /// What it costs: where the publisher does what was asked for, what that costs, so that the scatter of the rate
    /// moves nobody.
    pub(super) fn cost(&self, asked: SourceCodec) -> Option<Bitrate> {
        let follows = asked != SourceCodec::Own && self.follows(asked) == Some(true);
        wire_bitrate(asked.rung())
            .filter(|_| follows)
            .or_else(|| self.wire_bitrate())
    }

    /// Whether this is what was asked for; `None` until enough of it was heard.
    pub(super) fn follows(&self, asked: SourceCodec) -> Option<bool> {
        match asked {
            SourceCodec::Own => Some(self.coding == InKind::Opus),
            SourceCodec::Lean(lean) => {
                if self.coding != InKind::Opus || self.red || self.packet != lean.packet {
                    return Some(false);
                }
                self.payload_bitrate().map(|_| !self.exceeds(lean.bitrate))
            }
            SourceCodec::Neural(neural) => Some(
                self.coding == InKind::Aic && self.packet == neural.packet && self.rate == Some(neural.rate),
            ),
        }
    }

    /// Whether it is Opus of clearly more than that rate, as far as was heard.
    pub(super) fn exceeds(&self, asked: Bitrate) -> bool {
        let most = asked.as_bps() * RATE_EXCEEDED_PERCENT / 100;
        self.coding == InKind::Opus && self.payload_bitrate().is_some_and(|rate| rate.as_bps() > most)
    }

    /// Measures anew: something else was asked for.
    pub(super) fn forget_rate(&mut self) {
        (self.wire_bytes, self.payload_bytes, self.ticks) = (0, 0, 0);
    }

    /// The rung it corresponds to: what was asked for where that is what comes, because encoders stay below their
    /// target rate; Opus without RED is lean only where something was asked for. `None` where it is not known yet.
    pub(super) fn rung(&self, asked: SourceCodec) -> Option<Rung> {
        let steered = asked != SourceCodec::Own;
        match self.coding {
            InKind::Opus if steered && self.follows(asked) == Some(true) => Some(asked.rung()),
            InKind::Aic => Some(Rung::Neural(Neural {
                rate: self.rate.unwrap_or(NeuralRate::Kbps6),
                packet: self.packet,
                copies: 0,
            })),
            InKind::Opus if !self.red && steered => {
                let rate = self.payload_bitrate().filter(|rate| *rate >= LEAST_RATE)?;
                Some(Rung::Lean(Lean::new(rate, self.packet)))
            }
            InKind::Opus => Some(Rung::Original),
        }
    }

    fn payload_bitrate(&self) -> Option<Bitrate> {
        self.rate_of(self.payload_bytes)
    }

    fn rate_of(&self, bytes: u64) -> Option<Bitrate> {
        let known = self.ticks >= MEASURED_TICKS || (self.coding == InKind::Aic && self.ticks > 0);
        known.then(|| Bitrate::bps(bytes * 8 * 48_000 / self.ticks))
    }
}
