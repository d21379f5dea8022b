//! What a client says about itself when it joins: in signalling v1 the `join_request` parameter, base64 of a protobuf
//! that wraps another, perhaps compressed; in v0 single parameters.

use std::io::Read as _;

use axum::http::StatusCode;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use livekit_protocol as proto;
use prost::Message as _;
use proto::wrapped_join_request::Compression;

use super::admit::{Refusal, parameter};

/// Largest join request after inflation, as the Go server has it: a small query must not become a big buffer.
const MAX_INFLATED: u64 = 1 << 20;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);

/// Reads the join request of a query; a query without any is a client that says nothing about itself.
pub fn read(query: &str) -> Result<proto::JoinRequest, Refusal> {
    let bad = |text: String| Refusal::new(StatusCode::BAD_REQUEST, format!("join_request: {text}"));
    let Some(text) = parameter(query, "join_request") else {
        return Ok(of_parameters(query));
    };
    let bytes = URL_SAFE
        .decode(&text)
        .or_else(|_| STANDARD.decode(&text))
        .map_err(|error| bad(error.to_string()))?;
    let wrapped =
        proto::WrappedJoinRequest::decode(bytes.as_slice()).map_err(|error| bad(error.to_string()))?;
    let bytes = match Compression::try_from(wrapped.compression) {
        Ok(Compression::None) => wrapped.join_request,
        Ok(Compression::Gzip) => inflate(&wrapped.join_request).map_err(bad)?,
        Err(_) => return Err(bad(format!("unknown compression {}", wrapped.compression))),
    };
    proto::JoinRequest::decode(bytes.as_slice()).map_err(|error| bad(error.to_string()))
}

/// Signalling v0: one parameter each. Flags are `1` or `0`, in Swift and older SDKs `true` or `false`.
fn of_parameters(query: &str) -> proto::JoinRequest {
    let flag = |name: &str| parameter(query, name).map(|text| matches!(text.as_str(), "1" | "true"));
    let number = |name: &str| parameter(query, name).and_then(|text| text.parse().ok());
    proto::JoinRequest {
        client_info: Some(proto::ClientInfo {
            protocol: number("protocol").unwrap_or_default(),
            client_protocol: number("client_protocol").unwrap_or_default(),
            version: parameter(query, "version").unwrap_or_default(),
            sdk: parameter(query, "sdk").map_or(0, |name| sdk(&name)),
            ..Default::default()
        }),
        connection_settings: Some(proto::ConnectionSettings {
            auto_subscribe: flag("auto_subscribe").unwrap_or(true),
            adaptive_stream: flag("adaptive_stream").unwrap_or(false),
            ..Default::default()
        }),
        reconnect: flag("reconnect").unwrap_or(false),
        participant_sid: parameter(query, "sid").unwrap_or_default(),
        ..Default::default()
    }
}

/// What signalling v1 calls an SDK that names itself so.
fn sdk(name: &str) -> i32 {
    let name = name.to_uppercase();
    proto::client_info::Sdk::from_str_name(&name).map_or(0, |sdk| sdk as i32)
}

fn inflate(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut inflated = Vec::new();
    flate2::read::GzDecoder::new(bytes)
        .take(MAX_INFLATED + 1)
        .read_to_end(&mut inflated)
        .map_err(|error| error.to_string())?;
    if inflated.len() as u64 > MAX_INFLATED {
        return Err(format!("more than {MAX_INFLATED} bytes after inflation"));
    }
    Ok(inflated)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use base64::engine::general_purpose;

    use super::*;

    fn wrap(compression: Compression, join_request: Vec<u8>) -> Vec<u8> {
        proto::WrappedJoinRequest {
            compression: compression as i32,
            join_request,
        }
        .encode_to_vec()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn padded_unpadded_plain_and_compressed_requests_are_the_same() {
        let request = proto::JoinRequest {
            metadata: "m".into(),
            reconnect: true,
            ..Default::default()
        };
        let bytes = request.encode_to_vec();
        for wrapped in [
            wrap(Compression::None, bytes.clone()),
            wrap(Compression::Gzip, gzip(&bytes)),
        ] {
            for engine in [&general_purpose::URL_SAFE, &general_purpose::URL_SAFE_NO_PAD] {
                let query = format!("x=1&join_request={}", engine.encode(&wrapped).replace('=', "%3D"));
                assert_eq!(read(&query).unwrap(), request);
            }
        }
    }

    #[test]
    fn parameters_of_signalling_v0_say_the_same_as_a_join_request() {
        let request =
            read("access_token=x&auto_subscribe=0&protocol=16&client_protocol=2&sdk=python").unwrap();
        assert!(!request.connection_settings.unwrap().auto_subscribe);
        let client = request.client_info.unwrap();
        assert_eq!(client.client_protocol, 2);
        assert_eq!(client.sdk(), proto::client_info::Sdk::Python);
        assert!(!request.reconnect);
        let request = read("auto_subscribe=true&reconnect=1&sid=PA_x&protocol=many").unwrap();
        assert!(request.connection_settings.unwrap().auto_subscribe);
        assert!(request.reconnect);
        assert_eq!(request.participant_sid, "PA_x");
        assert!(read("").unwrap().connection_settings.unwrap().auto_subscribe);
    }

    #[test]
    fn a_gzip_bomb_is_refused() {
        let bomb = gzip(&vec![0; 64 << 20]);
        let query = format!(
            "join_request={}",
            general_purpose::URL_SAFE.encode(wrap(Compression::Gzip, bomb))
        );
        let refusal = read(&query).unwrap_err();
        assert_eq!(refusal.status, StatusCode::BAD_REQUEST);
        assert!(refusal.text.contains("after inflation"), "{refusal}");
    }

    #[test]
    fn garbage_is_refused_at_every_layer() {
        let garbage = general_purpose::URL_SAFE.encode(wrap(Compression::Gzip, vec![1, 2, 3]));
        for text in ["***", "_____w", &garbage] {
            assert_eq!(
                read(&format!("join_request={text}")).unwrap_err().status,
                StatusCode::BAD_REQUEST
            );
        }
    }
}
