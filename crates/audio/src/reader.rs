//! A sound file as mono of one rate, a piece at a time: what memory it takes does not depend on its length.

use std::io::Read;
use std::path::Path;

use crate::decoder::{self, Decoder};
use crate::downmix::Downmix;
use crate::error::{AudioError, Problem};
use crate::input::{Input, STANDARD};
use crate::resample::{self, Resampler};

/// Samples that [`Reader::check`] and [`read_all`] take at a time.
const PIECE: usize = 16 * 1024;

/// A sound file that is being read.
pub struct Reader {
    file: String,
    rate: u32,
    decoder: Box<dyn Decoder>,
    downmix: Downmix,
    resampler: Option<Resampler>,
    interleaved: Vec<f32>,
    mono: Vec<f32>,
    ready: Vec<f32>,
    /// What of `ready` has been read.
    taken: usize,
    ended: bool,
    /// Samples of a channel decoded.
    frames: u64,
}

impl Reader {
    /// Opens a file of any kind that is read, as mono of `rate` Hz; `-` is standard input. A file without a sample is
    /// refused.
    pub fn open(path: &Path, rate: u32) -> Result<Self, AudioError> {
        let file = if path.as_os_str() == STANDARD {
            "standard input".to_owned()
        } else {
            path.display().to_string()
        };
        match Input::open(path) {
            Ok(input) => Self::begin(file, input, rate),
            Err(problem) => Err(problem.of(&file)),
        }
    }

    /// The same for bytes from elsewhere, called `name` in errors.
    pub fn new(name: &str, bytes: impl Read + Send + 'static, rate: u32) -> Result<Self, AudioError> {
        Self::begin(name.to_owned(), Input::new(bytes), rate)
    }

    fn begin(file: String, input: Input, rate: u32) -> Result<Self, AudioError> {
        let decoder = decoder::open(input).map_err(|problem| problem.of(&file))?;
        let format = decoder.format();
        let downmix = Downmix::new(format.layout.clone(), format.rate);
        let resampler = (format.rate != rate).then(|| Resampler::new(format.rate, rate));
        let mut reader = Self {
            file,
            rate,
            decoder,
            downmix,
            resampler,
            interleaved: Vec::new(),
            mono: Vec::new(),
            ready: Vec::new(),
            taken: 0,
            ended: false,
            frames: 0,
        };
        while reader.frames == 0 {
            if reader.ended {
                return Err(Problem::NoSamples.of(&reader.file));
            }
            reader.more()?;
        }
        Ok(reader)
    }

    /// What the file is, for people.
    pub fn describe(&self) -> String {
        let format = self.decoder.format();
        let channels = match format.layout.len() {
            1 => "mono".to_owned(),
            2 => "stereo".to_owned(),
            n => format!("{n} channels"),
        };
        format!("{}, {} Hz, {channels}", format.name, format.rate)
    }

    /// Samples that will be read, where the file says so. A hint: a file may be cut off.
    pub fn expected(&self) -> Option<u64> {
        let format = self.decoder.format();
        Some(resample::length(
            format.frames?,
            format.rate.into(),
            self.rate.into(),
        ))
    }

    /// Whether the file's samples may be what no sound has, so that only [`Reader::check`] knows.
    pub fn may_be_damaged(&self) -> bool {
        self.decoder.format().floats
    }

    /// Reads to the end and says whether all of it can be read.
    pub fn check(mut self) -> Result<(), AudioError> {
        let mut piece = vec![0.0; PIECE];
        while self.read(&mut piece)? > 0 {}
        Ok(())
    }

    /// Fills `out` with what comes next and says how much that is: less than all of it only at the end.
    pub fn read(&mut self, out: &mut [f32]) -> Result<usize, AudioError> {
        let mut filled = 0;
        while filled < out.len() {
            let rest = &self.ready[self.taken..];
            if rest.is_empty() {
                if self.ended {
                    break;
                }
                self.more()?;
                continue;
            }
            let count = rest.len().min(out.len() - filled);
            out[filled..filled + count].copy_from_slice(&rest[..count]);
            self.taken += count;
            filled += count;
        }
        Ok(filled)
    }

    fn more(&mut self) -> Result<(), AudioError> {
        self.ready.drain(..self.taken);
        self.taken = 0;
        self.interleaved.clear();
        let more = self.decoder.more(&mut self.interleaved).and_then(|more| {
            self.refuse_what_no_sound_has()?;
            Ok(more)
        });
        self.ended = !more.map_err(|problem| problem.of(&self.file))?;
        self.frames += (self.interleaved.len() / self.decoder.format().layout.len()) as u64;
        let mono = match &self.resampler {
            Some(_) => &mut self.mono,
            None => &mut self.ready,
        };
        self.downmix.push(&self.interleaved, mono);
        if self.ended {
            self.downmix.flush(mono);
        }
        if let Some(resampler) = &mut self.resampler {
            resampler.push(&self.mono, &mut self.ready);
            self.mono.clear();
            if self.ended {
                resampler.finish(&mut self.ready);
            }
        }
        Ok(())
    }

    fn refuse_what_no_sound_has(&self) -> Result<(), Problem> {
        let Some(at) = self.interleaved.iter().position(|sample| !sample.is_finite()) else {
            return Ok(());
        };
        let channels = self.decoder.format().layout.len();
        Err(Problem::NotFinite {
            frame: self.frames + (at / channels) as u64,
            channel: at % channels,
            value: self.interleaved[at],
        })
    }
}

/// All of a file that is known to be short, as mono of `rate` Hz.
pub fn read_all(path: &Path, rate: u32) -> Result<Vec<f32>, AudioError> {
    let mut reader = Reader::open(path, rate)?;
    let mut all = Vec::new();
    loop {
        let begin = all.len();
        all.resize(begin + PIECE, 0.0);
        let count = reader.read(&mut all[begin..])?;
        all.truncate(begin + count);
        if count < PIECE {
            return Ok(all);
        }
    }
}
