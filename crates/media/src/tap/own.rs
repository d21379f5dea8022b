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

/// Sound in which an encoder that begins settles on how to code it: libopus takes a second, and sends less in it.
const SETTLING_TICKS: u64 = 48_000;
/// Sound after that by which the rate is known: 1.5 s.
const KNOWN_TICKS: u64 = 3 * 24_000;
/// Half-life of what was heard: a minute.
const HEARD_TICKS: u64 = 60 * 48_000;
/// No rate at which anybody speaks is lower.
const LEAST_RATE: Bitrate = Bitrate::bps(6_400);
/// What libopus makes of digital silence at most; the faintest noise takes more than that in every mode, and at the rates
/// of stock clients as much as a voice.
const SILENCE: Bitrate = Bitrate::bps(3_200);
/// The same of its hybrid mode, TOC configurations 12 to 15.
const HYBRID_SILENCE: Bitrate = Bitrate::bps(6_700);
/// RED before the last block (RFC 2198 section 3): a header of an earlier one.
const RED_EARLIER_BYTES: u64 = 4;
/// Header of the last block.
const RED_LAST_BYTES: u64 = 1;
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
    settled_ticks: u64,
    /// Bytes and ticks of the latest packet that may be whole.
    latest: (u64, u64),
    heard_bytes: u64,
    heard_ticks: u64,
    told: Option<Bitrate>,
    pauses: Pauses,
}

impl Own {
    /// Of a stock client, or of an AIC client, which spares headers by itself.
    pub(super) fn new(red: bool, aic: bool) -> Self {
        Self {
            red,
            extensions: if aic { SPARE_HEADER } else { FULL_HEADER },
            settled_ticks: 0,
            latest: (0, 0),
            heard_bytes: 0,
            heard_ticks: 0,
            told: None,
            pauses: Pauses::default(),
        }
    }

    /// Adds sound that was coded at a rate of their own.
    pub(super) fn hear(&mut self, original: &Original, stand_in: StandIn, made: Made) {
        if made == Made::Freely {
            self.extensions = original.extensions;
        }
        // Next to a pause a packet is not whole: some of its frames are part of the pause.
        let latest = std::mem::take(&mut self.latest);
        if original.coding != InKind::Opus || original.dtx {
            return;
        }
        self.add(latest);
        if !stand_in.in_pause && !is_silence(original) {
            self.latest = (bytes_alone(original), original.ticks);
        }
    }

    fn add(&mut self, (bytes, ticks): (u64, u64)) {
        if self.settled_ticks < SETTLING_TICKS {
            self.settled_ticks += ticks;
            return;
        }
        self.heard_bytes += bytes;
        self.heard_ticks += ticks;
        if self.heard_ticks > HEARD_TICKS {
            self.heard_bytes /= 2;
            self.heard_ticks /= 2;
        }
    }

    /// Takes what the client says of its own encoder. Nobody is believed to send more than a stock client.
    pub(super) fn tell(&mut self, rate: Bitrate) {
        self.told = Some(rate.min(Preset::STOCK.bitrate)).filter(|rate| *rate >= LEAST_RATE);
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

    /// Where the rate of sound made like this comes from.
    pub(super) fn basis(&self, made: Made) -> SavingsBasis {
        match made {
            Made::Freely | Made::AtOwnRate => SavingsBasis::Measured,
            Made::AtRate(_) => self.rate().1,
        }
    }

    /// How many packets of theirs the next packet stands for.
    pub(super) fn stand_in(&mut self, original: &Original) -> StandIn {
        self.pauses.handle(original)
    }

    /// Whole-wire bytes that would have flowed in place of this packet.
    pub(super) fn cost(&self, original: &Original, stand_in: StandIn, made: Made, side: Side) -> u64 {
        let (red, extensions) = match side {
            Side::Up if made == Made::Freely => (self.red, original.extensions),
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
        let StandIn { packets, in_pause } = stand_in;
        let own = self.rate().0;
        let at_own_rate = own.as_bps() * original.ticks / (8 * 48_000);
        let replaced = original.coding == InKind::Aic || !is_silence(original);
        let whole = match made {
            // A cap above their own rate changes nothing.
            Made::AtRate(asked) if replaced && asked < own => at_own_rate,
            _ => bytes_alone(original),
        };
        let coded = whole * packets / frames(original);
        let (earlier, last) = match red {
            // What lies before a pause is too old to be repeated.
            true if in_pause => (0, RED_LAST_BYTES),
            true => (coded + packets * RED_EARLIER_BYTES, RED_LAST_BYTES),
            false => (0, 0),
        };
        packets * (wire_bytes(0, extensions) as u64 + last) + earlier + coded
    }
}

/// What a packet stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StandIn {
    /// Packets of 20 ms.
    packets: u64,
    /// It breaks a pause for a moment: an encoder that is silent in pauses describes the background now and then.
    in_pause: bool,
}

/// Tells what breaks a pause for a moment from what ends it. The former is one packet, however long packets are; what
/// comes first after a pause is taken for that until more follows.
#[derive(Clone, Copy, Debug, Default)]
struct Pauses {
    /// Number and end of the latest packet.
    latest: Option<(u64, u64)>,
    /// Packets that the first one after a pause stands for as well if it ends it.
    owed: u64,
}

impl Pauses {
    fn handle(&mut self, original: &Original) -> StandIn {
        let after_pause = self
            .latest
            .is_some_and(|(seq, end)| original.seq == seq + 1 && original.at > end);
        let newest = self.latest.is_none_or(|(seq, _)| original.seq > seq);
        if newest {
            self.latest = Some((original.seq, original.end()));
        }
        let owed = if newest { std::mem::take(&mut self.owed) } else { 0 };
        let packets = frames(original);
        if after_pause && !original.dtx {
            self.owed = packets - 1;
            return StandIn {
                packets: 1,
                in_pause: true,
            };
        }
        StandIn {
            packets: packets + if after_pause { 0 } else { owed },
            in_pause: false,
        }
    }
}

/// Frames of 20 ms.
fn frames(original: &Original) -> u64 {
    original.ticks.div_ceil(FRAME_TICKS).max(1)
}

/// Bytes of its Opus in packets of 20 ms: each has a TOC of its own (RFC 6716 section 3.1).
fn bytes_alone(original: &Original) -> u64 {
    original.primary.len() as u64 + frames(original) - 1
}

fn is_silence(original: &Original) -> bool {
    let hybrid = original.coding == InKind::Opus
        && original
            .primary
            .first()
            .is_some_and(|toc| (12..16).contains(&(toc >> 3)));
    let most = if hybrid { HYBRID_SILENCE } else { SILENCE };
    original.primary.len() as u64 * 8 * 48_000 < most.as_bps() * original.ticks
}
