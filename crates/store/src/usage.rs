//! Sums over any span, from the rollups where they reach and from the raw rows since.
//!
//! A span is cut into pieces: whole days from the daily rollup, the hours at its edges from the hourly one, and the
//! rows that no refresh has seen yet, which are at most minutes old. The edges are whole hours. The view behind each
//! name is a materialized one on PostgreSQL.

use crate::page::Span;
use crate::scoped::Scoped;
use crate::sql::Sql;
use crate::timestamp::Timestamp;

/// One hour and one day, microseconds.
pub(crate) const HOUR_US: i64 = 3_600_000_000;
pub(crate) const DAY_US: i64 = 24 * HOUR_US;

/// Edges of the bins of the quality score: the floors that modes have, and the steps between.
pub(crate) const QUALITY_EDGES: [f64; 8] = [0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95];

/// Edges of the bins of latency, milliseconds: closest around what a frame may cost.
pub(crate) const LATENCY_EDGES: [f64; 11] = [0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 50.0, 200.0];

/// A column of a rollup: its name, and what it is of one raw row.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) raw: String,
    real: bool,
}

impl Column {
    fn new(name: &str, raw: &str, real: bool) -> Self {
        Self {
            name: name.to_owned(),
            raw: raw.to_owned(),
            real,
        }
    }

    /// The column's total, in a type of its own on both databases.
    fn total(&self) -> String {
        let Self { name, real, .. } = self;
        if *real {
            format!("coalesce(sum({name}), 0.0) AS {name}")
        } else {
            format!("coalesce(CAST(sum({name}) AS BIGINT), 0) AS {name}")
        }
    }

    /// The total of its raw form.
    pub(crate) fn raw_total(&self) -> String {
        let raw = &self.raw;
        if self.real {
            format!("sum({raw})")
        } else {
            format!("CAST(sum({raw}) AS BIGINT)")
        }
    }
}

/// Sums that every answer about traffic needs.
pub(crate) fn sums() -> Vec<Column> {
    [
        ("seconds", "1", false),
        ("frames", "frames", false),
        ("original_kbit", "original_bandwidth_kbps", true),
        ("compressed_kbit", "compressed_bandwidth_kbps", true),
        ("quality_sum", "coalesce(quality_score, 0.0)", true),
        (
            "quality_count",
            "CASE WHEN quality_score IS NULL THEN 0 ELSE 1 END",
            false,
        ),
        ("latency_sum", "coalesce(inference_latency_ms, 0.0)", true),
        (
            "latency_count",
            "CASE WHEN inference_latency_ms IS NULL THEN 0 ELSE 1 END",
            false,
        ),
        (
            "fallbacks",
            "CASE WHEN fallback_triggered THEN 1 ELSE 0 END",
            false,
        ),
    ]
    .map(|(name, raw, real)| Column::new(name, raw, real))
    .to_vec()
}

/// Bins of the quality score.
pub(crate) fn quality_bins() -> Vec<Column> {
    bins("quality", "quality_score", &QUALITY_EDGES)
}

/// Bins of latency: of the seconds' medians, and of their 99th percentiles.
pub(crate) fn latency_bins() -> Vec<Column> {
    let mut all = bins("median", "inference_latency_ms", &LATENCY_EDGES);
    all.extend(bins("tail", "inference_latency_p99_ms", &LATENCY_EDGES));
    all
}

fn bins(prefix: &str, value: &str, edges: &[f64]) -> Vec<Column> {
    let bin = |at: usize| {
        let over = (at > 0).then(|| format!("{value} >= {}", edges[at - 1]));
        let under = edges.get(at).map(|edge| format!("{value} < {edge}"));
        let both: Vec<_> = over.into_iter().chain(under).collect();
        let raw = format!("CASE WHEN {} THEN 1 ELSE 0 END", both.join(" AND "));
        Column::new(&format!("{prefix}_{at:02}"), &raw, false)
    };
    (0..=edges.len()).map(bin).collect()
}

/// What sums are grouped by in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Hours, in UTC.
    Hour,
    /// Days, in UTC.
    Day,
}

/// A question about sums.
#[derive(Debug)]
pub(crate) struct Usage {
    columns: Vec<Column>,
    by_model: bool,
    step: Option<Step>,
}

impl Usage {
    /// Traffic alone.
    pub(crate) fn traffic() -> Self {
        let mut columns = sums();
        columns.truncate(4);
        Self::of(columns)
    }

    pub(crate) fn of(columns: Vec<Column>) -> Self {
        Self {
            columns,
            by_model: false,
            step: None,
        }
    }

    /// One row for each model and kind of media.
    pub(crate) fn by_model(self) -> Self {
        Self {
            by_model: true,
            ..self
        }
    }

    /// One row for each step of time, named `at_us`.
    pub(crate) fn by_time(self, step: Step) -> Self {
        Self {
            step: Some(step),
            ..self
        }
    }

    /// The statement, with the predicate of `scope` on every piece.
    pub(crate) fn sql(&self, scope: &Scoped, span: &Span) -> Sql {
        let mut sql = Sql::new("SELECT ");
        let groups = self.groups();
        for group in &groups {
            sql.push(group).push(", ");
        }
        let totals: Vec<_> = self.columns.iter().map(Column::total).collect();
        sql.push(&totals.join(", ")).push(" FROM (");
        for (number, piece) in pieces(span, self.step == Some(Step::Hour)).iter().enumerate() {
            if number > 0 {
                sql.push(" UNION ALL ");
            }
            self.push_piece(&mut sql, scope, piece);
        }
        sql.push(") AS pieces");
        if !groups.is_empty() {
            let list = groups.join(", ");
            sql.push(" GROUP BY ").push(&list).push(" ORDER BY ").push(&list);
        }
        sql
    }

