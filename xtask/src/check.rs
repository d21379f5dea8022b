//! What can be judged without running the product.

use anyhow::Result;

use crate::clocks;
use crate::openapi;
use crate::step::{Place, cargo};

/// Formatting, lints, documentation; licences and bans where cargo-deny is installed.
pub fn run(place: &Place) -> Result<u8> {
    cargo(place, ["fmt", "--all", "--check"]).run()?;
    clocks::run(place)?;
    cargo(
        place,
        [
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ],
    )
    .run()?;
    cargo(place, ["doc", "--workspace", "--no-deps", "--locked", "--quiet"])
        .with("RUSTDOCFLAGS", "-D warnings")
        .run()?;
    openapi::check(place)?;
    if cargo(place, ["deny", "--version"]).works() {
        // Not advisories: their database is a repository that a machine without the whole network cannot fetch.
        let arguments = ["deny", "--locked", "check", "bans", "licenses", "sources"];
        cargo(place, arguments).run()?;
    } else {
        eprintln!(
            "x: NOT CHECKED: licences and bans (cargo-deny is not installed; `cargo install cargo-deny`)"
        );
    }
    Ok(0)
}
