//! What the engine decided for one publisher of video, and why.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::reason::Reason;
use crate::units::Bitrate;

/// A video codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VideoCodec {
    /// H.264 (constrained baseline).
    H264,
    /// VP8.
    Vp8,
    /// VP9, profile 0.
    Vp9,
    /// AV1, main profile.
    Av1,
}

impl VideoCodec {
    /// Every codec, the oldest first.
    pub const ALL: [Self; 4] = [Self::H264, Self::Vp8, Self::Vp9, Self::Av1];

    /// Name for rows, hints and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::H264 => "h264",
            Self::Vp8 => "vp8",
            Self::Vp9 => "vp9",
            Self::Av1 => "av1",
        }
    }

    /// The codec of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.as_str() == name)
    }
}

impl fmt::Display for VideoCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What pictures show, which decides what may be given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VideoContent {
    /// People: motion matters, fine detail less.
    #[default]
    Camera,
    /// A screen: text must stay readable, few frames are enough.
    Screen,
}

/// What a publisher of video should send.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct VideoDecision {
    /// Codec.
    pub codec: VideoCodec,
    /// Most the encoder may send.
    pub max_bitrate: Bitrate,
    /// Width and height are divided by this, 1 or more.
    pub scale: f32,
    /// Most frames a second.
    pub max_fps: u32,
    /// Spatial layers to send at most, 1 or more: more than one only where receivers want different sizes.
    pub layers: u8,
    /// Why it is not what the policy would like, if it is not.
    pub reason: Option<Reason>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_codec_has_its_own_name_in_text_and_in_json() {
        for codec in VideoCodec::ALL {
            assert_eq!(VideoCodec::parse(codec.as_str()), Some(codec));
        }
        assert_eq!(VideoCodec::parse("h265"), None);
    }
}
