//! What a sender should do: for sound by the engine's ladder, for pictures by a plain rule.

use std::time::Instant;

use auralink_engine::{Calibration, Choice, NetworkAnalyzer, NetworkSample, Situation, choose, wire_bitrate};
use auralink_quality::savings::Preset;
use auralink_types::{AicConfig, Bitrate, PacketTime, Policy, VideoCodec};
use auralink_wire::proto::{NetworkReport, VideoShape};

/// Part of a measured capacity that video may fill; the rest is for audio, repairs and surprises.
const CAPACITY_SHARE: f64 = 0.85;
/// Pixels and rate of what stock senders spend at 30 frames a second: LiveKit's presets up to 720p, and the H.264 at
/// 5 Mbit/s that is usual for 1080p.
const REFERENCE: [(f64, f64); 5] = [
    (320.0 * 180.0, 160e3),
    (640.0 * 360.0, 450e3),
    (960.0 * 540.0, 800e3),
    (1280.0 * 720.0, 1_700e3),
    (1920.0 * 1080.0, 5_000e3),
];
/// Packets of a report that counts whole: a minute of 20 ms.
const WHOLE: u32 = 3_000;
/// Frame rate that the reference is for.
const REFERENCE_RATE: f64 = 30.0;
/// Frame rate on a path too narrow for the picture.
const LEAST_RATE: f64 = 15.0;
/// Scales that encoders do without blur.
const SCALES: [f64; 4] = [1.0, 0.75, 0.5, 0.25];

/// What is obeyed where the caller wishes nothing.
pub(crate) fn default_policy() -> Policy {
    AicConfig {
        enabled: true,
        ..AicConfig::default()
    }
    .policy()
}

/// What to do about sound.
pub(crate) struct AudioAdvice {
    pub(crate) choice: Choice,
    /// On the wire with the choice.
    pub(crate) expected: Bitrate,
    /// On the wire without it.
    pub(crate) reference: Bitrate,
}

/// What to do about pictures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct VideoAdvice {
    pub(crate) codec: VideoCodec,
    pub(crate) max_bitrate: Bitrate,
    pub(crate) scale: f64,
    pub(crate) max_frame_rate: f64,
    /// What the sender spends now, or a stock one would.
    pub(crate) reference: Bitrate,
}

/// What an audio sender now spends.
pub(crate) struct AudioNow {
    pub(crate) wire: Option<Bitrate>,
    pub(crate) packet: PacketTime,
    pub(crate) stereo: bool,
}

pub(crate) fn audio(
    now: Instant,
    policy: &Policy,
    network: Option<NetworkReport>,
    neural: bool,
    source: &AudioNow,
) -> AudioAdvice {
    let mut analyzer = NetworkAnalyzer::default();
    if let Some(report) = network {
        let sample = NetworkSample {
            loss: report.loss,
            rtt: report.rtt,
            jitter: report.jitter,
            // The caller's one report is all there is: it counts whole.
            packets: WHOLE,
            ..NetworkSample::default()
        };
        analyzer.handle_sample(now, sample);
        analyzer.set_capacity(report.capacity);
    }
    let situation = Situation {
        network: analyzer.network(),
        neural,
        source_packet: Some(source.packet),
        stereo: source.stereo,
        original: source.wire,
        ..Situation::stock(analyzer.network())
    };
    let choice = choose(policy, &situation, &Calibration::default());
    let reference = source.wire.unwrap_or_else(|| Preset::STOCK.wire_bitrate());
    AudioAdvice {
        expected: wire_bitrate(choice.rung).unwrap_or(reference),
        choice,
        reference,
    }
}

/// Least part of the reference's rate at which a codec holds about its quality on talking heads: real-time AV1 at
/// 1 Mbit/s is within 4 VMAF of OpenH264 at 5; VP9 lies between, and the old ones save little by themselves.
const fn least_share(codec: VideoCodec) -> f64 {
    match codec {
        VideoCodec::Av1 => 0.20,
        VideoCodec::Vp9 => 0.35,
        VideoCodec::H264 | VideoCodec::Vp8 => 0.60,
    }
}

