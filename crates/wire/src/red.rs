//! Redundant audio data (RED, RFC 2198): one primary block and copies of earlier ones in one RTP payload.

use crate::error::{WireError, in_range};

/// Most blocks read from or written to one payload; LiveKit clients send 2, Chromium at most 10.
pub const MAX_BLOCKS: usize = 16;
/// Largest timestamp offset (14 bits).
pub const MAX_OFFSET: u16 = (1 << 14) - 1;
/// Largest redundant block (10 bits).
pub const MAX_BLOCK_BYTES: usize = (1 << 10) - 1;

const BLOCK_HEADER: usize = 4;
const PRIMARY_HEADER: usize = 1;
const FOLLOWS: u8 = 0x80;

/// One block of a RED payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block<'a> {
    /// RTP payload type of the content, 0 to 127.
    pub payload_type: u8,
    /// RTP timestamp units before the packet's own; 0 for the primary.
    pub timestamp_offset: u16,
    /// The content; may be empty.
    pub payload: &'a [u8],
}

/// A checked RED payload.
#[derive(Clone, Copy, Debug)]
pub struct Red<'a> {
    headers: &'a [u8],
    primary_type: u8,
    body: &'a [u8],
}

impl<'a> Red<'a> {
    /// Checks the payload whole; reading its blocks cannot fail afterwards.
    pub fn parse(payload: &'a [u8]) -> Result<Self, WireError> {
        let (mut at, mut redundant) = (0, 0);
        loop {
            let Some(&first) = payload.get(at) else {
                return Err(WireError::Truncated {
                    what: "red header",
                    needed: at + 1,
                    got: payload.len(),
                });
            };
            if first & FOLLOWS == 0 {
                let body = &payload[at + PRIMARY_HEADER..];
                if body.len() < redundant {
                    return Err(WireError::Truncated {
                        what: "red blocks",
                        needed: at + PRIMARY_HEADER + redundant,
                        got: payload.len(),
                    });
                }
                return Ok(Self {
                    headers: &payload[..at],
                    primary_type: first,
                    body,
                });
            }
            let Some(header) = payload[at..].first_chunk::<BLOCK_HEADER>() else {
                return Err(WireError::Truncated {
                    what: "red block header",
                    needed: at + BLOCK_HEADER,
                    got: payload.len(),
                });
            };
            redundant += block_len(header);
            at += BLOCK_HEADER;
            in_range("red blocks", (at / BLOCK_HEADER) as u32 + 1, 1, MAX_BLOCKS as u32)?;
        }
    }

    /// The blocks as they lie, oldest first by custom, the primary last.
    pub fn blocks(&self) -> impl Iterator<Item = Block<'a>> + use<'a> {
        let (headers, _) = self.headers.as_chunks::<BLOCK_HEADER>();
        let body = self.body;
        let mut at = 0;
        let redundant = headers.iter().map(move |header| {
            let len = block_len(header);
            let payload = &body[at..at + len];
            at += len;
            Block {
                payload_type: header[0] & !FOLLOWS,
                timestamp_offset: u16::from_be_bytes([header[1], header[2]]) >> 2,
                payload,
            }
        });
        redundant.chain([self.primary()])
    }

    /// The block of the packet's own timestamp.
    pub fn primary(&self) -> Block<'a> {
        let (headers, _) = self.headers.as_chunks::<BLOCK_HEADER>();
        let redundant: usize = headers.iter().map(block_len).sum();
        Block {
            payload_type: self.primary_type,
            timestamp_offset: 0,
            payload: &self.body[redundant..],
        }
    }
}

/// Appends a RED payload: redundant blocks in the order given, then the primary, whose offset must be 0. On an
/// error `out` is untouched.
pub fn write(redundant: &[Block<'_>], primary: &Block<'_>, out: &mut Vec<u8>) -> Result<(), WireError> {
    in_range("red blocks", redundant.len() as u32 + 1, 1, MAX_BLOCKS as u32)?;
    in_range("primary timestamp offset", primary.timestamp_offset.into(), 0, 0)?;
    in_range("payload type", primary.payload_type.into(), 0, 127)?;
    for block in redundant {
        in_range("payload type", block.payload_type.into(), 0, 127)?;
        in_range(
            "timestamp offset",
            block.timestamp_offset.into(),
            0,
            MAX_OFFSET.into(),
        )?;
        let len = u32::try_from(block.payload.len()).unwrap_or(u32::MAX);
        in_range("red block bytes", len, 0, MAX_BLOCK_BYTES as u32)?;
    }
    for block in redundant {
        let packed = u32::from(block.timestamp_offset) << 10 | block.payload.len() as u32;
        let [_, high, middle, low] = packed.to_be_bytes();
        out.extend_from_slice(&[FOLLOWS | block.payload_type, high, middle, low]);
    }
    out.push(primary.payload_type);
    for block in redundant.iter().chain([primary]) {
        out.extend_from_slice(block.payload);
    }
    Ok(())
}

fn block_len(header: &[u8; BLOCK_HEADER]) -> usize {
    usize::from(u16::from_be_bytes([header[2], header[3]])) & MAX_BLOCK_BYTES
}
