//! Reading a JSON body that may be hostile: bounded in size, time and depth, and refused by field.

use std::time::Duration;

use auralink_types::ConfigChange;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value};

use crate::problem::Problem;

/// Longest body read, in bytes.
pub const BODY_MAX: usize = 64 * 1024;

/// Longest time a body may take to arrive.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads the change that a request asks for.
pub(crate) async fn config_change(request: Request) -> Result<ConfigChange, Problem> {
    let (parts, body) = request.into_parts();
    check_headers(&parts.headers)?;
    let bytes = tokio::time::timeout(BODY_TIMEOUT, collect(body))
        .await
        .map_err(|_| Problem::new(StatusCode::REQUEST_TIMEOUT, "the body took too long"))??;
    parse(&bytes)
}

fn check_headers(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let media = text(header::CONTENT_TYPE).unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim();
    if !media.eq_ignore_ascii_case("application/json") {
        let detail = "content-type must be application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    // Nothing here is worth compressing, and what inflates can explode.
    if text(header::CONTENT_ENCODING).is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")) {
        let detail = "content-encoding is not supported";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let announced = text(header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    if announced.is_some_and(|length| length > BODY_MAX as u64) {
        return Err(too_large());
    }
    Ok(())
}

async fn collect(body: Body) -> Result<Bytes, Problem> {
    axum::body::to_bytes(body, BODY_MAX).await.map_err(|error| {
        let mut source = std::error::Error::source(&error);
        let mut text = error.to_string();
        while let Some(inner) = source {
            text = inner.to_string();
            source = inner.source();
        }
        if text.contains("length limit") {
            too_large()
        } else {
            Problem::new(StatusCode::BAD_REQUEST, "the body broke off")
        }
    })
}

fn too_large() -> Problem {
    let detail = format!("the body is longer than {BODY_MAX} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

fn parse(bytes: &[u8]) -> Result<ConfigChange, Problem> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "the body is not UTF-8"))?;
    // Without this an array would do as well, its elements taken for the fields in order.
    if !text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{') {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "the body must be a JSON object",
        ));
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let change: ConfigChange = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let text = error.into_inner().to_string();
        let named = text.split('`').nth(1);
        match named {
            Some(name) if text.starts_with("unknown field") || text.starts_with("duplicate field") => {
                Problem::invalid(name, text.clone())
            }
            _ if path == "." => Problem::new(StatusCode::BAD_REQUEST, text),
            _ => Problem::invalid(path, text),
        }
    })?;
    json.end()
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "something follows the JSON object"))?;
    // A derived reader takes `{"adaptive": null}` for the name of a mode.
    let object: Map<String, Value> = serde_json::from_str(text)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    if object.get("mode").is_some_and(Value::is_object) {
        return Err(Problem::invalid("mode", "invalid type: map, expected a string"));
    }
    Ok(change)
}
