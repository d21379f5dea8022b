//! Fuzzing of what parses bytes of strangers, with libFuzzer: needs a nightly toolchain and cargo-fuzz.

use anyhow::{Result, bail};

use crate::step::{Place, Step};

/// Targets in `fuzz/fuzz_targets` that take what comes from strangers: over the network, and as files.
const TARGETS: [&str; 4] = ["aic", "decoder", "sound", "twirp"];

/// Fuzzes each target for `seconds`; ends with an error at the first finding, whose input libFuzzer writes to
/// `fuzz/artifacts`.
pub fn run(place: &Place, targets: &[String], seconds: u32) -> Result<u8> {
    if !Step::new(place, "cargo", ["+nightly", "fuzz", "--version"]).works() {
        bail!("fuzzing needs `rustup toolchain install nightly` and `cargo install cargo-fuzz --locked`");
    }
    let usual = TARGETS.map(str::to_owned);
    for target in if targets.is_empty() { &usual[..] } else { targets } {
        let limit = format!("-max_total_time={seconds}");
        Step::new(
            place,
            "cargo",
            [
                "+nightly",
                "fuzz",
                "run",
                target,
                "--",
                &limit,
                "-print_final_stats=1",
            ],
        )
        .run()?;
    }
    Ok(0)
}
