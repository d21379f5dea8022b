"""Learning curves of a run as SVG: `python -m training.curves --log RUN/log.jsonl --svg FILE`."""

import argparse
import json
from html import escape
from pathlib import Path

# What is drawn, in panels: key in the log, title.
PANELS = (("perceptual", "perceptual distance (P.862 manner)"), ("mel", "log-mel distance"), ("total", "weighted loss"))
COLOURS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0")
WIDTH, HEIGHT, LEFT, TOP, GAP = 300, 210, 54, 46, 36


def panel(x0, title, series, steps):
    low = min(min(values) for _, values in series)
    high = max(max(values) for _, values in series)
    span = (high - low) or 1.0
    first, last = steps[0], max(steps[-1], steps[0] + 1)
    at = lambda s, v: (x0 + WIDTH * (s - first) / (last - first), TOP + HEIGHT * (high - v) / span)
    out = [f'<text x="{x0}" y="{TOP - 12}" font-weight="bold">{escape(title)}</text>',
           f'<rect x="{x0}" y="{TOP}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#bbb"/>']
    for part in range(5):
        value = low + span * part / 4
        y = at(first, value)[1]
        out.append(f'<text x="{x0 - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.2f}</text>')
    for step, anchor in ((first, "start"), (last, "end")):
        out.append(f'<text x="{at(step, low)[0]:.1f}" y="{TOP + HEIGHT + 16}" text-anchor="{anchor}">step {step}</text>')
    for colour, (_, values) in zip(COLOURS, series):
        points = " ".join("{:.1f},{:.1f}".format(*at(s, v)) for s, v in zip(steps, values))
        out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
    return out


def draw(rows):
    """Rows of log.jsonl -> SVG text."""
    steps = [row["step"] for row in rows]
    rungs = list(rows[0]["held_back"])
    total = LEFT + len(PANELS) * (WIDTH + GAP + LEFT)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{total}" height="{TOP + HEIGHT + 48}" '
           'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>']
    for n, (key, title) in enumerate(PANELS):
        series = [(rung, [row["held_back"][rung][key] for row in rows]) for rung in rungs]
        out += panel(LEFT + n * (WIDTH + GAP + LEFT), title, series, steps)
    for n, (rung, colour) in enumerate(zip(rungs, COLOURS)):
        out.append(f'<text x="{LEFT + n * 90}" y="{TOP + HEIGHT + 36}" fill="{colour}">{int(rung) * 0.5:g} kbit/s</text>')
    return "\n".join(out + ["</svg>\n"])


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--log", required=True)
    p.add_argument("--svg", required=True)
    a = p.parse_args()
    rows = [json.loads(line) for line in Path(a.log).read_text().splitlines() if line.strip()]
    if not rows:
        raise SystemExit(f"{a.log}: no rows yet")
    Path(a.svg).write_text(draw(rows))


if __name__ == "__main__":
    main()
