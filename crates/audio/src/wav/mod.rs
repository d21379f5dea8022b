//! WAV as people have it: RIFF, RIFX, RF64 and BW64, with whatever chunks their programs write before the sound, with
//! sizes that were never filled in, cut off in the middle, or with something else behind the sound.
//!
//! The rule is what ffmpeg and sox read. Sizes are promises: sound is read until its chunk or the file ends, whichever
//! comes first.

mod adpcm;
mod format;
mod gsm;
mod samples;

use std::io::Read as _;

use crate::decoder::{Decoder, Format};
use crate::error::Problem;
use crate::input::Input;
use crate::mp3::Mp3;
use format::{Coding, Described};
pub(crate) use format::{RATES, RATES_TEXT};

/// Bytes of sound decoded at a time, if a block is not larger.
const PIECE: usize = 32 * 1024;

/// Sizes from here on were written by a program that could not know: sox writes 0x7ffff000 and less into a pipe, most
/// others all ones.
const UNKNOWN_FROM: u32 = 0x7fff_0000;

/// Chunks before the sound at most; a file with more is made up.
const MAX_CHUNKS: usize = 10_000;

/// Longest format that is kept; what is behind it says nothing about the sound.
const MAX_FORMAT: u64 = 4_096;

/// Decodes a WAV file.
pub(super) fn open(mut input: Input) -> Result<Box<dyn Decoder>, Problem> {
    let mut header = Header::begin(&mut input)?;
    let mut described: Option<Described> = None;
    for _ in 0..MAX_CHUNKS {
        let Some(chunk) = header.chunk(&mut input)? else {
            return Err(if described.is_some() {
                Problem::NoSamples
            } else {
                Problem::Damaged("the file ends in its header, before any sound".to_owned())
            });
        };
        match &chunk.id {
            b"fmt " => {
                let mut bytes = Vec::new();
                input.read_up_to(chunk.size.min(MAX_FORMAT) as usize, &mut bytes)?;
                described = Some(Described::parse(&bytes, header.big_endian)?);
                header.pass(&mut input, chunk.size, bytes.len() as u64)?;
            }
            b"data" => {
                let described = described.ok_or_else(|| {
                    Problem::Damaged("the sound comes before its format (no fmt chunk)".to_owned())
                })?;
                let length = header.sound(&chunk);
                return sound(input, described, length);
            }
            b"ds64" => {
                let sizes = input
                    .exactly::<16>()?
                    .map(|bytes| u64_at(&bytes, 8))
                    .filter(|size| *size > 0);
                header.large = sizes;
                header.pass(&mut input, chunk.size, 16)?;
            }
            _ => header.pass(&mut input, chunk.size, 0)?,
        }
    }
    Err(Problem::Damaged(format!(
        "more than {MAX_CHUNKS} chunks before the sound"
    )))
}

fn sound(input: Input, described: Described, length: Option<u64>) -> Result<Box<dyn Decoder>, Problem> {
    if described.coding == Coding::Mpeg {
        let within = Input::new(input.take(length.unwrap_or(u64::MAX)));
        return Ok(Box::new(Mp3::open(within, "WAV, MP3")?));
    }
    let frames = length.map(|bytes| described.frames(bytes));
    Ok(Box::new(Wav {
        format: Format {
            name: format!("WAV, {}", described.name()),
            rate: described.rate,
            layout: described.layout(),
            frames,
            floats: matches!(described.coding, Coding::Float(_)),
        },
        described,
        input,
        left: length,
        bytes: Vec::new(),
    }))
}

/// Where in the file the walk through the chunks is.
struct Header {
    big_endian: bool,
    /// End of the file, as its first chunk says.
    end: u64,
    /// Bytes passed.
    at: u64,
    /// Size of the sound from a ds64 chunk.
    large: Option<u64>,
}

struct Chunk {
    id: [u8; 4],
    size: u64,
}

