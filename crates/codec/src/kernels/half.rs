//! IEEE 754 half precision, the type of the model file's weights.

/// Half to single precision, exact.
pub(crate) fn half_to_single(half: u16) -> f32 {
    let sign = u32::from(half >> 15) << 31;
    let exponent = u32::from(half >> 10) & 0x1f;
    let fraction = u32::from(half) & 0x3ff;
    match exponent {
        0 => f32::from_bits(sign | 0x3f80_0000) * fraction as f32 * 2.0f32.powi(-24),
        31 => f32::from_bits(sign | 0x7f80_0000 | (fraction << 13)),
        _ => f32::from_bits(sign | ((exponent + 112) << 23) | (fraction << 13)),
    }
}

/// Single to half precision where nothing is lost, else `None`.
pub(super) fn exact_half(single: f32) -> Option<u16> {
    let bits = single.to_bits();
    let sign = ((bits >> 16) & 0x8000) as u16;
    let magnitude = single.abs();
    let half = if magnitude < 2.0f32.powi(-14) {
        (magnitude * 2.0f32.powi(24)) as u16
    } else if magnitude < 65_536.0 {
        let exponent = (bits >> 23 & 0xff) as u16 - 112;
        exponent << 10 | (bits >> 13 & 0x3ff) as u16
    } else {
        return None;
    };
    (half_to_single(sign | half).to_bits() == bits).then_some(sign | half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_convert_exactly() {
        let pairs = [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x0001, 5.960_464_5e-8),
            (0x7bff, 65504.0),
            (0x8000, -0.0),
        ];
        for (half, single) in pairs {
            assert_eq!(half_to_single(half), single);
        }
        assert!(half_to_single(0x7e00).is_nan());
    }

    #[test]
    fn every_finite_half_survives_the_way_there_and_back() {
        for half in 0..=u16::MAX {
            let single = half_to_single(half);
            if single.is_finite() {
                assert_eq!(exact_half(single), Some(half));
            }
        }
        for lossy in [0.1f32, 65_520.0, 1e30, 1e-9, f32::NAN, f32::INFINITY, 1.000_1] {
            assert_eq!(exact_half(lossy), None, "{lossy}");
        }
    }
}
