//! The demo and the benchmarks: built, then run with the Python tools at hand if these could be had.

use std::ffi::OsString;

use anyhow::Result;

use crate::python;
use crate::step::{Place, Step, cargo};

/// Builds the server and the benchmarks, and runs one of these; gives its exit code.
pub fn run(place: &Place, arguments: impl IntoIterator<Item = OsString>) -> Result<u8> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    cargo(place, ["build", "--locked", "--workspace", "--bins"]).run()?;
    let mut step = Step::new(place, place.program("auralink-bench"), &arguments);
    let asks_help = arguments.iter().any(|word| word == "--help" || word == "-h");
    if !asks_help {
        if arguments.first().is_some_and(|benchmark| benchmark == "speech")
            && let Err(problem) = python::with(place, "testing/lyra-requirements.txt")
        {
            eprintln!("x: NO LYRA V2 in this run: {problem:#}");
        }
        match python::with(place, "testing/requirements.txt") {
            Ok(interpreter) => step = step.with("AURALINK_PYTHON", interpreter),
            Err(problem) => eprintln!("x: NO PESQ AND NO STOI in this run: {problem:#}"),
        }
    }
    step.code()
}
