//! Query parameters: a name that nobody knows is refused, because a misspelt filter would answer the wrong question.

use std::str::FromStr;
use std::time::Duration;

use auralink_store::{Cursor, MetricCursor, PAGE_MAX, Span, Timestamp};
use auralink_types::CallId;
use axum::extract::Query;
use axum::http::{StatusCode, Uri};

use crate::problem::Problem;

/// Rows in a page when the caller doesn't say.
const PAGE: u32 = 100;

/// Days when the caller doesn't say, and the most they may ask for.
const DAYS: u32 = 30;
const DAYS_MAX: u32 = 366;

/// Longest id of a call, in characters.
const CALL_ID_MAX: usize = 256;

#[derive(Debug)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// The request's parameters, each one of `known` and given once. `user_id` is always known.
    pub(crate) fn read(uri: &Uri, known: &[&str]) -> Result<Self, Problem> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.to_string()))?;
        for (at, (name, value)) in pairs.iter().enumerate() {
            if name != "user_id" && !known.contains(&name.as_str()) {
                return Err(Problem::invalid(name, "no such parameter"));
            }
            if pairs[..at].iter().any(|(earlier, _)| earlier == name) {
                return Err(Problem::invalid(name, "given more than once"));
            }
            // No id holds one, and PostgreSQL takes no text with a zero.
            if value.chars().any(char::is_control) {
                return Err(Problem::invalid(name, "must not contain control characters"));
            }
        }
        Ok(Self(pairs))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut pairs = self.0.iter();
        pairs.find_map(|(given, value)| (given == name).then_some(value.as_str()))
    }

    fn number(&self, name: &str, default: u32, max: u32) -> Result<u32, Problem> {
        let Some(text) = self.get(name) else {
            return Ok(default);
        };
        u32::from_str(text)
            .ok()
            .filter(|number| (1..=max).contains(number) && !text.starts_with('+'))
            .ok_or_else(|| Problem::invalid(name, format!("must be 1 to {max}, got {text:?}")))
    }

    /// One name of a closed set.
    pub(crate) fn name<T>(
        &self,
        name: &str,
        read: impl Fn(&str) -> Option<T>,
        all: &str,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let found = read(text);
        found
            .map(Some)
            .ok_or_else(|| Problem::invalid(name, format!("must be one of {all}, got {text:?}")))
    }

    pub(crate) fn flag(&self, name: &str) -> Result<bool, Problem> {
        let read = |text: &str| bool::from_str(text).ok();
        Ok(self.name(name, read, "true, false")?.unwrap_or(false))
    }

    pub(crate) fn time(&self, name: &str) -> Result<Option<Timestamp>, Problem> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let time = Timestamp::parse_rfc3339(text);
        let wrong = || Problem::invalid(name, format!("must be a time in RFC 3339, got {text:?}"));
        time.map(Some).ok_or_else(wrong)
    }

    pub(crate) fn metric_cursor(&self) -> Result<Option<MetricCursor>, Problem> {
        let wrong = || Problem::invalid("cursor", "must be a next_cursor that was given out");
        let read = |text: &str| MetricCursor::parse(text).ok_or_else(wrong);
        self.get("cursor").map(read).transpose()
    }

    pub(crate) fn cursor(&self) -> Result<Option<Cursor>, Problem> {
        let wrong = || Problem::invalid("cursor", "must be a next_cursor that was given out");
        let read = |text: &str| Cursor::parse(text).ok_or_else(wrong);
        self.get("cursor").map(read).transpose()
    }

    pub(crate) fn call(&self) -> Result<Option<CallId>, Problem> {
        let Some(text) = self.get("call_id") else {
            return Ok(None);
        };
        if text.chars().count() > CALL_ID_MAX {
            let problem = format!("must be at most {CALL_ID_MAX} characters");
            return Err(Problem::invalid("call_id", problem));
        }
        Ok(Some(CallId::from(text)))
    }

    pub(crate) fn limit(&self) -> Result<u32, Problem> {
        self.number("limit", PAGE, PAGE_MAX)
    }

    pub(crate) fn days(&self) -> Result<u32, Problem> {
        self.number("days", DAYS, DAYS_MAX)
    }

    /// The last so many days.
    pub(crate) fn span(&self, now: Timestamp) -> Result<Span, Problem> {
        let days = Duration::from_secs(u64::from(self.days()?) * 86_400);
        Ok(Span {
            from: now.minus(days),
            to: now,
        })
    }
}
