//! The house rule that logic is told the time and never asks for it: `Instant::now()` and `SystemTime::now()` stand
//! only in drivers. Clippy's `disallowed_methods` cannot spare tests, where asking is right; this can.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::step::Place;

/// What asks for the time.
const CLOCKS: [&str; 2] = ["Instant::now()", "SystemTime::now()"];

/// The thin layers that may ask, by path below the root; a directory stands for all in it.
const DRIVERS: [&str; 16] = [
    "bench/",                      // measures real time
    "crates/auralink/",            // the binary: wiring only
    "crates/aicore/src/grpc/",     // the edge of gRPC: deadlines are counted from arrival
    "crates/aicore/src/pool.rs",   // supervises threads
    "crates/aicore/src/remote/",   // the link: deadlines become times left
    "crates/aicore/src/tls.rs",    // certificates are valid by the wall clock
    "crates/aicore/src/worker.rs", // measures what a frame costs
    "crates/client/src/driver/",
    "crates/control/src/clock.rs", // the control plane asks here; tests set it
    "crates/load/src/",            // loads in real time
    "crates/media/src/shard/",
    "crates/media/src/sdp/rules.rs", // tests in a file of their own
    "crates/media/src/server.rs",
    "crates/media/src/signal/",
    "crates/media/src/twirp/",
    "crates/store/src/", // sits on a database, stamps rows
];

/// Refuses logic that asks for the time.
pub fn run(place: &Place) -> Result<()> {
    let mut found = Vec::new();
    for top in ["crates", "bench"] {
        look(&place.root, &place.root.join(top), &mut found)?;
    }
    if !found.is_empty() {
        bail!(
            "logic is told the time (`now: Instant` passed in); it is asked for in\n  {}",
            found.join("\n  ")
        );
    }
    Ok(())
}

fn look(root: &Path, directory: &Path, found: &mut Vec<String>) -> Result<()> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    for entry in entries {
        let path = entry?.path();
        let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        let is_test = name.ends_with("/tests") || name.ends_with("/examples") || name.ends_with("/benches");
        if path.is_dir() && !is_test {
            look(root, &path, found)?;
        } else if name.ends_with(".rs")
            && !name.ends_with("tests.rs")
            && !DRIVERS.iter().any(|driver| name.starts_with(driver))
        {
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {name}"))?;
            found.extend(asking(&text).map(|line| format!("{name}:{line}")));
        }
    }
    Ok(())
}

/// Numbers of the lines that ask for the time, the file's unit tests (always at its end) and comments left out.
fn asking(text: &str) -> impl Iterator<Item = usize> {
    let code = text
        .lines()
        .enumerate()
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"));
    let asks =
        |line: &str| !line.trim_start().starts_with("//") && CLOCKS.iter().any(|clock| line.contains(clock));
    code.filter(move |(_, line)| asks(line))
        .map(|(number, _)| number + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logic_that_asks_for_the_time_is_found_and_tests_and_comments_are_spared() {
        let text = "// Instant::now() is banned\nfn f() { let t = Instant::now(); }\n#[cfg(test)]\nfn g() { SystemTime::now(); }\n";
        assert_eq!(asking(text).collect::<Vec<_>>(), [2]);
    }
}
