//! The tables, as Markdown that is also readable on a terminal.

use std::fmt::Write as _;

use super::condition::LOSSES;
use super::outcome::{Outcome, Row};
use super::speed::Speed;

/// A cell that was not measured.
const ABSENT: &str = "-";

const HEAD: [&str; 9] = [
    "codec",
    "asked",
    "packet ms",
    "payload kbps",
    "wire kbps",
    "PESQ-WB",
    "STOI",
    "ESTOI",
    "mel dB",
];

/// Everything.
pub fn text(outcome: &Outcome) -> String {
    let mut text = format!(
        "{} clips, {:.0} s, of {}. Model {}, {}. Means over clips; ± is the standard error.\n",
        outcome.clips, outcome.seconds, outcome.source, outcome.model, outcome.libopus
    );
    for missing in &outcome.missing {
        let _ = writeln!(text, "\nLEFT OUT: {missing}");
    }
    text.push_str("\n### Nothing lost\n\n");
    rows(&mut text, outcome.clean.iter());
    for loss in LOSSES {
        let _ = write!(
            text,
            "\n### {loss} % of 20 ms packets lost, bursts of 2 on average\n\n"
        );
        rows(
            &mut text,
            outcome.lossy.iter().filter(|row| row.loss_percent == loss),
        );
    }
    let mut group = "";
    for row in &outcome.weak {
        if row.group != group {
            group = &row.group;
            let _ = write!(text, "\n### Weak input: {group}, {} clips\n\n", row.clips);
            rows(&mut text, outcome.weak.iter().filter(|row| row.group == group));
        }
    }
    text.push_str("\n### Time for a frame of 20 ms, one thread, and streams on one core\n\n");
    speeds(&mut text, &outcome.speed);
    text
}

fn rows<'a>(text: &mut String, of: impl Iterator<Item = &'a Row>) {
    let cells = of.map(|row| {
        vec![
            row.family.clone(),
            row.detail.clone(),
            row.packet_ms.to_string(),
            format!("{:.2}", row.payload_kbps),
            format!("{:.1}", row.wire_kbps),
            match row.pesq_wb_error {
                Some(error) => format!("{} ±{error:.2}", number(row.pesq_wb, 2)),
                None => number(row.pesq_wb, 2),
            },
            number(row.stoi, 3),
            number(row.estoi, 3),
            number(row.mel_db, 2),
        ]
    });
    lay(text, &HEAD, cells.collect());
}

fn speeds(text: &mut String, of: &[Speed]) {
    let head = ["codec", "encode ms", "decode ms", "encoders", "decoders", "both"];
    let cells = of.iter().map(|speed| {
        vec![
            speed.codec.clone(),
            format!("{:.3}", speed.encode_ms),
            format!("{:.3}", speed.decode_ms),
            format!("{:.0}", speed.encode_streams),
            format!("{:.0}", speed.decode_streams),
            format!("{:.0}", speed.both_streams),
        ]
    });
    lay(text, &head, cells.collect());
}

/// A Markdown table with padded cells; the first two columns to the left, figures to the right.
fn lay(text: &mut String, head: &[&str], lines: Vec<Vec<String>>) {
    let width = |n: usize| {
        let longest = lines.iter().map(|line| line[n].chars().count()).max();
        longest.unwrap_or(0).max(head[n].chars().count())
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let words = |n: usize| n == 0 || head[n] == "asked";
    let mut line = |cells: &mut dyn Iterator<Item = String>| {
        let padded = cells.enumerate().map(|(n, cell)| match words(n) {
            true => format!("{cell:<0$}", widths[n]),
            false => format!("{cell:>0$}", widths[n]),
        });
        let _ = writeln!(text, "| {} |", padded.collect::<Vec<_>>().join(" | "));
    };
    line(&mut head.iter().map(|name| (*name).to_owned()));
    line(&mut (0..head.len()).map(|n| match words(n) {
        true => "-".repeat(widths[n]),
        false => "-".repeat(widths[n] - 1) + ":",
    }));
    for cells in lines {
        line(&mut cells.into_iter());
    }
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or(ABSENT.to_owned(), |value| format!("{value:.digits$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_and_what_was_not_measured_is_a_dash() {
        let row = Row {
            group: "music".into(),
            family: "Lyra V2".into(),
            loss_percent: 15,
            ..Row::default()
        };
        let outcome = Outcome {
            source: "here".into(),
            clips: 1,
            seconds: 3.0,
            model: "m".into(),
            libopus: "o".into(),
            clean: vec![row.clone()],
            lossy: vec![row.clone()],
            weak: vec![row],
            speed: vec![Speed::new("x", 0.1, 0.1)],
            missing: vec!["Lyra V2: no weights".into()],
        };
        let text = text(&outcome);
        assert!(text.contains("LEFT OUT: Lyra V2: no weights"));
        assert_eq!(text.matches("| Lyra V2").count(), 3);
        assert!(text.contains(" - |") && text.contains("| x") && text.contains("100 |"));
        let mut width = 0;
        for line in text.lines().filter(|line| line.starts_with('|')) {
            if line.starts_with("| codec") {
                width = line.chars().count();
            }
            assert_eq!(line.chars().count(), width, "{line}");
        }
    }
}
