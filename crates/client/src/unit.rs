//! RTP payloads taken apart into the smallest pieces that a decoder takes.

use auralink_types::NeuralRate;
use auralink_wire::{WireError, aic, red};

use crate::neural::FRAME_48K;

/// Most units in one packet: six frames and six copies.
const MAX_UNITS: usize = 16;

/// Which decoder a unit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Opus.
    Opus,
    /// The neural codec.
    Neural,
}

/// What a decoder is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// One Opus packet.
    Opus(Vec<u8>),
    /// An Opus packet whose low-rate copy of the packet before it is meant.
    OpusFec(Vec<u8>),
    /// Codes of one 20 ms frame, coarsest level first.
    Neural(Vec<u16>),
    /// Codes of the noise in a pause.
    Noise(Vec<u16>),
}

/// A stretch of audio that can be decoded at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// First sample, on the extended RTP timeline (48 kHz).
    pub at: u64,
    /// Samples at 48 kHz.
    pub len: u32,
    /// Whether it rode along as redundancy of an earlier packet.
    pub copy: bool,
    /// Decoder.
    pub kind: Kind,
    /// Input of the decoder.
    pub body: Body,
    /// Whether discontinuous transmission may follow: the sender is silent and nothing is lost.
    pub pauses: bool,
}

impl Unit {
    fn neural(at: u64, copy: bool, codes: &[u16]) -> Self {
        let body = Body::Neural(codes.to_vec());
        Self {
            at,
            len: FRAME_48K as u32,
            copy,
            kind: Kind::Neural,
            body,
            pauses: false,
        }
    }

    /// First sample after it.
    pub fn end(&self) -> u64 {
        self.at + u64::from(self.len)
    }
}

/// Why a payload was dropped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// Nothing in it: a bandwidth probe.
    #[error("empty payload")]
    Empty,
    /// No valid Opus packet.
    #[error("no valid opus packet of {0} bytes")]
    Opus(usize),
    /// No valid redundant payload.
    #[error("red: {0}")]
    Red(WireError),
    /// No valid AIC payload.
    #[error("aic: {0}")]
    Aic(WireError),
    /// AIC coded by a model that this client does not have.
    #[error("aic model {0:04x} is not here")]
    Model(u16),
}

/// A packet's units in order of time, and its own (not redundant) length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Everything in it that can be decoded, copies first.
    pub units: Vec<Unit>,
    /// Samples of new audio.
    pub len: u32,
    /// Kind of the new audio.
    pub kind: Kind,
    /// Whether it was wrapped in RED.
    pub red: bool,
    /// Rate of the neural codec, if it was one.
    pub rate: Option<NeuralRate>,
}

/// Takes a payload apart. `at` is its extended timestamp; `model` the neural model that can be decoded.
pub fn unpack(payload: &[u8], is_red: bool, at: u64, model: Option<u16>) -> Result<Packet, PayloadError> {
    if payload.is_empty() {
        return Err(PayloadError::Empty);
    }
    if !is_red {
        return plain(payload, at, model);
    }
    let parsed = red::Red::parse(payload).map_err(PayloadError::Red)?;
    let mut packet = plain(parsed.primary().payload, at, model)?;
    packet.red = true;
    let mut units = Vec::new();
    // The primary has offset 0; so has nothing else that makes sense.
    for block in parsed
        .blocks()
        .filter(|block| block.timestamp_offset > 0)
        .take(MAX_UNITS)
    {
        let earlier = at.saturating_sub(u64::from(block.timestamp_offset));
        if let Ok(old) = plain(block.payload, earlier, model) {
            units.extend(
                old.units
                    .into_iter()
                    .filter(|unit| !unit.copy)
                    .map(|unit| Unit { copy: true, ..unit }),
            );
        }
    }
    units.append(&mut packet.units);
    packet.units = units;
    Ok(packet)
}

