//! The AIC payload: neural speech codes under the negotiated Opus payload type, marked as invalid Opus.
//!
//! Byte 0 reads as an Opus TOC of code 3 and byte 1 as its frame count M = 0, which RFC 6716 section 3.2.5 (R5)
//! forbids: any receiver tells AIC from Opus packet by packet, and a decoder that knows nothing conceals. The
//! six and two bits Opus would use around that mark carry our fields, so the header is seven bytes.

use crate::bits::{CODE_BITS, pack, packed_len, unpack};
use crate::error::{WireError, in_range};

/// Bytes before the codes.
pub const HEADER_BYTES: usize = 7;
/// Most current frames in a packet (120 ms).
pub const MAX_FRAMES: usize = 6;
/// Most copies of earlier frames in a packet.
pub const MAX_COPIES: usize = 6;
/// Most residual levels of a frame.
pub const MAX_LEVELS: u8 = 31;
/// Levels a copied frame may have; the wire carries the index.
pub const COPY_LEVELS: [u8; 4] = [2, 3, 4, 6];
/// Levels of a copy where nobody says otherwise: the 1.5 kbps prefix.
pub const DEFAULT_COPY_LEVELS: u8 = 3;
/// Codes run from 0 to this.
pub const MAX_CODE: u16 = (1 << CODE_BITS) - 1;
/// Version written here.
pub const VERSION: u8 = 0;

/// Whether a payload under the Opus payload type is AIC; looks at two bytes and never at more.
pub fn is_aic(payload: &[u8]) -> bool {
    matches!(payload, [toc, count, ..] if toc & 0x03 == 0x03 && count & 0x3f == 0)
}

/// Whether an AIC payload describes the noise of a pause; looks at one byte.
pub fn pauses(payload: &[u8]) -> bool {
    is_aic(payload) && payload[0] & PAUSE != 0
}

/// Bit of the first byte that marks it.
const PAUSE: u8 = 0x04;

/// One AIC packet. Reused packet after packet its buffers stop growing: no allocation on the media path.
///
/// Frames are 20 ms, counted by a 16-bit sequence that wraps. Frame `i` has sequence `first_frame + i`, copy `i`
/// has `first_frame − 1 − i`: copies are the frames just before this packet, latest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AicPacket {
    /// Model that made the codes.
    pub model: u16,
    /// Sequence of the first current frame.
    pub first_frame: u16,
    /// The frames describe background noise and the stream pauses after them.
    pub dtx: bool,
    levels: u8,
    copy_levels: u8,
    frames: Vec<u16>,
    copies: Vec<u16>,
}

impl Default for AicPacket {
    fn default() -> Self {
        Self::new(0, 12, DEFAULT_COPY_LEVELS)
    }
}

impl AicPacket {
    /// An empty packet whose frames and copies will have so many levels. Levels out of range are reported by
    /// [`write`](Self::write).
    pub fn new(model: u16, levels: u8, copy_levels: u8) -> Self {
        Self {
            model,
            first_frame: 0,
            dtx: false,
            levels,
            copy_levels,
            frames: Vec::with_capacity(MAX_FRAMES * usize::from(levels)),
            copies: Vec::with_capacity(MAX_COPIES * usize::from(copy_levels)),
        }
    }

    /// Drops all codes, keeps the buffers, and names the next first frame.
    pub fn restart(&mut self, first_frame: u16, dtx: bool) {
        self.first_frame = first_frame;
        self.dtx = dtx;
        self.frames.clear();
        self.copies.clear();
    }

    /// Changes the levels; drops all codes, as they have the old count.
    pub fn set_levels(&mut self, levels: u8, copy_levels: u8) {
        self.levels = levels;
        self.copy_levels = copy_levels;
        self.frames.clear();
        self.copies.clear();
    }

    /// Appends the codes of the next current frame.
    pub fn push_frame(&mut self, codes: &[u16]) -> Result<(), WireError> {
        check_codes("levels of a frame", codes, self.levels)?;
        in_range("frames", self.frame_count() as u32 + 1, 1, MAX_FRAMES as u32)?;
        self.frames.extend_from_slice(codes);
        Ok(())
    }

    /// Appends the codes of the next earlier frame: first the one just before this packet.
    pub fn push_copy(&mut self, codes: &[u16]) -> Result<(), WireError> {
        check_codes("levels of a copy", codes, self.copy_levels)?;
        in_range("copies", self.copy_count() as u32 + 1, 1, MAX_COPIES as u32)?;
        self.copies.extend_from_slice(codes);
        Ok(())
    }

    /// Levels of each current frame.
    pub fn levels(&self) -> u8 {
        self.levels
    }

    /// Levels of each copy.
    pub fn copy_levels(&self) -> u8 {
        self.copy_levels
    }

    /// Current frames.
    pub fn frame_count(&self) -> usize {
        self.frames.len().checked_div(self.levels.into()).unwrap_or(0)
    }

    /// Copies of earlier frames.
    pub fn copy_count(&self) -> usize {
        self.copies
            .len()
            .checked_div(self.copy_levels.into())
            .unwrap_or(0)
    }

    /// Codes of current frame `i`, coarsest level first. Panics if `i` is not below
    /// [`frame_count`](Self::frame_count).
    pub fn frame(&self, i: usize) -> &[u16] {
        let levels = usize::from(self.levels);
        &self.frames[i * levels..(i + 1) * levels]
    }