/// Without `codecs` the sender has not chosen yet.
pub(crate) fn video(
    policy: &Policy,
    capacity: Option<Bitrate>,
    shape: &VideoShape,
    codecs: &[VideoCodec],
) -> VideoAdvice {
    let reference = shape.bitrate.unwrap_or_else(|| stock(shape));
    let rate = shape.frame_rate.unwrap_or(REFERENCE_RATE);
    let codec = codecs
        .iter()
        .copied()
        .min_by(|a, b| least_share(*a).total_cmp(&least_share(*b)))
        .unwrap_or(VideoCodec::Av1);
    if !policy.active {
        return VideoAdvice {
            codec,
            max_bitrate: reference,
            scale: 1.0,
            max_frame_rate: rate,
            reference,
        };
    }
    let full = reference.as_bps() as f64;
    let needed = full * (1.0 - policy.target).max(least_share(codec));
    let room = capacity.map_or(f64::INFINITY, |room| room.as_bps() as f64 * CAPACITY_SHARE);
    let bitrate = needed.min(room);
    // Fewer pixels rather than bad ones: the picture shrinks with the square root of what is missing.
    let missing = bitrate / needed;
    let scale = SCALES
        .into_iter()
        .find(|scale| scale * scale <= missing.max(1e-9) * 1.2)
        .unwrap_or(SCALES[SCALES.len() - 1]);
    let narrow = scale <= 0.5;
    VideoAdvice {
        codec,
        max_bitrate: Bitrate::bps(bitrate.round() as u64),
        scale,
        max_frame_rate: if narrow { rate.min(LEAST_RATE) } else { rate },
        reference,
    }
}

/// What a stock sender spends on such a picture: the reference, between its points in proportion to the pixels.
fn stock(shape: &VideoShape) -> Bitrate {
    let pixels = f64::from(shape.width) * f64::from(shape.height);
    let above = REFERENCE.iter().find(|(size, _)| *size >= pixels);
    let below = REFERENCE.iter().rev().find(|(size, _)| *size <= pixels);
    let at_30 = match (below, above) {
        (Some((small, low)), Some((big, high))) if big > small => {
            low + (high - low) * (pixels - small) / (big - small)
        }
        (Some((size, rate)), _) | (None, Some((size, rate))) => rate * pixels / size,
        (None, None) => 0.0,
    };
    let share = shape
        .frame_rate
        .map_or(1.0, |rate| (rate / REFERENCE_RATE).clamp(0.25, 2.0));
    Bitrate::bps((at_30 * share).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use auralink_types::{AicConfig, ConfigChange};

    fn policy() -> Policy {
        let change = ConfigChange {
            enabled: Some(true),
            ..Default::default()
        };
        AicConfig::default().apply(&change).unwrap().policy()
    }

    fn hd() -> VideoShape {
        VideoShape {
            width: 1920,
            height: 1080,
            frame_rate: None,
            bitrate: None,
        }
    }

    #[test]
    fn the_best_codec_that_everybody_speaks_is_hinted_at_the_share_it_holds() {
        let advice = video(&policy(), None, &hd(), &VideoCodec::ALL);
        assert_eq!(
            (advice.codec, advice.max_bitrate),
            (VideoCodec::Av1, Bitrate::kbps(1_000))
        );
        let advice = video(&policy(), None, &hd(), &VideoCodec::ALL[..2]);
        assert_eq!(
            (advice.codec, advice.max_bitrate),
            (VideoCodec::H264, Bitrate::kbps(3_000))
        );
        let raw = video(&policy(), None, &hd(), &[]);
        assert_eq!(raw.codec, VideoCodec::Av1, "raw pictures: everything is open");
    }

    #[test]
    fn a_narrow_path_gets_a_smaller_picture_and_never_more_than_it_carries() {
        for kbps in [50, 200, 500, 1_000, 5_000] {
            let capacity = Bitrate::kbps(kbps);
            let advice = video(&policy(), Some(capacity), &hd(), &VideoCodec::ALL);
            assert!(advice.max_bitrate < capacity, "{advice:?}");
            assert!(SCALES.contains(&advice.scale), "{advice:?}");
        }
        let advice = video(&policy(), Some(Bitrate::kbps(100)), &hd(), &VideoCodec::ALL);
        assert_eq!((advice.scale, advice.max_frame_rate), (0.25, 15.0));
    }

    #[test]
    fn an_inactive_policy_hints_at_what_is_sent_already() {
        let advice = video(&AicConfig::default().policy(), None, &hd(), &VideoCodec::ALL);
        assert_eq!((advice.max_bitrate, advice.scale), (Bitrate::kbps(5_000), 1.0));
    }

    #[test]
    fn the_reference_grows_with_the_picture() {
        let rate = |width, height| {
            stock(&VideoShape {
                width,
                height,
                ..hd()
            })
        };
        let sizes = [
            (1, 1),
            (160, 90),
            (320, 180),
            (640, 480),
            (1280, 720),
            (1920, 1080),
            (3840, 2160),
        ];
        let rates: Vec<Bitrate> = sizes.into_iter().map(|(w, h)| rate(w, h)).collect();
        assert!(rates.is_sorted(), "{rates:?}");
        assert_eq!(rate(1280, 720), Bitrate::kbps(1_700));
    }
}
