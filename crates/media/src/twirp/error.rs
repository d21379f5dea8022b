//! Twirp's errors: a code, the HTTP status that goes with it, and a text, as JSON whatever the request was written in.

use std::collections::BTreeMap;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::profile::ProfileError;
use crate::verb::{CallError, Trouble};

/// The codes of Twirp's specification, version 7, as far as this server uses them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// A client's method failed, or is none.
    Canceled,
    /// Something asked for makes no sense.
    InvalidArgument,
    /// The body can't be read.
    Malformed,
    /// The body did not come in time.
    DeadlineExceeded,
    /// What was asked about is not there.
    NotFound,
    /// No method is called by such a request.
    BadRoute,
    /// The token is not good, or not good for this.
    Unauthenticated,
    /// A bound of this server.
    ResourceExhausted,
    /// The server is not configured to do this.
    FailedPrecondition,
    /// The server does not do this yet.
    Unimplemented,
    /// The server failed.
    Internal,
    /// Somebody who is needed is gone.
    Unavailable,
}

impl Code {
    /// The HTTP status that goes with it.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Canceled | Self::DeadlineExceeded => StatusCode::REQUEST_TIMEOUT,
            Self::InvalidArgument | Self::Malformed => StatusCode::BAD_REQUEST,
            Self::NotFound | Self::BadRoute => StatusCode::NOT_FOUND,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
            Self::FailedPrecondition => StatusCode::PRECONDITION_FAILED,
            Self::Unimplemented => StatusCode::NOT_IMPLEMENTED,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// An error as Twirp's clients read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{msg}")]
pub struct Error {
    /// What kind of error.
    pub code: Code,
    /// What a person reads.
    pub msg: String,
    /// What a program reads.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub meta: BTreeMap<&'static str, String>,
}

impl Error {
    /// An error of that code.
    pub fn new(code: Code, msg: impl Into<String>) -> Self {
        Self {
            code,
            msg: msg.into(),
            meta: BTreeMap::new(),
        }
    }

    /// A field is not what it may be.
    pub fn invalid(field: &'static str, problem: impl std::fmt::Display) -> Self {
        let mut error = Self::new(Code::InvalidArgument, format!("{field} {problem}"));
        error.meta.insert("argument", field.into());
        error
    }
}

impl From<Trouble> for Error {
    fn from(trouble: Trouble) -> Self {
        let code = match &trouble {
            Trouble::NoRoom | Trouble::NoParticipant | Trouble::NoTrack => Code::NotFound,
            Trouble::Profile(ProfileError::NotAllowed(_)) => Code::Unauthenticated,
            Trouble::Profile(_) => Code::InvalidArgument,
            Trouble::TooMany(_) => Code::ResourceExhausted,
            Trouble::Closing => Code::Unavailable,
            Trouble::Call(error) => match error.code {
                CallError::NOT_CONFIRMED | CallError::NO_ANSWER => Code::Canceled,
                CallError::GONE => Code::Unavailable,
                CallError::UNKNOWN_METHOD => Code::InvalidArgument,
                CallError::TOO_LONG => Code::Malformed,
                _ => Code::Internal,
            },
        };
        Self::new(code, trouble.to_string())
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let json = [(header::CONTENT_TYPE, "application/json")];
        // Codes and texts can always be written as JSON.
        let body = serde_json::to_vec(&self).unwrap_or_default();
        (self.code.status(), json, body).into_response()
    }
}
