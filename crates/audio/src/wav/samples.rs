//! Linear samples, and those of the telephone (ITU-T G.711).

/// Bytes of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    One = 1,
    Two = 2,
    Three = 3,
    Four = 4,
    Eight = 8,
}

impl Width {
    pub(super) fn of(bytes: usize) -> Option<Self> {
        [Self::One, Self::Two, Self::Three, Self::Four, Self::Eight]
            .into_iter()
            .find(|width| width.bytes() == bytes)
    }

    pub(super) fn bytes(self) -> usize {
        self as usize
    }
}

/// Integers as parts of full scale; single bytes have no sign.
pub(super) fn integers(width: Width, big_endian: bool, bytes: &[u8], out: &mut Vec<f32>) {
    const FULL: f32 = 1.0 / (1u32 << 31) as f32;
    // Every width is widened to 32 bits, of which the upper ones are used.
    let widened = |value: i32| value as f32 * FULL;
    match width {
        Width::One => out.extend(bytes.iter().map(|byte| (f32::from(*byte) - 128.0) / 128.0)),
        Width::Two => each(bytes, big_endian, out, |[a, b]| {
            widened(i32::from_le_bytes([0, 0, a, b]))
        }),
        Width::Three => each(bytes, big_endian, out, |[a, b, c]| {
            widened(i32::from_le_bytes([0, a, b, c]))
        }),
        Width::Four => each(bytes, big_endian, out, |four| widened(i32::from_le_bytes(four))),
        Width::Eight => each(bytes, big_endian, out, |[.., a, b, c, d]: [u8; 8]| {
            widened(i32::from_le_bytes([a, b, c, d]))
        }),
    }
}

/// IEEE 754 numbers.
pub(super) fn floats(width: Width, big_endian: bool, bytes: &[u8], out: &mut Vec<f32>) {
    match width {
        Width::Eight => each(bytes, big_endian, out, |eight| f64::from_le_bytes(eight) as f32),
        _ => each(bytes, big_endian, out, f32::from_le_bytes),
    }
}

fn each<const N: usize>(bytes: &[u8], big_endian: bool, out: &mut Vec<f32>, sample: impl Fn([u8; N]) -> f32) {
    out.extend(bytes.as_chunks::<N>().0.iter().map(|bytes| {
        let mut bytes = *bytes;
        if big_endian {
            bytes.reverse();
        }
        sample(bytes)
    }));
}

/// A-law: every other bit is inverted; sign, exponent of three bits, mantissa of four; full scale is 2^15.
pub(super) fn a_law(code: u8) -> f32 {
    let code = code ^ 0x55;
    let (exponent, mantissa) = (code >> 4 & 7, i32::from(code & 0xf));
    let size = match exponent {
        0 => (mantissa << 4) + 8,
        _ => ((mantissa << 4) + 0x108) << (exponent - 1),
    };
    (if code & 0x80 == 0 { -size } else { size }) as f32 / 32_768.0
}

/// Mu-law: all bits are inverted; the segments lie 0x84 higher than they should.
pub(super) fn mu_law(code: u8) -> f32 {
    let code = !code;
    let (exponent, mantissa) = (code >> 4 & 7, i32::from(code & 0xf));
    let size = (((mantissa << 3) + 0x84) << exponent) - 0x84;
    (if code & 0x80 == 0 { size } else { -size }) as f32 / 32_768.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_telephones_codes_mean_what_g_711_says() {
        let whole = |sample: f32| (sample * 32_768.0) as i32;
        for (code, a, mu) in [
            (0x00, -5_504, -32_124),
            (0x55, -8, -716),
            (0x7f, -848, 0),
            (0x80, 5_504, 32_124),
            (0xd5, 8, 716),
            (0xff, 848, 0),
            (0x2a, -32_256, -5_372),
        ] {
            assert_eq!(whole(a_law(code)), a, "A-law {code:#x}");
            assert_eq!(whole(mu_law(code)), mu, "mu-law {code:#x}");
        }
    }

    #[test]
    fn integers_of_every_width_reach_full_scale() {
        let read = |width, big, bytes: &[u8]| {
            let mut out = Vec::new();
            integers(width, big, bytes, &mut out);
            out
        };
        assert_eq!(read(Width::One, false, &[0, 128, 192]), [-1.0, 0.0, 0.5]);
        assert_eq!(read(Width::Two, false, &[0, 0x80, 0, 0x40]), [-1.0, 0.5]);
        assert_eq!(read(Width::Two, true, &[0x80, 0, 0x40, 0]), [-1.0, 0.5]);
        assert_eq!(read(Width::Three, false, &[0, 0, 0x80, 0, 0, 0x40]), [-1.0, 0.5]);
        assert_eq!(
            read(Width::Four, false, &[0, 0, 0, 0x80, 0, 0, 0, 0x40]),
            [-1.0, 0.5]
        );
        assert_eq!(read(Width::Eight, true, &[0x40, 0, 0, 0, 0, 0, 0, 0]), [0.5]);
    }
}
