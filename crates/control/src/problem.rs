//! Refusals, as RFC 9457 has them.

use auralink_store::StoreError;
use auralink_types::FieldError;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// Longest text of a refusal, in characters: part of it may be the caller's own.
const DETAIL_MAX: usize = 300;

/// Seconds after which a caller may come back to a database that was busy.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// Why a request was refused.
#[derive(Debug, Serialize)]
pub(crate) struct Problem {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    #[serde(serialize_with = "code")]
    status: StatusCode,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
}

fn code<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let detail: String = detail.into();
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Refused"),
            status,
            detail: match detail.char_indices().nth(DETAIL_MAX) {
                Some((end, _)) => format!("{}…", &detail[..end]),
                None => detail,
            },
            field: None,
        }
    }

    /// 400 that names the field.
    pub(crate) fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Self {
        let field: String = field.into();
        let short = field.chars().take(DETAIL_MAX).collect();
        Self {
            field: Some(short),
            ..Self::new(StatusCode::BAD_REQUEST, problem)
        }
    }
}

impl From<FieldError> for Problem {
    fn from(error: FieldError) -> Self {
        Self::invalid(error.field, error.problem)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Invalid(field) => field.into(),
            StoreError::Forbidden { .. } => Self {
                field: Some("user_id".into()),
                ..Self::new(StatusCode::FORBIDDEN, "only an operator may name another user")
            },
            StoreError::Veto => Self {
                field: Some("opt_out".into()),
                ..Self::new(StatusCode::FORBIDDEN, "only the user can take back an opt-out")
            },
            error if error.is_transient() => {
                tracing::warn!(%error, "request met an absent database");
                let detail = "the database is busy; nothing was changed";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            }
            error => {
                tracing::error!(%error, "request failed in the store");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the server made a mistake")
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status;
        // Texts of token errors are our own constants; a header could not hold the quotes of anything else.
        let challenge = (status == StatusCode::UNAUTHORIZED).then(|| {
            let text = format!(
                "Bearer realm=\"auralink\", error=\"invalid_token\", error_description=\"{}\"",
                self.detail.replace(['"', '\\'], "'")
            );
            HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("Bearer realm=\"auralink\""))
        });
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(challenge) = challenge {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        response
    }
}
