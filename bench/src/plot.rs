//! Plots as SVG text that needs nothing from outside.

use std::fmt::Write as _;

/// Width of every plot in SVG units.
const WIDTH: f64 = 860.0;

/// Room for axes and titles.
const LEFT: f64 = 56.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 34.0;

/// A line over time.
pub struct Line<'a> {
    /// What it is.
    pub name: &'a str,
    /// CSS class, which carries the colour.
    pub class: &'a str,
    /// Seconds between two values.
    pub step_s: f64,
    /// Its values.
    pub values: &'a [f64],
}

/// A moment or a stretch of time worth pointing at.
pub struct Mark {
    /// Seconds.
    pub at_s: f64,
    /// Length in seconds; 0 for a moment.
    pub length_s: f64,
    /// CSS class.
    pub class: &'static str,
    /// Text beside it.
    pub text: String,
}

/// One bar of a bar chart, stacked from two parts.
pub struct Bar<'a> {
    /// Its name.
    pub name: &'a str,
    /// Lower and upper part.
    pub parts: [f64; 2],
    /// Text at its end.
    pub text: String,
}

/// Lines over time, with marks.
pub fn lines(title: &str, lines: &[Line<'_>], marks: &[Mark]) -> String {
    let height = 220.0;
    let until = lines
        .iter()
        .map(|line| line.step_s * line.values.len() as f64)
        .fold(1.0, f64::max);
    let highest = lines
        .iter()
        .flat_map(|line| line.values)
        .copied()
        .fold(1.0, f64::max);
    let step = tidy_step(highest / 4.0);
    let top = (highest / step).ceil() * step;
    let x = |seconds: f64| LEFT + (WIDTH - LEFT - RIGHT) * seconds / until;
    let y = |value: f64| height - BOTTOM - (height - TOP - BOTTOM) * value / top;
    let mut svg = open(title, height);
    let mut value = 0.0;
    while value <= top + step / 2.0 {
        grid_line(&mut svg, y(value), &format!("{value:.0}"));
        value += step;
    }
    let second_step = tidy_step(until / 8.0);
    let mut second = 0.0;
    while second <= until {
        let _ = write!(
            svg,
            r#"<text class="tick" x="{:.1}" y="{:.1}" text-anchor="middle">{second:.0} s</text>"#,
            x(second),
            height - BOTTOM + 16.0
        );
        second += second_step;
    }
    for (n, mark) in marks.iter().enumerate() {
        let from = x(mark.at_s.clamp(0.0, until));
        let to = x((mark.at_s + mark.length_s).clamp(0.0, until));
        let _ = write!(
            svg,
            r#"<rect class="{}" x="{from:.1}" y="{TOP}" width="{:.1}" height="{:.1}"><title>{}</title></rect>"#,
            mark.class,
            (to - from).max(1.0),
            height - TOP - BOTTOM,
            escape(&mark.text)
        );
        // Neighbouring texts take turns in height, so that they stay readable.
        let _ = write!(
            svg,
            r#"<text class="note" x="{:.1}" y="{:.1}">{}</text>"#,
            from + 3.0,
            TOP + 10.0 + 11.0 * (n % 4) as f64,
            escape(&mark.text)
        );
    }
    for line in lines {
        let points = line.values.iter().enumerate().map(|(n, value)| {
            format!(
                "{:.1},{:.1}",
                x((n as f64 + 0.5) * line.step_s),
                y(value.max(0.0))
            )
        });
        let points = points.collect::<Vec<_>>().join(" ");
        let _ = write!(
            svg,
            r#"<polyline class="line {}" points="{points}"/>"#,
            line.class
        );
    }
    let mut at = LEFT;
    for line in lines {
        let _ = write!(
            svg,
            r#"<rect class="key {}" x="{at:.1}" y="{:.1}" width="14" height="4"/><text class="tick" x="{:.1}" y="{:.1}">{}</text>"#,
            line.class,
            height - 9.0,
            at + 18.0,
            height - 4.0,
            escape(line.name)
        );
        at += 40.0 + 6.5 * line.name.chars().count() as f64;
    }
    svg.push_str("</svg>");
    svg
}

/// Horizontal bars of two stacked parts.
pub fn bars(title: &str, parts: [&str; 2], bars: &[Bar<'_>]) -> String {
    let row = 30.0;
    let name_room = 130.0;
    let text_room = 150.0;
    let height = TOP + row * bars.len() as f64 + BOTTOM;
    let highest = bars
        .iter()
        .map(|bar| bar.parts.iter().sum::<f64>())
        .fold(1.0, f64::max);
    let scale = (WIDTH - name_room - text_room) / highest;
    let mut svg = open(title, height);
    for (n, bar) in bars.iter().enumerate() {
        let y = TOP + row * n as f64;
        let [first, second] = bar.parts.map(|part| part.max(0.0) * scale);
        let _ = write!(
            svg,
            concat!(
                r#"<text class="name" x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
                r#"<rect class="key up" x="{:.1}" y="{:.1}" width="{:.1}" height="{:.1}"/>"#,
                r#"<rect class="key down" x="{:.1}" y="{:.1}" width="{:.1}" height="{:.1}"/>"#,
                r#"<text class="name" x="{:.1}" y="{:.1}">{}</text>"#
            ),
            name_room - 8.0,
            y + 19.0,
            escape(bar.name),
            name_room,
            y + 5.0,
            first,
            row - 10.0,
            name_room + first,
            y + 5.0,
            second,
            row - 10.0,
            name_room + first + second + 8.0,
            y + 19.0,
            escape(&bar.text)
        );
    }
    for (n, (name, class)) in parts.iter().zip(["up", "down"]).enumerate() {
        let x = name_room + 190.0 * n as f64;
        let _ = write!(
            svg,
            r#"<rect class="key {class}" x="{x:.1}" y="{:.1}" width="14" height="8"/><text class="tick" x="{:.1}" y="{:.1}">{}</text>"#,
            height - 18.0,
            x + 20.0,
            height - 10.0,
            escape(name)
        );
    }
    svg.push_str("</svg>");
    svg
}

/// Text as it may stand in HTML and SVG.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn open(title: &str, height: f64) -> String {
    format!(
        r#"<svg viewBox="0 0 {WIDTH} {height:.0}" role="img" aria-label="{0}"><text class="title" x="{LEFT}" y="15">{0}</text>"#,
        escape(title)
    )
}

fn grid_line(svg: &mut String, y: f64, text: &str) {
    let _ = write!(
        svg,
        r#"<line class="grid" x1="{LEFT}" x2="{:.1}" y1="{y:.1}" y2="{y:.1}"/><text class="tick" x="{:.1}" y="{:.1}" text-anchor="end">{text}</text>"#,
        WIDTH - RIGHT,
        LEFT - 6.0,
        y + 4.0
    );
}

/// The next 1, 2 or 5 times a power of ten, at least 1.
fn tidy_step(rough: f64) -> f64 {
    let power = 10f64.powf(rough.max(1.0).log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|step| step * power)
        .find(|step| *step >= rough)
        .unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_an_axis_are_round_and_large_enough() {
        for (rough, tidy) in [
            (0.3, 1.0),
            (1.0, 1.0),
            (1.5, 2.0),
            (3.0, 5.0),
            (7.0, 10.0),
            (31.0, 50.0),
        ] {
            assert_eq!(tidy_step(rough), tidy);
        }
    }

    #[test]
    fn a_plot_of_nothing_is_still_a_plot() {
        for svg in [lines("empty", &[], &[]), bars("empty", ["up", "down"], &[])] {
            assert!(svg.starts_with("<svg") && svg.ends_with("</svg>"));
            assert!(!svg.contains("NaN") && !svg.contains("inf"));
        }
    }

    #[test]
    fn names_cannot_break_out_of_the_markup() {
        let bar = Bar {
            name: "<b>",
            parts: [1.0, 2.0],
            text: "\"&".into(),
        };
        let svg = bars("t", ["up", "down"], &[bar]);
        assert!(svg.contains("&lt;b&gt;") && svg.contains("&quot;&amp;") && !svg.contains("<b>"));
    }

    #[test]
    fn every_value_of_a_line_becomes_a_point_within_the_frame() {
        let values = [0.0, 50.0, 120.0, 3.0];
        let svg = lines(
            "t",
            &[Line {
                name: "up",
                class: "up",
                step_s: 1.0,
                values: &values,
            }],
            &[],
        );
        let points = svg.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
        let points: Vec<(f64, f64)> = points
            .split(' ')
            .map(|pair| pair.split_once(',').unwrap())
            .map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap()))
            .collect();
        assert_eq!(points.len(), 4);
        assert!(
            points
                .iter()
                .all(|(x, y)| (LEFT..=WIDTH).contains(x) && (TOP..=186.0).contains(y))
        );
    }
}
