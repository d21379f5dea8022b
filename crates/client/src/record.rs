//! What the participant hears, written to a WAV file: 48 kHz, mono, 16 bit, from joining to leaving.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use crate::error::JoinError;
use crate::source::SAMPLE_RATE;

/// A recording in progress.
pub(crate) struct Recorder {
    path: PathBuf,
    writer: hound::WavWriter<BufWriter<File>>,
}

impl Recorder {
    pub(crate) fn create(path: &Path) -> Result<Self, JoinError> {
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: SAMPLE_RATE,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let writer = hound::WavWriter::create(path, spec).map_err(|cause| JoinError::Record {
            path: path.to_owned(),
            cause,
        })?;
        Ok(Self {
            path: path.to_owned(),
            writer,
        })
    }

    pub(crate) fn write(&mut self, block: &[f32]) -> Result<(), JoinError> {
        for sample in block {
            let value = (sample.clamp(-1.0, 1.0) * f32::from(i16::MAX)).round() as i16;
            self.writer
                .write_sample(value)
                .map_err(|cause| JoinError::Record {
                    path: self.path.clone(),
                    cause,
                })?;
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<(), JoinError> {
        let path = self.path;
        self.writer
            .finalize()
            .map_err(|cause| JoinError::Record { path, cause })
    }
}
