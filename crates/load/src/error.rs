//! Why a load could not be put on, or somebody fell out of it.

use auralink_client::JoinError;
use auralink_token::TokenError;
use auralink_types::FieldError;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The plan asks for what cannot be.
    #[error(transparent)]
    Plan(#[from] FieldError),
    /// A token could not be made.
    #[error("token: {0}")]
    Token(#[from] TokenError),
    /// Joining failed, or the call ended.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// Another server's signalling failed.
    #[error("signalling: {0}")]
    Signalling(String),
    /// Nobody is there to measure anything.
    #[error("nobody could join: {0}")]
    Nobody(String),
    /// What is sent could not be made.
    #[error("{what}: {problem}")]
    Stream {
        /// Of what.
        what: String,
        /// Why.
        problem: String,
    },
    /// The policy of a participant could not be set.
    #[error("cannot set AIC for {who}: {problem}")]
    Policy {
        /// Identity.
        who: String,
        /// Why.
        problem: String,
    },
    /// A socket failed.
    #[error("socket: {0}")]
    Socket(#[from] std::io::Error),
    /// A peer connection failed.
    #[error("peer connection: {0}")]
    Peer(#[from] str0m::RtcError),
    /// The process whose figures are wanted does not tell them.
    #[error("--server-pid {pid}: {problem}")]
    Process {
        /// As given.
        pid: u32,
        /// Why.
        problem: String,
    },
    /// The thread that drives everybody is gone.
    #[error("the thread of the participants has ended")]
    Ended,
}
