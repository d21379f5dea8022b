//! The demo's report: one HTML file that needs nothing from outside.

use std::fmt::Write as _;
use std::path::Path;

use crate::outcome::{AUDIBLE_GAP_MS, Blame, Outcome, Run};
use crate::plot::{self, Bar, Line, Mark, escape};
use crate::table;

const STYLE: &str = "
:root { color-scheme: light dark; --up: #2166c2; --down: #d2691e; --before: #999; --ink: #222; --paper: #fff; --rule: #ddd; }
@media (prefers-color-scheme: dark) { :root { --up: #6aa5f0; --down: #f0a060; --before: #888; --ink: #ddd; --paper: #181818; --rule: #3a3a3a; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 1180px; margin: 2rem auto; padding: 0 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--rule); text-align: right; }
th:nth-child(-n+2), td:nth-child(-n+2) { text-align: left; }
svg { width: 100%; max-width: 900px; height: auto; display: block; margin: 1rem 0; }
svg text { fill: var(--ink); font-family: system-ui, sans-serif; }
.title { font-size: 13px; font-weight: 600; } .tick, .note { font-size: 10px; } .name { font-size: 12px; } .note { opacity: .85; }
.grid { stroke: var(--rule); } .line { fill: none; stroke-width: 1.6; }
.line.up { stroke: var(--up); } .line.down { stroke: var(--down); } .line.before { stroke: var(--before); stroke-dasharray: 4 3; }
.key.up { fill: var(--up); } .key.down { fill: var(--down); } .key.before { fill: var(--before); }
.mark { fill: var(--ink); opacity: .35; } .outage { fill: #c0392b; opacity: .15; } .gap { fill: #c0392b; }
.good { color: #1a8f4a; } .bad { color: #c0392b; }
";

/// The whole page. Links to recordings are relative to `directory`, where the page will lie.
pub fn html(outcome: &Outcome, directory: &Path) -> String {
    let mut page = String::from("<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">");
    page.push_str(
        "<meta name=\"viewport\" content=\"width=device-width\"><title>AuraLink: what a call saved</title>",
    );
    let _ = write!(page, "<style>{STYLE}</style><h1>What a call saved</h1>");
    summary(&mut page, outcome);
    figures(&mut page, outcome);
    let bars: Vec<Bar<'_>> = outcome.all_runs().map(bar).collect();
    page.push_str(&plot::bars(
        "Whole wire, kbps per client",
        ["client to server", "server to client"],
        &bars,
    ));
    page.push_str("<h2>Over time</h2>");
    for run in outcome.all_runs() {
        over_time(&mut page, outcome, run);
    }
    gaps(&mut page, outcome);
    recordings(&mut page, outcome, directory);
    page.push_str("</html>\n");
    page
}

fn summary(page: &mut String, outcome: &Outcome) {
    let (class, verdict) = match outcome.aic_gaps {
        0 => (
            "good",
            format!("No gap over {AUDIBLE_GAP_MS:.0} ms because of AIC in any run."),
        ),
        count => (
            "bad",
            format!("{count} gaps over {AUDIBLE_GAP_MS:.0} ms because of AIC."),
        ),
    };
    let _ = write!(page, "<p class=\"{class}\"><strong>{verdict}</strong></p>");
    let _ = write!(
        page,
        "<p>Two native clients in one room over UDP on loopback, real DTLS-SRTP, {:.0} s each, both talking. Source: {}. \
         Wire rates are the bytes on each client's UDP socket plus 28 bytes of IP and UDP per datagram, everything \
         counted (audio, RTCP, ICE, data), mean of both clients, first 2 s left out. Saved: both directions together, \
         against the run without AIC.</p>",
        outcome.seconds,
        escape(&outcome.source)
    );
    for missing in &outcome.missing {
        let _ = write!(page, "<p class=\"bad\">{}</p>", escape(missing));
    }
}

fn figures(page: &mut String, outcome: &Outcome) {
    page.push_str("<div class=\"wide\"><table><tr>");
    for head in table::HEAD {
        let _ = write!(page, "<th>{}</th>", escape(head));
    }
    page.push_str("</tr>");
    for run in outcome.all_runs() {
        let _ = write!(page, "<tr title=\"{}\">", escape(&run.about));
        for cell in table::cells(run) {
            let _ = write!(page, "<td>{}</td>", escape(&cell));
        }
        page.push_str("</tr>");
    }
    let _ = write!(
        page,
        "</table></div><pre class=\"wide\">{}</pre>",
        escape(&table::rest_text(outcome))
    );
}

fn bar(run: &Run) -> Bar<'_> {
    let total = run.wire_kbps_up + run.wire_kbps_down;
    let text = match run.saved_percent {
        0.0 => format!("{total:.0} kbps"),
        saved => format!("{total:.0} kbps, {saved:.1} % saved"),
    };
    Bar {
        name: &run.mode,
        parts: [run.wire_kbps_up, run.wire_kbps_down],
        text,
    }
}

fn over_time(page: &mut String, outcome: &Outcome, run: &Run) {
    let before = &outcome.baseline.run.timeline;
    let both: Vec<f64> = before
        .up_kbps
        .iter()
        .zip(&before.down_kbps)
        .map(|(up, down)| (up + down) / 2.0)
        .collect();
    let mut lines = Vec::new();
    if !std::ptr::eq(run, &outcome.baseline.run) {
        lines.push(Line {
            name: "without AIC",
            class: "before",
            step_s: before.step_s,
            values: &both,
        });
    }
    let timeline = &run.timeline;
    lines.push(Line {
        name: "client to server",
        class: "up",
        step_s: timeline.step_s,
        values: &timeline.up_kbps,
    });
    lines.push(Line {
        name: "server to client",
        class: "down",
        step_s: timeline.step_s,
        values: &timeline.down_kbps,
    });
    let mut marks: Vec<Mark> = run
        .events
        .iter()
        .map(|event| Mark {
            at_s: event.at_s,
            length_s: 0.0,
            class: "mark",
            text: event.what.clone(),
        })
        .collect();
    marks.extend(
        run.gaps
            .iter()
            .filter(|gap| gap.ms > AUDIBLE_GAP_MS)
            .map(|gap| Mark {
                at_s: gap.at_s,
                length_s: gap.ms / 1000.0,
                class: "gap",
                text: format!("gap {:.0} ms", gap.ms),
            }),
    );
    let _ = write!(page, "<p>{}</p>", escape(&run.about));
    page.push_str(&plot::lines(
        &format!("{}: kbps on the wire", run.mode),
        &lines,
        &marks,
    ));
}

fn gaps(page: &mut String, outcome: &Outcome) {
    page.push_str("<h2>Gaps</h2>");
    let audible: Vec<_> = outcome
        .all_runs()
        .flat_map(|run| run.gaps.iter().map(move |gap| (run, gap)))
        .filter(|(_, gap)| gap.ms > AUDIBLE_GAP_MS)
        .collect();
    if audible.is_empty() {
        let longest = outcome
            .all_runs()
            .map(|run| run.longest_gap_ms)
            .fold(0.0, f64::max);
        let _ = write!(
            page,
            "<p>None over {AUDIBLE_GAP_MS:.0} ms; the longest was {longest:.0} ms.</p>"
        );
        return;
    }
    page.push_str("<table><tr><th>run</th><th>heard by</th><th>at s</th><th>ms</th><th>blame</th></tr>");
    for (run, gap) in audible {
        let blame = match gap.blame {
            Blame::Nobody => "nobody",
            Blame::Machine => "machine, or AIC off",
            Blame::Aic => "AIC",
        };
        let _ = write!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{:.1}</td><td>{:.0}</td><td>{blame}</td></tr>",
            escape(&run.mode),
            escape(&gap.listener),
            gap.at_s,
            gap.ms
        );
    }
    page.push_str("</table>");
}

fn recordings(page: &mut String, outcome: &Outcome, directory: &Path) {
    page.push_str("<h2>Recordings</h2><ul>");
    for wav in &outcome.wavs {
        let shown = wav.strip_prefix(directory).unwrap_or(wav).display().to_string();
        let _ = write!(page, "<li><a href=\"{0}\">{0}</a></li>", escape(&shown));
    }
    page.push_str("</ul>");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Baseline, Gap, Timeline};

    fn outcome() -> Outcome {
        let timeline = |kbps: f64| Timeline {
            step_s: 0.5,
            up_kbps: vec![kbps; 40],
            down_kbps: vec![kbps; 40],
        };
        let off = Run {
            mode: "off".into(),
            timeline: timeline(120.0),
            ..Run::default()
        };
        let mut on = Run {
            mode: "adaptive".into(),
            timeline: timeline(24.0),
            ..Run::default()
        };
        on.gaps.push(Gap {
            listener: "bert".into(),
            at_s: 3.0,
            ms: 80.0,
            blame: Blame::Aic,
        });
        on.longest_gap_ms = 80.0;
        Outcome {
            source: "a <file>".into(),
            seconds: 20.0,
            baseline: Baseline { run: off },
            runs: vec![on],
            wavs: vec!["out/adaptive-bert.wav".into()],
            report: None,
            aic_gaps: 1,
            missing: vec!["no PESQ".into()],
        }
    }

    #[test]
    fn the_page_needs_nothing_from_outside() {
        let page = html(&outcome(), Path::new("out"));
        for outside in ["http://", "https://", "<script", "src="] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn the_page_shows_every_run_every_audible_gap_and_what_is_missing() {
        let page = html(&outcome(), Path::new("out"));
        assert_eq!(page.matches("<svg").count(), 3);
        assert!(page.contains("1 gaps over 60 ms because of AIC"));
        assert!(page.contains("<td>80</td><td>AIC</td>"));
        assert!(page.contains("no PESQ") && page.contains("a &lt;file&gt;"));
        assert!(page.contains("href=\"adaptive-bert.wav\""));
    }
}
