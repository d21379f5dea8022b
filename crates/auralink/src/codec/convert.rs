//! Sound files to .aic files and back, frame by frame: an hour takes no more memory than a second.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use anyhow::{Context, bail, ensure};
use auralink_audio::{Output, Reader, WavWriter};
use auralink_codec::file::{AicFile, FileError, Header, Packer, Unpacker};
use auralink_codec::{Decoder, Encoder, FRAME_SAMPLES, Model, OUTPUT_LAG_SAMPLES, SAMPLE_RATE};

use super::{KBPS_PER_LEVEL, progress};

/// Codes a sound file.
pub(super) fn encode(levels: usize, input: &Path, output: &Path) -> anyhow::Result<()> {
    let mut sound = Reader::open(input, SAMPLE_RATE)?;
    let mut out = Output::complete(output, &[input])?;
    let model = Model::builtin()?;
    let mut header = Header {
        model: model.id(),
        levels: levels as u8,
        samples: None,
    };
    out.write(&header.to_bytes())?;
    let expected = sound
        .expected()
        .map(|samples| samples.div_ceil(FRAME_SAMPLES as u64));
    let progress = progress(expected, "encoding");
    let (mut encoder, mut packer) = (Encoder::new(model.clone()), Packer::default());
    let (mut codes, mut bytes) = (vec![0u16; levels], Vec::new());
    let (mut samples, mut length) = (0u64, Header::BYTES);
    loop {
        let mut frame = [0.0; FRAME_SAMPLES];
        let count = sound.read(&mut frame)?;
        samples += count as u64;
        encoder.encode(&frame, &mut codes);
        packer.push(&codes, &mut bytes);
        out.write(&bytes)?;
        length += bytes.len();
        bytes.clear();
        progress.inc(1);
        // This frame was the one that flushes the decoder.
        if count == 0 {
            break;
        }
    }
    progress.finish_and_clear();
    packer.finish(&mut bytes);
    out.write(&bytes)?;
    length += bytes.len();
    header.samples = u32::try_from(samples).ok().filter(|samples| *samples < u32::MAX);
    ensure!(
        header.samples.is_some(),
        "the sound is longer than an .aic file can say"
    );
    out.patch(0, &header.to_bytes())?;
    out.finish()?;
    eprintln!(
        "{}: {:.2} s at {} kbit/s, {length} bytes, model {}",
        output.display(),
        samples as f64 / f64::from(SAMPLE_RATE),
        levels as f64 * KBPS_PER_LEVEL,
        model.id()
    );
    Ok(())
}

/// Decodes an .aic file.
pub(super) fn decode(input: &Path, output: &Path) -> anyhow::Result<()> {
    let name = || input.display().to_string();
    let mut coded = CodedFile::open(input).with_context(name)?;
    let header = coded.header;
    let model = Model::builtin()?;
    if header.model != model.id() {
        bail!(
            "{}: coded by model {}, this build has {}",
            name(),
            header.model,
            model.id()
        );
    }
    let mut wav = WavWriter::new(Output::complete(output, &[input])?, SAMPLE_RATE)?;
    let frames = header.samples.map(AicFile::frames);
    let progress = progress(frames.map(|frames| frames as u64), "decoding");
    let mut decoder = Decoder::new(model);
    let mut codes = vec![0u16; usize::from(header.levels)];
    let (mut pcm, mut ready) = ([0.0; FRAME_SAMPLES], Vec::new());
    let mut read = 0;
    while frames.is_none_or(|frames| read < frames) && coded.frame(&mut codes).with_context(name)? {
        decoder.decode(&codes, &mut pcm).with_context(name)?;
        // What comes out lags: the first of it is from before the sound, and the last frame only brings the rest.
        ready.extend_from_slice(if read == 0 {
            &pcm[OUTPUT_LAG_SAMPLES..]
        } else {
            &pcm
        });
        let told = header.samples.map_or(u64::MAX, u64::from);
        let due = told.min((read * FRAME_SAMPLES) as u64) - wav.samples();
        wav.write(&ready[..due as usize])?;
        ready.drain(..due as usize);
        read += 1;
        progress.inc(1);
    }
    progress.finish_and_clear();
    let expected = frames.unwrap_or(1);
    if read < expected {
        let (found, expected) = (header.bytes_of(read), header.bytes_of(expected));
        return Err(FileError::Truncated { found, expected }).with_context(name);
    }
    let seconds = wav.samples() as f64 / f64::from(SAMPLE_RATE);
    wav.finish()?;
    eprintln!("{}: {seconds:.2} s", output.display());
    Ok(())
}

/// A file, or standard input.
pub(super) fn source(path: &Path) -> io::Result<Box<dyn Read>> {
    Ok(if path.as_os_str() == "-" {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path)?)
    })
}

/// An .aic file that is being read.
struct CodedFile {
    header: Header,
    bytes: io::Bytes<BufReader<Box<dyn Read>>>,
    unpacker: Unpacker,
}

impl CodedFile {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let mut from = BufReader::new(source(path)?);
        let mut header = Vec::new();
        from.by_ref()
            .take(Header::BYTES as u64)
            .read_to_end(&mut header)?;
        Ok(Self {
            header: Header::parse(&header)?,
            bytes: from.bytes(),
            unpacker: Unpacker::default(),
        })
    }

    /// The next frame; `false` where the file ends before it is whole.
    fn frame(&mut self, codes: &mut [u16]) -> io::Result<bool> {
        for code in codes {
            *code = loop {
                let Some(byte) = self.bytes.next().transpose()? else {
                    return Ok(false);
                };
                if let Some(code) = self.unpacker.push(byte) {
                    break code;
                }
            };
        }
        Ok(true)
    }
}
