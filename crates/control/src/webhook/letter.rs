//! What is sent: LiveKit's `WebhookEvent` as JSON, with ours under `aic`, and the token that proves it.

use std::time::{Duration, SystemTime};

use auralink_store::Delivery;
use auralink_token::{Claims, KeyRing, TokenError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::event;

/// How long a signature is good: LiveKit's own.
const VALID_FOR: Duration = Duration::from_secs(300);

/// A body with its `Authorization`.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) body: String,
    pub(crate) token: String,
}

impl Letter {
    /// The delivery written out. `dropped` counts events that its endpoint will never get.
    pub(crate) fn write(
        delivery: &Delivery,
        dropped: u64,
        keys: &KeyRing,
        now: SystemTime,
    ) -> Result<Self, TokenError> {
        let body = body(delivery, dropped).to_string();
        let claims = Claims {
            sha256: Some(STANDARD.encode(Sha256::digest(body.as_bytes()))),
            ..Claims::default()
        };
        let token = keys.mint(&delivery.signing_key, &claims, VALID_FOR, now)?;
        Ok(Self { body, token })
    }
}

fn body(delivery: &Delivery, dropped: u64) -> Value {
    let mut payload: Value = serde_json::from_str(&delivery.payload).unwrap_or(Value::Null);
    let objects = payload
        .as_object_mut()
        .and_then(|fields| fields.remove("objects"));
    let mut body = Map::new();
    body.insert("event".into(), event::public(&delivery.event).into());
    // The same at every attempt, replay and endpoint, so that a receiver knows what it has had.
    body.insert("id".into(), format!("EV_{}", delivery.event_id).into());
    body.insert(
        "createdAt".into(),
        (delivery.created_at.as_micros() / 1_000_000).to_string().into(),
    );
    if dropped > 0 {
        body.insert(
            "numDropped".into(),
            i32::try_from(dropped).unwrap_or(i32::MAX).into(),
        );
    }
    if delivery.event.starts_with("aic.") {
        // Readers of LiveKit's message skip what they do not know.
        body.insert("aic".into(), payload);
    } else {
        body.extend(livekit(&payload));
        // As media saw them, whole, where it was media that told.
        if let Some(Value::Object(objects)) = objects {
            body.extend(objects);
        }
    }
    Value::Object(body)
}

/// The parts of LiveKit's message that an event of a call names.
fn livekit(payload: &Value) -> Map<String, Value> {
    let text = |name: &str| payload.get(name).and_then(Value::as_str);
    let mut parts = Map::new();
    if let Some(call) = text("call_id") {
        let room = json!({ "sid": call, "name": text("room").unwrap_or_default() });
        parts.insert("room".into(), room);
    }
    if let (Some(sid), Some(identity)) = (text("participant"), text("user")) {
        let participant = json!({ "sid": sid, "identity": identity });
        parts.insert("participant".into(), participant);
    }
    if let Some(track) = text("track") {
        parts.insert("track".into(), json!({ "sid": track }));
    }
    parts
}

#[cfg(test)]
mod tests {
    use auralink_store::Timestamp;

    use super::*;

    fn delivery(event: &str, payload: &Value) -> Delivery {
        Delivery {
            delivery_id: 8,
            event_id: 7,
            tenant: "one".into(),
            endpoint_id: "e".into(),
            url: "http://127.0.0.1:1/".into(),
            signing_key: "one".into(),
            subject: "RM_1".into(),
            event: event.into(),
            payload: payload.to_string(),
            created_at: Timestamp::from_micros(1_790_000_000_500_000),
            attempts: 1,
            dropped: 0,
        }
    }

    #[test]
    fn an_event_of_a_call_is_livekits_message() {
        let payload = json!({ "ts_us": 1, "tenant": "one", "call_id": "RM_1", "room": "lobby",
            "event": "participant.joined", "user": "ada", "participant": "PA_1" });
        let body = body(&delivery("participant.joined", &payload), 3);
        assert_eq!(
            body,
            json!({ "event": "participant_joined", "id": "EV_7", "createdAt": "1790000000", "numDropped": 3,
                "room": { "sid": "RM_1", "name": "lobby" }, "participant": { "sid": "PA_1", "identity": "ada" } })
        );
    }

    #[test]
    fn what_media_saw_is_passed_on_whole_in_livekits_events_and_not_at_all_in_ours() {
        let objects = json!({
            "room": { "sid": "RM_1", "name": "lobby", "creationTime": "1790000000", "numParticipants": 2 },
            "participant": { "sid": "PA_1", "identity": "ada", "name": "Ada", "joinedAt": "1790000000" },
            "track": { "sid": "TR_1", "type": "VIDEO", "source": "CAMERA", "mimeType": "video/vp8" }
        });
        let payload = json!({ "call_id": "RM_1", "room": "lobby", "user": "ada", "participant": "PA_1",
            "track": "TR_1", "objects": objects });
        let told = body(&delivery("track.published", &payload), 0);
        for part in ["room", "participant", "track"] {
            assert_eq!(told[part], objects[part]);
        }
        let told = body(&delivery("aic.session.started", &payload), 0);
        assert!(told.get("room").is_none() && told["aic"].get("objects").is_none());
        assert_eq!(told["aic"]["track"], "TR_1");
    }

    #[test]
    fn an_event_of_ours_is_under_a_name_that_livekits_readers_skip() {
        let payload = json!({ "room": "lobby", "reason": "late" });
        let body = body(&delivery("aic.fallback.triggered", &payload), 0);
        assert_eq!(body["aic"], payload);
        assert!(body.get("room").is_none() && body.get("numDropped").is_none());
    }

    #[test]
    fn the_token_holds_the_hash_of_exactly_what_is_sent() {
        let keys = KeyRing::new([("one", "secret-one")]);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let letter = Letter::write(&delivery("aic.alert.raised", &json!({ "n": 1 })), 0, &keys, now).unwrap();
        let claims = keys.verify(&letter.token, now).unwrap().claims;
        assert_eq!(
            claims.sha256.unwrap(),
            STANDARD.encode(Sha256::digest(letter.body.as_bytes()))
        );
        let mut other = delivery("aic.alert.raised", &json!({}));
        other.signing_key = "gone".into();
        assert!(
            Letter::write(&other, 0, &keys, now).is_err(),
            "a key that was taken away signs nothing"
        );
    }
}
