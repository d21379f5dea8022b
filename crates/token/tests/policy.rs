//! What tokens are accepted and what they allow.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, SystemTime};

use auralink_token::{Claims, KeyRing, TOKEN_MAX, TokenError, VideoGrants};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

const HOUR: Duration = Duration::from_secs(3600);

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn ring() -> KeyRing {
    KeyRing::new([("devkey", "secret"), ("other", "another secret")])
}

/// A token with exactly this body, as an SDK of somebody else's would sign it.
fn signed(body: &serde_json::Value) -> String {
    let key = jsonwebtoken::EncodingKey::from_secret(b"secret");
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), body, &key).unwrap()
}

fn unsigned(header: &str, body: &str) -> String {
    format!(
        "{}.{}.",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(body)
    )
}

#[test]
fn a_minted_token_says_what_was_signed() {
    let mut claims = Claims::join("lobby", "ada");
    claims.attributes.insert("aic.models".into(), "a1b2".into());
    let jwt = ring().mint("devkey", &claims, HOUR, now()).unwrap();
    let verified = ring().verify(&jwt, now()).unwrap();
    assert_eq!((verified.api_key.as_str(), verified.claims), ("devkey", claims));
}

#[test]
fn an_expired_token_is_refused_after_a_minute_of_leeway() {
    let jwt = ring()
        .mint("devkey", &Claims::join("lobby", "ada"), HOUR, now())
        .unwrap();
    assert!(
        ring()
            .verify(&jwt, now() + HOUR + Duration::from_secs(60))
            .is_ok()
    );
    assert_eq!(
        ring().verify(&jwt, now() + HOUR + Duration::from_secs(61)),
        Err(TokenError::Expired)
    );
    assert_eq!(
        ring().verify(&jwt, now() - Duration::from_secs(61)),
        Err(TokenError::NotYetValid)
    );
}

