//! What a participant needs of signalling, whoever's it is.

use std::sync::Arc;
use std::time::Instant;

use auralink_client::answer::LineTerms;
use auralink_types::SourceCodec;
use serde::Serialize;
use str0m::Rtc;
use str0m::channel::ChannelData;
use str0m::media::{Mid, Pt, Rid};

use crate::error::LoadError;

/// What is counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Media {
    /// Speech.
    Audio,
    /// Pictures.
    Video,
    /// Messages.
    Data,
}

/// A line on which the participant may speak.
#[derive(Clone, Debug)]
pub struct Microphone {
    /// The line.
    pub mid: Mid,
    /// What the server wants on it.
    pub terms: LineTerms,
    /// What the server wants its sender to code.
    pub codec: SourceCodec,
}

/// A line on which the participant may show pictures.
#[derive(Clone, Debug)]
pub struct Camera {
    /// The line.
    pub mid: Mid,
    /// Payload type of VP8.
    pub pt: Pt,
    /// Its simulcast layers, smallest first.
    pub rids: Vec<Rid>,
}

/// One peer connection and the signalling that agrees on it. Whatever changes the connection drains nothing: whoever calls
/// drains it afterwards.
pub trait Call: Send {
    /// The peer connection.
    fn rtc(&mut self) -> &mut Rtc;

    /// Does what signalling has asked for since the last time; whether something may have changed. An error ends the
    /// call.
    fn advance(&mut self, now: Instant) -> Result<bool, LoadError>;

    /// The microphone line, once the server accepted it.
    fn microphone(&self) -> Option<Microphone>;

    /// The camera line, once the server accepted it.
    fn camera(&self) -> Option<Camera>;

    /// Identity of whoever's track arrives on that line, once known.
    fn publisher_on(&mut self, mid: Mid) -> Option<Arc<str>>;

    /// Sends a message to everybody; whether it could be sent.
    fn say(&mut self, message: &[u8]) -> Result<bool, LoadError>;

    /// A message from somebody else, if the data is one.
    fn hear(&mut self, data: &ChannelData) -> Option<Vec<u8>>;

    /// Says goodbye.
    fn leave(&mut self);
}
