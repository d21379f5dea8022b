//! A statement in the words that both databases know, with its values.
//!
//! Placeholders are `$1`, `$2` … in both. What only one of them says stands in its own module.

use auralink_types::{CallId, ParticipantId, RoomName, SessionId, TenantId, TrackId, UserId};

use crate::timestamp::Timestamp;

/// A value on its way into a statement.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(Option<String>),
    Int(Option<i64>),
    Real(Option<f64>),
    Bool(bool),
    Json(serde_json::Value),
}

/// Text and values. The text never holds anything a user said.
#[derive(Clone, Debug)]
pub(crate) struct Sql {
    pub(crate) text: String,
    pub(crate) values: Vec<Value>,
}

impl Sql {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            values: Vec::new(),
        }
    }

    /// The value of the next placeholder that the text already names.
    pub(crate) fn with(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    pub(crate) fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Writes the next placeholder and keeps its value.
    pub(crate) fn bind(&mut self, value: impl Into<Value>) -> &mut Self {
        self.values.push(value.into());
        self.text.push('$');
        self.text.push_str(&self.values.len().to_string());
        self
    }
}

/// A count as the tables hold it; no count of ours comes near the limit.
pub(crate) fn int(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

macro_rules! values {
    ($($from:ty => |$name:ident| $value:expr),+ $(,)?) => {
        $(impl From<$from> for Value {
            fn from($name: $from) -> Self {
                $value
            }
        })+
    };
}

values! {
    &str => |text| Self::Text(Some(text.to_owned())),
    String => |text| Self::Text(Some(text)),
    Option<String> => |text| Self::Text(text),
    Option<&str> => |text| Self::Text(text.map(str::to_owned)),
    i64 => |int| Self::Int(Some(int)),
    Option<i64> => |int| Self::Int(int),
    u32 => |int| Self::Int(Some(i64::from(int))),
    f64 => |real| Self::Real(Some(real)),
    Option<f64> => |real| Self::Real(real),
    bool => |truth| Self::Bool(truth),
    serde_json::Value => |json| Self::Json(json),
    Timestamp => |time| Self::Int(Some(time.as_micros())),
    Option<Timestamp> => |time| Self::Int(time.map(Timestamp::as_micros)),
    &TenantId => |id| id.as_str().into(),
    &UserId => |id| id.as_str().into(),
    Option<&UserId> => |id| id.map(UserId::as_str).into(),
    &CallId => |id| id.as_str().into(),
    &RoomName => |id| id.as_str().into(),
    &ParticipantId => |id| id.as_str().into(),
    &TrackId => |id| id.as_str().into(),
    &SessionId => |id| id.as_str().into(),
    Option<&SessionId> => |id| id.map(SessionId::as_str).into(),
}
