//! Pages of metric rows, newest first.

use std::fmt;

use auralink_types::{CallId, MetricRow};

use crate::timestamp::Timestamp;

/// Most rows in one page; a larger limit is cut to it.
pub const PAGE_MAX: u32 = 1000;

/// A row with its number.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredMetric {
    /// Unique in the database.
    pub metric_id: i64,
    /// The row.
    pub row: MetricRow,
}

/// Which rows are wanted. What is `None` does not narrow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricQuery {
    /// Of this call.
    pub call_id: Option<CallId>,
    /// At this time or later.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub to: Option<Timestamp>,
    /// After the page that ended here.
    pub cursor: Option<MetricCursor>,
    /// At most so many, up to [`PAGE_MAX`].
    pub limit: u32,
}

/// Where a page ended. Its text means nothing to callers but "go on here".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricCursor {
    pub(crate) ts_us: i64,
    pub(crate) metric_id: i64,
}

impl fmt::Display for MetricCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{:x}", self.ts_us, self.metric_id)
    }
}

impl MetricCursor {
    /// Reads back what `Display` wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = |part: &str| {
            let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_hexdigit());
            digits.then(|| u64::from_str_radix(part, 16).ok()).flatten()
        };
        let (ts, id) = text.split_once('.')?;
        Some(Self {
            ts_us: hex(ts)?.cast_signed(),
            metric_id: hex(id)?.cast_signed(),
        })
    }
}

/// One page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricPage {
    /// Newest first.
    pub rows: Vec<StoredMetric>,
    /// Where to go on; absent on the last page.
    pub next: Option<MetricCursor>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text_and_garbage_is_no_cursor() {
        for (ts_us, metric_id) in [(0, 1), (i64::MAX, i64::MAX), (-1, 7)] {
            let cursor = MetricCursor { ts_us, metric_id };
            assert_eq!(MetricCursor::parse(&cursor.to_string()), Some(cursor));
        }
        for text in ["", ".", "1", "1.", "+1.2", "g.1", "1.2.3", "11112222333344445.1"] {
            assert_eq!(MetricCursor::parse(text), None, "{text}");
        }
    }
}
