//! Who may join: the access token, checked before the WebSocket opens.

use std::time::SystemTime;

use auralink_token::{Claims, KeyRing, TokenError, Verified, VideoGrants};
use auralink_types::UserKey;
use axum::http::{HeaderMap, StatusCode, header};
use livekit_protocol::{JoinRequest, ParticipantInfo, TrackSource, participant_info as info};

use crate::command::Admission;
use crate::participant::{Grants, Kind};
use crate::profile::{Profile, ProfileChange};

/// Why a client was turned away, with the status it gets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    /// HTTP status.
    pub status: StatusCode,
    /// What the client shows.
    pub text: String,
}

impl Refusal {
    /// A refusal with that status and text.
    pub fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
        }
    }
}

/// What is said of a request without a token.
pub const NO_TOKEN: &str = "no access token was given";

/// An admitted client with the token it came with.
#[derive(Debug)]
pub struct Admitted {
    /// Who it is and what it may do.
    pub admission: Admission,
    /// For fresh tokens.
    pub verified: Verified,
}

impl Admission {
    /// Takes what a join request says of its sender, as far as the token lets them say it.
    pub fn take_profile(&mut self, request: &mut JoinRequest) -> Result<(), Refusal> {
        let mut change = ProfileChange {
            name: String::new(),
            metadata: std::mem::take(&mut request.metadata),
            attributes: std::mem::take(&mut request.participant_attributes),
        };
        if !self.grants.update_metadata
            && let Err(error) = change.restrict()
        {
            tracing::debug!(user = %self.user.user, %error, "join request was not followed in full");
        }
        self.profile
            .apply(change)
            .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, format!("join_request: {error}")))
    }
}

/// Checks the token of a request.
pub fn admit(keys: &KeyRing, query: &str, headers: &HeaderMap, now: SystemTime) -> Result<Admitted, Refusal> {
    let unauthorized = |text: String| Refusal::new(StatusCode::UNAUTHORIZED, text);
    let token = token(query, headers).ok_or_else(|| unauthorized(NO_TOKEN.into()))?;
    let verified = keys.verify(&token, now).map_err(|error| match error {
        // Signed by one of ours: another token of the same kind would fare no better.
        TokenError::Claim { .. } => Refusal::new(StatusCode::BAD_REQUEST, error.to_string()),
        error => unauthorized(error.to_string()),
    })?;
    let claims = &verified.claims;
    if !claims.video.room_join {
        return Err(unauthorized("the token lacks the roomJoin grant".into()));
    }
    for (claim, name) in [("sub", &claims.identity), ("video.room", &claims.video.room)] {
        if name.is_empty() {
            let text = format!("invalid token: {claim} is needed to join a room");
            return Err(Refusal::new(StatusCode::BAD_REQUEST, text));
        }
    }
    let admission = Admission {
        user: UserKey::new(verified.api_key.as_str(), claims.identity.as_str()),
        room: claims.video.room.as_str().into(),
        profile: Profile {
            name: claims.name.clone(),
            metadata: claims.metadata.clone(),
            attributes: claims.attributes.clone(),
        },
        grants: grants(claims),
        kind: kind(claims),
    };
    Ok(Admitted { admission, verified })
}

/// The token of a request: a bearer in its head, or a parameter.
pub fn token(query: &str, headers: &HeaderMap) -> Option<String> {
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    match bearer {
        Some((_, token)) => Some(token.trim().to_owned()),
        None => parameter(query, "access_token"),
    }
}

/// What a token would say that lets somebody join a room as what they are now.
pub fn claims(room: &str, info: ParticipantInfo) -> Claims {
    let permission = info.permission.clone().unwrap_or_default();
    let sources = permission.can_publish_sources();
    let kind = info.kind().as_str_name().to_lowercase();
    let details = info
        .kind_details()
        .map(|detail| detail.as_str_name().to_lowercase());
    #[allow(deprecated)]
    let video = VideoGrants {
        room_join: true,
        room: room.into(),
        can_publish: Some(permission.can_publish),
        can_subscribe: Some(permission.can_subscribe),
        can_publish_data: Some(permission.can_publish_data),
        can_publish_sources: sources
            .map(|source| source.as_str_name().to_lowercase())
            .collect(),
        can_update_own_metadata: Some(permission.can_update_metadata),
        hidden: permission.hidden,
        recorder: permission.recorder,
        agent: permission.agent,
        can_subscribe_metrics: permission.can_subscribe_metrics,
        ..VideoGrants::default()
    };
    Claims {
        kind,
        kind_details: details.collect(),
        identity: info.identity,
        name: info.name,
        metadata: info.metadata,
        attributes: info.attributes.into_iter().collect(),
        video,
        ..Claims::default()
    }
}

fn grants(claims: &Claims) -> Grants {
    let source = |name: &String| match name.as_str() {
        "camera" => TrackSource::Camera,
        "microphone" => TrackSource::Microphone,
        "screen_share" => TrackSource::ScreenShare,
        "screen_share_audio" => TrackSource::ScreenShareAudio,
        _ => TrackSource::Unknown,
    } as i32;
    Grants {
        publish: claims.video.can_publish(),
        subscribe: claims.video.can_subscribe(),
        publish_data: claims.video.can_publish_data(),
        sources: claims.video.can_publish_sources.iter().map(source).collect(),
        update_metadata: claims.video.can_update_own_metadata(),
        hidden: claims.video.hidden,
        recorder: claims.video.recorder,
        agent: claims.video.agent,
        subscribe_metrics: claims.video.can_subscribe_metrics,
    }
}

/// SDKs write kinds in lower case, the protocol names them in upper case; unknown ones count as standard.
fn kind(claims: &Claims) -> Kind {
    let details = claims.kind_details.iter();
    Kind {
        kind: info::Kind::from_str_name(&claims.kind.to_uppercase()).unwrap_or_default() as i32,
        details: details
            .filter_map(|name| info::KindDetail::from_str_name(&name.to_uppercase()))
            .map(|detail| detail as i32)
            .collect(),
    }
}

/// A query parameter, percent-decoded.
pub fn parameter(query: &str, name: &str) -> Option<String> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (key == name).then(|| decode(value))
    })
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%')
            .then(|| bytes.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match hex {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_percent_decoded_and_broken_escapes_stay() {
        assert_eq!(
            parameter("a=1&join_request=ab%3D%3D", "join_request").as_deref(),
            Some("ab==")
        );
        assert_eq!(parameter("a=%2&b=%zz", "b").as_deref(), Some("%zz"));
        assert_eq!(parameter("a=%2", "a").as_deref(), Some("%2"));
        assert_eq!(parameter("a", "a"), None);
    }
}
