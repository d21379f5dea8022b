//! Query parameters: a name that nobody knows is refused, because a misspelt filter would answer the wrong question.

use std::str::FromStr;

use auralink_store::{MetricCursor, MetricQuery, PAGE_MAX, Timestamp};
use auralink_types::CallId;
use axum::extract::Query;
use axum::http::{StatusCode, Uri};

use crate::problem::Problem;

/// Rows in a page when the caller doesn't say.
const PAGE: u32 = 100;

/// Days when the caller doesn't say, and the most he may ask for.
const DAYS: u32 = 30;
const DAYS_MAX: u32 = 366;

#[derive(Debug)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// The request's parameters, each one of `known` and given once. `user_id` is always known.
    pub(crate) fn read(uri: &Uri, known: &[&str]) -> Result<Self, Problem> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.to_string()))?;
        for (at, (name, _)) in pairs.iter().enumerate() {
            if name != "user_id" && !known.contains(&name.as_str()) {
                return Err(Problem::invalid(name, "no such parameter"));
            }
            if pairs[..at].iter().any(|(earlier, _)| earlier == name) {
                return Err(Problem::invalid(name, "given more than once"));
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
            .filter(|number| (1..=max).contains(number))
            .ok_or_else(|| Problem::invalid(name, format!("must be 1 to {max}, got {text:?}")))
    }

    fn time(&self, name: &str) -> Result<Option<Timestamp>, Problem> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let time = Timestamp::parse_rfc3339(text);
        let wrong = || Problem::invalid(name, format!("must be a time in RFC 3339, got {text:?}"));
        time.map(Some).ok_or_else(wrong)
    }

    pub(crate) fn days(&self) -> Result<u32, Problem> {
        self.number("days", DAYS, DAYS_MAX)
    }

    pub(crate) fn metric_query(&self) -> Result<MetricQuery, Problem> {
        let cursor = self
            .get("cursor")
            .map(|text| {
                MetricCursor::parse(text)
                    .ok_or_else(|| Problem::invalid("cursor", "must be a next_cursor that was given out"))
            })
            .transpose()?;
        Ok(MetricQuery {
            call_id: self.get("call_id").map(CallId::from),
            from: self.time("from")?,
            to: self.time("to")?,
            cursor,
            limit: self.number("limit", PAGE, PAGE_MAX)?,
        })
    }
}
