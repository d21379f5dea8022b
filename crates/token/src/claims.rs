//! What a token says. Unknown claims are ignored: SDKs add some every few months.

use std::collections::BTreeMap;

use auralink_types::check_name;
use serde::{Deserialize, Serialize};

use crate::keys::TokenError;

/// The claims of a LiveKit access token that AuraLink acts on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Claims {
    /// `sub`: the participant's identity. Falls back to `jti` when a token has only that.
    #[serde(rename = "sub")]
    pub identity: String,
    /// `jti`: unused but for the fallback above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// Display name.
    pub name: String,
    /// Free text of the application, handed to the other participants.
    pub metadata: String,
    /// Key-value pairs of the application, handed to the other participants.
    pub attributes: BTreeMap<String, String>,
    /// Kind of participant (`standard`, `agent` …), as the SDKs write it.
    pub kind: String,
    /// Further words on the kind (`cloud_agent` …).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kind_details: Vec<String>,
    /// What the holder may do.
    pub video: VideoGrants,
    /// Standard base64 of a body's SHA-256; webhooks only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// What the holder may do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VideoGrants {
    /// May join `room`.
    pub room_join: bool,
    /// The room that `room_join` and `room_admin` are about.
    pub room: String,
    /// May create and delete rooms.
    pub room_create: bool,
    /// May list rooms.
    pub room_list: bool,
    /// May control `room`.
    pub room_admin: bool,
    /// May record.
    pub room_record: bool,
    /// May manage ingress.
    pub ingress_admin: bool,
    /// May publish tracks; absent means yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub can_publish: Option<bool>,
    /// May subscribe; absent means yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub can_subscribe: Option<bool>,
    /// May send data; absent means the same as `can_publish`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub can_publish_data: Option<bool>,
    /// Sources that may be published, in lower case (`camera`, `microphone` …); empty means all.
    pub can_publish_sources: Vec<String>,
    /// May change their own metadata and attributes; absent means no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub can_update_own_metadata: Option<bool>,
    /// Not shown to others.
    pub hidden: bool,
    /// A recorder.
    pub recorder: bool,
    /// An agent.
    pub agent: bool,
    /// May receive other participants' metrics.
    pub can_subscribe_metrics: bool,
    /// Where `room_admin` may move participants to.
    pub destination_room: String,
}

impl Claims {
    /// The claims of an ordinary participant of a room.
    pub fn join(room: impl Into<String>, identity: impl Into<String>) -> Self {
        Self {
            identity: identity.into(),
            video: VideoGrants {
                room_join: true,
                room: room.into(),
                ..VideoGrants::default()
            },
            ..Self::default()
        }
    }

    /// The claims as they may be used: names obey the one rule, and `jti` stands in for `sub`. A token of a server names
    /// nobody, one for the whole tenant no room.
    pub(crate) fn checked(mut self) -> Result<Self, TokenError> {
        let mut identity = "sub";
        if self.identity.is_empty() {
            self.identity = self.jti.clone().unwrap_or_default();
            identity = "jti";
        }
        for (claim, name) in [
            (identity, &self.identity),
            ("name", &self.name),
            ("video.room", &self.video.room),
            ("video.destinationRoom", &self.video.destination_room),
        ] {
            if !name.is_empty() {
                check_name(claim, name).map_err(|error| TokenError::Claim {
                    claim: error.field,
                    problem: error.problem,
                })?;
            }
        }
        Ok(self)
    }
}

impl VideoGrants {
    /// Whether tracks may be published.
    pub fn can_publish(&self) -> bool {
        self.can_publish.unwrap_or(true)
    }

    /// Whether a track of this source (lower-case name) may be published.
    pub fn can_publish_source(&self, source: &str) -> bool {
        self.can_publish()
            && (self.can_publish_sources.is_empty() || self.can_publish_sources.iter().any(|s| s == source))
    }

    /// Whether tracks may be received.
    pub fn can_subscribe(&self) -> bool {
        self.can_subscribe.unwrap_or(true)
    }

    /// Whether data may be sent.
    pub fn can_publish_data(&self) -> bool {
        self.can_publish_data.unwrap_or(self.can_publish())
    }

    /// Whether own metadata may be changed.
    pub fn can_update_own_metadata(&self) -> bool {
        self.can_update_own_metadata.unwrap_or(false)
    }

    /// Whether the holder acts for the tenant: a server's own token, as LiveKit's SDKs mint it to list, create and control
    /// rooms. One that is bound to a room, or joins one, rules no more than that room.
    pub fn is_operator(&self) -> bool {
        let rules = self.room_list || self.room_create || self.room_admin;
        rules && self.room.is_empty() && !self.room_join
    }

    /// The room that the holder controls, where it is one room and not the tenant.
    pub fn controlled_room(&self) -> Option<&str> {
        (self.room_admin && !self.room.is_empty()).then_some(self.room.as_str())
    }
}
