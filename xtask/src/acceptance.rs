//! Acceptance with clients that are not ours: the stock browser SDK in Chromium and Firefox, the native SDK from
//! PyPI, LiveKit's server SDKs, and schemathesis with what the REST API's description allows and forbids.

use std::fs;

use anyhow::{Context as _, Result, bail};

use crate::openapi;
use crate::python;
use crate::step::{Place, Step, cargo};

/// Runs all suites against the server of this build, and fails at the end if one of them did.
pub fn run(place: &Place) -> Result<u8> {
    cargo(place, ["build", "--locked", "--workspace", "--bins"]).run()?;
    let mut failed = Vec::new();
    for (name, suite) in [
        ("browser", browser as fn(&Place) -> Result<()>),
        ("native SDK", native),
        ("Rust server SDK", rust_server_sdk),
        ("schemathesis", openapi::schemathesis_coverage),
    ] {
        if let Err(problem) = suite(place) {
            eprintln!("x: {name}: {problem:#}");
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!("acceptance failed: {}", failed.join(", "));
    }
    Ok(0)
}

fn browser(place: &Place) -> Result<()> {
    let directory = place.root.join("testing/browser");
    let lock = fs::read_to_string(directory.join("package-lock.json")).context("no package-lock.json")?;
    let stamp = directory.join("node_modules/.installed-lock");
    if !fs::read_to_string(&stamp).is_ok_and(|installed| installed == lock) {
        Step::new(
            place,
            "npm",
            [
                "ci",
                "--omit=optional",
                "--no-audit",
                "--no-fund",
                "--loglevel=error",
            ],
        )
        .within(place, "testing/browser")
        .run()?;
        fs::write(&stamp, lock).with_context(|| format!("cannot write {}", stamp.display()))?;
    }
    Step::new(place, "npm", ["test", "--silent"])
        .within(place, "testing/browser")
        .with("AURALINK_BIN", place.program("auralink"))
        .run()
}

/// LiveKit's crate is built apart: among ours it would change the features of what both use.
fn rust_server_sdk(place: &Place) -> Result<()> {
    let manifest = ["test", "--locked", "--manifest-path", "testing/rust/Cargo.toml"];
    let target = place.programs.join("rust-sdk");
    let mut arguments: Vec<std::ffi::OsString> = manifest.iter().map(Into::into).collect();
    arguments.extend(["--target-dir".into(), target.into_os_string()]);
    cargo(place, arguments)
        .with("AURALINK_BIN", place.program("auralink"))
        .run()
}

fn native(place: &Place) -> Result<()> {
    let interpreter = python::with(place, "testing/python/requirements.txt")?;
    // Without it the test of the Python example says that it is skipped.
    if let Err(problem) = python::with(place, "testing/python/requirements-grpc.txt") {
        eprintln!("x: NOT TESTED: the gRPC example in Python: {problem:#}");
    }
    Step::new(
        place,
        interpreter,
        [
            "-m",
            "unittest",
            "discover",
            "--verbose",
            "-s",
            "testing/python",
            "-t",
            "testing/python",
        ],
    )
    .with("AURALINK_BIN", place.program("auralink"))
    .run()
}
