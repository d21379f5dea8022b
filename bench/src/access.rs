//! Tokens of the development key, as `auralink serve --dev` takes them.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use auralink_token::{Claims, KeyRing};

const KEY: &str = "devkey";
const SECRET: &str = "secret";

/// Long enough for any run.
const LIFE: Duration = Duration::from_secs(3600);

/// A token for one person in one room.
pub fn token(room: &str, identity: &str) -> Result<String> {
    let ring = KeyRing::new([(KEY, SECRET)]);
    Ok(ring.mint(KEY, &Claims::join(room, identity), LIFE, SystemTime::now())?)
}
