//! The AIC RTP header extension: what this leg carries and what it saves, six bytes (RFC 8285 one-byte form).
//!
//! A browser never sends or exposes it; AIC clients and servers negotiate it by its URI. It informs (dashboards
//! at the receiver, tests); no decoder depends on it.

use auralink_types::{Bitrate, Lean, Neural, NeuralRate, PacketTime, QualityScore, Reason, Rung};

use crate::aic::MAX_COPIES;
use crate::error::{WireError, in_range};

/// URI in `a=extmap`.
pub const URI: &str = "urn:auralink:rtp-hdrext:aic";
/// Bytes of the element's data.
pub const BYTES: usize = 6;
/// Version written here.
pub const VERSION: u8 = 0;
/// The lean bitrate is carried in steps of this many bits per second.
pub const BITRATE_STEP: u64 = 250;
/// Largest lean bitrate that fits.
pub const MAX_BITRATE: Bitrate = Bitrate::bps(BITRATE_STEP * 255);

/// The extension's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AicExtension {
    /// What the packet carries.
    pub rung: Rung,
    /// Why it is dearer than wished for; `None` when all is well.
    pub reason: Option<Reason>,
    /// Quality last measured at the encoder, in steps of 1/254; `None` before anything was measured.
    pub quality: Option<QualityScore>,
    /// Rate saved on this leg over the last second, whole kilobits per second; 0 where nothing was.
    pub saved_kbps: u16,
}

impl AicExtension {
    /// Reads the element's data.
    pub fn parse(data: &[u8]) -> Result<Self, WireError> {
        let Some((&[head, shape, bitrate, quality, saved_hi, saved_lo], rest)) =
            data.split_first_chunk::<BYTES>()
        else {
            return Err(WireError::Truncated {
                what: "aic extension",
                needed: BYTES,
                got: data.len(),
            });
        };
        if head >> 6 != VERSION {
            return Err(WireError::Version(head >> 6, "aic extension"));
        }
        if !rest.is_empty() {
            return Err(WireError::Trailing {
                what: "aic extension",
                expected: BYTES,
                got: data.len(),
            });
        }
        let reason = match head & 0x0f {
            0 => None,
            code => {
                in_range("reason", code.into(), 0, Reason::ALL.len() as u32)?;
                Some(Reason::ALL[usize::from(code) - 1])
            }
        };
        Ok(Self {
            rung: parse_rung(head >> 4 & 3, shape, bitrate)?,
            reason,
            quality: (quality > 0).then(|| QualityScore::new(f32::from(quality - 1) / 254.0)),
            saved_kbps: u16::from_be_bytes([saved_hi, saved_lo]),
        })
    }

    /// The element's data. The lean bitrate is rounded to 250 bps and must not pass [`MAX_BITRATE`].
    pub fn to_bytes(&self) -> Result<[u8; BYTES], WireError> {
        let (kind, shape, bitrate) = match self.rung {
            Rung::Original => (0, 0, 0),
            Rung::Lean(lean) | Rung::Enhanced(lean) => {
                let bps = u32::try_from(lean.bitrate.as_bps()).unwrap_or(u32::MAX);
                in_range("lean bitrate", bps, 0, MAX_BITRATE.as_bps() as u32)?;
                let steps = (lean.bitrate.as_bps() + BITRATE_STEP / 2) / BITRATE_STEP;
                let kind = if matches!(self.rung, Rung::Lean(_)) { 1 } else { 3 };
                (kind, packet_code(lean.packet) | u8::from(lean.fec), steps as u8)
            }
            Rung::Neural(neural) => {
                in_range("copies", neural.copies.into(), 0, MAX_COPIES as u32)?;
                let rate = match neural.rate {
                    NeuralRate::Kbps1_5 => 0,
                    NeuralRate::Kbps3 => 1,
                    NeuralRate::Kbps6 => 2,
                    NeuralRate::Kbps9 => 3,
                };
                (2, packet_code(neural.packet) | neural.copies << 2 | rate, 0)
            }
        };
        let reason = self.reason.map_or(0, reason_code);
        let quality = self
            .quality
            .map_or(0, |score| 1 + (score.value() * 254.0).round() as u8);
        let [saved_hi, saved_lo] = self.saved_kbps.to_be_bytes();
        Ok([
            VERSION << 6 | kind << 4 | reason,
            shape,
            bitrate,
            quality,
            saved_hi,
            saved_lo,
        ])
    }
}

fn parse_rung(kind: u8, shape: u8, bitrate: u8) -> Result<Rung, WireError> {
    let packet = || {
        in_range("packet time", (shape >> 5).into(), 0, 5)?;
        Ok(PacketTime::ALL[usize::from(shape >> 5)])
    };
    match kind {
        0 if shape != 0 || bitrate != 0 => Err(WireError::Reserved("original rung")),
        0 => Ok(Rung::Original),
        1 | 3 if shape & 0x1e != 0 => Err(WireError::Reserved("opus rung")),
        1 | 3 => {
            let lean = Lean {
                bitrate: Bitrate::bps(u64::from(bitrate) * BITRATE_STEP),
                packet: packet()?,
                fec: shape & 1 == 1,
            };
            Ok(if kind == 1 {
                Rung::Lean(lean)
            } else {
                Rung::Enhanced(lean)
            })
        }
        2 if bitrate != 0 => Err(WireError::Reserved("neural rung")),
        2 => {
            let copies = shape >> 2 & 7;
            in_range("copies", copies.into(), 0, MAX_COPIES as u32)?;
            Ok(Rung::Neural(Neural {
                rate: NeuralRate::ALL[usize::from(shape & 3)],
                packet: packet()?,
                copies,
            }))
        }
        _ => Err(WireError::Range {
            field: "rung",
            value: kind.into(),
            min: 0,
            max: 3,
        }),
    }
}

fn packet_code(packet: PacketTime) -> u8 {
    (packet.frames() as u8 - 1) << 5
}

/// Position in [`Reason::ALL`] plus one: new reasons go to its end.
fn reason_code(reason: Reason) -> u8 {
    Reason::ALL
        .iter()
        .position(|&known| known == reason)
        .map_or(0, |index| index as u8 + 1)
}
