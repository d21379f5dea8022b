use crate::bands::Bands;
use crate::spectrum::{Spectrum, WINDOW, bins};

const BANDS: usize = 80;
const HOP: usize = 160;
/// Power added to every band, −100 dBFS: below it all is silence.
const FLOOR: f32 = 1e-10;

/// Mean absolute difference of the log-mel spectra in dB: 80 bands, 32 ms windows every 10 ms, 16 kHz.
///
/// 0 is equal; Opus at 12 kbps and more lies near 2, good neural codecs at 3 to 4. `None` when the shorter of the
/// two has no whole window.
pub fn log_mel_distance(reference: &[f32], decoded: &[f32]) -> Option<f32> {
    let bands = Bands::mel(BANDS);
    let mut spectrum = Spectrum::new();
    let mut bins = bins();
    let (mut ours, mut theirs) = ([0.0; BANDS], [0.0; BANDS]);
    let (mut sum, mut count) = (0.0f64, 0u32);
    for (reference, decoded) in reference
        .windows(WINDOW)
        .step_by(HOP)
        .zip(decoded.windows(WINDOW).step_by(HOP))
    {
        spectrum.transform(reference, &mut bins);
        bands.powers(&bins, &mut ours);
        spectrum.transform(decoded, &mut bins);
        bands.powers(&bins, &mut theirs);
        for (a, b) in ours.iter().zip(&theirs) {
            sum += f64::from((10.0 * ((a + FLOOR) / (b + FLOOR)).log10()).abs());
            count += 1;
        }
    }
    (count > 0).then(|| (sum / f64::from(count)) as f32)
}
