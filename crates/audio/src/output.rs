//! Where files go: into place when they are complete, or from the first byte on where somebody waits for them.

use std::fs::{self, File, Metadata};
use std::io::{self, BufWriter, IsTerminal, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::WriteError;
use crate::input::STANDARD;

/// A file or pipe that is being written.
pub struct Output {
    name: String,
    to: BufWriter<To>,
    /// Whether it can be gone back in.
    file: bool,
    /// What has to be renamed, and to what, when it is complete.
    pending: Option<(PathBuf, PathBuf)>,
}

enum To {
    File(File),
    Standard(io::Stdout),
}

impl Write for To {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.write(bytes),
            Self::Standard(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File(file) => file.flush(),
            Self::Standard(out) => out.flush(),
        }
    }
}

impl Output {
    /// A file that appears under its name when [`Output::finish`] is called, and not at all if it never is. `-` is
    /// standard output; a pipe or a device is written as it is. One of `sources`, under whatever name, is refused.
    pub fn complete(path: &Path, sources: &[&Path]) -> Result<Self, WriteError> {
        Self::open(path, sources, true).map_err(|cause| failed(path, cause))
    }

    /// A file that is there from the beginning and grows. `-`, pipes, devices and `sources` as before.
    pub fn growing(path: &Path, sources: &[&Path]) -> Result<Self, WriteError> {
        Self::open(path, sources, false).map_err(|cause| failed(path, cause))
    }

    fn open(path: &Path, sources: &[&Path], complete: bool) -> io::Result<Self> {
        let mut output = Self {
            name: name(path),
            to: BufWriter::new(To::Standard(io::stdout())),
            file: false,
            pending: None,
        };
        if path.as_os_str() == STANDARD {
            if io::stdout().is_terminal() {
                return Err(io::Error::other(
                    "it is a terminal; direct it into a file or a pipe",
                ));
            }
            return Ok(output);
        }
        if sources.iter().any(|source| is_same_file(source, path)) {
            return Err(io::Error::other("it is the file that is read; name another"));
        }
        let there = fs::metadata(path).ok();
        let file = match &there {
            Some(there) if !there.is_file() => File::options().write(true).open(path)?,
            _ if !complete => File::create(path)?,
            _ => {
                // What a link points to is replaced, not the link.
                let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
                let (file, part) = part(&target, there.as_ref())?;
                output.pending = Some((part, target));
                file
            }
        };
        output.file = file.metadata()?.is_file();
        output.to = BufWriter::new(To::File(file));
        Ok(output)
    }

    /// Writes over what stands at `at`, if this is a file; a pipe cannot be gone back in, which `false` says.
    pub fn patch(&mut self, at: u64, bytes: &[u8]) -> Result<bool, WriteError> {
        if !self.file {
            return Ok(false);
        }
        self.patch_file(at, bytes).map_err(|cause| self.failed(cause))?;
        Ok(true)
    }

    fn patch_file(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.to.flush()?;
        if let To::File(file) = self.to.get_mut() {
            file.seek(SeekFrom::Start(at))?;
            file.write_all(bytes)?;
            file.seek(SeekFrom::End(0))?;
        }
        Ok(())
    }

    /// Whether it can be gone back in.
    pub fn is_file(&self) -> bool {
        self.file
    }

    /// Appends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.to.write_all(bytes).map_err(|cause| self.failed(cause))
    }

    /// Writes what is left and puts the file into its place.
    pub fn finish(mut self) -> Result<(), WriteError> {
        self.to.flush().map_err(|cause| self.failed(cause))?;
        if let Some((part, target)) = &self.pending {
            fs::rename(part, target).map_err(|cause| self.failed(cause))?;
            self.pending = None;
        }
        Ok(())
    }

    fn failed(&self, cause: io::Error) -> WriteError {
        WriteError {
            file: self.name.clone(),
            cause,
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some((part, _)) = &self.pending {
            // Nobody is left to be told.
            let _ = fs::remove_file(part);
        }
    }
}

/// A new file beside `target`, with the rights of what it will replace.
fn part(target: &Path, replaced: Option<&Metadata>) -> io::Result<(File, PathBuf)> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    if target.file_name().is_none() {
        return Err(io::Error::other("it names no file"));
    }
    if replaced.is_some_and(|replaced| replaced.permissions().readonly()) {
        return Err(io::Error::other("it is there and may not be written"));
    }
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let part = target.with_file_name(format!(".auralink-{}-{number}.part", std::process::id()));
    let file = File::create(&part)?;
    if let Some(replaced) = replaced {
        file.set_permissions(replaced.permissions())?;
    }
    Ok((file, part))
}

/// Whether two names stand for one file, be it by a link or by the redirection of standard input.
pub fn is_same_file(one: &Path, other: &Path) -> bool {
    let file = |path: &Path| {
        let path = if path.as_os_str() == STANDARD {
            Path::new("/dev/stdin")
        } else {
            path
        };
        fs::metadata(path).ok().filter(Metadata::is_file)
    };
    match (file(one), file(other)) {
        (Some(one), Some(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

fn name(path: &Path) -> String {
    if path.as_os_str() == STANDARD {
        "standard output".to_owned()
    } else {
        path.display().to_string()
    }
}

fn failed(path: &Path, cause: io::Error) -> WriteError {
    WriteError {
        file: name(path),
        cause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        fs::write(&path, "before").unwrap();
        let mut output = Output::complete(&path, &[]).unwrap();
        output.write(b"half").unwrap();
        drop(output);
        assert_eq!(fs::read(&path).unwrap(), b"before");
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "nothing is left behind"
        );
        let mut output = Output::complete(&path, &[]).unwrap();
        output.write(b"whole").unwrap();
        assert!(output.patch(1, b"a").unwrap());
        output.write(b"!").unwrap();
        output.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"waole!");
    }

    #[test]
    fn the_source_is_refused_as_target_under_every_name_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("x"), "sound").unwrap();
        fs::hard_link(path("x"), path("hard")).unwrap();
        std::os::unix::fs::symlink("x", path("soft")).unwrap();
        for name in ["x", "hard", "soft", "./x"] {
            for open in [Output::complete, Output::growing] {
                let error = open(&path(name), &[&path("x")])
                    .err()
                    .expect("refused")
                    .to_string();
                assert!(error.contains("the file that is read"), "{name}: {error}");
            }
        }
        assert_eq!(fs::read(path("x")).unwrap(), b"sound");
        Output::complete(&path("soft"), &[]).unwrap().finish().unwrap();
        assert!(path("soft").is_symlink(), "a link stays one");
        assert_eq!(fs::read(path("x")).unwrap(), b"");
    }

    #[test]
    fn a_file_that_may_not_be_written_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        fs::write(&path, "kept").unwrap();
        let mut rights = fs::metadata(&path).unwrap().permissions();
        rights.set_readonly(true);
        fs::set_permissions(&path, rights).unwrap();
        assert!(Output::complete(&path, &[]).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"kept");
    }

    #[test]
    fn a_device_is_written_as_it_is() {
        let mut output = Output::complete("/dev/null".as_ref(), &[]).unwrap();
        output.write(b"x").unwrap();
        assert!(!output.patch(0, b"y").unwrap());
        output.finish().unwrap();
        assert!(Output::complete("/".as_ref(), &[]).is_err());
        assert!(Output::complete("/nowhere/x".as_ref(), &[]).is_err());
    }
}
