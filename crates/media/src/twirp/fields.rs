//! How LiveKit's server writes answers as JSON: every field, also one that is not set, under the name it has in the
//! protocol (`num_participants`). The messages' own JSON leaves out what is not set and writes `numParticipants`; either is
//! protobuf's JSON, but scripts that read answers without an SDK know the first.

use livekit_protocol as proto;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// What a field is when it is not set.
#[derive(Clone, Copy, Debug)]
pub enum Blank {
    /// An empty text.
    Text,
    /// Zero, in up to 32 bits.
    Number,
    /// Zero, in 64 bits, which JSON has as text.
    Long,
    /// False.
    No,
    /// The first value of an enumeration.
    First(&'static str),
    /// Nothing in a list of numbers or names.
    List,
    /// Nothing in a map of texts.
    Texts,
    /// No message.
    Message(Fields),
    /// Nothing in a list of messages.
    Messages(Fields),
}

/// Fields of a message by the protocol's names.
pub type Fields = &'static [(&'static str, Blank)];

/// A message that this server answers.
pub trait Told {
    /// Its fields.
    const FIELDS: Fields;
}

/// The answer as LiveKit's server writes it.
pub fn written_out<A: Serialize + Told>(answer: &A) -> serde_json::Result<Value> {
    Ok(fill(A::FIELDS, serde_json::to_value(answer)?))
}

fn fill(fields: Fields, value: Value) -> Value {
    let Value::Object(mut set) = value else {
        return value;
    };
    let mut all = Map::new();
    for (name, blank) in fields {
        let value = match (set.remove(&camel(name)), blank) {
            (Some(value), Blank::Message(inner)) => fill(inner, value),
            (Some(Value::Array(values)), Blank::Messages(inner)) => {
                values.into_iter().map(|value| fill(inner, value)).collect()
            }
            (Some(value), _) => value,
            (None, blank) => unset(blank),
        };
        all.insert((*name).to_owned(), value);
    }
    // Fields newer than the table go out as they are.
    all.append(&mut set);
    Value::Object(all)
}

fn unset(blank: &Blank) -> Value {
    match blank {
        Blank::Text => json!(""),
        Blank::Number => json!(0),
        Blank::Long => json!("0"),
        Blank::No => json!(false),
        Blank::First(name) => json!(name),
        Blank::List | Blank::Messages(_) => json!([]),
        Blank::Texts => json!({}),
        Blank::Message(_) => Value::Null,
    }
}

/// `room_name` as `roomName`.
fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |mut camel, word| {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
        camel
    })
}

macro_rules! told {
    ($($message:ident $fields:expr;)*) => {
        $(impl Told for proto::$message {
            const FIELDS: Fields = $fields;
        })*
    };
}

told! {
    Room ROOM;
    ListRoomsResponse &[("rooms", Blank::Messages(ROOM))];
    DeleteRoomResponse &[];
    ListParticipantsResponse &[("participants", Blank::Messages(PARTICIPANT))];
    ParticipantInfo PARTICIPANT;
    RemoveParticipantResponse &[];
    MuteRoomTrackResponse &[("track", Blank::Message(TRACK))];
    UpdateSubscriptionsResponse &[];
    SendDataResponse &[];
    ForwardParticipantResponse &[];
    MoveParticipantResponse &[];
    PerformRpcResponse &[("payload", Blank::Text)];
}

const ROOM: Fields = &[
    ("sid", Blank::Text),
    ("name", Blank::Text),
    ("empty_timeout", Blank::Number),
    ("departure_timeout", Blank::Number),
    ("max_participants", Blank::Number),
    ("creation_time", Blank::Long),
    ("creation_time_ms", Blank::Long),
    ("turn_password", Blank::Text),
    ("enabled_codecs", Blank::Messages(CODEC)),
    ("metadata", Blank::Text),
    ("num_participants", Blank::Number),
    ("num_publishers", Blank::Number),
    ("active_recording", Blank::No),
    ("version", Blank::Message(VERSION)),
];

const CODEC: Fields = &[("mime", Blank::Text), ("fmtp_line", Blank::Text)];

const VERSION: Fields = &[("unix_micro", Blank::Long), ("ticks", Blank::Number)];

const PARTICIPANT: Fields = &[
    ("sid", Blank::Text),
    ("identity", Blank::Text),
    ("state", Blank::First("JOINING")),
    ("tracks", Blank::Messages(TRACK)),
    ("metadata", Blank::Text),
    ("joined_at", Blank::Long),
    ("joined_at_ms", Blank::Long),
    ("name", Blank::Text),
    ("version", Blank::Number),
    ("permission", Blank::Message(PERMISSION)),
    ("region", Blank::Text),
    ("is_publisher", Blank::No),
    ("kind", Blank::First("STANDARD")),
    ("attributes", Blank::Texts),
    ("disconnect_reason", Blank::First("UNKNOWN_REASON")),
    ("kind_details", Blank::List),
    ("data_tracks", Blank::Messages(&[])),
    ("client_protocol", Blank::Number),
    ("capabilities", Blank::List),
];

