//! The format chunk: how the bytes of the sound are to be read.

use super::adpcm::{Ima, Microsoft};
use super::gsm::{self, Gsm};
use super::samples::{self, Width};
use super::{u16_at, u32_at};
use crate::error::Problem;
use crate::kind;
use crate::layout::{self, Layout};

/// Rates that can be converted.
pub(crate) const RATES: std::ops::RangeInclusive<u32> = 4_000..=768_000;
pub(crate) const RATES_TEXT: &str = "4000 to 768000 Hz";

const PCM: u16 = 1;
const MICROSOFT_ADPCM: u16 = 2;
const FLOAT: u16 = 3;
const A_LAW: u16 = 6;
const MU_LAW: u16 = 7;
const IMA_ADPCM: u16 = 0x11;
const GSM: u16 = 0x31;
const MPEG: u16 = 0x50;
const MP3: u16 = 0x55;
const EXTENSIBLE: u16 = 0xfffe;

/// How samples are written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Coding {
    /// Linear, in so many bytes; the value stands in the upper bits (24 bits in 32 are 32 bits with zeros below).
    Integer(Width),
    Float(Width),
    ALaw,
    MuLaw,
    Microsoft(Microsoft),
    Ima(Ima),
    Gsm(Box<Gsm>),
    /// MPEG audio in a WAV file.
    Mpeg,
}

/// A format chunk that was understood.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Described {
    pub coding: Coding,
    pub channels: usize,
    pub rate: u32,
    /// Bytes of a frame, or of what is decoded together.
    pub block: usize,
    bits: u16,
    mask: Option<u32>,
    big_endian: bool,
}

impl Described {
    pub(super) fn parse(bytes: &[u8], big_endian: bool) -> Result<Self, Problem> {
        if bytes.len() < 14 {
            return Err(Problem::Damaged(format!(
                "its fmt chunk has {} bytes of 16",
                bytes.len()
            )));
        }
        let u16_at = |at| {
            if at + 2 <= bytes.len() {
                u16_at(bytes, at, big_endian)
            } else {
                0
            }
        };
        let u32_at = |at| u32_at(bytes, at, big_endian);
        let channels = usize::from(u16_at(2));
        if channels == 0 {
            return Err(Problem::Field {
                field: "channels",
                found: 0,
                expected: "1 and more",
            });
        }
        let rate = u32_at(4);
        if !RATES.contains(&rate) {
            return Err(Problem::Field {
                field: "sample rate",
                found: rate.into(),
                expected: RATES_TEXT,
            });
        }
        let (align, bits) = (usize::from(u16_at(12)), u16_at(14));
        let extended = u16_at(0) == EXTENSIBLE && bytes.len() >= 40;
        // The format proper is the first field of a GUID; with a header too short for one, the bits have to tell.
        let tag = match u16_at(0) {
            EXTENSIBLE if extended => u16_at(24),
            EXTENSIBLE => PCM,
            tag => tag,
        };
        let extra = bytes.get(18..).unwrap_or_default();
        let coding = Self::coding(tag, bits, align, channels, extra)?;
        Ok(Self {
            block: match &coding {
                Coding::Integer(width) | Coding::Float(width) => width.bytes() * channels,
                Coding::ALaw | Coding::MuLaw => channels,
                Coding::Microsoft(_) | Coding::Ima(_) => align,
                Coding::Gsm(_) => gsm::BLOCK,
                Coding::Mpeg => 1,
            },
            coding,
            channels,
            rate,
            bits,
            mask: extended.then(|| u32_at(20)),
            big_endian,
        })
    }

