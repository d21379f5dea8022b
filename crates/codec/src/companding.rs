//! Square-root companding of MDCT coefficients, and its way back.

/// Brings the coefficients of speech near unit size.
const SCALE: f32 = 6.0;

/// Compands a coefficient; zero stays zero.
#[inline(always)]
pub(crate) fn compand(x: f32) -> f32 {
    let root = SCALE * (x.abs() + 1e-12).sqrt();
    if x == 0.0 { 0.0 } else { root.copysign(x) }
}

/// Undoes it.
pub(crate) fn expand(y: f32) -> f32 {
    y * y.abs() / (SCALE * SCALE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn companding_keeps_signs_and_silence() {
        for x in [0.0f32, 1e-9, 0.01, 0.5, 3.0] {
            assert_eq!(compand(-x), -compand(x));
            assert!((expand(compand(x)) - x).abs() < 1e-5);
        }
        assert_eq!(compand(0.0), 0.0);
    }
}
