//! Bytes in order, with a look ahead: all that a decoder may ask of a file or a pipe.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use crate::error::Problem;

/// Bytes asked of the system at a time.
const CHUNK: usize = 64 * 1024;

/// The name that stands for standard input and output.
pub(crate) const STANDARD: &str = "-";

/// A file or pipe that is read from beginning to end.
pub(crate) struct Input {
    from: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    /// What of `buffer` has been read.
    taken: usize,
    ended: bool,
}

impl Input {
    pub(crate) fn new(from: impl Read + Send + 'static) -> Self {
        Self {
            from: Box::new(from),
            buffer: Vec::new(),
            taken: 0,
            ended: false,
        }
    }

    /// A file by its name; `-` is standard input.
    pub(crate) fn open(path: &Path) -> Result<Self, Problem> {
        if path.as_os_str() == STANDARD {
            return Ok(Self::new(io::stdin()));
        }
        let file = File::open(path)?;
        if file.metadata()?.is_dir() {
            return Err(Problem::Directory);
        }
        Ok(Self::new(file))
    }

    /// The next `count` bytes without taking them; fewer at the end.
    pub(crate) fn peek(&mut self, count: usize) -> io::Result<&[u8]> {
        if self.buffer.len() - self.taken < count {
            self.buffer.drain(..self.taken);
            self.taken = 0;
        }
        while self.buffer.len() < count && !self.ended {
            self.refill()?;
        }
        let rest = &self.buffer[self.taken..];
        Ok(&rest[..rest.len().min(count)])
    }

    /// Takes bytes that nobody wants; how many there were.
    pub(crate) fn skip(&mut self, count: u64) -> io::Result<u64> {
        let mut left = count;
        while left > 0 {
            let there = self
                .peek(CHUNK.min(usize::try_from(left).unwrap_or(CHUNK)))?
                .len();
            if there == 0 {
                break;
            }
            self.taken += there;
            left -= there as u64;
        }
        Ok(count - left)
    }

    /// Exactly so many bytes, or `None` where the file ends before.
    pub(crate) fn exactly<const N: usize>(&mut self) -> io::Result<Option<[u8; N]>> {
        let Ok(bytes) = <[u8; N]>::try_from(self.peek(N)?) else {
            return Ok(None);
        };
        self.taken += N;
        Ok(Some(bytes))
    }

    /// Replaces what is in `bytes` by the next `count`; fewer at the end.
    pub(crate) fn read_up_to(&mut self, count: usize, bytes: &mut Vec<u8>) -> io::Result<()> {
        bytes.clear();
        self.by_ref().take(count as u64).read_to_end(bytes)?;
        Ok(())
    }

    fn refill(&mut self) -> io::Result<()> {
        let before = self.buffer.len();
        self.buffer.resize(before + CHUNK, 0);
        let got = loop {
            match self.from.read(&mut self.buffer[before..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                got => break got,
            }
        };
        self.buffer.truncate(before + *got.as_ref().unwrap_or(&0));
        self.ended = got? == 0;
        Ok(())
    }
}

impl Read for Input {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let ready = self.peek(1.min(out.len()))?.len();
        if ready == 0 {
            return Ok(0);
        }
        let rest = &self.buffer[self.taken..];
        let count = rest.len().min(out.len());
        out[..count].copy_from_slice(&rest[..count]);
        self.taken += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pipe that gives one byte at a time.
    struct Trickle(Vec<u8>);

    impl Read for Trickle {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() || out.is_empty() {
                return Ok(0);
            }
            out[0] = self.0.remove(0);
            Ok(1)
        }
    }

    #[test]
    fn a_pipe_that_trickles_is_read_like_a_file() {
        let mut input = Input::new(Trickle((0..100).collect()));
        assert_eq!(input.peek(4).unwrap(), [0, 1, 2, 3]);
        assert_eq!(input.exactly::<2>().unwrap(), Some([0, 1]));
        assert_eq!(input.skip(10).unwrap(), 10);
        let mut bytes = Vec::new();
        input.read_up_to(3, &mut bytes).unwrap();
        assert_eq!(bytes, [12, 13, 14]);
        assert_eq!(input.skip(1_000).unwrap(), 85);
        assert_eq!(input.exactly::<1>().unwrap(), None);
        assert_eq!(input.peek(1).unwrap(), [0u8; 0]);
    }
}