fn plain(payload: &[u8], at: u64, model: Option<u16>) -> Result<Packet, PayloadError> {
    if aic::is_aic(payload) {
        return neural(payload, at, model);
    }
    let samples = auralink_opus::packet_samples(payload, crate::source::SAMPLE_RATE)
        .ok()
        .filter(|samples| (1..=5_760).contains(samples))
        .ok_or(PayloadError::Opus(payload.len()))?;
    let unit = Unit {
        at,
        len: samples as u32,
        copy: false,
        kind: Kind::Opus,
        body: Body::Opus(payload.to_vec()),
        pauses: payload.len() <= 2,
    };
    let before = at.checked_sub(samples as u64);
    let copy = before
        .filter(|_| auralink_opus::packet_has_fec(payload))
        .map(|at| Unit {
            at,
            copy: true,
            body: Body::OpusFec(payload.to_vec()),
            ..unit
        });
    Ok(Packet {
        len: unit.len,
        kind: Kind::Opus,
        red: false,
        rate: None,
        units: copy.into_iter().chain([unit.clone()]).collect(),
    })
}

fn neural(payload: &[u8], at: u64, model: Option<u16>) -> Result<Packet, PayloadError> {
    let parsed = aic::AicPacket::parse(payload).map_err(PayloadError::Aic)?;
    if model != Some(parsed.model) {
        return Err(PayloadError::Model(parsed.model));
    }
    let frame = FRAME_48K as u64;
    let mut units = Vec::with_capacity(parsed.copy_count() + parsed.frame_count());
    for back in (0..parsed.copy_count()).rev() {
        let Some(earlier) = at.checked_sub((back as u64 + 1) * frame) else {
            continue;
        };
        units.push(Unit::neural(earlier, true, parsed.copy(back).1));
    }
    for index in 0..parsed.frame_count() {
        units.push(Unit::neural(
            at + index as u64 * frame,
            false,
            parsed.frame(index),
        ));
    }
    if let Some(last) = units.last_mut().filter(|_| parsed.dtx) {
        last.body = Body::Noise(parsed.frame(parsed.frame_count() - 1).to_vec());
        last.pauses = true;
    }
    Ok(Packet {
        len: (parsed.frame_count() * FRAME_48K) as u32,
        kind: Kind::Neural,
        red: false,
        rate: NeuralRate::from_levels(parsed.levels().into()),
        units,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SILK_20_MS: [u8; 4] = [0x48, 1, 2, 3];

    #[test]
    fn red_gives_the_earlier_packet_back_as_a_copy_at_its_own_time() {
        let block = |offset, payload| red::Block {
            payload_type: 111,
            timestamp_offset: offset,
            payload,
        };
        let mut payload = Vec::new();
        red::write(&[block(960, &SILK_20_MS)], &block(0, &[0x48, 9]), &mut payload).unwrap();
        let packet = unpack(&payload, true, 10_000, None).unwrap();
        let seen: Vec<_> = packet
            .units
            .iter()
            .map(|unit| (unit.at, unit.len, unit.copy))
            .collect();
        assert_eq!(seen, [(9_040, 960, true), (10_000, 960, false)]);
    }

    #[test]
    fn aic_gives_frames_and_copies_in_order_of_time() {
        let mut aic = aic::AicPacket::new(7, 6, 3);
        aic.restart(100, false);
        aic.push_frame(&[1; 6]).unwrap();
        aic.push_frame(&[2; 6]).unwrap();
        aic.push_copy(&[3; 3]).unwrap();
        aic.push_copy(&[4; 3]).unwrap();
        let mut payload = Vec::new();
        aic.write(&mut payload).unwrap();
        let packet = unpack(&payload, false, 9_600, Some(7)).unwrap();
        let seen: Vec<_> = packet.units.iter().map(|unit| (unit.at, unit.copy)).collect();
        assert_eq!(
            seen,
            [(7_680, true), (8_640, true), (9_600, false), (10_560, false)]
        );
        assert_eq!((packet.len, packet.rate), (1_920, Some(NeuralRate::Kbps3)));
        assert_eq!(
            unpack(&payload, false, 9_600, Some(8)),
            Err(PayloadError::Model(7))
        );
        assert_eq!(unpack(&payload, false, 9_600, None), Err(PayloadError::Model(7)));
    }

    proptest! {
        #[test]
        fn no_payload_makes_it_panic(
            payload in proptest::collection::vec(any::<u8>(), 0..200),
            is_red: bool,
            at in 0u64..100_000,
        ) {
            if let Ok(packet) = unpack(&payload, is_red, at, Some(1)) {
                prop_assert!(packet.units.len() <= 2 * MAX_UNITS);
            }
        }
    }
}
