//! The demo's table: one column per figure, one line per run.

use crate::outcome::{Outcome, Run};

/// A cell that was not measured.
const ABSENT: &str = "-";

/// The figures as text, aligned.
pub fn text(outcome: &Outcome) -> String {
    let mut lines = vec![HEAD.map(str::to_owned).to_vec()];
    lines.extend(outcome.all_runs().map(cells));
    let widths: Vec<usize> = (0..HEAD.len())
        .map(|n| {
            lines
                .iter()
                .map(|line| line[n].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for (n, line) in lines.iter().enumerate() {
        let padded = line
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (cell, width))| match column {
                0 | 1 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
        text.push_str(padded.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
        if n == 0 {
            text.push_str(&"-".repeat(widths.iter().sum::<usize>() + 2 * (widths.len() - 1)));
            text.push('\n');
        }
    }
    text
}

/// What the server's REST interface says about the same calls.
pub fn rest_text(outcome: &Outcome) -> String {
    let mut text = String::from(
        "The same from the REST interface (metrics, stats/bandwidth-savings; publisher and subscriber legs together):\n",
    );
    for run in &outcome.runs {
        let rest = &run.rest;
        text.push_str(&format!(
            "  {:<14} before {:>6} kbps  after {:>6} kbps  saved {:>5} % (measured here {:>5.1} %)  basis {}  rows {}  total {} MB  frames {}\n",
            run.mode,
            number(rest.original_kbps, 1),
            number(rest.compressed_kbps, 1),
            number(rest.saved_percent, 1),
            run.saved_percent,
            rest.basis.as_deref().unwrap_or(ABSENT),
            rest.rows,
            number(rest.total_saved_mb, 3),
            rest.total_frames.map_or(ABSENT.to_owned(), |frames| frames.to_string()),
        ));
    }
    text
}

/// Names of the columns.
pub const HEAD: [&str; 16] = [
    "run",
    "rung",
    "up kbps",
    "down kbps",
    "saved %",
    "payload up",
    "payload down",
    "pkt/s up",
    "pkt/s down",
    "score",
    "PESQ-WB",
    "STOI",
    "compress ms p50/p99",
    "+delay ms",
    "gap ms",
    "fallbacks",
];

/// One line.
pub fn cells(run: &Run) -> Vec<String> {
    let compress = match (run.compress_ms_p50, run.compress_ms_p99) {
        (None, None) => ABSENT.to_owned(),
        (p50, p99) => format!("{}/{}", number(p50, 2), number(p99, 2)),
    };
    vec![
        run.mode.clone(),
        run.rung_detail.clone(),
        format!("{:.1}", run.wire_kbps_up),
        format!("{:.1}", run.wire_kbps_down),
        format!("{:.1}", run.saved_percent),
        format!("{:.1}", run.payload_kbps_up),
        format!("{:.1}", run.payload_kbps_down),
        format!("{:.1}", run.packets_per_s_up),
        format!("{:.1}", run.packets_per_s_down),
        score(run),
        number(run.pesq_wb, 2),
        number(run.stoi, 3),
        compress,
        number(run.added_delay_ms, 0),
        format!("{:.0}", run.longest_gap_ms),
        fallbacks(run),
    ]
}

/// Fallbacks by reason, or a dash.
pub fn fallbacks(run: &Run) -> String {
    if run.fallbacks.is_empty() {
        return ABSENT.to_owned();
    }
    run.fallbacks
        .iter()
        .map(|(reason, count)| format!("{reason} {count}"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The server's score; `exp.` where nothing was measured and it is what other speech got on that rung.
fn score(run: &Run) -> String {
    let expected = run.quality_metric.as_deref() == Some("expected_pesq_wb");
    let mark = if expected { " exp." } else { "" };
    number(run.quality_score, 3) + mark
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or(ABSENT.to_owned(), |value| format!("{value:.digits$}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Baseline;

    fn outcome() -> Outcome {
        let run = |mode: &str, up: f64| Run {
            mode: mode.into(),
            wire_kbps_up: up,
            ..Run::default()
        };
        let mut killed = run("worker_killed", 25.0);
        killed.fallbacks.insert("core_unreachable".into(), 1);
        Outcome {
            source: "synthetic".into(),
            seconds: 20.0,
            baseline: Baseline {
                run: run("off", 120.0),
            },
            runs: vec![run("adaptive", 23.4), killed],
            wavs: vec![],
            report: None,
            aic_gaps: 0,
            missing: vec![],
        }
    }

    #[test]
    fn every_run_has_a_line_and_what_was_not_measured_is_a_dash() {
        let text = text(&outcome());
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 5);
        assert!(lines[2].starts_with("off") && lines[2].contains("120.0"));
        assert!(lines[3].contains(" - "));
        assert!(lines[4].ends_with("core_unreachable 1"));
    }

    #[test]
    fn columns_stand_under_their_heads() {
        let text = text(&outcome());
        let end = |line: &str, word: &str| line.find(word).map(|at| at + word.len());
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(end(lines[0], "up kbps"), end(lines[2], "120.0"));
        assert_eq!(end(lines[0], "up kbps"), end(lines[3], "23.4"));
    }
}