    /// Sequence and codes of copy `i`, latest first. Panics if `i` is not below
    /// [`copy_count`](Self::copy_count).
    pub fn copy(&self, i: usize) -> (u16, &[u16]) {
        let levels = usize::from(self.copy_levels);
        let sequence = self.first_frame.wrapping_sub(1 + i as u16);
        (sequence, &self.copies[i * levels..(i + 1) * levels])
    }

    /// Sequence and codes of every current frame, in time order.
    pub fn frames(&self) -> impl Iterator<Item = (u16, &[u16])> {
        (0..self.frame_count()).map(|i| (self.first_frame.wrapping_add(i as u16), self.frame(i)))
    }

    /// Sequence and codes of every copy, latest first.
    pub fn copies(&self) -> impl Iterator<Item = (u16, &[u16])> {
        (0..self.copy_count()).map(|i| self.copy(i))
    }

    /// Bytes that [`write`](Self::write) appends.
    pub fn payload_len(&self) -> usize {
        HEADER_BYTES + packed_len(self.frames.len() + self.copies.len())
    }

    /// Appends the payload to `out`; on an error `out` is untouched.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        in_range("levels", self.levels.into(), 1, MAX_LEVELS.into())?;
        in_range("frames", self.frame_count() as u32, 1, MAX_FRAMES as u32)?;
        let copies = self.copy_count() as u8;
        // Without copies the field is zero whatever was asked for, so that equal packets have equal bytes.
        let copy_index = match COPY_LEVELS.iter().position(|&levels| levels == self.copy_levels) {
            _ if copies == 0 => 0,
            Some(index) => index as u8,
            None => {
                return Err(WireError::Range {
                    field: "copy levels (2, 3, 4 or 6)",
                    value: self.copy_levels.into(),
                    min: 2,
                    max: 6,
                });
            }
        };
        out.reserve(self.payload_len());
        out.push(self.levels << 3 | u8::from(self.dtx) << 2 | 0x03);
        out.push(VERSION << 6);
        out.push((self.frame_count() as u8) << 5 | copies << 2 | copy_index);
        out.extend_from_slice(&self.model.to_be_bytes());
        out.extend_from_slice(&self.first_frame.to_be_bytes());
        pack(self.frames.iter().chain(&self.copies).copied(), out);
        Ok(())
    }

    /// Reads a payload into a fresh value.
    pub fn parse(payload: &[u8]) -> Result<Self, WireError> {
        let mut packet = Self {
            model: 0,
            first_frame: 0,
            dtx: false,
            levels: 1,
            copy_levels: DEFAULT_COPY_LEVELS,
            frames: Vec::new(),
            copies: Vec::new(),
        };
        packet.read(payload)?;
        Ok(packet)
    }

    /// Reads a payload into this value, reusing its buffers; on an error this value keeps what it had.
    pub fn read(&mut self, payload: &[u8]) -> Result<(), WireError> {
        if !is_aic(payload) {
            return Err(WireError::NotAic);
        }
        let version = payload[1] >> 6;
        if version != VERSION {
            return Err(WireError::Version(version, "aic payload"));
        }
        let Some((&[toc, _, counts, model_hi, model_lo, first_hi, first_lo], packed)) =
            payload.split_first_chunk::<HEADER_BYTES>()
        else {
            return Err(WireError::Truncated {
                what: "aic header",
                needed: HEADER_BYTES,
                got: payload.len(),
            });
        };
        let levels = toc >> 3;
        let (frames, copies) = (counts >> 5, counts >> 2 & 7);
        in_range("levels", levels.into(), 1, MAX_LEVELS.into())?;
        in_range("frames", frames.into(), 1, MAX_FRAMES as u32)?;
        in_range("copies", copies.into(), 0, MAX_COPIES as u32)?;
        let copy_index = usize::from(counts & 3);
        if copies == 0 && copy_index != 0 {
            return Err(WireError::Reserved("copy levels without copies"));
        }
        let copy_levels = if copies == 0 {
            DEFAULT_COPY_LEVELS
        } else {
            COPY_LEVELS[copy_index]
        };
        let current = usize::from(frames) * usize::from(levels);
        let earlier = usize::from(copies) * usize::from(copy_levels);
        let needed = packed_len(current + earlier);
        if packed.len() < needed {
            return Err(WireError::Truncated {
                what: "aic codes",
                needed: HEADER_BYTES + needed,
                got: payload.len(),
            });
        }
        if packed.len() > needed {
            return Err(WireError::Trailing {
                what: "aic payload",
                expected: HEADER_BYTES + needed,
                got: payload.len(),
            });
        }
        let used = (current + earlier) * CODE_BITS;
        let spare = needed * 8 - used;
        if let Some(last) = packed.last()
            && last & ((1u16 << spare) - 1) as u8 != 0
        {
            return Err(WireError::Reserved("last byte of the aic codes"));
        }
        self.model = u16::from_be_bytes([model_hi, model_lo]);
        self.first_frame = u16::from_be_bytes([first_hi, first_lo]);
        self.dtx = toc & PAUSE != 0;
        self.levels = levels;
        self.copy_levels = copy_levels;
        self.frames.clear();
        self.copies.clear();
        unpack(packed, current + earlier, &mut self.frames);
        self.copies.extend_from_slice(&self.frames[current..]);
        self.frames.truncate(current);
        Ok(())
    }
}

fn check_codes(field: &'static str, codes: &[u16], levels: u8) -> Result<(), WireError> {
    in_range(field, codes.len() as u32, levels.into(), levels.into())?;
    in_range("levels", levels.into(), 1, MAX_LEVELS.into())?;
    for &code in codes {
        in_range("code", code.into(), 0, MAX_CODE.into())?;
    }
    Ok(())
}
