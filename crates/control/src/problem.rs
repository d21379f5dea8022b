//! Refusals, as RFC 9457 has them.

use std::time::Duration;

use auralink_store::StoreError;
use auralink_types::FieldError;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// Longest text of a refusal, in characters: part of it may be the caller's own.
const DETAIL_MAX: usize = 300;

/// Time after which a caller may come back to a database that was busy.
const BUSY: Duration = Duration::from_secs(1);

/// Where the kinds are explained; a kind's address is its name appended.
pub(crate) const PROBLEMS: &str = "/api/problems";

/// Why a request was refused.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Problem {
    /// What kind of refusal, as an address that explains it.
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "/api/problems/invalid-field")]
    kind: String,
    /// The kind in a few words.
    title: &'static str,
    /// The HTTP status again.
    #[serde(serialize_with = "code")]
    #[schema(value_type = u16)]
    status: StatusCode,
    /// What is wrong with this request.
    detail: String,
    /// The offending field or parameter, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    field: Option<String>,
    #[serde(skip)]
    retry_after: Option<Duration>,
}

fn code<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

/// Every kind: status, name in its address, title, and what a caller can do about it.
pub(crate) const KINDS: [(u16, &str, &str, &str); 15] = [
    (
        400,
        "invalid-field",
        "Invalid field",
        "Correct the field or parameter that `field` names and send the request again.",
    ),
    (
        400,
        "bad-request",
        "Bad request",
        "The request could not be read as JSON or as parameters; `detail` says where it broke.",
    ),
    (
        401,
        "unauthorized",
        "Unauthorized",
        "Send `Authorization: Bearer` with an access token that has not expired.",
    ),
    (
        403,
        "forbidden",
        "Forbidden",
        "The token does not allow this; ask with an operator's token, or about yourself.",
    ),
    (
        404,
        "not-found",
        "Not found",
        "There is nothing here that this token may see.",
    ),
    (
        405,
        "method-not-allowed",
        "Method not allowed",
        "The `Allow` header lists the methods of this path.",
    ),
    (
        408,
        "timeout",
        "Request timeout",
        "The body took too long to arrive; send it again.",
    ),
    (
        409,
        "conflict",
        "Conflict",
        "Something by that name exists, or there is no room for more; `detail` says which.",
    ),
    (
        412,
        "stale",
        "Precondition failed",
        "The configuration changed since it was read; read it again and repeat the change.",
    ),
    (
        413,
        "too-large",
        "Payload too large",
        "The body is longer than 65536 bytes.",
    ),
    (
        415,
        "unsupported-media-type",
        "Unsupported media type",
        "Send `Content-Type: application/json`, not compressed.",
    ),
    (
        428,
        "precondition-required",
        "Precondition required",
        "Send `If-Match` with the ETag of the configuration that you read.",
    ),
    (
        429,
        "rate-limited",
        "Too many requests",
        "Wait as long as `Retry-After` says.",
    ),
    (
        500,
        "internal",
        "Internal server error",
        "The server made a mistake; nothing was changed.",
    ),
    (
        503,
        "unavailable",
        "Service unavailable",
        "The database is busy or away; nothing was changed. Come back after `Retry-After`.",
    ),
];

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let detail: String = detail.into();
        let known = KINDS.iter().rev().find(|(code, ..)| *code == status.as_u16());
        let (kind, title) = match known {
            Some((_, name, title, _)) => (format!("{PROBLEMS}/{name}"), *title),
            None => (
                "about:blank".into(),
                status.canonical_reason().unwrap_or("Refused"),
            ),
        };
        Self {
            kind,
            title,
            status,
            detail: match detail.char_indices().nth(DETAIL_MAX) {
                Some((end, _)) => format!("{}…", &detail[..end]),
                None => detail,
            },
            field: None,
            retry_after: None,
        }
    }

    /// 400 that names the field.
    pub(crate) fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Self {
        let (_, name, title, _) = KINDS[0];
        Self {
            kind: format!("{PROBLEMS}/{name}"),
            title,
            ..Self::new(StatusCode::BAD_REQUEST, problem).about(field)
        }
    }

    /// Names the field.
    pub(crate) fn about(self, field: impl Into<String>) -> Self {
        let field: String = field.into();
        Self {
            field: Some(field.chars().take(DETAIL_MAX).collect()),
            ..self
        }
    }

    /// 429.
    pub(crate) fn too_many(wait: Duration) -> Self {
        Self {
            retry_after: Some(wait),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "too many requests")
        }
    }

    /// 503.
    pub(crate) fn busy(detail: impl Into<String>) -> Self {
        Self {
            retry_after: Some(BUSY),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
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
            StoreError::Forbidden { .. } => {
                Self::new(StatusCode::FORBIDDEN, "only an operator may name another user").about("user_id")
            }
            StoreError::Veto => {
                Self::new(StatusCode::FORBIDDEN, "only the user can take back an opt-out").about("opt_out")
            }
            StoreError::OperatorOnly => Self::new(StatusCode::FORBIDDEN, "only an operator may ask this"),
            StoreError::Stale { current } => Self::new(
                StatusCode::PRECONDITION_FAILED,
                format!("the configuration is at version {current}"),
            )
            .about("If-Match"),
            StoreError::Missing { what } => Self::new(StatusCode::NOT_FOUND, format!("no such {what}")),
            StoreError::Taken { what } => {
                Self::new(StatusCode::CONFLICT, format!("{what}: another one has it")).about(what)
            }
            StoreError::Full { what, most } => Self::new(
                StatusCode::CONFLICT,
                format!("there are {most} {what} already, and that is the most"),
            ),
            error if error.is_transient() => {
                tracing::warn!(%error, "request met an absent database");
                Self::busy("the database is busy; nothing was changed")
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
        let (status, wait) = (self.status, self.retry_after);
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
        if let Some(wait) = wait {
            // Whole seconds; rounded down, a caller would come back too soon.
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
        }
        response
    }
}
