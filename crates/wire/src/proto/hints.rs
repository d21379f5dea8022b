//! What a caller wants hints about.

use auralink_types::{AicConfig, Bitrate, FieldError, PacketTime, VideoCodec};

use super::frame::{VideoShape, shape};
use super::v1::{self, get_compression_hints_request::Source};
use super::{NetworkReport, enums, needed, rung, session, within};

/// Most codecs that may be listed.
const CODECS_MAX: usize = 16;

/// What the sender sends now.
#[derive(Clone, Debug, PartialEq)]
pub enum HintSource {
    /// Sound.
    Audio {
        /// What it costs on the wire, where known.
        wire: Option<Bitrate>,
        /// Audio per packet.
        packet: PacketTime,
        /// Two channels that matter.
        stereo: bool,
    },
    /// Pictures.
    Video {
        /// Their shape.
        shape: VideoShape,
        /// What sender and receivers speak, at least one.
        codecs: Vec<VideoCodec>,
    },
}

/// A question for hints.
#[derive(Clone, Debug, PartialEq)]
pub struct HintsWanted {
    /// The user's wishes.
    pub config: AicConfig,
    /// What the path is like, where known.
    pub network: Option<NetworkReport>,
    /// Models that every receiver decodes.
    pub models: Vec<u16>,
    /// What the sender sends now.
    pub source: HintSource,
}

impl TryFrom<v1::GetCompressionHintsRequest> for HintsWanted {
    type Error = FieldError;

    fn try_from(request: v1::GetCompressionHintsRequest) -> Result<Self, FieldError> {
        let wishes = request.configuration.unwrap_or_default();
        let source = match needed(request.source, "source")? {
            Source::Audio(audio) => HintSource::Audio {
                wire: Some(audio.wire_bps).filter(|rate| *rate > 0).map(Bitrate::bps),
                packet: match audio.packet_ms {
                    0 => PacketTime::Ms20,
                    ms => rung::packet(ms).map_err(|error| within("audio", error))?,
                },
                stereo: audio.stereo,
            },
            Source::Video(video) => video_source(video).map_err(|error| within("video", error))?,
        };
        Ok(Self {
            config: AicConfig::try_from(wishes).map_err(|error| within("configuration", error))?,
            network: session::network(request.network)?,
            models: session::models(request.receivers)?,
            source,
        })
    }
}

fn video_source(video: v1::VideoSource) -> Result<HintSource, FieldError> {
    let format = needed(video.format, "format")?;
    let count = video.codecs.len();
    if !(1..=CODECS_MAX).contains(&count) {
        let problem = format!("must be 1 to {CODECS_MAX}, got {count}");
        return Err(FieldError::new("codecs", problem));
    }
    let codec = |(n, number): (usize, i32)| {
        let field = format!("codecs[{n}]");
        let codec = enums::codec(number).map_err(|error| FieldError::new(&field, error.problem))?;
        match codec {
            v1::Codec::H264 => Ok(VideoCodec::H264),
            v1::Codec::Vp8 => Ok(VideoCodec::Vp8),
            v1::Codec::Vp9 => Ok(VideoCodec::Vp9),
            v1::Codec::Av1 => Ok(VideoCodec::Av1),
            other => Err(FieldError::new(
                field,
                format!("must be a video codec, got {}", other.as_str_name()),
            )),
        }
    };
    Ok(HintSource::Video {
        shape: shape(&format).map_err(|error| within("format", error))?,
        codecs: video
            .codecs
            .into_iter()
            .enumerate()
            .map(codec)
            .collect::<Result<_, _>>()?,
    })
}

impl From<VideoCodec> for v1::Codec {
    fn from(codec: VideoCodec) -> Self {
        match codec {
            VideoCodec::H264 => Self::H264,
            VideoCodec::Vp8 => Self::Vp8,
            VideoCodec::Vp9 => Self::Vp9,
            VideoCodec::Av1 => Self::Av1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_about_nothing_or_nonsense_is_refused_by_name() {
        let refused = |source| {
            let request = v1::GetCompressionHintsRequest {
                source,
                ..Default::default()
            };
            HintsWanted::try_from(request).unwrap_err().field
        };
        assert_eq!(refused(None), "source");
        let audio = |packet_ms| {
            Some(Source::Audio(v1::AudioSource {
                packet_ms,
                ..Default::default()
            }))
        };
        assert_eq!(refused(audio(30)), "audio.packet_ms");
        let video = |width, codecs| {
            Some(Source::Video(v1::VideoSource {
                format: Some(v1::VideoFormat {
                    width,
                    height: 720,
                    ..Default::default()
                }),
                codecs,
            }))
        };
        assert_eq!(refused(video(0, vec![10])), "video.format.width");
        assert_eq!(refused(video(1280, vec![])), "video.codecs");
        assert_eq!(refused(video(1280, vec![10, 3])), "video.codecs[1]");
        assert_eq!(refused(video(1280, vec![10, 99])), "video.codecs[1]");
    }
}
