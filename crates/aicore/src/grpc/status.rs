//! Refusals as gRPC statuses with details that programs can read.

use std::time::Duration;

use auralink_engine::Refused;
use auralink_types::FieldError;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::admission::Denied;

/// When it is worth asking again.
const RETRY: Duration = Duration::from_secs(1);
/// Subject of quota violations.
const QUOTA: &str = "sessions";

/// A field that cannot be.
pub(super) fn invalid(error: &FieldError) -> Status {
    let details = ErrorDetails::with_bad_request_violation(&error.field, &error.problem);
    Status::with_error_details(Code::InvalidArgument, error.to_string(), details)
}

/// A field that cannot be, inside another.
pub(super) fn invalid_within(parent: &str, error: FieldError) -> Status {
    invalid(&auralink_wire::proto::within(parent, error))
}

/// A session that was not admitted.
pub(super) fn denied(denied: Denied) -> Status {
    match denied {
        Denied::Duplicate => Status::already_exists(denied.to_string()),
        Denied::Draining => Status::unavailable(denied.to_string()),
        Denied::CallFull(_) | Denied::TenantFull(_) | Denied::Full(_) | Denied::Overloaded(_) => {
            full(denied.to_string())
        }
    }
}

/// A stream that no worker took.
pub(super) fn refused(refused: Refused) -> Status {
    match refused {
        Refused::Full => full(refused.to_string()),
        Refused::Unreachable | Refused::UnknownStream => Status::unavailable(refused.to_string()),
    }
}

/// What the transport could not read is the caller's mistake, and there is only one large field.
pub(super) fn unreadable(status: Status) -> Status {
    match status.code() {
        Code::OutOfRange | Code::ResourceExhausted => {
            invalid(&FieldError::new("frame.payload", status.message()))
        }
        _ => status,
    }
}

fn full(message: String) -> Status {
    let mut details = ErrorDetails::with_quota_failure_violation(QUOTA, &message);
    details.set_retry_info(Some(RETRY));
    Status::with_error_details(Code::ResourceExhausted, message, details)
}
