//! WAV files written by hand, byte for byte.

/// A format chunk's fields; what is not said is mono, 8 kHz, 16 bit PCM.
#[derive(Clone, Copy)]
pub struct Format {
    pub tag: u16,
    pub channels: u16,
    pub rate: u32,
    pub align: u16,
    pub bits: u16,
}

pub const PCM: Format = Format {
    tag: 1,
    channels: 1,
    rate: 8_000,
    align: 2,
    bits: 16,
};

impl Format {
    pub fn chunk(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(self.tag.to_le_bytes());
        bytes.extend(self.channels.to_le_bytes());
        bytes.extend(self.rate.to_le_bytes());
        bytes.extend(self.rate.wrapping_mul(self.align.into()).to_le_bytes());
        bytes.extend(self.align.to_le_bytes());
        bytes.extend(self.bits.to_le_bytes());
        chunk(b"fmt ", &bytes)
    }

    /// As WAVE_FORMAT_EXTENSIBLE, of which so many bits of a sample mean something.
    pub fn extensible(&self, valid: u16, mask: u32) -> Vec<u8> {
        let outer = Format { tag: 0xfffe, ..*self };
        let mut bytes = outer.chunk()[8..].to_vec();
        bytes.extend(22u16.to_le_bytes());
        bytes.extend(valid.to_le_bytes());
        bytes.extend(mask.to_le_bytes());
        bytes.extend(self.tag.to_le_bytes());
        bytes.extend(b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71");
        chunk(b"fmt ", &bytes)
    }
}

/// A chunk, padded to an even length.
pub fn chunk(name: &[u8; 4], bytes: &[u8]) -> Vec<u8> {
    let mut out = sized(name, bytes.len() as u32, bytes);
    out.extend(std::iter::repeat_n(0, bytes.len() % 2));
    out
}

/// A chunk that claims to be of that size.
pub fn sized(name: &[u8; 4], size: u32, bytes: &[u8]) -> Vec<u8> {
    [&name[..], &size.to_le_bytes(), bytes].concat()
}

/// A file of these chunks.
pub fn file(chunks: &[Vec<u8>]) -> Vec<u8> {
    let chunks = chunks.concat();
    riff(chunks.len() as u32 + 4, &chunks)
}

/// A file that claims to be of that size.
pub fn riff(size: u32, chunks: &[u8]) -> Vec<u8> {
    [b"RIFF", &size.to_le_bytes()[..], b"WAVE", chunks].concat()
}

pub fn pcm16(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}
