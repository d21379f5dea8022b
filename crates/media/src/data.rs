//! Data packets: who sent them is written in by the server, everything else is passed on as it came.
//!
//! The bytes are patched instead of decoded and encoded again, so that fields this server doesn't know survive.

/// Largest data packet accepted; clients keep below 64 kB.
pub const MAX_PACKET: usize = 64 << 10;

/// Most destination identities honoured in one packet.
const MAX_DESTINATIONS: usize = 1_000;

/// `kind` of LiveKit's `DataPacket`: which channel it travels on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// Ordered, reliable.
    Reliable,
    /// Unordered, never repeated.
    Lossy,
}

impl Channel {
    /// Its label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Reliable => "_reliable",
            Self::Lossy => "_lossy",
        }
    }

    /// The channel with that label.
    pub fn from_label(label: &str) -> Option<Self> {
        match label {
            "_reliable" => Some(Self::Reliable),
            "_lossy" => Some(Self::Lossy),
            _ => None,
        }
    }
}

/// Why a data packet was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataError {
    /// Over [`MAX_PACKET`].
    #[error("data packet has {0} bytes, at most {MAX_PACKET} are accepted")]
    TooLong(usize),
    /// Not a protobuf message.
    #[error("data packet is malformed at byte {0}")]
    Malformed(usize),
    /// More than a thousand destinations.
    #[error("data packet names too many destinations")]
    TooManyDestinations,
}

/// A packet ready to be passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The patched bytes.
    pub bytes: Vec<u8>,
    /// Who is meant; empty for everybody.
    pub destinations: Vec<String>,
}

// Field numbers of `livekit.DataPacket`.
const KIND: u64 = 1;
const IDENTITY: u64 = 4;
const DESTINATIONS: u64 = 5;
const SID: u64 = 17;

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

/// Writes sender and channel into a packet.
pub fn stamp(packet: &[u8], channel: Channel, identity: &str, sid: &str) -> Result<Outgoing, DataError> {
    if packet.len() > MAX_PACKET {
        return Err(DataError::TooLong(packet.len()));
    }
    let mut bytes = Vec::with_capacity(packet.len() + identity.len() + sid.len() + 8);
    let mut destinations = Vec::new();
    let mut reader = Reader { packet, at: 0 };
    while reader.at < packet.len() {
        let start = reader.at;
        let tag = reader.varint()?;
        let body = reader.field(tag & 7)?;
        match tag >> 3 {
            KIND | IDENTITY | SID => continue,
            DESTINATIONS => {
                if destinations.len() == MAX_DESTINATIONS {
                    return Err(DataError::TooManyDestinations);
                }
                let name = std::str::from_utf8(body).map_err(|_| DataError::Malformed(start))?;
                destinations.push(name.to_owned());
            }
            _ => {}
        }
        bytes.extend_from_slice(&packet[start..reader.at]);
    }
    if channel == Channel::Lossy {
        bytes.extend_from_slice(&[(KIND << 3 | VARINT) as u8, 1]);
    }
    for (field, text) in [(IDENTITY, identity), (SID, sid)] {
        write_varint(&mut bytes, field << 3 | BYTES);
        write_varint(&mut bytes, text.len() as u64);
        bytes.extend_from_slice(text.as_bytes());
    }
    Ok(Outgoing { bytes, destinations })
}

struct Reader<'a> {
    packet: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn varint(&mut self) -> Result<u64, DataError> {
        let start = self.at;
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.packet.get(self.at).ok_or(DataError::Malformed(start))?;
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DataError::Malformed(start))
    }

    fn field(&mut self, wire: u64) -> Result<&'a [u8], DataError> {
        let start = self.at;
        let length = match wire {
            VARINT => {
                self.varint()?;
                return Ok(&[]);
            }
            FIXED64 => 8,
            FIXED32 => 4,
            BYTES => self.varint()?,
            _ => return Err(DataError::Malformed(start)),
        };
        let left = (self.packet.len() - self.at) as u64;
        if length > left {
            return Err(DataError::Malformed(start));
        }
        let body = &self.packet[self.at..self.at + length as usize];
        self.at += length as usize;
        Ok(body)
    }
}

fn write_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

#[cfg(test)]
#[allow(deprecated)]
mod tests {
    use livekit_protocol as proto;
    use prost::Message as _;

    use super::*;

    fn packet() -> proto::DataPacket {
        let user = proto::UserPacket {
            payload: b"hello".to_vec(),
            topic: Some("t".into()),
            ..Default::default()
        };
        proto::DataPacket {
            participant_identity: "somebody else".into(),
            destination_identities: vec!["bob".into(), "carol".into()],
            sequence: 7,
            value: Some(proto::data_packet::Value::User(user)),
            ..Default::default()
        }
    }

    #[test]
    fn a_sender_cannot_pass_for_somebody_else() {
        let out = stamp(&packet().encode_to_vec(), Channel::Lossy, "alice", "PA_1").unwrap();
        assert_eq!(out.destinations, ["bob", "carol"]);
        let read = proto::DataPacket::decode(out.bytes.as_slice()).unwrap();
        let expected = proto::DataPacket {
            kind: 1,
            participant_identity: "alice".into(),
            participant_sid: "PA_1".into(),
            ..packet()
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn unknown_fields_survive() {
        let mut bytes = packet().encode_to_vec();
        let unknown = [0xfa, 0x3f, 2, 0xab, 0xcd];
        bytes.extend_from_slice(&unknown);
        let out = stamp(&bytes, Channel::Reliable, "alice", "PA_1").unwrap();
        assert!(out.bytes.windows(unknown.len()).any(|window| window == unknown));
    }

    #[test]
    fn every_truncation_is_refused_or_read_and_never_panics() {
        let bytes = packet().encode_to_vec();
        for length in 0..bytes.len() {
            if let Ok(out) = stamp(&bytes[..length], Channel::Reliable, "a", "b") {
                assert!(proto::DataPacket::decode(out.bytes.as_slice()).is_ok());
            }
        }
        assert!(stamp(&[0x0b], Channel::Reliable, "a", "b").is_err());
        assert!(stamp(&[0x12, 0xff, 0xff, 0xff, 0xff, 0x0f], Channel::Reliable, "a", "b").is_err());
        assert!(stamp(&vec![0; MAX_PACKET + 1], Channel::Reliable, "a", "b").is_err());
    }
}
