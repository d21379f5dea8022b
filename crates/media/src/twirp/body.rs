//! Bodies of Twirp: protobuf, or JSON as protobuf's own mapping has it.

use axum::body::Bytes;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::{Code, Error};
use super::fields::{Told, written_out};

/// How bodies are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As JSON.
    Json,
    /// As protobuf.
    Protobuf,
}

impl Encoding {
    /// What the head of a request says.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let said = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        let kind = said.split_once(';').map_or(said, |(kind, _)| kind).trim();
        [Self::Json, Self::Protobuf]
            .into_iter()
            .find(|encoding| kind.eq_ignore_ascii_case(encoding.name()))
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Protobuf => "application/protobuf",
        }
    }

    /// Reads a request. JSON may name fields in either way (`room_name`, `roomName`), and fields that are newer than
    /// this server are passed over.
    pub fn read<Q: Message + Default + DeserializeOwned>(self, bytes: &[u8]) -> Result<Q, Error> {
        let malformed = |what: &str, problem: String| {
            Error::new(
                Code::Malformed,
                format!("the {what} request could not be decoded: {problem}"),
            )
        };
        match self {
            Self::Protobuf => Q::decode(bytes).map_err(|error| malformed("protobuf", error.to_string())),
            Self::Json => serde_json::from_slice(bytes)
                .map(given)
                .and_then(serde_json::from_value)
                .map_err(|error| malformed("json", error.to_string())),
        }
    }

    /// Writes an answer.
    pub fn write<A: Message + Serialize + Told>(self, answer: &A) -> Result<Response, Error> {
        let bytes: Bytes = match self {
            Self::Protobuf => answer.encode_to_vec().into(),
            Self::Json => written_out(answer)
                .and_then(|json| serde_json::to_vec(&json))
                .map_err(|error| Error::new(Code::Internal, error.to_string()))?
                .into(),
        };
        Ok(([(header::CONTENT_TYPE, self.name())], bytes).into_response())
    }
}

/// The fields that are given: in protobuf's JSON `null` stands for what a field is without being set.
fn given(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let given_ones = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(given_ones.map(|(name, value)| (name, given(value))).collect())
        }
        Value::Array(elements) => Value::Array(elements.into_iter().map(given).collect()),
        value => value,
    }
}
