//! Who asks: the Bearer token, and the store as its holder sees it.

use std::time::SystemTime;

use auralink_store::{Actor, Scoped};
use auralink_token::KeyRing;
use auralink_types::{UserId, UserKey};
use axum::http::{HeaderMap, StatusCode, header};

use crate::ControlState;
use crate::params::Params;
use crate::problem::Problem;

/// Longest user id that may be named, in bytes.
const USER_ID_MAX: usize = 256;

/// The holder of a valid token.
pub(crate) fn actor(keys: &KeyRing, headers: &HeaderMap, now: SystemTime) -> Result<Actor, Problem> {
    let refused = |detail: String| Problem::new(StatusCode::UNAUTHORIZED, detail);
    let value = headers
        .get(header::AUTHORIZATION)
        .ok_or_else(|| refused("a Bearer access token is needed".into()))?;
    let token = value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .ok_or_else(|| refused("the Authorization header is not a Bearer token".into()))?;
    let verified = keys
        .verify(token, now)
        .map_err(|error| refused(error.to_string()))?;
    let operator = verified.claims.video.is_operator();
    if verified.claims.identity.is_empty() && !operator {
        return Err(Problem::new(StatusCode::FORBIDDEN, "the token names no user"));
    }
    Ok(Actor {
        key: UserKey::new(verified.api_key, verified.claims.identity),
        operator,
    })
}

/// The store as the holder sees it, narrowed to `?user_id=` when that is given.
pub(crate) fn scope(state: &ControlState, actor: Actor, params: &Params) -> Result<Scoped, Problem> {
    let scoped = state.store.as_user(actor);
    let Some(user) = params.get("user_id") else {
        return Ok(scoped);
    };
    if user.is_empty() || user.len() > USER_ID_MAX || user.chars().any(char::is_control) {
        let detail = format!("must be 1 to {USER_ID_MAX} bytes without control characters");
        return Err(Problem::invalid("user_id", detail));
    }
    Ok(scoped.about(UserId::from(user))?)
}
