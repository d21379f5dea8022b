//! Who asks: the Bearer token, the rate they may ask at, and the store as they see it.

use std::time::SystemTime;

use auralink_store::{Actor, Scoped, Timestamp};
use auralink_token::{KeyRing, TokenError};
use auralink_types::{RoomName, TenantId, UserId, UserKey, check_name};
use axum::http::{HeaderMap, StatusCode, Uri, header};

use crate::Shared;
use crate::params::Params;
use crate::problem::Problem;

/// A request whose token and parameters are good.
pub(crate) struct Ask {
    pub(crate) actor: Actor,
    pub(crate) scope: Scoped,
    pub(crate) params: Params,
    pub(crate) now: Timestamp,
}

impl Ask {
    pub(crate) fn tenant(&self) -> &TenantId {
        &self.actor.key.tenant
    }

    /// 403 for everybody but operators.
    pub(crate) fn operator(&self) -> Result<(), Problem> {
        if self.actor.operator {
            Ok(())
        } else {
            Err(Problem::new(
                StatusCode::FORBIDDEN,
                "only an operator may ask this",
            ))
        }
    }

    /// Narrows the scope to the user that a path names.
    pub(crate) fn about(&mut self, user: &str) -> Result<UserKey, Problem> {
        let user = user_id(user)?;
        self.scope = self.scope.clone().about(user)?;
        Ok(self.scope.owner()?)
    }
}

impl Shared {
    /// Checks the token before anything else is looked at, then the rate, then the parameters: each one of `known`,
    /// or `user_id`.
    pub(crate) fn enter(&self, headers: &HeaderMap, uri: &Uri, known: &[&str]) -> Result<Ask, Problem> {
        let now = self.state.clock.now();
        let (actor, room) = bearer(&self.state.keys, headers, now.wall)?;
        self.limiter
            .lock()
            // A panic between two counts leaves counts.
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .admit(now.steady, &actor)
            .map_err(|wait| {
                metrics::counter!(crate::metrics::RATE_LIMITED).increment(1);
                Problem::too_many(wait)
            })?;
        let params = Params::read(uri, known)?;
        let mut scope = self.state.store.as_user(actor.clone());
        if let Some(room) = room {
            scope = scope.in_room(room);
        }
        if let Some(user) = params.get("user_id") {
            scope = scope.about(user_id(user)?)?;
        }
        Ok(Ask {
            actor,
            scope,
            params,
            now: now.wall.into(),
        })
    }
}

/// The holder of a valid token, and the room that a room's own admin is bound to.
fn bearer(
    keys: &KeyRing,
    headers: &HeaderMap,
    now: SystemTime,
) -> Result<(Actor, Option<RoomName>), Problem> {
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
    let verified = keys.verify(token, now).map_err(|error| match error {
        // Signed by one of ours: another token of the same kind would fare no better.
        TokenError::Claim { ref claim, .. } => Problem::invalid(claim, error.to_string()),
        error => refused(error.to_string()),
    })?;
    let claims = verified.claims;
    let operator = claims.video.is_operator();
    let room = claims.video.controlled_room().map(RoomName::from);
    if claims.identity.is_empty() && !operator && room.is_none() {
        return Err(Problem::new(StatusCode::FORBIDDEN, "the token names no user"));
    }
    let actor = Actor {
        key: UserKey::new(verified.api_key, claims.identity),
        operator,
    };
    Ok((actor, room))
}

fn user_id(user: &str) -> Result<UserId, Problem> {
    check_name("user_id", user)?;
    Ok(UserId::from(user))
}
