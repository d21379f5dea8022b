//! How rungs sound before anything was measured of a track.

use auralink_quality::{neural_mos, opus_mos};
use auralink_types::{Bitrate, Lean, Mos, Rung};

/// Part of a lean rung's rate that is left for the sound itself where packets carry copies.
const BESIDE_COPIES: f64 = 0.75;
/// MOS that NoLACE in the receiver's decoder adds at 8, 9 and 10 kbps and more (libopus 1.6.1: 2.68 to 2.97 at 8 kbps,
/// 3.80 to 3.86 at 12).
const ENHANCED: [f32; 3] = [0.29, 0.26, 0.18];

/// Score to expect of a coded rung before anything was measured.
pub fn expected(rung: Rung) -> Option<Mos> {
    let opus = |lean: Lean| {
        let share = if lean.fec { BESIDE_COPIES } else { 1.0 };
        opus_mos(
            Bitrate::bps((lean.bitrate.as_bps() as f64 * share) as u64),
            lean.packet,
        )
    };
    match rung {
        Rung::Original => None,
        Rung::Lean(lean) => Some(opus(lean)),
        Rung::Enhanced(lean) => {
            let step = (lean.bitrate.as_kbps() as usize)
                .saturating_sub(8)
                .min(ENHANCED.len() - 1);
            Some(Mos::new(opus(lean).value() + ENHANCED[step]))
        }
        Rung::Neural(neural) => Some(neural_mos(neural.rate)),
    }
}
