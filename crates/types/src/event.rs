//! What happens in calls, as values: media tells it once, whoever keeps books or tells others listens.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::{CallId, ParticipantId, RoomName, SessionId, TenantId, TrackId, UserId};
use crate::metric::Media;
use crate::reason::Reason;

/// Something that happened in a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, microseconds since the Unix epoch.
    pub ts_us: i64,
    /// Whose call it is.
    pub tenant: TenantId,
    /// The call.
    pub call_id: CallId,
    /// Its room.
    pub room: RoomName,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
    /// What it happened to, as LiveKit shows it.
    #[serde(default)]
    pub objects: Objects,
}

/// LiveKit's own objects as JSON, as clients saw them when it happened: media fills them in, webhooks pass them on, nobody
/// in between reads them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Objects {
    /// The room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room: Option<Value>,
    /// Whose affair it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub participant: Option<Value>,
    /// The track, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub track: Option<Value>,
}

/// What happened. In one call the order of events is the order in which it happened: a call starts before anybody
/// joins it, a session ends before its track and a track before its publisher leaves, everybody leaves before the call
/// ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event")]
pub enum EventKind {
    /// The first participant came into an empty room.
    #[serde(rename = "call.started")]
    CallStarted,
    /// The room has stayed empty, or the server goes away.
    #[serde(rename = "call.ended")]
    CallEnded,
    /// The server's clock was set: everything told of the call before is dated wrongly by as much. For the books alone;
    /// webhooks don't hear of it.
    #[serde(rename = "call.redated")]
    Redated {
        /// Microseconds to add to the dates of before.
        by_us: i64,
    },
    /// Somebody came in; coming back after a broken connection is not told again.
    #[serde(rename = "participant.joined")]
    ParticipantJoined {
        /// Who.
        user: UserId,
        /// Their stay.
        participant: ParticipantId,
    },
    /// Somebody left for good.
    #[serde(rename = "participant.left")]
    ParticipantLeft {
        /// Who.
        user: UserId,
        /// Their stay.
        participant: ParticipantId,
    },
    /// A track is there for the others in the room.
    #[serde(rename = "track.published")]
    TrackPublished {
        /// Its publisher.
        user: UserId,
        /// Their stay.
        participant: ParticipantId,
        /// The track.
        track: TrackId,
    },
    /// It is gone: taken back, or with its publisher.
    #[serde(rename = "track.unpublished")]
    TrackUnpublished {
        /// Its publisher.
        user: UserId,
        /// Their stay.
        participant: ParticipantId,
        /// The track.
        track: TrackId,
    },
    /// AIC began to work on a track.
    #[serde(rename = "aic.session.started")]
    SessionStarted(SessionRef),
    /// AIC is done with a track: its policy is off, it was taken back, or its publisher left. Every metric row of the
    /// session was sent before.
    #[serde(rename = "aic.session.ended")]
    SessionEnded(SessionRef),
    /// A leg went back to the publisher's own packets.
    #[serde(rename = "aic.fallback.triggered")]
    FallbackTriggered {
        /// The session.
        #[serde(flatten)]
        session: SessionRef,
        /// Who hears the originals now.
        listener: UserId,
        /// Why.
        reason: Reason,
    },
    /// The leg passed probation.
    #[serde(rename = "aic.fallback.recovered")]
    FallbackRecovered {
        /// The session.
        #[serde(flatten)]
        session: SessionRef,
        /// Who has coded packets again.
        listener: UserId,
    },
}

/// One track under AIC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRef {
    /// Its id.
    pub session_id: SessionId,
    /// The track.
    pub track_id: TrackId,
    /// Its publisher, who owns the session.
    pub user: UserId,
    /// Kind of media.
    pub media: Media,
}

impl EventKind {
    /// Name for webhooks, logs and labels; the same that stands in the serialised form.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::CallStarted => "call.started",
            Self::CallEnded => "call.ended",
            Self::Redated { .. } => "call.redated",
            Self::ParticipantJoined { .. } => "participant.joined",
            Self::ParticipantLeft { .. } => "participant.left",
            Self::TrackPublished { .. } => "track.published",
            Self::TrackUnpublished { .. } => "track.unpublished",
            Self::SessionStarted(_) => "aic.session.started",
            Self::SessionEnded(_) => "aic.session.ended",
            Self::FallbackTriggered { .. } => "aic.fallback.triggered",
            Self::FallbackRecovered { .. } => "aic.fallback.recovered",
        }
    }

    /// The user whose affair it is; `None` for the whole call's.
    pub const fn user(&self) -> Option<&UserId> {
        match self {
            Self::CallStarted | Self::CallEnded | Self::Redated { .. } => None,
            Self::ParticipantJoined { user, .. }
            | Self::ParticipantLeft { user, .. }
            | Self::TrackPublished { user, .. }
            | Self::TrackUnpublished { user, .. } => Some(user),
            Self::SessionStarted(session)
            | Self::SessionEnded(session)
            | Self::FallbackTriggered { session, .. }
            | Self::FallbackRecovered { session, .. } => Some(&session.user),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_kind() -> Vec<EventKind> {
        let user = UserId::from("ada");
        let listener = UserId::from("bob");
        let participant = ParticipantId::from("PA_1");
        let session = SessionRef {
            session_id: "AS_1".into(),
            track_id: "TR_1".into(),
            user: user.clone(),
            media: Media::Audio,
        };
        vec![
            EventKind::CallStarted,
            EventKind::CallEnded,
            EventKind::Redated { by_us: -1 },
            EventKind::ParticipantJoined {
                user: user.clone(),
                participant: participant.clone(),
            },
            EventKind::TrackPublished {
                user: user.clone(),
                participant: participant.clone(),
                track: "TR_1".into(),
            },
            EventKind::TrackUnpublished {
                user: user.clone(),
                participant: participant.clone(),
                track: "TR_1".into(),
            },
            EventKind::ParticipantLeft { user, participant },
            EventKind::SessionStarted(session.clone()),
            EventKind::SessionEnded(session.clone()),
            EventKind::FallbackTriggered {
                session: session.clone(),
                listener: listener.clone(),
                reason: Reason::Late,
            },
            EventKind::FallbackRecovered { session, listener },
        ]
    }

    #[test]
    fn every_event_carries_its_name_and_reads_back_as_it_was() {
        for kind in every_kind() {
            let event = Event {
                ts_us: 1_700_000_000_000_000,
                tenant: "devkey".into(),
                call_id: "RM_1".into(),
                room: "kitchen".into(),
                kind,
                objects: Objects {
                    room: Some(serde_json::json!({ "sid": "RM_1", "creationTime": "1700000000" })),
                    ..Objects::default()
                },
            };
            let json = serde_json::to_value(&event).unwrap();
            assert_eq!(json["event"], event.kind.name());
            assert_eq!(json["call_id"], "RM_1");
            let user = event.kind.user().map(|_| "ada");
            assert_eq!(json.get("user").and_then(|user| user.as_str()), user);
            assert_eq!(serde_json::from_value::<Event>(json).unwrap(), event);
        }
    }
}
