//! What the participant hears, written to a WAV file: 48 kHz, mono, 16 bit, from joining to leaving.

use std::path::Path;

use auralink_audio::{Output, WavWriter, WriteError};

use crate::source::SAMPLE_RATE;

/// A recording in progress.
pub(crate) struct Recorder {
    writer: WavWriter,
    /// Samples at the last time when the file was brought up to date.
    synced: u64,
}

impl Recorder {
    pub(crate) fn create(path: &Path) -> Result<Self, WriteError> {
        Ok(Self {
            writer: WavWriter::new(Output::growing(path, &[])?, SAMPLE_RATE)?,
            synced: 0,
        })
    }

    /// Appends a block; once a second the file is such that all until then survives a killed client.
    pub(crate) fn write(&mut self, block: &[f32]) -> Result<(), WriteError> {
        self.writer.write(block)?;
        if self.writer.samples() - self.synced >= SAMPLE_RATE.into() {
            self.synced = self.writer.samples();
            self.writer.sync()?;
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<(), WriteError> {
        self.writer.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_whose_client_is_killed_can_be_read_up_to_its_last_second() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("heard.wav");
        let mut recorder = Recorder::create(&path).unwrap();
        let tone: Vec<f32> = (0..480).map(|n| (n as f32 * 0.1).sin()).collect();
        for _ in 0..250 {
            recorder.write(&tone).unwrap();
        }
        // As killed: neither finished nor dropped.
        std::mem::forget(recorder);
        let heard = auralink_audio::read_all(&path, SAMPLE_RATE).unwrap();
        assert_eq!(heard.len(), 2 * SAMPLE_RATE as usize);
        assert!(heard.chunks(480).all(|block| (block[7] - tone[7]).abs() < 1e-4));
    }
}
