//! Tests in Rust: unit and integration tests, then the examples in the documentation.

use anyhow::Result;

use crate::step::{Place, cargo};

/// Runs them all.
pub fn run(place: &Place) -> Result<u8> {
    if cargo(place, ["nextest", "--version"]).works() {
        cargo(place, ["nextest", "run", "--workspace", "--locked"]).run()?;
        cargo(place, ["test", "--workspace", "--locked", "--doc"]).run()?;
    } else {
        // Examples in the documentation are part of this.
        cargo(place, ["test", "--workspace", "--locked"]).run()?;
    }
    Ok(0)
}
