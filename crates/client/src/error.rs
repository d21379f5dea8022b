//! Why joining failed.

use auralink_audio::{AudioError, WriteError};

use crate::trust::TrustError;

/// Why a client could not join, or lost its call.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The address is not one that can be joined.
    #[error("url {url}: {problem}")]
    Url {
        /// As given.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The server answered with an HTTP error instead of a WebSocket.
    #[error("refused with {status}: {text}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The server's own words.
        text: String,
    },
    /// The file of certificate authorities is of no use.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The WebSocket failed.
    #[error("signalling: {0}")]
    Signal(String),
    /// The server said something that the protocol does not allow here.
    #[error("protocol: {0}")]
    Protocol(String),
    /// The server ended the stay.
    #[error("the server ended the stay: {0}")]
    Left(String),
    /// Something did not happen in time.
    #[error("{what} did not happen within {seconds} s")]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// For how long.
        seconds: u64,
    },
    /// A socket failed.
    #[error("socket: {0}")]
    Socket(#[from] std::io::Error),
    /// The peer connection failed.
    #[error("peer connection: {0}")]
    Peer(#[from] str0m::RtcError),
    /// The audio to publish could not be read.
    #[error(transparent)]
    Source(#[from] AudioError),
    /// An audio codec could not be set up.
    #[error("codec: {0}")]
    Codec(String),
    /// The recording could not be written.
    #[error("recording: {0}")]
    Record(#[from] WriteError),
    /// The client's task is gone.
    #[error("the client has ended")]
    Ended,
}
