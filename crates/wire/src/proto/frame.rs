//! One media frame: what it claims to be, checked against what it is.

use std::time::Duration;

use auralink_types::{Bitrate, FieldError, VideoCodec};
use prost::bytes::Bytes;

use super::v1::{self, media_frame::Format};
use super::{enums, needed, within};

/// Largest PCM payload: 120 ms of stereo floats at 48 kHz, rounded up.
pub const PCM_MAX: usize = 48 * 1024;
/// Largest Opus packet or AIC payload.
pub const CODED_AUDIO_MAX: usize = 4_000;
/// Largest picture.
pub const VIDEO_MAX: usize = 4 * 1024 * 1024;
/// Longest side of an encoded picture.
pub const SIDE_MAX: u32 = 8_192;
/// Longest side of a raw picture.
pub const I420_SIDE_MAX: u32 = 1_920;
/// Timestamps end here, so that sums of them cannot overflow: 186 years.
const TIMESTAMP_MAX: u64 = 1 << 48;
/// Longest latency that can be asked for.
const LATENCY_MAX_MS: u32 = 200;
/// PCM comes in steps of this.
const PCM_STEP_MS: usize = 10;
/// Longest PCM frame.
const PCM_LONGEST_MS: usize = 120;
/// Highest frame rate.
const FRAME_RATE_MAX: f64 = 240.0;

/// How a sample is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PcmSample {
    /// Signed 16-bit little-endian.
    S16,
    /// 32-bit float little-endian.
    F32,
}

impl PcmSample {
    /// Bytes of one.
    pub const fn bytes(self) -> usize {
        match self {
            Self::S16 => 2,
            Self::F32 => 4,
        }
    }
}

/// The shape of PCM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PcmFormat {
    /// How a sample is written.
    pub sample: PcmSample,
    /// 16000 or 48000.
    pub rate: u32,
    /// 1 or 2.
    pub channels: u8,
}

impl PcmFormat {
    /// Bytes of a millisecond.
    pub const fn bytes_per_ms(self) -> usize {
        self.rate as usize / 1000 * self.channels as usize * self.sample.bytes()
    }
}

/// What an audio payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AudioCoding {
    /// Samples.
    Pcm(PcmFormat),
    /// One Opus packet.
    Opus,
    /// One AIC payload.
    Aic,
}

/// One frame of sound.
#[derive(Clone, Debug, PartialEq)]
pub struct AudioFrame {
    /// What the payload is.
    pub coding: AudioCoding,
    /// The payload, not empty.
    pub payload: Bytes,
    /// Time of the first sample, 48 kHz ticks.
    pub timestamp: u64,
    /// Time until the answer must have left, where the frame says so.
    pub max_latency: Option<Duration>,
}

/// What a picture's payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VideoCoding {
    /// The pixels, planar, each chroma plane of half the size both ways.
    I420,
    /// One picture as the codec wrote it.
    Coded(VideoCodec),
}

/// The shape of a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VideoShape {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames per second, where known.
    pub frame_rate: Option<f64>,
    /// What the sender spends now, where known.
    pub bitrate: Option<Bitrate>,
}

/// One picture.
#[derive(Clone, Debug, PartialEq)]
pub struct VideoFrame {
    /// What the payload is.
    pub coding: VideoCoding,
    /// Its shape, where told; always for raw ones.
    pub shape: Option<VideoShape>,
    /// The payload, not empty.
    pub payload: Bytes,
    /// Its time, 48 kHz ticks.
    pub timestamp: u64,
}

/// One frame.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// Sound.
    Audio(AudioFrame),
    /// A picture.
    Video(VideoFrame),
}

impl TryFrom<v1::MediaFrame> for Frame {
    type Error = FieldError;

    fn try_from(frame: v1::MediaFrame) -> Result<Self, FieldError> {
        let codec = enums::codec(frame.codec)?;
        if frame.timestamp >= TIMESTAMP_MAX {
            let problem = format!("must be below {TIMESTAMP_MAX}, got {}", frame.timestamp);
            return Err(FieldError::new("timestamp", problem));
        }
        if frame.max_latency_ms > LATENCY_MAX_MS {
            let problem = format!("must be 0 to {LATENCY_MAX_MS}, got {}", frame.max_latency_ms);
            return Err(FieldError::new("max_latency_ms", problem));
        }
        let ms = frame.max_latency_ms;
        let max_latency = (ms > 0).then(|| Duration::from_millis(ms.into()));
        let audio = |coding| {
            Self::Audio(AudioFrame {
                coding,
                payload: frame.payload.clone(),
                timestamp: frame.timestamp,
                max_latency,
            })
        };
        match codec {
            v1::Codec::Unspecified => Err(FieldError::new("codec", "must be given")),
            v1::Codec::PcmS16le => pcm(PcmSample::S16, &frame).map(audio),
            v1::Codec::PcmF32le => pcm(PcmSample::F32, &frame).map(audio),
            v1::Codec::Opus => coded(&frame).map(|()| audio(AudioCoding::Opus)),
            v1::Codec::AicSpeech => coded(&frame).map(|()| audio(AudioCoding::Aic)),
            v1::Codec::H264 => video(VideoCoding::Coded(VideoCodec::H264), frame),
            v1::Codec::Vp8 => video(VideoCoding::Coded(VideoCodec::Vp8), frame),
            v1::Codec::Vp9 => video(VideoCoding::Coded(VideoCodec::Vp9), frame),
            v1::Codec::Av1 => video(VideoCoding::Coded(VideoCodec::Av1), frame),
            v1::Codec::I420 => video(VideoCoding::I420, frame),
        }
    }
}

