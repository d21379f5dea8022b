//! The `.aic` file: a short header and packed codes.
//!
//! Layout, big endian: magic `AIC1`, model id u16, levels u8, reserved u8 (0), samples u32 (of 16 kHz sound), then
//! `ceil(samples / 320) + 1` frames of `levels` codes of 10 bits, most significant bit first, without padding
//! between frames; the last byte is padded with zeros. The extra frame flushes the decoder's one-hop lag.

use crate::{BITS_PER_LEVEL, FRAME_SAMPLES, LEVELS_MAX, ModelId};

const MAGIC: &[u8; 4] = b"AIC1";
const HEADER: usize = 12;

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
        let mut out = Vec::with_capacity(HEADER + self.codes.len() * 2);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.model.0.to_be_bytes());
        out.extend_from_slice(&[self.levels, 0]);
        out.extend_from_slice(&self.samples.to_be_bytes());
        let (mut bits, mut held) = (0u32, 0u32);
        for &code in &self.codes {
            bits = (bits << BITS_PER_LEVEL) | u32::from(code);
            held += BITS_PER_LEVEL;
            while held >= 8 {
                held -= 8;
                out.push((bits >> held) as u8);
            }
            bits &= (1 << held) - 1;
        }
        if held > 0 {
            out.push((bits << (8 - held)) as u8);
        }
        out
    }

    /// Reads a file whole.
    pub fn parse(bytes: &[u8]) -> Result<Self, FileError> {
        if bytes.len() < HEADER || &bytes[..4] != MAGIC {
            return Err(FileError::Magic);
        }
        let levels = bytes[6];
        if !(1..=LEVELS_MAX as u8).contains(&levels) {
            return Err(FileError::Levels(levels));
        }
        let samples = u32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        let codes = Self::frames(samples) * usize::from(levels);
        let expected = (codes * BITS_PER_LEVEL as usize).div_ceil(8);
        let body = &bytes[HEADER..];
        if body.len() < expected {
            return Err(FileError::Truncated {
                found: body.len(),
                expected,
            });
        }
        let mut file = Self {
            model: ModelId(u16::from_be_bytes([bytes[4], bytes[5]])),
            levels,
            samples,
            codes: Vec::with_capacity(codes),
        };
        let (mut bits, mut held, mut body) = (0u32, 0u32, body.iter());
        while file.codes.len() < codes {
            while held < BITS_PER_LEVEL {
                // The length was checked above, so there is a byte.
                bits = (bits << 8) | u32::from(*body.next().unwrap_or(&0));
                held += 8;
            }
            held -= BITS_PER_LEVEL;
            file.codes.push((bits >> held) as u16);
            bits &= (1 << held) - 1;
        }
        Ok(file)
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
}