    fn groups(&self) -> Vec<&'static str> {
        let mut groups = Vec::new();
        if self.step.is_some() {
            groups.push("at_us");
        }
        if self.by_model {
            groups.extend(["model_used", "media"]);
        }
        groups
    }

    fn push_piece(&self, sql: &mut Sql, scope: &Scoped, piece: &Piece) {
        let (table, time) = match piece.of {
            Of::Days => ("aic_performance_daily", "day_us"),
            Of::Hours => ("aic_performance_hourly", "hour_us"),
            Of::Rows => ("aic_metrics", "ts_us"),
        };
        sql.push("SELECT ");
        if let Some(step) = self.step {
            let length = if step == Step::Hour { HOUR_US } else { DAY_US };
            sql.push(&format!("{time} - {time} % {length} AS at_us, "));
        }
        if self.by_model {
            sql.push("model_used, media, ");
        }
        let raw = piece.of == Of::Rows;
        let columns = self.columns.iter().map(|column| match raw {
            true => format!("{} AS {}", column.raw, column.name),
            false => column.name.clone(),
        });
        sql.push(&columns.collect::<Vec<_>>().join(", "));
        sql.push(&format!(" FROM {table} WHERE "));
        scope.push_predicate(sql);
        if raw {
            sql.push(" AND ts_us >= (SELECT watermark_us FROM aic_rollup_state)");
        }
        sql.push(&format!(" AND {time} >= ")).bind(piece.from);
        sql.push(&format!(" AND {time} < ")).bind(piece.to);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Days,
    Hours,
    Rows,
}

/// A part of a span, and where its sums come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    of: Of,
    from: Timestamp,
    to: Timestamp,
}

fn pieces(span: &Span, hours_only: bool) -> Vec<Piece> {
    let floor = |micros: i64, unit: i64| micros.div_euclid(unit).saturating_mul(unit);
    let ceil = |micros: i64, unit: i64| floor(micros.saturating_add(unit - 1), unit);
    let (from, to) = (span.from.as_micros().max(0), span.to.as_micros().max(0));
    let (first, last) = (floor(from, HOUR_US), ceil(to, HOUR_US));
    let (day, day_after) = (ceil(first, DAY_US), floor(last, DAY_US));
    let piece = |of, from, to| Piece {
        of,
        from: Timestamp::from_micros(from),
        to: Timestamp::from_micros(to),
    };
    let mut pieces = if hours_only || day >= day_after {
        vec![piece(Of::Hours, first, last)]
    } else {
        vec![
            piece(Of::Hours, first, day),
            piece(Of::Days, day, day_after),
            piece(Of::Hours, day_after, last),
        ]
    };
    pieces.retain(|piece| piece.from < piece.to);
    pieces.push(piece(Of::Rows, first, to));
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from: i64, to: i64) -> Span {
        Span {
            from: Timestamp::from_micros(from),
            to: Timestamp::from_micros(to),
        }
    }

    #[test]
    fn a_span_is_cut_into_days_between_hours_and_the_rows_since() {
        let found = pieces(&span(DAY_US - HOUR_US - 1, 3 * DAY_US + 2 * HOUR_US + 1), false);
        let cut: Vec<_> = found
            .iter()
            .map(|piece| {
                (
                    piece.of,
                    piece.from.as_micros() / HOUR_US,
                    piece.to.as_micros() / HOUR_US,
                )
            })
            .collect();
        assert_eq!(
            cut,
            [
                (Of::Hours, 22, 24),
                (Of::Days, 24, 72),
                (Of::Hours, 72, 75),
                (Of::Rows, 22, 74)
            ]
        );
    }

    #[test]
    fn no_piece_of_the_rollups_overlaps_another_and_none_is_left_out() {
        for from in [0, 1, HOUR_US, DAY_US - 1, DAY_US, 5 * DAY_US + 7] {
            for length in [0, 1, HOUR_US, DAY_US, DAY_US + 1, 9 * DAY_US] {
                let found = pieces(&span(from, from + length), false);
                let rollups: Vec<_> = found.iter().filter(|piece| piece.of != Of::Rows).collect();
                assert!(rollups.windows(2).all(|pair| pair[0].to == pair[1].from));
                if let (Some(first), Some(last)) = (rollups.first(), rollups.last()) {
                    assert!(first.from.as_micros() <= from && last.to.as_micros() >= from + length);
                }
            }
        }
        let endless = pieces(&Span::since(Timestamp::from_micros(0)), false);
        assert!(endless.iter().all(|piece| piece.from < piece.to));
    }

    #[test]
    fn every_value_falls_into_one_bin() {
        let all = bins("quality", "q", &QUALITY_EDGES);
        assert_eq!(all.len(), 9);
        assert_eq!(all[0].raw, "CASE WHEN q < 0.5 THEN 1 ELSE 0 END");
        assert_eq!(all[8].raw, "CASE WHEN q >= 0.95 THEN 1 ELSE 0 END");
    }
}
