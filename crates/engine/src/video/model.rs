//! Bits that pictures need: a curve per codec, moved to where the last measurement was.

use auralink_types::{Bitrate, VideoCodec};

/// Mean rate for VMAF 90 of 1080p30 talking heads, real-time encoders on one thread (OpenH264 2.7, libvpx, libaom speed 10).
const KBPS_1080P30: [(VideoCodec, f64); 4] = [
    (VideoCodec::H264, 2_150.0),
    (VideoCodec::Vp8, 1_680.0),
    (VideoCodec::Vp9, 1_380.0),
    (VideoCodec::Av1, 1_040.0),
];
const PIXELS_1080P: f64 = 1920.0 * 1080.0;
/// Bits grow slower than pixels and than frames: neighbours are alike.
const PIXEL_POWER: f64 = 0.75;
const FRAME_POWER: f64 = 0.5;
/// SSIM in dB (-10 log10(1 - SSIM)) that twice the rate adds.
const DB_PER_OCTAVE: f64 = 1.8;
/// Floor for which the curve stands, and the step of the floor that asks for twice the bits: parity with the
/// baseline encode takes twice what VMAF 90 does.
const FLOOR: (f64, f64) = (0.85, 0.10);
const FLOOR_FACTOR: (f64, f64) = (0.5, 2.2);

/// Rate for the floor before anything was measured.
pub(super) fn prior(codec: VideoCodec, pixels: f64, fps: f64, floor: f64) -> Bitrate {
    let kbps = KBPS_1080P30
        .iter()
        .find(|(of, _)| *of == codec)
        .map_or(KBPS_1080P30[0].1, |(_, kbps)| *kbps);
    let wish = ((floor - FLOOR.0) / FLOOR.1)
        .exp2()
        .clamp(FLOOR_FACTOR.0, FLOOR_FACTOR.1);
    let size = (pixels / PIXELS_1080P).powf(PIXEL_POWER) * (fps / 30.0).powf(FRAME_POWER);
    Bitrate::bps((kbps * 1000.0 * wish * size) as u64)
}

/// Rate that takes `measured` SSIM at `rate` to `wanted`.
pub(super) fn anchored(rate: Bitrate, measured: f32, wanted: f32) -> Bitrate {
    let octaves = (db(wanted) - db(measured)) / DB_PER_OCTAVE;
    Bitrate::bps((rate.as_bps() as f64 * octaves.clamp(-2.0, 2.0).exp2()) as u64)
}

fn db(ssim: f32) -> f64 {
    -10.0 * (1.0 - f64::from(ssim)).max(1e-4).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_codecs_smaller_pictures_and_lower_floors_need_less() {
        let full = prior(VideoCodec::H264, PIXELS_1080P, 30.0, 0.85);
        for less in [
            prior(VideoCodec::Av1, PIXELS_1080P, 30.0, 0.85),
            prior(VideoCodec::H264, 1280.0 * 720.0, 30.0, 0.85),
            prior(VideoCodec::H264, PIXELS_1080P, 15.0, 0.85),
            prior(VideoCodec::H264, PIXELS_1080P, 30.0, 0.70),
        ] {
            assert!(less < full);
        }
        assert!(prior(VideoCodec::H264, PIXELS_1080P, 30.0, 0.95) > full);
    }

    #[test]
    fn a_measured_shortfall_asks_for_more_and_a_surplus_for_less() {
        let now = Bitrate::kbps(1_000);
        assert!(anchored(now, 0.93, 0.95) > now);
        assert!(anchored(now, 0.98, 0.95) < now);
        assert_eq!(anchored(now, 0.95, 0.95), now);
        assert!(anchored(now, 0.0, 1.0) <= Bitrate::kbps(4_000), "bounded");
    }
}
