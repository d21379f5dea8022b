//! The project's chores behind one door: `cargo xtask <check|test|demo|bench|fmt>`, or `./x`, which installs what a
//! chore needs first. Continuous integration runs exactly these.
#![forbid(unsafe_code)]

mod acceptance;
mod bench;
mod check;
mod clocks;
mod fuzz;
mod openapi;
mod python;
mod sdk;
mod step;
mod test;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::step::Place;

/// The project's chores.
#[derive(Parser)]
#[command(name = "x", disable_version_flag = true)]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Formatting, lints, documentation, licences and bans: everything that needs no run.
    Check,
    /// Every test: Rust, documentation examples, stock browser client, native LiveKit client.
    Test {
        /// Only the Rust tests.
        #[arg(long)]
        rust_only: bool,
        /// Only the acceptance tests with foreign clients.
        #[arg(long, conflicts_with = "rust_only")]
        acceptance_only: bool,
    },
    /// A real call over UDP loopback, compressed in every mode, with what it saved.
    Demo {
        /// Options of the demo; `./x demo --help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<OsString>,
    },
    /// A benchmark: `./x bench forward`, `./x bench --help`.
    Bench {
        /// The benchmark and its options.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<OsString>,
    },
    /// Writes docs/openapi.json anew, as the server serves it.
    Openapi,
    /// Foreign tests of the REST API: schemathesis with every check on, against a live server.
    Schemathesis,
    /// The speech codec as WebAssembly, built and tried in Node and Chromium.
    Sdk,
    /// Fuzzes what parses the bytes of strangers: `./x fuzz [TARGET…] [--seconds N]`.
    Fuzz {
        /// Targets in `fuzz/fuzz_targets`; without any, the AIC payload, the speech decoder, sound files and Twirp bodies.
        targets: Vec<String>,
        /// Seconds for each.
        #[arg(long, default_value_t = 1800)]
        seconds: u32,
    },
    /// Formats every crate.
    Fmt,
}

fn main() -> ExitCode {
    let cli = Cli::parse_from(std::iter::once("x".into()).chain(arguments()));
    let done = Place::find().and_then(|place| match cli.chore {
        Chore::Check => check::run(&place),
        Chore::Test {
            rust_only,
            acceptance_only,
        } => {
            if !acceptance_only {
                test::run(&place)?;
            }
            if !rust_only {
                sdk::test(&place)?;
                acceptance::run(&place)?;
            }
            Ok(0)
        }
        Chore::Demo { options } => bench::run(&place, std::iter::once("demo".into()).chain(options)),
        Chore::Bench { options } => bench::run(&place, options),
        Chore::Openapi => openapi::export(&place),
        Chore::Schemathesis => openapi::schemathesis_all(&place).map(|()| 0),
        Chore::Sdk => sdk::run(&place),
        Chore::Fuzz { targets, seconds } => fuzz::run(&place, &targets, seconds),
        Chore::Fmt => step::cargo(&place, ["fmt", "--all"]).run().map(|()| 0),
    });
    match done {
        Ok(code) => ExitCode::from(code),
        Err(problem) => {
            eprintln!("x: {problem:#}");
            ExitCode::FAILURE
        }
    }
}

/// `--help` after `demo` and `bench` belongs to the program behind them, not to this one.
fn arguments() -> impl Iterator<Item = OsString> {
    let mut given: Vec<OsString> = std::env::args_os().skip(1).collect();
    if given
        .first()
        .is_some_and(|chore| chore == "demo" || chore == "bench")
    {
        given.insert(1, "--".into());
    }
    given.into_iter()
}
