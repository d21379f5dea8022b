//! Rungs, both ways.

use auralink_types::{Bitrate, FieldError, Lean, Neural, NeuralRate, PacketTime, Rung};

use super::v1::{self, rung::Rung as Kind};
use super::{needed, within};

/// Rates that a lean rung may have: what Opus does with speech at all.
const LEAN_BPS: std::ops::RangeInclusive<u32> = 6_000..=64_000;
/// Copies of earlier frames that fit a packet's header.
const COPIES_MAX: u32 = 6;

impl From<Rung> for v1::Rung {
    fn from(rung: Rung) -> Self {
        let kind = match rung {
            Rung::Original => Kind::Original(v1::OriginalRung {}),
            Rung::Lean(lean) => Kind::Lean(lean.into()),
            Rung::Enhanced(lean) => Kind::Enhanced(lean.into()),
            Rung::Neural(neural) => Kind::Neural(v1::NeuralRung {
                levels: neural.rate.levels() as u32,
                packet_ms: neural.packet.millis(),
                copies: neural.copies.into(),
            }),
        };
        Self { rung: Some(kind) }
    }
}

impl From<Lean> for v1::LeanRung {
    fn from(lean: Lean) -> Self {
        Self {
            bitrate_bps: u32::try_from(lean.bitrate.as_bps()).unwrap_or(u32::MAX),
            packet_ms: lean.packet.millis(),
            fec: lean.fec,
        }
    }
}

fn opus(lean: v1::LeanRung) -> Result<Lean, FieldError> {
    if !LEAN_BPS.contains(&lean.bitrate_bps) {
        let (low, high) = (LEAN_BPS.start(), LEAN_BPS.end());
        let problem = format!("must be {low} to {high}, got {}", lean.bitrate_bps);
        return Err(FieldError::new("bitrate_bps", problem));
    }
    Ok(Lean {
        bitrate: Bitrate::bps(lean.bitrate_bps.into()),
        packet: packet(lean.packet_ms)?,
        fec: lean.fec,
    })
}

impl TryFrom<v1::Rung> for Rung {
    type Error = FieldError;

    fn try_from(rung: v1::Rung) -> Result<Self, FieldError> {
        Ok(match needed(rung.rung, "rung")? {
            Kind::Original(_) => Self::Original,
            Kind::Lean(lean) => Self::Lean(opus(lean).map_err(|error| within("lean", error))?),
            Kind::Enhanced(lean) => Self::Enhanced(opus(lean).map_err(|error| within("enhanced", error))?),
            Kind::Neural(neural) => {
                let rate = NeuralRate::from_levels(neural.levels as usize).ok_or_else(|| {
                    let problem = format!("must be 3, 6, 12 or 18, got {}", neural.levels);
                    FieldError::new("neural.levels", problem)
                })?;
                if neural.copies > COPIES_MAX {
                    let problem = format!("must be 0 to {COPIES_MAX}, got {}", neural.copies);
                    return Err(FieldError::new("neural.copies", problem));
                }
                Self::Neural(Neural {
                    rate,
                    packet: packet(neural.packet_ms).map_err(|error| within("neural", error))?,
                    copies: neural.copies as u8,
                })
            }
        })
    }
}

/// The packet time of that many milliseconds.
pub(super) fn packet(ms: u32) -> Result<PacketTime, FieldError> {
    PacketTime::ALL
        .into_iter()
        .find(|packet| packet.millis() == ms)
        .ok_or_else(|| {
            FieldError::new(
                "packet_ms",
                format!("must be 20, 40, 60, 80, 100 or 120, got {ms}"),
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rung_goes_there_and_back() {
        for packet in PacketTime::ALL {
            for rate in NeuralRate::ALL {
                let rung = Rung::Neural(Neural {
                    rate,
                    packet,
                    copies: 6,
                });
                assert_eq!(Rung::try_from(v1::Rung::from(rung)), Ok(rung));
            }
            let bitrate = Bitrate::kbps(12);
            for fec in [false, true] {
                let lean = Lean { bitrate, packet, fec };
                for rung in [Rung::Lean(lean), Rung::Enhanced(lean)] {
                    assert_eq!(Rung::try_from(v1::Rung::from(rung)), Ok(rung));
                }
            }
        }
        assert_eq!(Rung::try_from(v1::Rung::from(Rung::Original)), Ok(Rung::Original));
    }

    #[test]
    fn what_no_coder_does_is_refused_by_name() {
        let refused = |kind| Rung::try_from(v1::Rung { rung: kind }).unwrap_err().field;
        let lean = |bitrate_bps, packet_ms| {
            Some(Kind::Lean(v1::LeanRung {
                bitrate_bps,
                packet_ms,
                fec: false,
            }))
        };
        let neural = |levels, packet_ms, copies| {
            Some(Kind::Neural(v1::NeuralRung {
                levels,
                packet_ms,
                copies,
            }))
        };
        assert_eq!(refused(None), "rung");
        assert_eq!(refused(lean(0, 20)), "lean.bitrate_bps");
        assert_eq!(refused(lean(12_000, 30)), "lean.packet_ms");
        assert_eq!(refused(neural(5, 20, 0)), "neural.levels");
        assert_eq!(refused(neural(6, 140, 0)), "neural.packet_ms");
        assert_eq!(refused(neural(6, 20, 7)), "neural.copies");
    }
}
