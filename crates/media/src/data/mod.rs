//! Data packets: who sent them is written in by the server, everything else is passed on as it came.
//!
//! The bytes are patched instead of decoded and encoded again, so that fields this server doesn't know survive.

mod fields;

use fields::{Fields, Malformed, VARINT, write_bytes};

/// Largest data packet accepted, as LiveKit has it.
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

impl From<Malformed> for DataError {
    fn from(Malformed(at): Malformed) -> Self {
        Self::Malformed(at)
    }
}

/// Who a packet comes from.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    /// Identity.
    pub identity: &'a str,
    /// Session id.
    pub sid: &'a str,
    /// Not to be named to anybody.
    pub hidden: bool,
    /// May speak for another participant, as transcribers do.
    pub agent: bool,
}

/// A packet ready to be passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The patched bytes.
    pub bytes: Vec<u8>,
    /// Whom it is for.
    pub audience: Audience,
}

/// Whom a packet is for: those named, or everybody when nobody is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audience {
    identities: Vec<String>,
    sids: Vec<String>,
}

impl Audience {
    /// Those of that identity or session id; everybody without any.
    pub fn of(identities: Vec<String>, sids: Vec<String>) -> Self {
        Self { identities, sids }
    }

    /// Whether somebody is meant.
    pub fn includes(&self, identity: &str, sid: &str) -> bool {
        self.is_everybody()
            || self.identities.iter().any(|i| i == identity)
            || self.sids.iter().any(|s| s == sid)
    }

    fn is_everybody(&self) -> bool {
        self.identities.is_empty() && self.sids.is_empty()
    }

