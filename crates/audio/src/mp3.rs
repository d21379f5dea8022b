//! MPEG audio (MP3, and layers I and II), by `nanomp3`.

use nanomp3::{Decoder as Frames, MAX_SAMPLES_PER_FRAME, VbrTag};

use crate::decoder::{Decoder, Format};
use crate::error::Problem;
use crate::input::Input;
use crate::layout;

/// Bytes in hand while decoding: frames are told from chance by those after them.
const AHEAD: usize = 32 * 1024;

/// By how many samples every decoder of layer III is late.
const DECODER_DELAY: u64 = 529;

/// Bytes without a frame after which a file is none.
const MAX_NOISE: u64 = 4 << 20;

/// A stream of frames.
pub(crate) struct Mp3 {
    format: Format,
    input: Input,
    frames: Frames,
    pcm: Vec<f32>,
    /// Samples of a channel that the encoder put before the sound, and those of the sound where that is known.
    skip: u64,
    left: u64,
}

impl Mp3 {
    pub(crate) fn open(mut input: Input, name: &str) -> Result<Self, Problem> {
        let head = input.peek(AHEAD)?;
        let mut frames = nanomp3::frames(head);
        let none = || Problem::Damaged("no frame of MPEG audio in it".to_owned());
        let first = frames.next().ok_or_else(none)?;
        let mut format = Format {
            name: name.to_owned(),
            rate: first.sample_rate,
            layout: layout::usual(first.channels.num().into()),
            frames: None,
            floats: false,
        };
        let (mut begin, mut skip) = (first.offset, 0);
        if let Some(tag) = VbrTag::parse(first.data) {
            // The frame with the tag holds no sound.
            begin += first.data.len();
            if let Some((delay, padding)) = tag.encoder_delay_padding {
                skip = u64::from(delay) + DECODER_DELAY;
                let coded = tag.frames.map(|frames| u64::from(frames) * first.samples as u64);
                let around = u64::from(delay) + u64::from(padding);
                format.frames = coded.map(|coded| coded.saturating_sub(around));
            }
        }
        input.skip(begin as u64)?;
        Ok(Self {
            left: format.frames.unwrap_or(u64::MAX),
            format,
            input,
            frames: Frames::new(),
            pcm: vec![0.0; MAX_SAMPLES_PER_FRAME],
            skip,
        })
    }

    /// Appends one frame's samples, without those before and after the sound.
    fn append(&mut self, samples: usize, channels: usize, out: &mut Vec<f32>) {
        let skipped = self.skip.min(samples as u64);
        self.skip -= skipped;
        let kept = (samples as u64 - skipped).min(self.left);
        if self.left != u64::MAX {
            self.left -= kept;
        }
        let frames = self
            .pcm
            .chunks_exact(channels)
            .skip(skipped as usize)
            .take(kept as usize);
        match (channels, self.format.layout.len()) {
            (1, 2) => frames.for_each(|frame| out.extend([frame[0], frame[0]])),
            (2, 1) => frames.for_each(|frame| out.push(0.5 * (frame[0] + frame[1]))),
            _ => frames.for_each(|frame| out.extend(frame)),
        }
    }
}

impl Decoder for Mp3 {
    fn format(&self) -> &Format {
        &self.format
    }

    fn more(&mut self, out: &mut Vec<f32>) -> Result<bool, Problem> {
        let mut noise = 0;
        loop {
            let head = self.input.peek(AHEAD)?;
            if head.is_empty() || self.left == 0 {
                return Ok(false);
            }
            let (taken, outcome) = self.frames.decode(head, &mut self.pcm);
            self.input.skip(taken.max(1) as u64)?;
            match outcome {
                Ok(info) if info.sample_rate != self.format.rate => {
                    return Err(Problem::Damaged(format!(
                        "the sample rate changes from {} to {} Hz",
                        self.format.rate, info.sample_rate
                    )));
                }
                Ok(info) => {
                    self.append(info.samples_produced, info.channels.num().into(), out);
                    return Ok(true);
                }
                Err(_) => noise += taken.max(1) as u64,
            }
            if noise > MAX_NOISE {
                return Err(Problem::Damaged("no frame of MPEG audio in it".to_owned()));
            }
        }
    }
}
