//! What an ear makes of powers: how loud they are, and from where on they are heard.

/// Exponent of Zwicker's loudness.
const LOUDNESS_POWER: f32 = 0.23;

/// Zwicker's loudness of a band, without its constant factor.
pub(crate) fn loudness(power: f32, threshold: f32) -> f32 {
    if power < threshold {
        return 0.0;
    }
    (threshold / 0.5).powf(LOUDNESS_POWER) * ((0.5 + 0.5 * power / threshold).powf(LOUDNESS_POWER) - 1.0)
}

/// Quietest audible power at a frequency (Terhardt 1979), 0 dB SPL = 1.
pub(crate) fn hearing_threshold(hz: f32) -> f32 {
    let khz = hz / 1000.0;
    let db = 3.64 * khz.powf(-0.8) - 6.5 * (-0.6 * (khz - 3.3).powi(2)).exp() + 1e-3 * khz.powi(4);
    10f32.powf(db / 10.0)
}
