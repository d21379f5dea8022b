//! Ten-bit codes packed most significant bit first.

/// Bits of one code: the codebooks have 1024 entries.
pub(crate) const CODE_BITS: usize = 10;

/// Bytes that hold so many codes.
pub(crate) const fn packed_len(codes: usize) -> usize {
    (codes * CODE_BITS).div_ceil(8)
}

/// Appends the codes; unused bits of the last byte are zero. Codes are below 1024 by the caller's check.
pub(crate) fn pack(codes: impl Iterator<Item = u16>, out: &mut Vec<u8>) {
    let (mut held, mut bits) = (0u32, 0);
    for code in codes {
        held = held << CODE_BITS | u32::from(code);
        bits += CODE_BITS;
        while bits >= 8 {
            bits -= 8;
            out.push((held >> bits) as u8);
        }
        held &= (1 << bits) - 1;
    }
    if bits > 0 {
        out.push((held << (8 - bits)) as u8);
    }
}

/// Reads `count` codes onto the end of `codes`; `bytes` is exactly `packed_len(count)` long.
pub(crate) fn unpack(bytes: &[u8], count: usize, codes: &mut Vec<u16>) {
    debug_assert_eq!(bytes.len(), packed_len(count));
    let (mut held, mut bits) = (0u32, 0);
    for &byte in bytes {
        held = held << 8 | u32::from(byte);
        bits += 8;
        if bits >= CODE_BITS {
            bits -= CODE_BITS;
            codes.push((held >> bits) as u16);
            held &= (1 << bits) - 1;
        }
    }
}
