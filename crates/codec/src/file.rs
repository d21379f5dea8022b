//! The `.aic` file: a short header and packed codes.
//!
//! Layout, big endian: magic `AIC1`, model id u16, levels u8, reserved u8 (0), samples u32 (of 16 kHz sound), then
//! `ceil(samples / 320) + 1` frames of `levels` codes of 10 bits, most significant bit first, without padding
//! between frames; the last byte is padded with zeros. The extra frame flushes the decoder's one-hop lag. Samples
//! 0xffffffff, as written into a pipe, mean that frames go on to the end of the file.

use crate::{BITS_PER_LEVEL, FRAME_SAMPLES, LEVELS_MAX, ModelId};

const MAGIC: &[u8; 4] = b"AIC1";

/// Samples of a file whose writer could not go back to say how many.
const UNTOLD: u32 = u32::MAX;

/// Why a file was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// Not an `.aic` file.
    #[error("magic: not an .aic file")]
    Magic,
    /// Levels out of bounds.
    #[error("levels: must be 1 to {LEVELS_MAX}, got {0}")]
    Levels(u8),
    /// Fewer bytes than the header promises.
    #[error("codes: {found} bytes, the header promises {expected}")]
    Truncated {
        /// Bytes there.
        found: usize,
        /// Bytes promised.
        expected: usize,
    },
}

/// What stands before the codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The model that coded it.
    pub model: ModelId,
    /// Levels per frame.
    pub levels: u8,
    /// Samples of sound at 16 kHz; `None` in a file that was written into a pipe, where the number of frames tells.
    pub samples: Option<u32>,
}

impl Header {
    /// Bytes of a header.
    pub const BYTES: usize = 12;

    /// Its bytes.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let [m0, m1] = self.model.0.to_be_bytes();
        let [s0, s1, s2, s3] = self.samples.unwrap_or(UNTOLD).to_be_bytes();
        let [a, i, c, one] = *MAGIC;
        [a, i, c, one, m0, m1, self.levels, 0, s0, s1, s2, s3]
    }

    /// Reads the beginning of a file.
    pub fn parse(bytes: &[u8]) -> Result<Self, FileError> {
        let Some(&[a, i, c, one, m0, m1, levels, _, s0, s1, s2, s3]) = bytes.first_chunk() else {
            return Err(FileError::Magic);
        };
        if [a, i, c, one] != *MAGIC {
            return Err(FileError::Magic);
        }
        if !(1..=LEVELS_MAX as u8).contains(&levels) {
            return Err(FileError::Levels(levels));
        }
        let samples = u32::from_be_bytes([s0, s1, s2, s3]);
        Ok(Self {
            model: ModelId(u16::from_be_bytes([m0, m1])),
            levels,
            samples: (samples != UNTOLD).then_some(samples),
        })
    }

    /// Bytes of so many frames.
    pub fn bytes_of(&self, frames: usize) -> usize {
        (frames * usize::from(self.levels) * BITS_PER_LEVEL as usize).div_ceil(8)
    }
}

/// Codes to bytes, as they come.
#[derive(Clone, Debug, Default)]
pub struct Packer {
    bits: u32,
    held: u32,
}

impl Packer {
    /// Appends the bytes that `codes` complete.
    pub fn push(&mut self, codes: &[u16], out: &mut Vec<u8>) {
        for &code in codes {
            self.bits = (self.bits << BITS_PER_LEVEL) | u32::from(code);
            self.held += BITS_PER_LEVEL;
            while self.held >= 8 {
                self.held -= 8;
                out.push((self.bits >> self.held) as u8);
            }
            self.bits &= (1 << self.held) - 1;
        }
    }

    /// Appends what is left of the last byte.
    pub fn finish(self, out: &mut Vec<u8>) {
        if self.held > 0 {
            out.push((self.bits << (8 - self.held)) as u8);
        }
    }
}

/// Bytes to codes, as they come.
#[derive(Clone, Debug, Default)]
pub struct Unpacker {
    bits: u32,
    held: u32,
}

impl Unpacker {
    /// The code that `byte` completes; never more than one, as a code is longer than a byte.
    pub fn push(&mut self, byte: u8) -> Option<u16> {
        self.bits = (self.bits << 8) | u32::from(byte);
        self.held += 8;
        self.held = self.held.checked_sub(BITS_PER_LEVEL)?;
        let code = (self.bits >> self.held) as u16;
        self.bits &= (1 << self.held) - 1;
        Some(code)
    }
}

/// A coded recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AicFile {
    /// The model that coded it.
    pub model: ModelId,
    /// Levels per frame.
    pub levels: u8,
    /// Samples of sound at 16 kHz.
    pub samples: u32,
    /// `[frames][levels]`.
    pub codes: Vec<u16>,
}

impl AicFile {
    /// Frames for that many samples, the flushing frame included.
    pub fn frames(samples: u32) -> usize {
        (samples as usize).div_ceil(FRAME_SAMPLES) + 1
    }

    /// Bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let header = Header {
            model: self.model,
            levels: self.levels,
            samples: Some(self.samples),
        };
        let mut out = Vec::with_capacity(Header::BYTES + self.codes.len() * 2);
        out.extend_from_slice(&header.to_bytes());
        let mut packer = Packer::default();
        packer.push(&self.codes, &mut out);
        packer.finish(&mut out);
        out
    }

    /// Reads a file whole.
    pub fn parse(bytes: &[u8]) -> Result<Self, FileError> {
        let header = Header::parse(bytes)?;
        let body = &bytes[Header::BYTES..];
        let in_body = body.len() * 8 / (usize::from(header.levels) * BITS_PER_LEVEL as usize);
        let samples = match header.samples {
            Some(samples) => samples,
            // Frames beyond what a header can say are left out.
            None => u32::try_from(in_body.saturating_sub(1) * FRAME_SAMPLES).unwrap_or(UNTOLD - 1),
        };
        let frames = Self::frames(samples);
        let expected = header.bytes_of(frames);
        if body.len() < expected {
            return Err(FileError::Truncated {
                found: body.len(),
                expected,
            });
        }
        let mut unpacker = Unpacker::default();
        let codes = body[..expected].iter().filter_map(|byte| unpacker.push(*byte));
        Ok(Self {
            model: header.model,
            levels: header.levels,
            samples,
            codes: codes.take(frames * usize::from(header.levels)).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_survives_the_round_trip_and_no_truncation_passes() {
        let levels = 7u8;
        let codes = (0..AicFile::frames(1000) * 7)
            .map(|i| (i * 389 % 1024) as u16)
            .collect();
        let file = AicFile {
            model: ModelId(0xabcd),
            levels,
            samples: 1000,
            codes,
        };
        let bytes = file.to_bytes();
        assert_eq!(AicFile::parse(&bytes), Ok(file));
        for end in 0..bytes.len() {
            assert!(AicFile::parse(&bytes[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn a_file_from_a_pipe_goes_on_to_its_end() {
        let whole = AicFile {
            model: ModelId(7),
            levels: 3,
            samples: 2 * FRAME_SAMPLES as u32,
            codes: (0..9).map(|n| n * 100).collect(),
        };
        let mut bytes = whole.to_bytes();
        bytes[8..12].fill(0xff);
        assert_eq!(Header::parse(&bytes).map(|header| header.samples), Ok(None));
        assert_eq!(AicFile::parse(&bytes), Ok(whole));
        assert!(
            AicFile::parse(&bytes[..Header::BYTES]).is_err(),
            "not even the flushing frame"
        );
    }
}
