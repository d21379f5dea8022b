const FRAME: usize = 320;
/// Frames quieter than this below the loudest do not count.
const ACTIVE_DB: f32 = 40.0;
/// Bounds of one frame, so that a single perfect or lost frame does not rule the mean.
const RANGE_DB: (f32, f32) = (-10.0, 35.0);

/// Mean signal-to-noise ratio of the active 20 ms frames in dB, each frame within −10 to 35. Both at 16 kHz and
/// sample-aligned. `None` without an active frame.
pub fn segmental_snr(reference: &[f32], decoded: &[f32]) -> Option<f32> {
    let power = |frame: &[f32]| frame.iter().map(|x| x * x).sum::<f32>();
    let loudest = reference.chunks_exact(FRAME).map(power).fold(0.0, f32::max);
    let gate = loudest * 10f32.powf(-ACTIVE_DB / 10.0);
    let (mut sum, mut count) = (0.0, 0u32);
    for (reference, decoded) in reference.chunks_exact(FRAME).zip(decoded.chunks_exact(FRAME)) {
        let signal = power(reference);
        if signal <= gate {
            continue;
        }
        let noise: f32 = reference
            .iter()
            .zip(decoded)
            .map(|(x, y)| (x - y) * (x - y))
            .sum();
        sum += (10.0 * (signal / noise.max(1e-12)).log10()).clamp(RANGE_DB.0, RANGE_DB.1);
        count += 1;
    }
    (count > 0).then(|| sum / count as f32)
}
