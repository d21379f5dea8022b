//! WAV files: mono, 16 bit.

use std::path::Path;

use crate::error::WriteError;
use crate::output::Output;

/// Bytes before the sound.
const HEADER: usize = 44;

/// A WAV file that is being written.
pub struct WavWriter {
    out: Output,
    rate: u32,
    /// Bytes of sound.
    length: u64,
    bytes: Vec<u8>,
}

impl WavWriter {
    /// Begins a file of `rate` Hz. A pipe gets a header that leaves its length open, as ffmpeg and sox write and read
    /// it.
    pub fn new(mut out: Output, rate: u32) -> Result<Self, WriteError> {
        let length = out.is_file().then_some(0);
        out.write(&header(rate, length))?;
        Ok(Self {
            out,
            rate,
            length: 0,
            bytes: Vec::new(),
        })
    }

    /// A whole file at once.
    pub fn write_all(path: &Path, rate: u32, pcm: &[f32]) -> Result<(), WriteError> {
        let mut writer = Self::new(Output::complete(path, &[])?, rate)?;
        writer.write(pcm)?;
        writer.finish()
    }

    /// Appends samples; what exceeds full scale is cut off.
    pub fn write(&mut self, pcm: &[f32]) -> Result<(), WriteError> {
        self.bytes.clear();
        // The cast saturates, and makes 0 of NaN.
        let whole = |sample: &f32| (sample * 32_768.0).round() as i16;
        self.bytes
            .extend(pcm.iter().flat_map(|sample| whole(sample).to_le_bytes()));
        self.length += self.bytes.len() as u64;
        self.out.write(&self.bytes)
    }

    /// Brings the file up to date: whatever happens to this process afterwards, all until here can be read.
    pub fn sync(&mut self) -> Result<(), WriteError> {
        self.out.patch(0, &header(self.rate, Some(self.length))).map(drop)
    }

    /// Samples written.
    pub fn samples(&self) -> u64 {
        self.length / 2
    }

    /// Completes the file.
    pub fn finish(mut self) -> Result<(), WriteError> {
        self.sync()?;
        self.out.finish()
    }
}

/// A header; without a length, or with one that it cannot say, the sound goes on to the end of the file.
fn header(rate: u32, length: Option<u64>) -> [u8; HEADER] {
    let known = length.and_then(|length| u32::try_from(length).ok());
    let known = known.filter(|length| *length < u32::MAX - HEADER as u32);
    let data = known.unwrap_or(u32::MAX);
    let file = known.map_or(u32::MAX, |length| length + HEADER as u32 - 8);
    let mut bytes = [0; HEADER];
    let fields: [&[u8]; 13] = [
        b"RIFF",
        &file.to_le_bytes(),
        b"WAVE",
        b"fmt ",
        &16u32.to_le_bytes(),
        &1u16.to_le_bytes(),
        &1u16.to_le_bytes(),
        &rate.to_le_bytes(),
        &(2 * rate).to_le_bytes(),
        &2u16.to_le_bytes(),
        &16u16.to_le_bytes(),
        b"data",
        &data.to_le_bytes(),
    ];
    let mut at = 0;
    for field in fields {
        bytes[at..at + field.len()].copy_from_slice(field);
        at += field.len();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::read_all;

    #[test]
    fn what_was_written_is_read_back_to_the_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.wav");
        let pcm: Vec<f32> = (-32_768..32_768).map(|n| n as f32 / 32_768.0).collect();
        WavWriter::write_all(&path, 16_000, &pcm).unwrap();
        assert_eq!(read_all(&path, 16_000).unwrap(), pcm);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 44 + 2 * 65_536);
        WavWriter::write_all(&path, 16_000, &[3.0, -3.0, f32::NAN]).unwrap();
        assert_eq!(read_all(&path, 16_000).unwrap(), [32_767.0 / 32_768.0, -1.0, 0.0]);
    }

    #[test]
    fn a_file_that_is_never_finished_can_be_read_as_far_as_it_was_synced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.wav");
        let mut writer = WavWriter::new(Output::growing(&path, &[]).unwrap(), 48_000).unwrap();
        writer.write(&[0.5; 480]).unwrap();
        writer.sync().unwrap();
        writer.write(&[0.25; 10]).unwrap();
        std::mem::forget(writer);
        assert_eq!(read_all(&path, 48_000).unwrap(), [0.5; 480]);
        assert_eq!(std::fs::read(&path).unwrap()[40..44], 960u32.to_le_bytes());
    }

    #[test]
    fn a_length_that_the_header_cannot_say_is_left_open() {
        for length in [None, Some(u64::from(u32::MAX) - 10), Some(1 << 40)] {
            let header = header(48_000, length);
            assert_eq!(header[4..8], [0xff; 4]);
            assert_eq!(header[40..44], [0xff; 4]);
        }
        assert_eq!(header(48_000, Some(1 << 31))[40..44], (1u32 << 31).to_le_bytes());
    }
}
