//! What a stock sender spends on pictures.

use auralink_types::Bitrate;

/// Pixels and rate at 30 frames a second: LiveKit's presets up to 720p, and the H.264 at 5 Mbit/s that is usual for
/// 1080p.
const REFERENCE: [(f64, f64); 5] = [
    (320.0 * 180.0, 160e3),
    (640.0 * 360.0, 450e3),
    (960.0 * 540.0, 800e3),
    (1280.0 * 720.0, 1_700e3),
    (1920.0 * 1080.0, 5_000e3),
];
const FPS: f64 = 30.0;
/// Part of the reference that slow and fast pictures take at least and at most.
const FPS_SHARE: (f64, f64) = (0.25, 2.0);

/// Between the points of the reference in proportion to the pixels.
pub(super) fn stock(width: u32, height: u32, fps: u32) -> Bitrate {
    let pixels = f64::from(width) * f64::from(height);
    let above = REFERENCE.iter().find(|(size, _)| *size >= pixels);
    let below = REFERENCE.iter().rev().find(|(size, _)| *size <= pixels);
    let at_30 = match (below, above) {
        (Some((small, low)), Some((big, high))) if big > small => {
            low + (high - low) * (pixels - small) / (big - small)
        }
        (Some((size, rate)), _) | (None, Some((size, rate))) => rate * pixels / size,
        (None, None) => 0.0,
    };
    let share = (f64::from(fps) / FPS).clamp(FPS_SHARE.0, FPS_SHARE.1);
    Bitrate::bps((at_30 * share).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_grows_with_the_picture() {
        let sizes = [
            (1, 1),
            (160, 90),
            (320, 180),
            (640, 480),
            (1280, 720),
            (1920, 1080),
            (3840, 2160),
        ];
        let rates = sizes.map(|(width, height)| stock(width, height, 30));
        assert!(rates.is_sorted(), "{rates:?}");
        assert_eq!(stock(1280, 720, 30), Bitrate::kbps(1_700));
        assert_eq!(stock(1280, 720, 15), Bitrate::kbps(850));
    }
}
