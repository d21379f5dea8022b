//! API keys with their secrets, and what they sign.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::claims::Claims;

/// How far clocks of the signer and ours may differ.
pub const LEEWAY: Duration = Duration::from_secs(60);

/// Longest token looked at, in bytes; a longer one is refused unread. LiveKit's own metadata may have 64 kB, and a token
/// that says more travels in no head of a request.
pub const TOKEN_MAX: usize = 96 * 1024;

/// Longest text about a claim, in characters: part of it may be the token's own.
const PROBLEM_MAX: usize = 200;

/// Why a token was refused. The texts are shown to users.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a JSON web token.
    #[error("invalid token: not a readable access token")]
    Malformed,
    /// Longer than [`TOKEN_MAX`].
    #[error("invalid token: it is longer than {TOKEN_MAX} bytes")]
    TooLong,
    /// Signed, but a claim is of the wrong shape or out of bounds.
    #[error("invalid token: {claim} {problem}")]
    Claim {
        /// Its name, as in `video.room`.
        claim: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Signed with anything but HS256, or not at all.
    #[error("invalid token: only HS256 signatures are accepted")]
    Algorithm,
    /// `iss` names a key that is not on the ring.
    #[error("invalid API key")]
    UnknownKey,
    /// The signature does not match.
    #[error("invalid token: signature does not match")]
    Signature,
    /// `exp` is missing.
    #[error("invalid token: it has no expiry")]
    NoExpiry,
    /// `exp` is past.
    #[error("invalid token: it has expired")]
    Expired,
    /// `nbf` is ahead.
    #[error("invalid token: it is not valid yet")]
    NotYetValid,
    /// The API key to sign with is not on the ring.
    #[error("no such API key: {0}")]
    NoSuchKey(String),
}

/// A token that stood every check.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified {
    /// The key that signed it: the tenant.
    pub api_key: String,
    /// What it says.
    pub claims: Claims,
}

/// API keys and their secrets.
#[derive(Clone, Default)]
pub struct KeyRing {
    secrets: HashMap<String, String>,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing")
            .field("keys", &self.secrets.len())
            .finish_non_exhaustive()
    }
}

/// What the ring signs.
#[derive(Serialize)]
struct Envelope<'a> {
    iss: &'a str,
    exp: u64,
    nbf: u64,
    #[serde(flatten)]
    claims: &'a Claims,
}

/// When a token is valid: seconds since the Unix epoch, which may have a fraction (RFC 7519 section 2).
#[derive(Deserialize)]
struct Validity {
    exp: Option<f64>,
    nbf: Option<f64>,
}

#[derive(Deserialize)]
struct AlgorithmName {
    alg: String,
}

impl KeyRing {
    /// A ring of these API keys with their secrets.
    pub fn new<K: Into<String>, S: Into<String>>(keys: impl IntoIterator<Item = (K, S)>) -> Self {
        Self {
            secrets: keys
                .into_iter()
                .map(|(key, secret)| (key.into(), secret.into()))
                .collect(),
        }
    }

    /// Whether the key is on the ring.
    pub fn contains(&self, api_key: &str) -> bool {
        self.secrets.contains_key(api_key)
    }

    /// Checks form, algorithm, key, signature, validity and claims, in that order.
    pub fn verify(&self, jwt: &str, now: SystemTime) -> Result<Verified, TokenError> {
        if jwt.len() > TOKEN_MAX {
            return Err(TokenError::TooLong);
        }
        let (signed, signature) = jwt.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, body) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let algorithm: AlgorithmName = read_part(header)?;
        if algorithm.alg != "HS256" {
            return Err(TokenError::Algorithm);
        }
        let body = given(read_part(body)?);
        let api_key = body.get("iss").and_then(Value::as_str).unwrap_or_default();
        let secret = self.secrets.get(api_key).ok_or(TokenError::UnknownKey)?;
        let key = DecodingKey::from_secret(secret.as_bytes());
        match jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &key, Algorithm::HS256) {
            Ok(true) => {}
            Ok(false) => return Err(TokenError::Signature),
            Err(_) => return Err(TokenError::Malformed),
        }
        read_claims::<Validity>(&body)?.check(now)?;
        let claims = read_claims::<Claims>(&body)?.checked()?;
        Ok(Verified {
            api_key: api_key.to_owned(),
            claims,
        })
    }

    /// Signs the claims with that key, valid from `now` for `ttl`.
    pub fn mint(
        &self,
        api_key: &str,
        claims: &Claims,
        ttl: Duration,
        now: SystemTime,
    ) -> Result<String, TokenError> {
        let secret = self
            .secrets
            .get(api_key)
            .ok_or_else(|| TokenError::NoSuchKey(api_key.to_owned()))?;
        let envelope = Envelope {
            iss: api_key,
            exp: seconds(now).saturating_add(ttl.as_secs()),
            nbf: seconds(now),
            claims,
        };
        let key = EncodingKey::from_secret(secret.as_bytes());
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &envelope, &key)
            .map_err(|_| TokenError::Malformed)
    }
}

impl Validity {
    fn check(&self, now: SystemTime) -> Result<(), TokenError> {
        let (now, leeway) = (seconds(now) as f64, LEEWAY.as_secs_f64());
        match self.exp {
            None => Err(TokenError::NoExpiry),
            Some(exp) if exp + leeway < now => Err(TokenError::Expired),
            Some(_) if self.nbf.is_some_and(|nbf| nbf > now + leeway) => Err(TokenError::NotYetValid),
            Some(_) => Ok(()),
        }
    }
}

fn read_part<T: for<'de> Deserialize<'de>>(part: &str) -> Result<T, TokenError> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| TokenError::Malformed)
}

/// The claims that are there: `null` means absent, at every depth, because SDKs write out what they were not told.
fn given(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let given_ones = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(given_ones.map(|(name, value)| (name, given(value))).collect())
        }
        Value::Array(elements) => {
            let given_ones = elements.into_iter().filter(|value| !value.is_null());
            Value::Array(given_ones.map(given).collect())
        }
        value => value,
    }
}

fn read_claims<'a, T: Deserialize<'a>>(body: &'a Value) -> Result<T, TokenError> {
    serde_path_to_error::deserialize(body).map_err(|error| TokenError::Claim {
        claim: shown(&error.path().to_string()),
        problem: shown(&error.inner().to_string()),
    })
}

/// A text that may be shown anywhere.
fn shown(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(PROBLEM_MAX)
        .collect()
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
