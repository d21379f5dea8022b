//! Values of the core as messages.

use std::time::Instant;

use auralink_engine::{Choice, Coded};
use auralink_types::{Bitrate, Mos, Policy, Reason, Rung};
use auralink_wire::aic;
use auralink_wire::proto::{PcmOutput, PcmSample, VideoCoding, VideoFrame, v1};

use crate::advice::{self, AudioAdvice, VideoAdvice};
use crate::stream::Sound;

/// How the estimator's scores are called.
const ESTIMATE: &str = "estimated_pesq_wb";

pub(super) fn decision(choice: Choice) -> v1::Decision {
    v1::Decision {
        rung: Some(choice.rung.into()),
        reason: choice.reason.map_or(0, |reason| v1::Reason::from(reason) as i32),
        expected_quality_score: choice.expected.value().into(),
    }
}

/// The decision about every picture: it stays as it is.
pub(super) fn no_transcoder() -> v1::Decision {
    v1::Decision {
        rung: Some(Rung::Original.into()),
        reason: v1::Reason::NoTranscoder as i32,
        expected_quality_score: 1.0,
    }
}

pub(super) fn packet(coded: &Coded) -> v1::CodedPacket {
    let codec = if aic::is_aic(&coded.payload) {
        v1::Codec::AicSpeech
    } else {
        v1::Codec::Opus
    };
    v1::CodedPacket {
        rung: Some(coded.rung.into()),
        codec: codec as i32,
        timestamp: coded.timestamp,
        duration: coded.samples,
        payload: prost::bytes::Bytes::copy_from_slice(&coded.payload),
        quality: coded.quality.map(quality),
    }
}

fn quality(mos: Mos) -> v1::Quality {
    v1::Quality {
        score: mos.score().value().into(),
        mos: mos.value().into(),
        metric: ESTIMATE.into(),
    }
}

/// A frame that comes back as it was.
pub(super) fn unchanged(
    timestamp: u64,
    reason: Option<Reason>,
    original: Option<v1::MediaFrame>,
) -> v1::FrameResult {
    v1::FrameResult {
        timestamp,
        coded: false,
        reason: reason.map_or(0, |reason| v1::Reason::from(reason) as i32),
        original,
        ..Default::default()
    }
}

/// The answer to a picture.
pub(super) fn picture(
    now: Instant,
    policy: &Policy,
    capacity: Option<Bitrate>,
    picture: &VideoFrame,
    original: Option<v1::MediaFrame>,
) -> v1::FrameResult {
    let mut result = unchanged(picture.timestamp, None, original);
    result.reason = v1::Reason::NoTranscoder as i32;
    result.decision = Some(no_transcoder());
    result.hints = picture.shape.map(|shape| {
        let codec = match picture.coding {
            VideoCoding::Coded(codec) => Some(codec),
            VideoCoding::I420 => None,
        };
        video_hints(&advice::video(now, policy, capacity, &shape, codec.as_slice()))
    });
    result
}

pub(super) fn sound(sound: Sound, output: PcmOutput) -> v1::MediaFrame {
    let codec = match output.sample {
        PcmSample::S16 => v1::Codec::PcmS16le,
        PcmSample::F32 => v1::Codec::PcmF32le,
    };
    v1::MediaFrame {
        codec: codec as i32,
        payload: sound.pcm.into(),
        timestamp: sound.timestamp,
        format: Some(v1::media_frame::Format::Audio(v1::AudioFormat {
            sample_rate: output.rate,
            channels: 1,
        })),
        max_latency_ms: 0,
    }
}

pub(super) fn audio_hints(advice: &AudioAdvice) -> v1::CompressionHints {
    let (expected, reference) = (advice.expected.as_bps(), advice.reference.as_bps());
    v1::CompressionHints {
        hint: Some(v1::compression_hints::Hint::Audio(v1::AudioHint {
            source: Some(advice.choice.rung.into()),
            // Lean and neural packets carry what redundancy they need.
            redundancy: advice.choice.rung == Rung::Original,
        })),
        expected_wire_bps: expected,
        reference_wire_bps: reference,
        expected_savings_ratio: saved(expected, reference),
    }
}

pub(super) fn video_hints(advice: &VideoAdvice) -> v1::CompressionHints {
    let decision = &advice.decision;
    let (expected, reference) = (decision.max_bitrate.as_bps(), advice.reference.as_bps());
    v1::CompressionHints {
        hint: Some(v1::compression_hints::Hint::Video(v1::VideoHint {
            codec: v1::Codec::from(decision.codec) as i32,
            max_bitrate_bps: expected,
            scale: 1.0 / f64::from(decision.scale),
            max_frame_rate: advice.max_frame_rate,
        })),
        expected_wire_bps: expected,
        reference_wire_bps: reference,
        expected_savings_ratio: saved(expected, reference),
    }
}

fn saved(expected: u64, reference: u64) -> f64 {
    if reference == 0 {
        return 0.0;
    }
    (1.0 - expected as f64 / reference as f64).max(0.0)
}