    fn coding(tag: u16, bits: u16, align: usize, channels: usize, extra: &[u8]) -> Result<Coding, Problem> {
        let wrong_bits = |expected| Problem::Field {
            field: "bits of a sample",
            found: bits.into(),
            expected,
        };
        match tag {
            PCM => {
                let least = usize::from(bits.div_ceil(8));
                // Fewer bits than their container has; a header that contradicts itself otherwise goes by its bits.
                let wide = align.is_multiple_of(channels) && least == 3 && align / channels == 4;
                let bytes = if wide { 4 } else { least };
                let width = Width::of(bytes).ok_or_else(|| wrong_bits("1 to 32 and 64"))?;
                Ok(Coding::Integer(width))
            }
            FLOAT => match bits {
                32 => Ok(Coding::Float(Width::Four)),
                64 => Ok(Coding::Float(Width::Eight)),
                _ => Err(wrong_bits("32 and 64 of a float")),
            },
            A_LAW => Ok(Coding::ALaw),
            MU_LAW => Ok(Coding::MuLaw),
            MICROSOFT_ADPCM => Ok(Coding::Microsoft(Microsoft::new(align, channels, extra)?)),
            IMA_ADPCM if bits == 4 || bits == 0 => Ok(Coding::Ima(Ima::new(align, channels)?)),
            GSM if channels == 1 => Ok(Coding::Gsm(Box::new(Gsm::new()))),
            MPEG | MP3 => Ok(Coding::Mpeg),
            _ => Err(kind::convert(&format!("a WAV file with {} inside", name(tag)))),
        }
    }

    /// Frames in so many bytes.
    pub(super) fn frames(&self, bytes: u64) -> u64 {
        let per_block = match &self.coding {
            Coding::Microsoft(coding) => coding.frames(self.block),
            Coding::Ima(coding) => coding.frames(self.block),
            Coding::Gsm(_) => gsm::SAMPLES,
            _ => 1,
        };
        bytes / self.block as u64 * per_block as u64
    }

    pub(super) fn layout(&self) -> Layout {
        match self.mask {
            Some(mask) => layout::by_mask(mask, self.channels),
            None => layout::usual(self.channels),
        }
    }

    /// Appends the samples of whole blocks; the coded ones may end with a short block.
    pub(super) fn decode(&mut self, bytes: &[u8], out: &mut Vec<f32>) {
        let whole = &bytes[..bytes.len() / self.block * self.block];
        match &mut self.coding {
            Coding::Integer(width) => samples::integers(*width, self.big_endian, whole, out),
            Coding::Float(width) => samples::floats(*width, self.big_endian, whole, out),
            Coding::ALaw => out.extend(whole.iter().map(|code| samples::a_law(*code))),
            Coding::MuLaw => out.extend(whole.iter().map(|code| samples::mu_law(*code))),
            Coding::Microsoft(coding) => {
                bytes
                    .chunks(self.block)
                    .for_each(|block| coding.decode(block, self.channels, out));
            }
            Coding::Ima(coding) => {
                bytes
                    .chunks(self.block)
                    .for_each(|block| coding.decode(block, self.channels, out));
            }
            Coding::Gsm(coding) => {
                bytes
                    .as_chunks()
                    .0
                    .iter()
                    .for_each(|block| coding.decode(block, out));
            }
            // Decoded elsewhere.
            Coding::Mpeg => {}
        }
    }

    pub(super) fn name(&self) -> String {
        match &self.coding {
            Coding::Integer(_) => format!("{} bit", self.bits),
            Coding::Float(_) => format!("{} bit float", self.bits),
            Coding::ALaw => "A-law".to_owned(),
            Coding::MuLaw => "mu-law".to_owned(),
            Coding::Microsoft(_) => "Microsoft ADPCM".to_owned(),
            Coding::Ima(_) => "IMA ADPCM".to_owned(),
            Coding::Gsm(_) => "GSM 6.10".to_owned(),
            Coding::Mpeg => "MP3".to_owned(),
        }
    }
}

/// What people call the formats that are not read.
fn name(tag: u16) -> String {
    let name = match tag {
        0x11 => "IMA ADPCM of an unusual width",
        0x10 | 0x17 => "OKI ADPCM",
        0x20 => "Yamaha ADPCM",
        0x31 => "GSM 6.10 of more than one channel",
        0x14 | 0x40 => "G.721 or G.723 ADPCM",
        0x42 => "G.723.1",
        0x45 | 0x64 => "G.726 ADPCM",
        0x65 | 0x28f => "G.722",
        0x83 => "G.729",
        0x22 => "TrueSpeech",
        0x92 | 0x2000 => "AC-3",
        0x2001 => "DTS",
        0xff | 0x1600..=0x1610 | 0x706d => "AAC",
        0x160..=0x163 => "Windows Media audio",
        0x566f | 0x674f..=0x6751 | 0x676f..=0x6771 => "Vorbis",
        0x704f => "Opus",
        0xf1ac => "FLAC",
        _ => return format!("format {tag:#06x}"),
    };
    name.to_owned()
}
