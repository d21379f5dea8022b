//! Reading a JSON body that may be hostile: bounded in size, time and depth, and refused by field.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::problem::Problem;

/// Longest body read, in bytes.
pub const BODY_MAX: usize = 64 * 1024;

/// Longest time a body may take to arrive.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Fields that hold one name of a closed set.
const NAMES: [&str; 2] = ["mode", "unit"];

/// Reads what a request brings.
pub(crate) async fn json<T: DeserializeOwned>(request: Request) -> Result<T, Problem> {
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

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
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
    let read: T = match serde_path_to_error::deserialize(&mut json) {
        Ok(read) => read,
        Err(error) => match whole(text) {
            Some(read) => return Ok(read),
            None => return Err(refused(error)),
        },
    };
    json.end()
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "something follows the JSON object"))?;
    // A derived reader takes `{"adaptive": null}` for a name, and arrays for structs within structs.
    let value: Value = serde_json::from_str(text)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    check_shapes("", &value)?;
    Ok(read)
}

/// What went wrong, by field.
fn refused(error: serde_path_to_error::Error<serde_json::Error>) -> Problem {
    let path = error.path().to_string();
    let text = error.into_inner().to_string();
    let named = text.split('`').nth(1);
    match named {
        Some(name)
            if ["unknown field", "duplicate field", "missing field"]
                .iter()
                .any(|start| text.starts_with(start)) =>
        {
            Problem::invalid(name, text.clone())
        }
        _ if path == "." => Problem::new(StatusCode::BAD_REQUEST, text),
        _ => Problem::invalid(path, text),
    }
}

/// The body with `35.0` written as `35`: to JSON Schema, and so to the API's description, that is a whole number.
fn whole<T: DeserializeOwned>(text: &str) -> Option<T> {
    let mut value: Value = serde_json::from_str(text).ok()?;
    check_shapes("", &value).ok()?;
    round(&mut value).then(|| serde_json::from_value(value).ok())?
}

/// Writes whole numbers as such; whether there were any to write.
fn round(value: &mut Value) -> bool {
    match value {
        // From 2^53 on not every whole number has a float.
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 9.0e15 => {
                *value = Value::from(float as i64);
                true
            }
            _ => false,
        },
        Value::Array(elements) => elements
            .iter_mut()
            .fold(false, |any, element| round(element) | any),
        Value::Object(fields) => fields.values_mut().fold(false, |any, field| round(field) | any),
        _ => false,
    }
}

fn check_shapes(path: &str, value: &Value) -> Result<(), Problem> {
    let within = |name: &str| {
        if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}.{name}")
        }
    };
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if NAMES.contains(&name.as_str()) && value.is_object() {
                    return Err(Problem::invalid(
                        within(name),
                        "invalid type: map, expected a string",
                    ));
                }
                if name == "change" && value.is_array() {
                    return Err(Problem::invalid(
                        within(name),
                        "invalid type: sequence, expected an object",
                    ));
                }
                check_shapes(&within(name), value)?;
            }
            Ok(())
        }
        Value::Array(elements) => elements.iter().enumerate().try_for_each(|(at, element)| {
            if element.is_array() {
                let problem = "invalid type: sequence, expected an object";
                return Err(Problem::invalid(format!("{path}[{at}]"), problem));
            }
            check_shapes(&format!("{path}[{at}]"), element)
        }),
        _ => Ok(()),
    }
}
