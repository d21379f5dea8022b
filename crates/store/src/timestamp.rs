//! Points in time as the tables hold them.

use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Microseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Wraps the count.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// The count.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// So much earlier; stops at the earliest value there is.
    pub fn minus(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)),
        )
    }

    /// So much later; stops at the latest value there is.
    pub fn plus(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)),
        )
    }

    /// Reads RFC 3339 with any offset; `None` when it is not that, or out of the range of microseconds.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        i64::try_from(time.unix_timestamp_nanos().div_euclid(1000))
            .ok()
            .map(Self)
    }

    /// RFC 3339 in UTC; a time that the calendar cannot hold (no year of four digits) becomes the epoch.
    pub fn rfc3339(self) -> String {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1000)
            .ok()
            .and_then(|time| time.format(&Rfc3339).ok())
            .unwrap_or_else(|| "1970-01-01T00:00:00Z".into())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.rfc3339())
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let micros = |span: Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        Self(match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => micros(after),
            Err(before) => -micros(before.duration()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_survives_the_way_out_and_in() {
        let time = Timestamp::from_micros(1_790_000_000_123_456);
        assert_eq!(Timestamp::parse_rfc3339(&time.rfc3339()), Some(time));
        assert_eq!(time.rfc3339(), "2026-09-21T14:13:20.123456Z");
        assert_eq!(
            Timestamp::parse_rfc3339("2026-09-21T16:13:20.123456+02:00"),
            Some(time)
        );
    }

    #[test]
    fn what_is_no_time_is_refused_and_what_cannot_be_printed_does_not_panic() {
        for text in [
            "",
            "yesterday",
            "2026-13-01T00:00:00Z",
            "2026-01-01",
            "1790000000",
        ] {
            assert_eq!(Timestamp::parse_rfc3339(text), None, "{text}");
        }
        for micros in [i64::MIN, i64::MAX, -1] {
            assert!(!Timestamp::from_micros(micros).rfc3339().is_empty());
        }
    }
}
