//! What a sender should do of whom nothing is known but what they ask: for sound by the engine's ladder, for pictures by
//! its video pilot.

use std::time::{Duration, Instant};

use auralink_engine::{
    Calibration, Choice, Network, NetworkAnalyzer, NetworkSample, Situation, VideoPilot, VideoSituation,
    VideoSource, choose, wire_bitrate,
};
use auralink_quality::savings::Preset;
use auralink_types::{AicConfig, Bitrate, PacketTime, Policy, VideoCodec, VideoDecision};
use auralink_wire::proto::{NetworkReport, VideoShape};

/// Packets of a report that counts whole: a minute of 20 ms.
const WHOLE: u32 = 3_000;
/// Frame rate of a sender who does not tell it.
const FRAME_RATE: f64 = 30.0;

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
    pub(crate) decision: VideoDecision,
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

/// The first of `codecs` is what is sent where nothing better is among them; without any the sender has not chosen yet.
pub(crate) fn video(
    now: Instant,
    policy: &Policy,
    capacity: Option<Bitrate>,
    shape: &VideoShape,
    codecs: &[VideoCodec],
) -> VideoAdvice {
    let frame_rate = shape.frame_rate.unwrap_or(FRAME_RATE);
    let codec = codecs.first().copied().unwrap_or(VideoCodec::Av1);
    let stock = VideoSource::stock(codec, shape.width, shape.height, frame_rate.ceil() as u32);
    let source = VideoSource {
        bitrate: shape.bitrate.unwrap_or(stock.bitrate),
        ..stock
    };
    let spoken = VideoCodec::ALL.map(|codec| codecs.contains(&codec));
    let situation = VideoSituation {
        source,
        encoders: spoken.map(|spoken| spoken.then_some(Duration::ZERO)),
        decoders: spoken,
        network: Network {
            capacity,
            ..Network::default()
        },
        sizes: 1,
        quality: None,
    };
    let decision = VideoPilot::advise(now, policy, &situation);
    VideoAdvice {
        decision,
        max_frame_rate: frame_rate.min(decision.max_fps.into()),
        reference: source.bitrate,
    }
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

    fn hd_video(policy: &Policy, capacity: Option<Bitrate>, codecs: &[VideoCodec]) -> VideoAdvice {
        video(Instant::now(), policy, capacity, &hd(), codecs)
    }

    #[test]
    fn the_best_codec_that_everybody_speaks_is_hinted_at_a_rate_that_holds_the_floor() {
        let all = hd_video(&policy(), None, &VideoCodec::ALL);
        assert_eq!(all.decision.codec, VideoCodec::Av1);
        assert!(all.decision.max_bitrate < Bitrate::kbps(1_250), "{all:?}");
        let old = hd_video(&policy(), None, &VideoCodec::ALL[..2]);
        assert_eq!(old.decision.codec, VideoCodec::H264);
        let rates = all.decision.max_bitrate..Bitrate::kbps(3_000);
        assert!(rates.contains(&old.decision.max_bitrate), "{old:?}");
        let raw = hd_video(&policy(), None, &[]);
        assert_eq!(raw, all, "raw pictures: everything is open");
    }

    #[test]
    fn a_narrow_path_gets_a_smaller_picture_and_never_more_than_it_carries() {
        for kbps in [50, 200, 500, 1_000, 5_000] {
            let capacity = Bitrate::kbps(kbps);
            let advice = hd_video(&policy(), Some(capacity), &VideoCodec::ALL);
            assert!(advice.decision.max_bitrate < capacity, "{advice:?}");
        }
        let advice = hd_video(&policy(), Some(Bitrate::kbps(100)), &VideoCodec::ALL);
        assert_eq!(advice.decision.scale, 4.0);
        assert!(advice.max_frame_rate <= 15.0, "{advice:?}");
    }

    #[test]
    fn an_inactive_policy_hints_at_what_is_sent_already() {
        let advice = hd_video(&AicConfig::default().policy(), None, &VideoCodec::ALL);
        assert_eq!(
            (advice.decision.max_bitrate, advice.decision.scale),
            (Bitrate::kbps(5_000), 1.0)
        );
    }

    #[test]
    fn a_frame_rate_between_two_whole_ones_is_left_as_it_is() {
        let shape = VideoShape {
            frame_rate: Some(29.97),
            ..hd()
        };
        let advice = video(Instant::now(), &policy(), None, &shape, &VideoCodec::ALL);
        assert_eq!(advice.max_frame_rate, 29.97);
    }
}
