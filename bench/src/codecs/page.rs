//! The report: one HTML file with curves and tables, and the curves as files of their own.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::curves::{Curve, plot};
use super::outcome::{Outcome, Row};
use super::table;
use crate::plot::escape;

const STYLE: &str = "
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1000px; margin: 2rem auto; padding: 0 1rem; }
pre { overflow-x: auto; font-size: 12px; } svg { width: 100%; height: auto; margin: 1rem 0; }
.missing { color: #c0392b; font-weight: 600; }
";

const PESQ: (f64, f64) = (1.0, 4.5);
const STOI: (f64, f64) = (0.6, 1.0);

/// Writes the page, the plots and the tables into a directory; returns the page's path.
pub fn write(outcome: &Outcome, directory: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    let plots = plots(outcome);
    let save = |name: &str, text: &str| {
        let path = directory.join(name);
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
        anyhow::Ok(path)
    };
    for (name, svg) in &plots {
        save(&format!("{name}.svg"), svg)?;
    }
    save("tables.md", &table::text(outcome))?;
    save("speech.html", &html(outcome, &plots))
}

fn plots(outcome: &Outcome) -> Vec<(&'static str, String)> {
    let clean = |figure: fn(&Row) -> Option<f64>, rate: fn(&Row) -> f64| curves(&outcome.clean, rate, figure);
    let payload = |row: &Row| row.payload_kbps;
    let lossy: Vec<Row> = outcome
        .lossy
        .iter()
        .map(|row| Row {
            family: format!("{} {}", row.family, row.detail),
            ..row.clone()
        })
        .collect();
    let under_loss = curves(&lossy, |row| f64::from(row.loss_percent), |row| row.pesq_wb);
    vec![
        (
            "pesq",
            plot(
                "PESQ-WB, nothing lost",
                "payload kbps",
                PESQ,
                0.5,
                &clean(|row| row.pesq_wb, payload),
            ),
        ),
        (
            "stoi",
            plot(
                "STOI, nothing lost",
                "payload kbps",
                STOI,
                0.1,
                &clean(|row| row.stoi, payload),
            ),
        ),
        (
            "wire",
            plot(
                "PESQ-WB against the whole wire, nothing lost",
                "kbps with IP, UDP, RTP, SRTP",
                PESQ,
                0.5,
                &clean(|row| row.pesq_wb, |row| row.wire_kbps),
            ),
        ),
        (
            "loss",
            plot(
                "PESQ-WB under bursty loss",
                "% of packets lost",
                PESQ,
                0.5,
                &under_loss,
            ),
        ),
    ]
}

fn curves(rows: &[Row], x: fn(&Row) -> f64, y: fn(&Row) -> Option<f64>) -> Vec<Curve> {
    let mut curves: Vec<Curve> = Vec::new();
    for row in rows {
        let Some(value) = y(row) else { continue };
        match curves.iter_mut().find(|curve| curve.name == row.family) {
            Some(curve) => curve.points.push((x(row), value)),
            None => curves.push(Curve {
                name: row.family.clone(),
                points: vec![(x(row), value)],
            }),
        }
    }
    curves
}

fn html(outcome: &Outcome, plots: &[(&str, String)]) -> String {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Speech codecs side by side</title><style>{STYLE}</style><h1>Speech codecs side by side</h1>"
    );
    for missing in &outcome.missing {
        let _ = write!(page, "<p class=\"missing\">Left out: {}</p>", escape(missing));
    }
    for (_, svg) in plots {
        page.push_str(svg);
    }
    let _ = write!(page, "<pre>{}</pre></html>", escape(&table::text(outcome)));
    page.push('\n');
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_of_a_family_make_one_curve_and_rows_without_a_figure_none() {
        let row = |family: &str, kbps: f64, pesq| Row {
            family: family.into(),
            payload_kbps: kbps,
            pesq_wb: pesq,
            ..Row::default()
        };
        let rows = [
            row("a", 3.0, Some(2.0)),
            row("b", 6.0, Some(3.0)),
            row("a", 6.0, Some(2.5)),
            row("c", 1.0, None),
        ];
        let curves = curves(&rows, |row| row.payload_kbps, |row| row.pesq_wb);
        assert_eq!(curves.len(), 2);
        assert_eq!(curves[0].points, [(3.0, 2.0), (6.0, 2.5)]);
    }
}
