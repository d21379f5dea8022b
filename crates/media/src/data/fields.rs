//! Fields of a protobuf message, found without decoding what is in them.

/// Wire type of a number.
pub const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

/// No protobuf message, from this byte on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub usize);

/// One field of a protobuf message.
pub struct Field<'a> {
    /// Number in its message.
    pub number: u64,
    /// Where it begins.
    pub start: usize,
    /// Tag and length included.
    pub whole: &'a [u8],
    /// Content of a length-delimited field; empty for numbers.
    pub body: &'a [u8],
}

/// The fields of a message, one after the other.
pub struct Fields<'a> {
    packet: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    /// Of this message.
    pub const fn of(packet: &'a [u8]) -> Self {
        Self { packet, at: 0 }
    }

    /// The next, if there is one.
    pub fn next_field(&mut self) -> Result<Option<Field<'a>>, Malformed> {
        let start = self.at;
        if start >= self.packet.len() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let body = self.body(tag & 7)?;
        Ok(Some(Field {
            number: tag >> 3,
            start,
            whole: &self.packet[start..self.at],
            body,
        }))
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let start = self.at;
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.packet.get(self.at).ok_or(Malformed(start))?;
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed(start))
    }

    fn body(&mut self, wire: u64) -> Result<&'a [u8], Malformed> {
        let start = self.at;
        let length = match wire {
            VARINT => {
                self.varint()?;
                return Ok(&[]);
            }
            FIXED64 => 8,
            FIXED32 => 4,
            BYTES => self.varint()?,
            _ => return Err(Malformed(start)),
        };
        let left = (self.packet.len() - self.at) as u64;
        if length > left {
            return Err(Malformed(start));
        }
        let body = &self.packet[self.at..self.at + length as usize];
        self.at += length as usize;
        Ok(body)
    }
}

/// Writes a length-delimited field.
pub fn write_bytes(bytes: &mut Vec<u8>, field: u64, body: &[u8]) {
    write_varint(bytes, field << 3 | BYTES);
    write_varint(bytes, body.len() as u64);
    bytes.extend_from_slice(body);
}

fn write_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}
