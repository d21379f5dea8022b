//! Pages, newest first.

use std::fmt;

use serde::Serialize;

use crate::error::StoreError;
use crate::row::Row;
use crate::sql::Sql;
use crate::timestamp::Timestamp;

/// Most rows in one page; a larger limit is cut to it.
pub const PAGE_MAX: u32 = 1000;

/// Where a page ended. Its text means nothing to callers but "go on here".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    at_us: i64,
    key: String,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{}", self.at_us, self.key)
    }
}

impl Cursor {
    /// Reads back what `Display` wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let (at, key) = text.split_once('.')?;
        Some(Self {
            at_us: hex(at)?,
            key: (!key.is_empty() && !key.contains('\0')).then(|| key.to_owned())?,
        })
    }
}

/// The number that `{:x}` of an `i64` wrote.
pub(crate) fn hex(text: &str) -> Option<i64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit());
    digits
        .then(|| u64::from_str_radix(text, 16).ok())
        .flatten()
        .map(u64::cast_signed)
}

/// Rows, and where to go on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Page<T> {
    /// Newest first.
    pub rows: Vec<T>,
    /// Where to go on; absent on the last page.
    #[serde(serialize_with = "as_text")]
    pub next: Option<Cursor>,
}

fn as_text<S: serde::Serializer>(cursor: &Option<Cursor>, to: S) -> Result<S::Ok, S::Error> {
    cursor.as_ref().map(Cursor::to_string).serialize(to)
}

/// What orders a list: a time, and a key that tells apart what shares one.
#[derive(Clone, Copy)]
pub(crate) struct Order {
    pub(crate) at: &'static str,
    pub(crate) key: &'static str,
    /// Whether the key is a number.
    pub(crate) numbered: bool,
}

impl Order {
    /// Ends a statement that already has a predicate: goes on after the cursor, and asks for one row more than wanted.
    pub(crate) fn push(self, sql: &mut Sql, cursor: Option<&Cursor>, limit: u32) {
        let Self { at, key, numbered } = self;
        if let Some(cursor) = cursor {
            sql.push(&format!(" AND ({at}, {key}) < ("))
                .bind(cursor.at_us)
                .push(", ");
            if numbered {
                // A key that is no number was never given out; it stands before all.
                sql.bind(hex(&cursor.key).unwrap_or(i64::MIN));
            } else {
                sql.bind(cursor.key.as_str());
            }
            sql.push(")");
        }
        sql.push(&format!(" ORDER BY {at} DESC, {key} DESC LIMIT "));
        sql.bind(limit.clamp(1, PAGE_MAX) + 1);
    }

    /// The page that these rows make.
    pub(crate) fn page<T>(
        self,
        rows: &[Row],
        limit: u32,
        read: impl Fn(&Row) -> Result<T, StoreError>,
    ) -> Result<Page<T>, StoreError> {
        let wanted = limit.clamp(1, PAGE_MAX) as usize;
        let last = rows.get(wanted - 1).filter(|_| rows.len() > wanted);
        let next = last.map(|row| {
            let key = if self.numbered {
                format!("{:x}", row.int(self.key)?)
            } else {
                row.text(self.key)?
            };
            Ok::<_, StoreError>(Cursor {
                at_us: row.int(self.at)?,
                key,
            })
        });
        Ok(Page {
            rows: rows.iter().take(wanted).map(read).collect::<Result<_, _>>()?,
            next: next.transpose()?,
        })
    }
}

/// A stretch of time, its end left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First moment.
    pub from: Timestamp,
    /// First moment after it.
    pub to: Timestamp,
}

impl Span {
    /// Everything since `from`.
    pub const fn since(from: Timestamp) -> Self {
        Self {
            from,
            to: Timestamp::from_micros(i64::MAX),
        }
    }
}

/// Narrows a statement to a span; what is `None` does not narrow.
pub(crate) fn push_span(sql: &mut Sql, column: &str, from: Option<Timestamp>, to: Option<Timestamp>) {
    if let Some(from) = from {
        sql.push(&format!(" AND {column} >= ")).bind(from);
    }
    if let Some(to) = to {
        sql.push(&format!(" AND {column} < ")).bind(to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text_and_garbage_is_no_cursor() {
        for (at_us, key) in [(0, "1"), (i64::MAX, "AS_1.2"), (-1, "ä:b")] {
            let cursor = Cursor {
                at_us,
                key: key.to_owned(),
            };
            assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
        }
        for text in ["", ".", "1", "1.", "+1.2", "g.1", "11112222333344445.1", "1.\0"] {
            assert_eq!(Cursor::parse(text), None, "{text:?}");
        }
    }
}
