//! What is forwarded.

use serde::Serialize;

/// A room and what is sent in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Scenario {
    /// Ten who speak, and listeners
    Audio,
    /// One camera, 720p simulcast, and viewers
    Webinar,
    /// Eight cameras, 720p simulcast, each seen by the seven others
    Meeting,
}

impl Scenario {
    /// People who send.
    pub fn publishers(self) -> usize {
        match self {
            Self::Audio => 10,
            Self::Webinar => 1,
            Self::Meeting => 8,
        }
    }

    /// Whether they have a microphone, and a camera.
    pub fn sends(self) -> (bool, bool) {
        (self == Self::Audio, self != Self::Audio)
    }

    /// Whether those who send get what the others send.
    pub fn is_mutual(self) -> bool {
        self == Self::Meeting
    }

    /// Streams that arrive at somebody.
    pub fn streams(self, listeners: usize) -> usize {
        match self {
            Self::Meeting => self.publishers() * (self.publishers() - 1),
            _ => self.publishers() * listeners,
        }
    }

    /// One line on it.
    pub fn about(self, listeners: usize) -> String {
        match self {
            Self::Audio => format!("audio: 10 speakers × {listeners} listeners, Opus 48 kbps"),
            Self::Webinar => format!("webinar: 1 camera × {listeners} viewers, VP8 720p simulcast"),
            Self::Meeting => "meeting: 8 cameras × 7 viewers each, VP8 720p simulcast".to_owned(),
        }
    }
}
