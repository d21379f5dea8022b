//! The codec as WebAssembly: built with whatever toolchain for it is there, tried in Node and in Chromium.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::step::{Place, Step, cargo};

const TARGET: &str = "wasm32-unknown-unknown";
const GOLDEN: &str = "crates/codec/tests/golden.json";
/// What Debian's packages bring: a compiler that knows the target, the sources of its standard library, a linker.
const DEBIAN: [&str; 3] = [
    "/usr/bin/rustc",
    "/usr/lib/rustlib/src/rust/library",
    "/usr/bin/wasm-ld-19",
];

/// Builds the module, then tries it; the tries that have no runner here are left out loudly.
pub fn run(place: &Place) -> Result<u8> {
    let Some(module) = build(place)? else {
        bail!(
            "no toolchain for {TARGET}: `rustup target add {TARGET}`, or Debian's packages rustc-web, rust-web-src and lld-19"
        );
    };
    try_out(place, &module)?;
    eprintln!("x: the module is {}", module.display());
    Ok(0)
}

/// The same for `x test`, where a missing toolchain is no failure.
pub fn test(place: &Place) -> Result<()> {
    match build(place)? {
        Some(module) => try_out(place, &module),
        None => {
            eprintln!("x: SKIPPED the SDK: no toolchain for {TARGET} (`./x sdk` says what would do)");
            Ok(())
        }
    }
}

fn build(place: &Place) -> Result<Option<PathBuf>> {
    let directory = place.programs.with_file_name("wasm");
    let build = cargo(
        place,
        [
            "build",
            "--locked",
            "--release",
            "--target",
            TARGET,
            "-p",
            "auralink-sdk-codec",
        ],
    );
    let build = if rustup_has_it() {
        build.with("RUSTFLAGS", "-C target-feature=+simd128")
    } else if DEBIAN.iter().all(|path| Path::new(path).exists()) {
        cargo(
            place,
            [
                "build",
                "--locked",
                "--release",
                "--target",
                TARGET,
                "-p",
                "auralink-sdk-codec",
                "-Z",
                "build-std=std,panic_abort",
            ],
        )
        .with("RUSTC", DEBIAN[0])
        .with("RUSTC_BOOTSTRAP", "1")
        .with("RUSTFLAGS", "-C linker=wasm-ld-19 -C target-feature=+simd128")
    } else {
        return Ok(None);
    };
    build.with("CARGO_TARGET_DIR", &directory).run()?;
    let module = directory.join(TARGET).join("release/auralink_sdk_codec.wasm");
    fs::metadata(&module).with_context(|| format!("no module at {}", module.display()))?;
    Ok(Some(module))
}

/// Whether the compiler of this build has the target's standard library.
fn rustup_has_it() -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let asked = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output();
    asked.is_ok_and(|answer| {
        let directory = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
        answer.status.success() && fs::read_dir(directory).is_ok_and(|mut files| files.next().is_some())
    })
}

fn try_out(place: &Place, module: &Path) -> Result<()> {
    if !Step::new(place, "node", ["--version"]).works() {
        eprintln!("x: SKIPPED the SDK in Node and Chromium: no node here");
        return Ok(());
    }
    let arguments = |script: &str| [Path::new(script).into(), module.to_owned(), PathBuf::from(GOLDEN)];
    Step::new(place, "node", arguments("sdk/test/node.mjs")).run()?;
    if !place
        .root
        .join("testing/browser/node_modules/puppeteer-core")
        .exists()
    {
        eprintln!("x: SKIPPED the SDK in Chromium: `npm ci` in testing/browser brings what drives it");
        return Ok(());
    }
    Step::new(place, "node", arguments("sdk/test/browser.mjs")).run()
}
