//! Why a sound file was refused, or could not be written.

use std::io;

/// A file that cannot be read as sound.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {problem}")]
pub struct AudioError {
    /// The file, as it was named.
    pub file: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The system cannot open or read it.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// A directory.
    #[error("a directory, not a sound file")]
    Directory,
    /// Not a single byte.
    #[error("empty, not a sound file")]
    Empty,
    /// A sound file without sound.
    #[error("holds no sample")]
    NoSamples,
    /// Something else than what is read here.
    #[error("{what}; {remedy}")]
    Foreign {
        /// What it is.
        what: String,
        /// What to do with it.
        remedy: String,
    },
    /// A value of the header is out of bounds.
    #[error("{field}: {found} is out of bounds, {expected} can be read")]
    Field {
        /// Which value.
        field: &'static str,
        /// What it is.
        found: u64,
        /// What it may be.
        expected: &'static str,
    },
    /// A sample is not a number, or infinite.
    #[error("sample {frame} of channel {channel} is {value}, which no sound has; the file is damaged")]
    NotFinite {
        /// Position in the file, in samples of a channel, from 0.
        frame: u64,
        /// Channel, from 0.
        channel: usize,
        /// What stands there.
        value: f32,
    },
    /// It contradicts itself.
    #[error("damaged: {0}")]
    Damaged(String),
}

impl Problem {
    pub(crate) fn of(self, file: &str) -> AudioError {
        AudioError {
            file: file.to_owned(),
            problem: self,
        }
    }
}

/// A file that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {file}: {cause}")]
pub struct WriteError {
    /// The file, as it was named.
    pub file: String,
    /// What the system said.
    pub cause: io::Error,
}