const PERMISSION: Fields = &[
    ("can_subscribe", Blank::No),
    ("can_publish", Blank::No),
    ("can_publish_data", Blank::No),
    ("can_publish_sources", Blank::List),
    ("hidden", Blank::No),
    ("recorder", Blank::No),
    ("can_update_metadata", Blank::No),
    ("agent", Blank::No),
    ("can_subscribe_metrics", Blank::No),
    ("can_manage_agent_session", Blank::No),
];

const TRACK: Fields = &[
    ("sid", Blank::Text),
    ("type", Blank::First("AUDIO")),
    ("name", Blank::Text),
    ("muted", Blank::No),
    ("width", Blank::Number),
    ("height", Blank::Number),
    ("simulcast", Blank::No),
    ("disable_dtx", Blank::No),
    ("source", Blank::First("UNKNOWN")),
    ("layers", Blank::Messages(LAYER)),
    ("mime_type", Blank::Text),
    ("mid", Blank::Text),
    ("codecs", Blank::Messages(SIMULCAST_CODEC)),
    ("stereo", Blank::No),
    ("disable_red", Blank::No),
    ("encryption", Blank::First("NONE")),
    ("stream", Blank::Text),
    ("version", Blank::Message(VERSION)),
    ("audio_features", Blank::List),
    ("backup_codec_policy", Blank::First("PREFER_REGRESSION")),
    ("packet_trailer_features", Blank::List),
];

const SIMULCAST_CODEC: Fields = &[
    ("mime_type", Blank::Text),
    ("mid", Blank::Text),
    ("cid", Blank::Text),
    ("layers", Blank::Messages(LAYER)),
    ("video_layer_mode", Blank::First("MODE_UNUSED")),
    ("sdp_cid", Blank::Text),
];

const LAYER: Fields = &[
    ("quality", Blank::First("LOW")),
    ("width", Blank::Number),
    ("height", Blank::Number),
    ("bitrate", Blank::Number),
    ("ssrc", Blank::Number),
    ("spatial_layer", Blank::Number),
    ("rid", Blank::Text),
    ("repair_ssrc", Blank::Number),
];

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    use serde::de::value::Error;
    use serde::de::{Deserialize, Deserializer, Error as _, Visitor};
    use serde::forward_to_deserialize_any;

    use super::*;

    /// Answers a message that wants to be read by noting which fields it knows.
    struct Asked<'a>(&'a RefCell<BTreeSet<&'static str>>);

    impl<'de> Deserializer<'de> for Asked<'_> {
        type Error = Error;

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, Error> {
            self.0.borrow_mut().extend(fields);
            Err(Error::custom("asked"))
        }

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
            Err(Error::custom("no message"))
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
            unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    /// A message's fields are those of the table, all that are not set are written as what they are, and what is written is
    /// read back as the message.
    fn check<'de, M>(fields: Fields)
    where
        M: Serialize + Deserialize<'de> + Default + PartialEq + std::fmt::Debug,
    {
        let known = RefCell::default();
        let _ = M::deserialize(Asked(&known));
        let named = fields
            .iter()
            .flat_map(|(name, _)| [(*name).to_owned(), camel(name)]);
        let known: BTreeSet<String> = known.into_inner().into_iter().map(str::to_owned).collect();
        assert_eq!(named.collect::<BTreeSet<_>>(), known);
        let blank = fill(fields, serde_json::to_value(M::default()).unwrap());
        assert_eq!(blank.as_object().unwrap().len(), fields.len());
        let without_nulls = blank.as_object().unwrap().clone();
        let without_nulls: Map<_, _> = without_nulls.into_iter().filter(|(_, v)| !v.is_null()).collect();
        assert_eq!(
            M::deserialize(Value::Object(without_nulls)).unwrap(),
            M::default()
        );
    }

    #[test]
    fn every_field_of_every_answer_is_in_the_table_with_what_it_is_when_unset() {
        check::<proto::Room>(ROOM);
        check::<proto::Codec>(CODEC);
        check::<proto::TimedVersion>(VERSION);
        check::<proto::ParticipantInfo>(PARTICIPANT);
        check::<proto::ParticipantPermission>(PERMISSION);
        check::<proto::TrackInfo>(TRACK);
        check::<proto::SimulcastCodecInfo>(SIMULCAST_CODEC);
        check::<proto::VideoLayer>(LAYER);
        check::<proto::ListRoomsResponse>(proto::ListRoomsResponse::FIELDS);
        check::<proto::ListParticipantsResponse>(proto::ListParticipantsResponse::FIELDS);
        check::<proto::MuteRoomTrackResponse>(proto::MuteRoomTrackResponse::FIELDS);
        check::<proto::PerformRpcResponse>(proto::PerformRpcResponse::FIELDS);
    }

    #[test]
    fn names_of_the_application_stay_as_they_are() {
        let person = proto::ParticipantInfo {
            attributes: [("seatNumber".to_owned(), "7".to_owned())].into(),
            tracks: vec![proto::TrackInfo::default()],
            ..Default::default()
        };
        let written = written_out(&person).unwrap();
        assert_eq!(written["attributes"], json!({"seatNumber": "7"}));
        assert_eq!(written["tracks"][0]["mime_type"], "");
        assert_eq!(written["permission"], Value::Null);
    }
}
