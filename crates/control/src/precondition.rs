//! ETags of configurations, and the conditions that requests put on them (RFC 9110 sections 8.8.3 and 13.1).

use axum::http::{HeaderMap, HeaderValue, header};

use crate::problem::Problem;

/// Tags in one condition at most.
const TAGS_MAX: usize = 16;

/// What `If-Match` asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Precondition {
    None,
    /// `*`: whatever is there.
    Any,
    /// One of these versions; never empty. A tag that is none of ours is `u64::MAX`, which no configuration reaches.
    OneOf(Vec<u64>),
}

impl Precondition {
    pub(crate) fn read(headers: &HeaderMap) -> Result<Self, Problem> {
        let wrong = |problem: &str| Problem::invalid("If-Match", problem);
        let mut values = headers.get_all(header::IF_MATCH).iter();
        let Some(value) = values.next() else {
            return Ok(Self::None);
        };
        if values.next().is_some() {
            return Err(wrong("given more than once"));
        }
        let text = value.to_str().map_err(|_| wrong("must be ETags"))?.trim();
        if text == "*" {
            return Ok(Self::Any);
        }
        let versions: Vec<u64> = text
            .split(',')
            .take(TAGS_MAX + 1)
            .map(|tag| version(tag).unwrap_or(u64::MAX))
            .collect();
        if versions.len() > TAGS_MAX {
            return Err(wrong("too many ETags"));
        }
        Ok(Self::OneOf(versions))
    }
}

/// The tag of a version; 0 is the default that nobody stored.
pub(crate) fn etag(version: u64) -> HeaderValue {
    // Digits in quotes are always a header.
    HeaderValue::from_str(&format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

/// Whether `If-None-Match` names the version; there weak tags do as well.
pub(crate) fn matches_any(value: &HeaderValue, current: u64) -> bool {
    let text = value.to_str().unwrap_or_default();
    text.trim() == "*"
        || text
            .split(',')
            .any(|tag| version(tag.trim().trim_start_matches("W/")) == Some(current))
}

/// The version of a strong tag; a weak one never matches here (RFC 9110 section 13.1.1).
fn version(tag: &str) -> Option<u64> {
    tag.trim().strip_prefix('"')?.strip_suffix('"')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Precondition {
        let headers = HeaderMap::from_iter([(header::IF_MATCH, HeaderValue::from_str(value).unwrap())]);
        Precondition::read(&headers).unwrap()
    }

    #[test]
    fn a_condition_is_read_as_the_rfc_has_it() {
        assert_eq!(Precondition::read(&HeaderMap::new()).unwrap(), Precondition::None);
        assert_eq!(read("*"), Precondition::Any);
        assert_eq!(read("\"3\""), Precondition::OneOf(vec![3]));
        assert_eq!(read("\"3\", \"4\""), Precondition::OneOf(vec![3, 4]));
        for never in ["W/\"3\"", "3", "\"x\"", "\"-1\"", ""] {
            assert_eq!(read(never), Precondition::OneOf(vec![u64::MAX]), "{never}");
        }
        let many = vec!["\"1\""; TAGS_MAX + 1].join(",");
        let headers = HeaderMap::from_iter([(header::IF_MATCH, HeaderValue::from_str(&many).unwrap())]);
        assert!(Precondition::read(&headers).is_err());
    }

    #[test]
    fn a_tag_matches_its_version_and_weak_ones_do_for_reading() {
        let value = etag(7);
        assert!(matches_any(&value, 7) && !matches_any(&value, 8));
        assert!(matches_any(&HeaderValue::from_static("W/\"7\", \"9\""), 7));
    }
}