#[test]
fn only_hs256_is_accepted() {
    let body = r#"{"iss":"devkey","sub":"ada","exp":1900000000,"video":{"roomJoin":true,"room":"lobby"}}"#;
    for alg in ["none", "None", "RS256", "HS512", "ES256"] {
        let jwt = unsigned(&format!(r#"{{"alg":"{alg}","typ":"JWT"}}"#), body);
        assert_eq!(ring().verify(&jwt, now()), Err(TokenError::Algorithm), "{alg}");
    }
}

#[test]
fn a_token_signed_with_another_tenants_secret_is_refused() {
    let foreign = KeyRing::new([("devkey", "another secret")]);
    let jwt = foreign
        .mint("devkey", &Claims::join("lobby", "ada"), HOUR, now())
        .unwrap();
    assert_eq!(ring().verify(&jwt, now()), Err(TokenError::Signature));
    let stranger = KeyRing::new([("stranger", "s")]);
    let jwt = stranger
        .mint("stranger", &Claims::join("lobby", "ada"), HOUR, now())
        .unwrap();
    assert_eq!(ring().verify(&jwt, now()), Err(TokenError::UnknownKey));
}

#[test]
fn every_truncation_and_every_flipped_character_is_refused() {
    let jwt = ring()
        .mint("devkey", &Claims::join("lobby", "ada"), HOUR, now())
        .unwrap();
    for end in 0..jwt.len() {
        assert!(ring().verify(&jwt[..end], now()).is_err(), "cut at {end}");
    }
    // The last character carries unused bits, which base64 decoders may ignore.
    for at in 0..jwt.len() - 1 {
        let mut bytes = jwt.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let flipped = String::from_utf8(bytes).unwrap();
        assert!(
            flipped == jwt || ring().verify(&flipped, now()).is_err(),
            "flipped at {at}"
        );
    }
}

#[test]
fn a_token_without_expiry_is_refused() {
    for body in [
        json!({"iss": "devkey", "sub": "ada"}),
        json!({"iss": "devkey", "sub": "ada", "exp": null}),
    ] {
        assert_eq!(ring().verify(&signed(&body), now()), Err(TokenError::NoExpiry));
    }
}

#[test]
fn unknown_claims_are_ignored_and_jti_stands_in_for_sub() {
    let body = json!({
        "iss": "devkey", "jti": "ada", "exp": 1_900_000_000u64, "roomPreset": "x", "sip": {"admin": true},
        "video": {"roomJoin": true, "room": "lobby", "somethingNew": 3}
    });
    let claims = ring().verify(&signed(&body), now()).unwrap().claims;
    assert_eq!(claims.identity, "ada");
}

#[test]
fn null_means_absent_at_every_depth() {
    let full = json!({
        "iss": "devkey", "sub": "ada", "exp": 1_900_000_000u64, "nbf": null, "aud": null, "jti": null, "name": null,
        "metadata": null, "attributes": {"team": "blue", "role": null}, "kind": null, "sha256": null,
        "roomConfig": {"agents": null, "egress": null}, "roomPreset": null, "sip": null, "inference": null,
        "video": {
            "roomJoin": true, "room": "lobby", "roomCreate": null, "roomList": null, "roomRecord": null,
            "roomAdmin": null, "ingressAdmin": null, "canPublish": null, "canSubscribe": null,
            "canPublishData": null, "canPublishSources": ["camera", null], "canUpdateOwnMetadata": null,
            "hidden": null, "recorder": null, "agent": null, "destinationRoom": null
        }
    });
    let claims = ring().verify(&signed(&full), now()).unwrap().claims;
    let mut expected = Claims::join("lobby", "ada");
    expected.attributes.insert("team".into(), "blue".into());
    expected.video.can_publish_sources.push("camera".into());
    assert_eq!(claims, expected);
    // Whatever is null by itself leaves a token that says the same.
    for name in [
        "name",
        "metadata",
        "attributes",
        "kind",
        "video",
        "jti",
        "sha256",
        "sub",
    ] {
        let body = json!({"iss": "devkey", "exp": 1_900_000_000u64, name: null});
        let claims = ring().verify(&signed(&body), now()).unwrap().claims;
        assert_eq!(claims, Claims::default(), "{name}");
    }
}

#[test]
fn times_may_have_a_fraction() {
    let verify = |exp: f64, nbf: f64| {
        let body = json!({"iss": "devkey", "sub": "ada", "exp": exp, "nbf": nbf});
        ring().verify(&signed(&body), now()).map(|_| ())
    };
    let now = 1_800_000_000.0;
    assert_eq!(verify(now + 0.25, now - 0.75), Ok(()));
    assert_eq!(verify(now - 59.5, now + 59.5), Ok(()));
    assert_eq!(verify(now - 60.5, now), Err(TokenError::Expired));
    assert_eq!(verify(now + 1.5, now + 60.5), Err(TokenError::NotYetValid));
    assert_eq!(verify(1e300, -1e300), Ok(()));
    assert_eq!(verify(-1.5, now), Err(TokenError::Expired));
}

#[test]
fn a_claim_of_the_wrong_shape_is_refused_by_its_name() {
    let refused = |name: &str, value: serde_json::Value| {
        let mut body = json!({"iss": "devkey", "sub": "ada", "exp": 1_900_000_000u64});
        body[name] = value;
        match ring().verify(&signed(&body), now()) {
            Err(TokenError::Claim { claim, problem }) => {
                assert!(
                    problem.chars().count() <= 200 && !problem.contains(char::is_control),
                    "{problem}"
                );
                claim
            }
            other => panic!("{name}: {other:?}"),
        }
    };
    assert_eq!(refused("sub", json!(5)), "sub");
    assert_eq!(refused("exp", json!("tomorrow")), "exp");
    assert_eq!(refused("nbf", json!([1])), "nbf");
    assert_eq!(
        refused("video", json!({"roomJoin": "yes\n".repeat(200)})),
        "video.roomJoin"
    );
    assert_eq!(refused("video", json!("all")), "video");
    assert_eq!(refused("attributes", json!({"role": 1})), "attributes.role");
}

#[test]
fn names_obey_one_rule_wherever_they_stand() {
    let refused = |body: serde_json::Value| {
        let mut whole = json!({"iss": "devkey", "exp": 1_900_000_000u64});
        whole
            .as_object_mut()
            .unwrap()
            .extend(body.as_object().unwrap().clone());
        match ring().verify(&signed(&whole), now()) {
            Err(TokenError::Claim { claim, .. }) => claim,
            other => panic!("{other:?}"),
        }
    };
    for bad in [
        "a\0b",
        "a\nINFO forged",
        "\u{1b}[31mred",
        "\u{85}",
        &"x".repeat(10_000),
        &"名".repeat(10_000),
    ] {
        assert_eq!(refused(json!({"sub": bad})), "sub");
        assert_eq!(refused(json!({"jti": bad})), "jti");
        assert_eq!(refused(json!({"sub": "ada", "name": bad})), "name");
        assert_eq!(
            refused(json!({"sub": "ada", "video": {"room": bad}})),
            "video.room"
        );
        assert_eq!(
            refused(json!({"video": {"destinationRoom": bad}})),
            "video.destinationRoom"
        );
    }
    let good = json!({"iss": "devkey", "exp": 1_900_000_000u64, "sub": "名".repeat(256), "name": "Ada 👩‍🚀",
        "metadata": "line\nline\0", "video": {"room": "Küche"}});
    ring().verify(&signed(&good), now()).unwrap();
}

#[test]
fn a_token_longer_than_any_head_is_refused_unread() {
    let jwt = "x".repeat(TOKEN_MAX + 1);
    assert_eq!(ring().verify(&jwt, now()), Err(TokenError::TooLong));
}

#[test]
fn only_a_token_of_a_server_is_the_tenants_operators() {
    let video = |grants: serde_json::Value| {
        let body = json!({"iss": "devkey", "exp": 1_900_000_000u64, "video": grants});
        ring().verify(&signed(&body), now()).unwrap().claims.video
    };
    for grants in [
        json!({"roomList": true}),
        json!({"roomCreate": true}),
        json!({"roomAdmin": true}),
        json!({"roomAdmin": true, "room": ""}),
        json!({"roomAdmin": true, "room": null}),
        json!({"roomCreate": true, "roomList": true, "roomAdmin": true, "roomRecord": true}),
    ] {
        let video = video(grants.clone());
        assert!(
            video.is_operator() && video.controlled_room().is_none(),
            "{grants}"
        );
    }
    for (grants, room) in [
        (json!({"roomAdmin": true, "room": "lobby"}), Some("lobby")),
        (
            json!({"roomAdmin": true, "roomList": true, "roomCreate": true, "room": "lobby"}),
            Some("lobby"),
        ),
        (
            json!({"roomJoin": true, "room": "lobby", "roomAdmin": true}),
            Some("lobby"),
        ),
        (
            json!({"roomJoin": true, "room": "lobby", "roomCreate": true}),
            None,
        ),
        (json!({"roomJoin": true, "roomCreate": true}), None),
        (json!({"roomRecord": true}), None),
        (json!({"ingressAdmin": true}), None),
        (json!({}), None),
    ] {
        let video = video(grants.clone());
        assert!(!video.is_operator(), "{grants}");
        assert_eq!(video.controlled_room(), room, "{grants}");
    }
}

#[test]
fn absent_grants_have_livekits_defaults() {
    let grants = VideoGrants::default();
    assert!(grants.can_publish() && grants.can_subscribe() && grants.can_publish_data());
    assert!(!grants.can_update_own_metadata() && !grants.is_operator());
    let silent = VideoGrants {
        can_publish: Some(false),
        ..VideoGrants::default()
    };
    assert!(!silent.can_publish_data() && !silent.can_publish_source("microphone"));
    let microphone = VideoGrants {
        can_publish_sources: vec!["microphone".into()],
        ..VideoGrants::default()
    };
    assert!(microphone.can_publish_source("microphone") && !microphone.can_publish_source("camera"));
}

#[test]
fn secrets_never_reach_a_log() {
    assert!(!format!("{:?}", ring()).contains("secret"));
}