fn sized(payload: &[u8], max: usize) -> Result<(), FieldError> {
    if payload.is_empty() || payload.len() > max {
        let problem = format!("must be 1 to {max} bytes, got {}", payload.len());
        return Err(FieldError::new("payload", problem));
    }
    Ok(())
}

fn pcm(sample: PcmSample, frame: &v1::MediaFrame) -> Result<AudioCoding, FieldError> {
    let format = match &frame.format {
        Some(Format::Audio(format)) => Some(format),
        Some(Format::Video(_)) => return Err(FieldError::new("video", "must not be given for audio")),
        None => None,
    };
    let format = needed(format, "audio")?;
    let format = PcmFormat {
        sample,
        rate: rate("audio.sample_rate", format.sample_rate)?,
        channels: match format.channels {
            1 => 1,
            2 => 2,
            other => {
                return Err(FieldError::new(
                    "audio.channels",
                    format!("must be 1 or 2, got {other}"),
                ));
            }
        },
    };
    sized(&frame.payload, PCM_MAX)?;
    let step = format.bytes_per_ms() * PCM_STEP_MS;
    let longest = format.bytes_per_ms() * PCM_LONGEST_MS;
    if !frame.payload.len().is_multiple_of(step) || frame.payload.len() > longest {
        let problem = format!(
            "must hold {PCM_STEP_MS} to {PCM_LONGEST_MS} ms in steps of {PCM_STEP_MS} ms ({step} bytes), got {} bytes",
            frame.payload.len()
        );
        return Err(FieldError::new("payload", problem));
    }
    if sample == PcmSample::F32 {
        let broken = frame
            .payload
            .as_chunks::<4>()
            .0
            .iter()
            .position(|raw| !f32::from_le_bytes(*raw).is_finite());
        if let Some(at) = broken {
            let problem = format!("sample {at} is not a finite number");
            return Err(FieldError::new("payload", problem));
        }
    }
    Ok(AudioCoding::Pcm(format))
}

/// A sampling rate that is spoken here.
pub(super) fn rate(field: &str, rate: u32) -> Result<u32, FieldError> {
    if matches!(rate, 16_000 | 48_000) {
        Ok(rate)
    } else {
        Err(FieldError::new(
            field,
            format!("must be 16000 or 48000, got {rate}"),
        ))
    }
}

fn coded(frame: &v1::MediaFrame) -> Result<(), FieldError> {
    if matches!(frame.format, Some(Format::Video(_))) {
        return Err(FieldError::new("video", "must not be given for audio"));
    }
    sized(&frame.payload, CODED_AUDIO_MAX)
}

fn video(coding: VideoCoding, frame: v1::MediaFrame) -> Result<Frame, FieldError> {
    let shape = match frame.format {
        Some(Format::Video(format)) => Some(shape(&format).map_err(|error| within("video", error))?),
        Some(Format::Audio(_)) => return Err(FieldError::new("audio", "must not be given for video")),
        None => None,
    };
    sized(&frame.payload, VIDEO_MAX)?;
    if coding == VideoCoding::I420 {
        let shape = needed(shape, "video")?;
        for (field, side) in [("video.width", shape.width), ("video.height", shape.height)] {
            if side > I420_SIDE_MAX {
                let problem = format!("must be 1 to {I420_SIDE_MAX} for I420, got {side}");
                return Err(FieldError::new(field, problem));
            }
        }
        let chroma = shape.width.div_ceil(2) as usize * shape.height.div_ceil(2) as usize;
        let wanted = shape.width as usize * shape.height as usize + 2 * chroma;
        if frame.payload.len() != wanted {
            let problem = format!(
                "{} x {} in I420 are {wanted} bytes, got {}",
                shape.width,
                shape.height,
                frame.payload.len()
            );
            return Err(FieldError::new("payload", problem));
        }
    }
    Ok(Frame::Video(VideoFrame {
        coding,
        shape,
        payload: frame.payload,
        timestamp: frame.timestamp,
    }))
}

/// A picture's shape, every side within bounds.
pub(super) fn shape(format: &v1::VideoFormat) -> Result<VideoShape, FieldError> {
    for (field, side) in [("width", format.width), ("height", format.height)] {
        if !(1..=SIDE_MAX).contains(&side) {
            return Err(FieldError::new(
                field,
                format!("must be 1 to {SIDE_MAX}, got {side}"),
            ));
        }
    }
    if !(0.0..=FRAME_RATE_MAX).contains(&format.frame_rate) {
        let problem = format!("must be 0 to {FRAME_RATE_MAX}, got {}", format.frame_rate);
        return Err(FieldError::new("frame_rate", problem));
    }
    Ok(VideoShape {
        width: format.width,
        height: format.height,
        frame_rate: Some(format.frame_rate).filter(|rate| *rate > 0.0),
        bitrate: Some(format.bitrate_bps)
            .filter(|rate| *rate > 0)
            .map(Bitrate::bps),
    })
}

#[cfg(test)]
mod tests;
