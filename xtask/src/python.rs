//! The project's Python environment: `.venv` in the root, ignored by git, filled from pinned lists.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::step::{Place, Step};

/// The interpreter of the environment, with everything in `requirements` (relative to the root) installed.
pub fn with(place: &Place, requirements: &str) -> Result<PathBuf> {
    let environment = place.root.join(".venv");
    let interpreter = environment.join("bin/python");
    if !Step::new(place, &interpreter, ["-c", "import pip"]).works() {
        Step::new(place, "python3", ["-m", "venv", "--clear", ".venv"]).run()?;
    }
    let wanted = fs::read_to_string(place.root.join(requirements))
        .with_context(|| format!("cannot read {requirements}"))?;
    // A copy of the list says what is installed, so that nothing is asked of the network a second time.
    let stamp = environment.join(requirements.replace('/', "-"));
    if !is_done(&stamp, &wanted) {
        let arguments = [
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-r",
            requirements,
        ];
        Step::new(place, &interpreter, arguments).run()?;
        fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
    }
    Ok(interpreter)
}

fn is_done(stamp: &Path, wanted: &str) -> bool {
    fs::read_to_string(stamp).is_ok_and(|installed| installed == wanted)
}
