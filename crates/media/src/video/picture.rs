//! What a packet says of the picture that it is a part of.

use str0m::format::Codec;

use super::vp8::Vp8;

/// Levels of temporal hierarchy that are told apart: as many as VP8 can name.
pub const LEVELS: usize = 4;

/// Codecs whose payload the server reads a little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VideoFormat {
    /// RFC 7741.
    Vp8,
    /// RFC 6184.
    H264,
    /// Anything else: forwarded as it is.
    Opaque,
}

/// Place of a picture in the temporal hierarchy of its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Temporal {
    /// No picture of a lower level refers to it.
    pub level: u8,
    /// Whether it refers to the base only, so that its level can be taken up with it.
    pub sync: bool,
}

impl Temporal {
    /// Others may refer to it.
    pub const BASE: Self = Self {
        level: 0,
        sync: false,
    };

    /// No picture refers to it.
    pub const SPARE: Self = Self { level: 1, sync: true };
}

/// What is read of a packet, once for all legs.
#[derive(Clone, Copy, Debug)]
pub struct Picture {
    /// Whether the packet begins a picture that needs no other; `None` when the format isn't read.
    pub keyframe: Option<bool>,
    /// What may be left out.
    pub temporal: Temporal,
    /// Numbers of VP8.
    pub vp8: Option<Vp8>,
}

impl VideoFormat {
    /// The format of a codec.
    pub fn of(codec: Codec) -> Self {
        match codec {
            Codec::Vp8 => Self::Vp8,
            Codec::H264 => Self::H264,
            _ => Self::Opaque,
        }
    }

    /// Reads the payload of a packet.
    pub fn read(self, payload: &[u8]) -> Picture {
        match self {
            Self::Vp8 => {
                let vp8 = Vp8::read(payload);
                Picture {
                    keyframe: Some(vp8.is_some_and(|vp8| vp8.keyframe)),
                    temporal: vp8.map_or(Temporal::BASE, |vp8| vp8.temporal),
                    vp8,
                }
            }
            Self::H264 => Picture {
                keyframe: Some(h264_keyframe(payload)),
                temporal: h264_temporal(payload),
                vp8: None,
            },
            Self::Opaque => Picture {
                keyframe: None,
                temporal: Temporal::BASE,
                vp8: None,
            },
        }
    }
}

const SLICE: u8 = 1;
const IDR: u8 = 5;
const SPS: u8 = 7;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

fn h264_keyframe(payload: &[u8]) -> bool {
    let key = |header: u8| matches!(header & 0x1f, IDR | SPS);
    let Some(&header) = payload.first() else {
        return false;
    };
    match header & 0x1f {
        STAP_A => units(&payload[1..]).any(key),
        FU_A => payload.get(1).is_some_and(|fu| fu & 0x80 != 0 && key(*fu)),
        _ => key(header),
    }
}

/// A picture to whose slices nobody refers (`nal_ref_idc` 0, which holds for all slices of a picture or for none) is spare.
fn h264_temporal(payload: &[u8]) -> Temporal {
    let Some(&header) = payload.first() else {
        return Temporal::BASE;
    };
    let unused = header & 0x60 == 0;
    let kind = |header: u8| header & 0x1f;
    let spare = unused
        && match kind(header) {
            SLICE => true,
            STAP_A => units(&payload[1..]).any(|header| kind(header) == SLICE),
            FU_A => payload.get(1).is_some_and(|fu| kind(*fu) == SLICE),
            _ => false,
        };
    if spare { Temporal::SPARE } else { Temporal::BASE }
}

/// Headers of the units in an aggregate.
fn units(mut rest: &[u8]) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let [high, low, tail @ ..] = rest else {
            return None;
        };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        rest = tail.get(length..).unwrap_or_default();
        tail.first().copied()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAP: [u8; 10] = [24, 0, 2, 0x67, 1, 0, 3, 0x65, 1, 2];

    #[test]
    fn keyframes_of_h264_are_found_alone_in_aggregates_and_in_fragments() {
        assert!(h264_keyframe(&STAP));
        assert!(h264_keyframe(&[28, 0x85]));
        assert!(!h264_keyframe(&[28, 0x05]));
        assert!(!h264_keyframe(&[0x41, 0]));
    }

    #[test]
    fn a_picture_of_h264_is_spare_only_when_a_slice_says_that_nobody_refers_to_it() {
        for (payload, spare) in [
            (&[0x01, 0x9a][..], true),
            (&[0x41, 0x9a], false),
            (&[0x1c, 0x81, 0], true),
            (&[0x5c, 0x81, 0], false),
            (&[0x18, 0, 1, 0x09, 0, 2, 0x01, 0x9a], true),
            (&[0x18, 0, 1, 0x06], false),
            (&[0x06, 5], false),
            (&[0x09, 0x30], false),
        ] {
            assert_eq!(h264_temporal(payload) == Temporal::SPARE, spare, "{payload:02x?}");
        }
    }

    #[test]
    fn every_truncation_of_a_payload_is_survived() {
        let vp8 = [0xb0, 0xf0, 0x81, 2, 3, 0x60, 0x10, 1, 2];
        for payload in [&STAP[..], &vp8, &[0x18, 0xff, 0xff, 1], &[0x5c, 0x81]] {
            for length in 0..=payload.len() {
                for format in [VideoFormat::Vp8, VideoFormat::H264, VideoFormat::Opaque] {
                    format.read(&payload[..length]);
                }
            }
        }
    }
}
