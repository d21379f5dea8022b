//! API keys with their secrets, and what they sign.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use crate::claims::Claims;

/// How far clocks of the signer and ours may differ.
pub const LEEWAY: Duration = Duration::from_secs(60);

/// Longest token looked at, in bytes; a longer one is refused unread.
pub const TOKEN_MAX: usize = 16 * 1024;

/// Why a token was refused. The texts are shown to users.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a JSON web token, or claims of the wrong shape.
    #[error("invalid token: not a readable access token")]
    Malformed,
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

/// Registered claims that only the ring reads and writes.
#[derive(Serialize, Deserialize)]
struct Envelope {
    iss: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exp: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<u64>,
    #[serde(flatten)]
    claims: Claims,
}

/// What must be known before the signature can be checked.
#[derive(Deserialize)]
struct Issuer {
    #[serde(default)]
    iss: String,
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

    /// Checks form, algorithm, key, signature and validity, in that order.
    pub fn verify(&self, jwt: &str, now: SystemTime) -> Result<Verified, TokenError> {
        if jwt.len() > TOKEN_MAX {
            return Err(TokenError::Malformed);
        }
        let mut parts = jwt.split('.');
        let (Some(header), Some(body), Some(_), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Malformed);
        };
        let algorithm: AlgorithmName = read_part(header)?;
        if algorithm.alg != "HS256" {
            return Err(TokenError::Algorithm);
        }
        let issuer: Issuer = read_part(body)?;
        let secret = self.secrets.get(&issuer.iss).ok_or(TokenError::UnknownKey)?;

        // Times are checked below against the given clock, not the library's.
        let mut validation = Validation::new(Algorithm::HS256);
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let key = DecodingKey::from_secret(secret.as_bytes());
        let envelope = jsonwebtoken::decode::<Envelope>(jwt, &key, &validation)
            .map_err(|error| match error.kind() {
                jsonwebtoken::errors::ErrorKind::InvalidSignature => TokenError::Signature,
                _ => TokenError::Malformed,
            })?
            .claims;

        let now = seconds(now);
        let leeway = LEEWAY.as_secs();
        match envelope.exp {
            None => return Err(TokenError::NoExpiry),
            Some(exp) if exp.saturating_add(leeway) < now => return Err(TokenError::Expired),
            Some(_) => {}
        }
        if envelope.nbf.is_some_and(|nbf| nbf > now.saturating_add(leeway)) {
            return Err(TokenError::NotYetValid);
        }
        let mut claims = envelope.claims;
        if claims.identity.is_empty() {
            claims.identity = claims.jti.clone().unwrap_or_default();
        }
        Ok(Verified {
            api_key: issuer.iss,
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
            iss: api_key.to_owned(),
            exp: Some(seconds(now).saturating_add(ttl.as_secs())),
            nbf: Some(seconds(now)),
            claims: claims.clone(),
        };
        let key = EncodingKey::from_secret(secret.as_bytes());
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &envelope, &key)
            .map_err(|_| TokenError::Malformed)
    }
}

fn read_part<T: for<'de> Deserialize<'de>>(part: &str) -> Result<T, TokenError> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| TokenError::Malformed)
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
