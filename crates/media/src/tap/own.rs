//! What would flow without AIC: the publisher's audio as it comes when nobody asks for anything else.
//!
//! RED and packet time follow from what was announced. The rate is what was heard before anybody asked for another, else
//! what the client says that its own encoder makes of the same talk, and only where neither is known a stock client's
//! preset. Pauses count as they come.

use auralink_engine::InKind;
use auralink_quality::savings::{Preset, extension_bytes, wire_bytes};
use auralink_types::{Bitrate, SavingsBasis};

use super::PayloadKind;
use super::original::{FRAME_TICKS, Original};

/// Talk after which a rate is known: 2 s.
const KNOWN_TICKS: u64 = 2 * 48_000;
/// Half-life of what was heard: a minute.
const HEARD_TICKS: u64 = 60 * 48_000;
/// Opus at less than this is a pause: no rate at which it speaks is so low.
const PAUSE: Bitrate = Bitrate::bps(6_400);
/// And at less than this part of the rate that was asked for.
const PAUSE_OF_ASKED: u64 = 3;
/// Header of a RED block that repeats an earlier packet, and of the last one (RFC 2198 section 3).
const RED_BYTES: u64 = 5;
/// Header extensions on a line that AIC leaves alone.
pub(super) const FULL_HEADER: usize = extension_bytes(Preset::STOCK.extensions);

/// The same from an AIC client: the level alone.
const SPARE_HEADER: usize = extension_bytes(&[1]);
/// On the line of a listener under AIC: str0m writes an empty block of extensions into every packet.
pub(super) const BARE_HEADER: usize = 4;

/// How a packet came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    /// As the publisher likes: AIC is off.
    Freely,
    /// At a rate of their own.
    AtOwnRate,
    /// At about this rate, because that was asked for.
    AtRate(Bitrate),
}

/// On which side of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// From the publisher.
    Up,
    /// To a listener, with RED or without.
    Down { red: bool },
}

/// What the publisher would send unasked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own {
    /// With RED.
    pub red: bool,
    /// Bytes of the header extensions on their packets.
    extensions: usize,
    heard_bytes: u64,
    heard_ticks: u64,
    told: Option<Bitrate>,
}

impl Own {
    /// Of a stock client, or of an AIC client, which spares headers by itself.
    pub(super) fn new(red: bool, aic: bool) -> Self {
        Self {
            red,
            extensions: if aic { SPARE_HEADER } else { FULL_HEADER },
            heard_bytes: 0,
            heard_ticks: 0,
            told: None,
        }
    }

    /// Adds talk that was coded at a rate of their own.
    pub(super) fn hear(&mut self, original: &Original) {
        if original.coding != InKind::Opus || original.dtx || !is_talk(original, PAUSE) {
            return;
        }
        self.heard_bytes += original.primary.len() as u64;
        self.heard_ticks += original.ticks;
        if self.heard_ticks > HEARD_TICKS {
            self.heard_bytes /= 2;
            self.heard_ticks /= 2;
        }
    }

    /// Takes what the client says of its own encoder. Nobody is believed to send more than a stock client.
    pub(super) fn tell(&mut self, rate: Bitrate) {
        self.told = Some(rate.min(Preset::STOCK.bitrate)).filter(|rate| *rate >= PAUSE);
    }

    /// Whether enough was heard of them.
    pub(super) fn is_heard(&self) -> bool {
        self.heard_ticks >= KNOWN_TICKS
    }

    fn rate(&self) -> (Bitrate, SavingsBasis) {
        let heard = self
            .is_heard()
            .then(|| Bitrate::bps(self.heard_bytes * 8 * 48_000 / self.heard_ticks));
        match heard.or(self.told) {
            Some(rate) => (rate, SavingsBasis::Measured),
            None => (Preset::STOCK.bitrate, SavingsBasis::Preset),
        }
    }

    /// Where the rate of talk made like this comes from.
    pub(super) fn basis(&self, made: Made) -> SavingsBasis {
        match made {
            Made::Freely | Made::AtOwnRate => SavingsBasis::Measured,
            Made::AtRate(_) => self.rate().1,
        }
    }

    /// Whole-wire bytes that would have flowed in place of this packet.
    pub(super) fn cost(&self, original: &Original, made: Made, side: Side) -> u64 {
        let (red, extensions) = match side {
            Side::Up => (self.red, self.extensions),
            Side::Down { red } => (red && self.red, FULL_HEADER),
        };
        let wrapped = original.kind == PayloadKind::Red;
        if made == Made::Freely || original.dtx || original.ticks == 0 || wrapped {
            let unwrapped = wrapped && side == (Side::Down { red: false });
            let payload = if unwrapped {
                &original.primary
            } else {
                &original.payload
            };
            return wire_bytes(payload.len(), extensions) as u64;
        }
        let coded = match made {
            Made::AtRate(asked) if self.replaced(original, asked) => {
                self.rate().0.as_bps() * original.ticks / (8 * 48_000)
            }
            _ => original.primary.len() as u64,
        };
        let packets = original.ticks.div_ceil(FRAME_TICKS);
        let each = wire_bytes(0, extensions) as u64 + if red { RED_BYTES } else { 0 };
        packets * each + coded * if red { 2 } else { 1 }
    }

    /// Whether the packet stands for talk at another rate.
    fn replaced(&self, original: &Original, asked: Bitrate) -> bool {
        let pause = PAUSE.min(Bitrate::bps(asked.as_bps() / PAUSE_OF_ASKED));
        original.coding == InKind::Aic || is_talk(original, pause)
    }
}

fn is_talk(original: &Original, pause: Bitrate) -> bool {
    original.primary.len() as u64 * 8 * 48_000 >= pause.as_bps() * original.ticks
}