impl Header {
    fn begin(input: &mut Input) -> Result<Self, Problem> {
        let too_short = || Problem::Damaged("the file ends in its first twelve bytes".to_owned());
        let bytes: [u8; 12] = input.exactly()?.ok_or_else(too_short)?;
        let big_endian = bytes.starts_with(b"RIFX");
        Ok(Self {
            big_endian,
            end: u64::from(u32_at(&bytes, 4, big_endian)) + 8,
            at: 12,
            large: None,
        })
    }

    /// The next chunk's header; `None` where the file ends.
    fn chunk(&mut self, input: &mut Input) -> Result<Option<Chunk>, Problem> {
        let Some(bytes) = input.exactly::<8>()? else {
            return Ok(None);
        };
        self.at += 8;
        Ok(Some(Chunk {
            id: [bytes[0], bytes[1], bytes[2], bytes[3]],
            size: u32_at(&bytes, 4, self.big_endian).into(),
        }))
    }

    /// Goes behind a chunk of which `taken` bytes have been read. Chunks begin at even positions; some programs forget
    /// the byte that makes it so.
    fn pass(&mut self, input: &mut Input, size: u64, taken: u64) -> Result<(), Problem> {
        input.skip(size.saturating_sub(taken))?;
        self.at += size;
        if size % 2 == 1 {
            let next = input.peek(5)?;
            if next.first() == Some(&0) || !next.starts_with_a_chunk() {
                input.skip(1)?;
                self.at += 1;
            }
        }
        Ok(())
    }

    /// Bytes of sound in its chunk; `None` if only the end of the file will tell.
    fn sound(&self, chunk: &Chunk) -> Option<u64> {
        let size = chunk.size as u32;
        if size >= UNKNOWN_FROM && self.large.is_some() {
            return self.large;
        }
        // None, and nothing behind it: the program was killed before it could say how much.
        let never_filled_in = size == 0 && (self.end <= self.at || self.end >= u64::from(UNKNOWN_FROM));
        (size < UNKNOWN_FROM && !never_filled_in).then_some(chunk.size)
    }
}

trait Start {
    fn starts_with_a_chunk(&self) -> bool;
}

impl Start for [u8] {
    /// Whether here is one of the names that a chunk before the sound has.
    fn starts_with_a_chunk(&self) -> bool {
        const NAMES: [&[u8; 4]; 9] = [
            b"data", b"fmt ", b"LIST", b"fact", b"bext", b"JUNK", b"cue ", b"PEAK", b"id3 ",
        ];
        NAMES.iter().any(|name| self.starts_with(*name))
    }
}

/// The sound of a file.
struct Wav {
    format: Format,
    described: Described,
    input: Input,
    /// Bytes of it that are still to come, where that is known.
    left: Option<u64>,
    bytes: Vec<u8>,
}

impl Decoder for Wav {
    fn format(&self) -> &Format {
        &self.format
    }

    fn more(&mut self, out: &mut Vec<f32>) -> Result<bool, Problem> {
        let block = self.described.block;
        let piece = (PIECE / block).max(1) * block;
        let wanted = self
            .left
            .map_or(piece, |left| piece.min(usize::try_from(left).unwrap_or(piece)));
        self.input.read_up_to(wanted, &mut self.bytes)?;
        if let Some(left) = &mut self.left {
            *left -= self.bytes.len() as u64;
            if self.bytes.len() < wanted {
                tracing::warn!(
                    missing_bytes = *left,
                    "the sound ends before its header says: the file was cut off"
                );
            }
        }
        self.described.decode(&self.bytes, out);
        Ok(self.bytes.len() == piece)
    }
}

fn u16_at(bytes: &[u8], at: usize, big_endian: bool) -> u16 {
    let two = [bytes[at], bytes[at + 1]];
    if big_endian {
        u16::from_be_bytes(two)
    } else {
        u16::from_le_bytes(two)
    }
}

fn u32_at(bytes: &[u8], at: usize, big_endian: bool) -> u32 {
    let four = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
    if big_endian {
        u32::from_be_bytes(four)
    } else {
        u32::from_le_bytes(four)
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at, false)) | u64::from(u32_at(bytes, at + 4, false)) << 32
}