    fn add(&mut self, name: Name, text: &[u8], at: usize) -> Result<(), DataError> {
        let names = match name {
            Name::Identity => &mut self.identities,
            Name::Sid => &mut self.sids,
        };
        if names.len() == MAX_DESTINATIONS {
            return Err(DataError::TooManyDestinations);
        }
        let text = std::str::from_utf8(text).map_err(|_| DataError::Malformed(at))?;
        names.push(text.to_owned());
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Name {
    Identity,
    Sid,
}

// Field numbers of `livekit.DataPacket`.
const KIND: u64 = 1;
const USER: u64 = 2;
const IDENTITY: u64 = 4;
const DESTINATIONS: u64 = 5;
const SID: u64 = 17;

/// Field numbers of `livekit.UserPacket`, where older clients write sender and destinations.
mod user {
    pub const SID: u64 = 1;
    pub const DESTINATION_SIDS: u64 = 3;
    pub const IDENTITY: u64 = 5;
    pub const DESTINATION_IDENTITIES: u64 = 6;
}

/// Writes sender and channel into a packet.
pub fn stamp(packet: &[u8], channel: Channel, sender: &Sender<'_>) -> Result<Outgoing, DataError> {
    if packet.len() > MAX_PACKET {
        return Err(DataError::TooLong(packet.len()));
    }
    let mut bytes = Vec::with_capacity(packet.len() + 2 * (sender.identity.len() + sender.sid.len()) + 24);
    let mut audience = Audience::default();
    let mut inner = Audience::default();
    let mut spoken_for = None;
    let mut from_user = false;
    let mut fields = Fields::of(packet);
    while let Some(field) = fields.next_field()? {
        match field.number {
            KIND | SID => {}
            IDENTITY => spoken_for = Some(field.body).filter(|body| !body.is_empty()),
            DESTINATIONS => {
                audience.add(Name::Identity, field.body, field.start)?;
                bytes.extend_from_slice(field.whole);
            }
            USER => {
                from_user = true;
                let user = stamp_user(field.body, sender, &mut inner)?;
                write_bytes(&mut bytes, USER, &user);
            }
            _ => bytes.extend_from_slice(field.whole),
        }
    }
    if channel == Channel::Lossy {
        bytes.extend_from_slice(&[(KIND << 3 | VARINT) as u8, 1]);
    }
    match spoken_for {
        Some(other) if sender.agent && !from_user => write_bytes(&mut bytes, IDENTITY, other),
        _ if !sender.hidden => write_bytes(&mut bytes, IDENTITY, sender.identity.as_bytes()),
        _ => {}
    }
    if !sender.hidden {
        write_bytes(&mut bytes, SID, sender.sid.as_bytes());
    }
    if audience.is_everybody() {
        audience = inner;
    }
    Ok(Outgoing { bytes, audience })
}

/// Writes the sender into what older clients read, and notes whom the message is for.
fn stamp_user(packet: &[u8], sender: &Sender<'_>, audience: &mut Audience) -> Result<Vec<u8>, DataError> {
    let mut bytes = Vec::with_capacity(packet.len() + sender.identity.len() + sender.sid.len() + 8);
    let mut fields = Fields::of(packet);
    while let Some(field) = fields.next_field()? {
        match field.number {
            user::SID | user::IDENTITY => continue,
            user::DESTINATION_SIDS => audience.add(Name::Sid, field.body, field.start)?,
            user::DESTINATION_IDENTITIES => audience.add(Name::Identity, field.body, field.start)?,
            _ => {}
        }
        bytes.extend_from_slice(field.whole);
    }
    if !sender.hidden {
        write_bytes(&mut bytes, user::SID, sender.sid.as_bytes());
        write_bytes(&mut bytes, user::IDENTITY, sender.identity.as_bytes());
    }
    Ok(bytes)
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

    const ALICE: Sender<'static> = Sender {
        identity: "alice",
        sid: "PA_1",
        hidden: false,
        agent: false,
    };

    fn stamped(packet: &proto::DataPacket, sender: &Sender<'_>) -> (proto::DataPacket, Audience) {
        let out = stamp(&packet.encode_to_vec(), Channel::Reliable, sender).unwrap();
        (
            proto::DataPacket::decode(out.bytes.as_slice()).unwrap(),
            out.audience,
        )
    }

    fn user_of(packet: &proto::DataPacket) -> &proto::UserPacket {
        match &packet.value {
            Some(proto::data_packet::Value::User(user)) => user,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_sender_cannot_pass_for_somebody_else_outside_or_inside() {
        let mut forged = packet();
        if let Some(proto::data_packet::Value::User(user)) = &mut forged.value {
            user.participant_identity = "somebody else".into();
            user.participant_sid = "PA_2".into();
        }
        let out = stamp(&forged.encode_to_vec(), Channel::Lossy, &ALICE).unwrap();
        let read = proto::DataPacket::decode(out.bytes.as_slice()).unwrap();
        let user = proto::UserPacket {
            participant_identity: "alice".into(),
            participant_sid: "PA_1".into(),
            ..user_of(&packet()).clone()
        };
        let expected = proto::DataPacket {
            kind: 1,
            participant_identity: "alice".into(),
            participant_sid: "PA_1".into(),
            value: Some(proto::data_packet::Value::User(user)),
            ..packet()
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn only_those_named_are_meant_wherever_a_client_names_them() {
        let (_, audience) = stamped(&packet(), &ALICE);
        assert!(audience.includes("bob", "") && audience.includes("carol", ""));
        assert!(!audience.includes("dave", "PA_4"));
        for sid in [false, true] {
            let mut user = user_of(&packet()).clone();
            if sid {
                user.destination_sids = vec!["PA_4".into()];
            } else {
                user.destination_identities = vec!["dave".into()];
            }
            let older = proto::DataPacket {
                destination_identities: Vec::new(),
                value: Some(proto::data_packet::Value::User(user)),
                ..packet()
            };
            let (read, audience) = stamped(&older, &ALICE);
            assert!(audience.includes("dave", "PA_4"));
            assert!(!audience.includes("bob", "PA_2"));
            assert_eq!(user_of(&read).payload, b"hello");
        }
        let (_, everybody) = stamped(&proto::DataPacket::default(), &ALICE);
        assert!(everybody.includes("dave", "PA_4"));
    }

    #[test]
    fn a_hidden_sender_is_not_named() {
        let hidden = Sender {
            hidden: true,
            ..ALICE
        };
        let (read, _) = stamped(&packet(), &hidden);
        assert_eq!(
            (read.participant_identity.as_str(), read.participant_sid.as_str()),
            ("", "")
        );
        assert_eq!(user_of(&read).participant_identity, "");
        assert!(
            !stamp(&packet().encode_to_vec(), Channel::Lossy, &hidden)
                .unwrap()
                .bytes
                .windows(5)
                .any(|window| window == b"alice")
        );
    }

    #[test]
    fn an_agent_speaks_for_whom_it_transcribes_and_only_an_agent() {
        let transcript = proto::DataPacket {
            participant_identity: "bob".into(),
            value: Some(proto::data_packet::Value::Transcription(proto::Transcription {
                transcribed_participant_identity: "bob".into(),
                ..Default::default()
            })),
            ..Default::default()
        };
        let agent = Sender { agent: true, ..ALICE };
        assert_eq!(stamped(&transcript, &agent).0.participant_identity, "bob");
        assert_eq!(stamped(&transcript, &ALICE).0.participant_identity, "alice");
        assert_eq!(
            stamped(&packet(), &agent).0.participant_identity,
            "alice",
            "not in messages of users"
        );
    }

    #[test]
    fn unknown_fields_survive() {
        let mut bytes = packet().encode_to_vec();
        let unknown = [0xfa, 0x3f, 2, 0xab, 0xcd];
        bytes.extend_from_slice(&unknown);
        let out = stamp(&bytes, Channel::Reliable, &ALICE).unwrap();
        assert!(out.bytes.windows(unknown.len()).any(|window| window == unknown));
    }

    #[test]
    fn every_truncation_is_refused_or_read_and_never_panics() {
        let bytes = packet().encode_to_vec();
        for length in 0..bytes.len() {
            if let Ok(out) = stamp(&bytes[..length], Channel::Reliable, &ALICE) {
                assert!(proto::DataPacket::decode(out.bytes.as_slice()).is_ok());
            }
        }
        for bad in [
            &[0x0b][..],
            &[0x12, 0xff, 0xff, 0xff, 0xff, 0x0f],
            &vec![0; MAX_PACKET + 1],
        ] {
            assert!(stamp(bad, Channel::Reliable, &ALICE).is_err());
        }
    }
}
