//! What tokens are accepted and what they allow.

use std::time::{Duration, SystemTime};

use auralink_token::{Claims, KeyRing, TokenError, VideoGrants};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const HOUR: Duration = Duration::from_secs(3600);

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn ring() -> KeyRing {
    KeyRing::new([("devkey", "secret"), ("other", "another secret")])
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
    // Minted with the library directly, since the ring never makes one.
    let key = jsonwebtoken::EncodingKey::from_secret(b"secret");
    let body = serde_json::json!({"iss": "devkey", "sub": "ada"});
    let jwt = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &body, &key).unwrap();
    assert_eq!(ring().verify(&jwt, now()), Err(TokenError::NoExpiry));
}

#[test]
fn unknown_claims_are_ignored_and_jti_stands_in_for_sub() {
    let key = jsonwebtoken::EncodingKey::from_secret(b"secret");
    let body = serde_json::json!({
        "iss": "devkey", "jti": "ada", "exp": 1_900_000_000u64, "roomPreset": "x", "sip": {"admin": true},
        "video": {"roomJoin": true, "room": "lobby", "somethingNew": 3}
    });
    let jwt = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &body, &key).unwrap();
    assert_eq!(ring().verify(&jwt, now()).unwrap().claims.identity, "ada");
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
