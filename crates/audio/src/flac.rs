//! FLAC, by `claxon`.

use claxon::{Block, Error, FlacReader};

use crate::decoder::{Decoder, Format};
use crate::error::Problem;
use crate::input::Input;
use crate::layout;
use crate::wav::{RATES, RATES_TEXT};

/// A FLAC file.
pub(crate) struct Flac {
    format: Format,
    reader: FlacReader<Input>,
    full_scale: f32,
    buffer: Vec<i32>,
}

impl Flac {
    pub(crate) fn open(input: Input) -> Result<Self, Problem> {
        let reader = FlacReader::new(input).map_err(problem)?;
        let info = reader.streaminfo();
        if !RATES.contains(&info.sample_rate) {
            return Err(Problem::Field {
                field: "sample rate",
                found: info.sample_rate.into(),
                expected: RATES_TEXT,
            });
        }
        let bits = info.bits_per_sample.clamp(1, 32);
        Ok(Self {
            format: Format {
                name: format!("FLAC, {bits} bit"),
                rate: info.sample_rate,
                layout: layout::usual(info.channels.max(1) as usize),
                frames: info.samples,
                floats: false,
            },
            reader,
            full_scale: (1u64 << (bits - 1)) as f32,
            buffer: Vec::new(),
        })
    }

    fn append(&self, block: &Block, out: &mut Vec<f32>) -> Result<(), Problem> {
        let channels = self.format.layout.len();
        if block.channels() as usize != channels {
            return Err(Problem::Damaged(format!(
                "a frame of {} channels among frames of {channels}",
                block.channels()
            )));
        }
        let begin = out.len();
        out.resize(begin + block.duration() as usize * channels, 0.0);
        for channel in 0..channels {
            let places = out[begin + channel..].iter_mut().step_by(channels);
            for (place, sample) in places.zip(block.channel(channel as u32)) {
                *place = *sample as f32 / self.full_scale;
            }
        }
        Ok(())
    }
}

impl Decoder for Flac {
    fn format(&self) -> &Format {
        &self.format
    }

    fn more(&mut self, out: &mut Vec<f32>) -> Result<bool, Problem> {
        let buffer = std::mem::take(&mut self.buffer);
        match self.reader.blocks().read_next_or_eof(buffer) {
            Ok(Some(block)) => {
                self.append(&block, out)?;
                self.buffer = block.into_buffer();
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(Error::IoError(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                tracing::warn!("the file ends within a frame: it was cut off");
                Ok(false)
            }
            Err(error) => Err(problem(error)),
        }
    }
}

fn problem(error: Error) -> Problem {
    match error {
        Error::IoError(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => Problem::Io(error),
        error => Problem::Damaged(format!("FLAC: {error}")),
    }
}
