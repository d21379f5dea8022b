//! One command of a chore: said aloud, run in the repository's root, its failure named.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Where things lie.
pub struct Place {
    /// Root of the repository.
    pub root: PathBuf,
    /// Directory in which cargo puts the programs of this build, wherever the target directory is.
    pub programs: PathBuf,
}

impl Place {
    /// Finds both from this program itself.
    pub fn find() -> Result<Self> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = manifest
            .parent()
            .context("xtask lies in no repository")?
            .to_owned();
        let this = std::env::current_exe().context("where is xtask")?;
        let programs = this.parent().context("xtask lies in no directory")?.to_owned();
        Ok(Self { root, programs })
    }

    /// A program that this workspace builds.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }
}

/// A command with what it is called in messages.
pub struct Step {
    said: String,
    command: Command,
}

impl Step {
    /// A command run in the repository's root without standard input: no chore asks anything.
    pub fn new<A: AsRef<OsStr>>(
        place: &Place,
        program: impl AsRef<OsStr>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        let mut command = Command::new(program.as_ref());
        command
            .args(arguments)
            .current_dir(&place.root)
            .stdin(Stdio::null());
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let said = words
            .map(|word| word.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ");
        Self { said, command }
    }

    /// Runs it elsewhere, relative to the root.
    pub fn within(mut self, place: &Place, directory: &str) -> Self {
        self.command.current_dir(place.root.join(directory));
        self
    }

    /// What it is called in messages instead of its whole command line.
    pub fn named(mut self, name: &str) -> Self {
        self.said = name.to_owned();
        self
    }

    /// Sets a variable of its environment.
    pub fn with(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs it to its end and gives its exit code; 255 when a signal ended it.
    pub fn code(mut self) -> Result<u8> {
        eprintln!("x: {}", self.said);
        let status = self
            .command
            .status()
            .with_context(|| format!("cannot start {}", self.said))?;
        Ok(status
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .unwrap_or(u8::MAX))
    }

    /// Runs it to its end; anything but success is an error.
    pub fn run(self) -> Result<()> {
        let said = self.said.clone();
        match self.code()? {
            0 => Ok(()),
            code => bail!("{said} ended with {code}"),
        }
    }

    /// Whether it can be run at all and succeeds; prints nothing.
    pub fn works(mut self) -> bool {
        let quiet = self.command.stdout(Stdio::null()).stderr(Stdio::null());
        quiet.status().is_ok_and(|status| status.success())
    }
}

/// A call of the cargo that built this.
pub fn cargo<A: Into<OsString>>(place: &Place, arguments: impl IntoIterator<Item = A>) -> Step {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    Step::new(place, cargo, arguments.into_iter().map(Into::into))
}
