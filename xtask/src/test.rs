//! Tests in Rust: unit and integration tests, then the examples in the documentation.

use anyhow::Result;

use crate::step::{Place, Step, cargo};

/// Runs them all.
pub fn run(place: &Place) -> Result<u8> {
    if cargo(place, ["nextest", "--version"]).works() {
        cargo(place, ["nextest", "run", "--workspace", "--locked"]).run()?;
        calls_on_two_shards(place).run()?;
        cargo(place, ["test", "--workspace", "--locked", "--doc"]).run()?;
    } else {
        // Examples in the documentation are part of this.
        cargo(place, ["test", "--workspace", "--locked"]).run()?;
    }
    Ok(0)
}

/// The tests of calls once more, with everybody in a room on another shard than the one before.
fn calls_on_two_shards(place: &Place) -> Step {
    // Of the whole workspace: with fewer packages everything would be built once more, with fewer features.
    let tests =
        "package(auralink-media) & (binary(calls) + binary(publishing) + binary(aic) + binary(room_service))";
    let arguments = ["nextest", "run", "--workspace", "--locked", "-E", tests];
    cargo(place, arguments).with("AURALINK_SPLIT_AT", "1")
}
