//! Rate against quality as SVG: one curve for each codec.

use std::fmt::Write as _;

use crate::plot::escape;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 50.0;
/// Room for the names of the curves.
const RIGHT: f64 = 250.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 40.0;
/// Told apart without colour too: every second curve is dashed.
const COLOURS: [&str; 10] = [
    "#d0342c", "#2166c2", "#6aa5f0", "#0b7a75", "#5cc4b8", "#8a5a00", "#d9a441", "#7b3fa0", "#b98ad6",
    "#1a8f4a",
];

/// Points of one codec.
pub struct Curve {
    pub name: String,
    /// Rate or loss, and the figure there, in any order.
    pub points: Vec<(f64, f64)>,
}

/// One plot.
pub fn plot(title: &str, x_name: &str, y_range: (f64, f64), y_step: f64, curves: &[Curve]) -> String {
    let highest = curves
        .iter()
        .flat_map(|curve| &curve.points)
        .map(|point| point.0)
        .fold(1.0, f64::max);
    let x_step = if highest > 60.0 {
        10.0
    } else if highest > 12.0 {
        5.0
    } else {
        1.0
    };
    let until = (highest / x_step).ceil() * x_step;
    let x = |value: f64| LEFT + (WIDTH - LEFT - RIGHT) * value / until;
    let y = |value: f64| {
        let part = (value - y_range.0) / (y_range.1 - y_range.0);
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * part.clamp(0.0, 1.0)
    };
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{0}" font-family="sans-serif" font-size="11" fill="#888"><text x="{LEFT}" y="16" font-size="13" font-weight="600">{0}</text>"##,
        escape(title)
    );
    let mut value = y_range.0;
    while value <= y_range.1 + y_step / 2.0 {
        let at = y(value);
        let _ = write!(
            svg,
            r##"<line x1="{LEFT}" x2="{:.1}" y1="{at:.1}" y2="{at:.1}" stroke="#8884"/><text x="{:.1}" y="{:.1}" text-anchor="end">{value:.2}</text>"##,
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 4.0
        );
        value += y_step;
    }
    let mut value = 0.0;
    while value <= until + x_step / 2.0 {
        let _ = write!(
            svg,
            r#"<text x="{:.1}" y="{:.1}" text-anchor="middle">{value:.0}</text>"#,
            x(value),
            HEIGHT - BOTTOM + 16.0
        );
        value += x_step;
    }
    let _ = write!(
        svg,
        r#"<text x="{:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
        (LEFT + WIDTH - RIGHT) / 2.0,
        HEIGHT - 6.0,
        escape(x_name)
    );
    for (n, curve) in curves.iter().enumerate() {
        let colour = COLOURS[n % COLOURS.len()];
        let dash = if n % 2 == 1 {
            r#" stroke-dasharray="5 3""#
        } else {
            ""
        };
        let mut points = curve.points.clone();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let line: Vec<String> = points
            .iter()
            .map(|point| format!("{:.1},{:.1}", x(point.0), y(point.1)))
            .collect();
        let _ = write!(
            svg,
            r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>"#,
            line.join(" ")
        );
        for point in &points {
            let _ = write!(
                svg,
                r#"<circle cx="{:.1}" cy="{:.1}" r="3.2" fill="{colour}"><title>{}: {:.2} at {:.2}</title></circle>"#,
                x(point.0),
                y(point.1),
                escape(&curve.name),
                point.1,
                point.0
            );
        }
        let at = TOP + 6.0 + 20.0 * n as f64;
        let _ = write!(
            svg,
            r#"<line x1="{:.1}" x2="{:.1}" y1="{at:.1}" y2="{at:.1}" stroke="{colour}" stroke-width="3"{dash}/><text x="{:.1}" y="{:.1}">{}</text>"#,
            WIDTH - RIGHT + 14.0,
            WIDTH - RIGHT + 38.0,
            WIDTH - RIGHT + 44.0,
            at + 4.0,
            escape(&curve.name)
        );
    }
    svg.push_str("</svg>");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_lies_within_the_frame_and_a_plot_of_nothing_is_a_plot() {
        let curve = Curve {
            name: "<a>".into(),
            points: vec![(24.0, 9.0), (6.0, 2.0), (0.0, -1.0)],
        };
        let svg = plot("t", "kbps", (1.0, 4.5), 0.5, &[curve]);
        assert!(svg.contains("&lt;a&gt;") && !svg.contains("<a>"));
        let line = svg
            .split("polyline points=\"")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap();
        let mut last = 0.0;
        for pair in line.split(' ') {
            let (x, y) = pair.split_once(',').unwrap();
            let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
            assert!((LEFT..=WIDTH - RIGHT).contains(&x) && (TOP..=HEIGHT - BOTTOM).contains(&y));
            assert!(x >= last, "in the order of the rates");
            last = x;
        }
        let empty = plot("t", "kbps", (0.0, 1.0), 0.2, &[]);
        assert!(empty.starts_with("<svg") && empty.ends_with("</svg>") && !empty.contains("NaN"));
    }
}
