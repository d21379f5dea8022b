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

#[cfg(test)]
mod tests {
    use livekit_protocol as proto;

    use super::*;

    fn asked() -> proto::UpdateParticipantRequest {
        proto::UpdateParticipantRequest {
            room: "room".into(),
            identity: "anna".into(),
            permission: Some(proto::ParticipantPermission {
                can_publish: true,
                can_publish_sources: vec![proto::TrackSource::Camera as i32],
                ..Default::default()
            }),
            attributes: [("aKey".to_owned(), "v".to_owned())].into(),
            ..Default::default()
        }
    }

    #[test]
    fn a_request_says_the_same_in_every_way_it_may_be_written() {
        for json in [
            r#"{"room":"room","identity":"anna","permission":{"canPublish":true,"canPublishSources":["CAMERA"]},"attributes":{"aKey":"v"}}"#,
            r#"{"room":"room","identity":"anna","metadata":null,"permission":{"can_publish":true,"can_publish_sources":[1],"newer":{}},"attributes":{"aKey":"v"}}"#,
        ] {
            assert_eq!(Encoding::Json.read(json.as_bytes()), Ok(asked()));
        }
        assert_eq!(Encoding::Protobuf.read(&asked().encode_to_vec()), Ok(asked()));
    }

    #[test]
    fn every_truncation_is_read_or_refused() {
        let json = serde_json::to_vec(&asked()).unwrap();
        for (is_json, bytes) in [(true, json), (false, asked().encode_to_vec())] {
            for length in 0..bytes.len() {
                crate::twirp::read_any(is_json, &bytes[..length]);
            }
            assert!(
                !is_json
                    || Encoding::Json
                        .read::<proto::UpdateParticipantRequest>(&bytes[1..])
                        .is_err()
            );
        }
    }
}
