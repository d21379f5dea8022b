"""Brings speech clips to 16 kHz mono WAV for `./x bench speech`, with the inputs a speech codec is weak on beside them.

`speech_clips.py --clips DIR --out DIR [--data DIR] [--count N]` writes `OUT/GROUP/NAME.wav` and prints a JSON list of
`{"name", "group", "wav", "seconds"}`. `DATA` is a folder with MANIFEST.csv (columns path, kind, split, language);
without it only the clips themselves are there.
"""

import argparse
import csv
import json
import re
import sys
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import resample_poly

RATE = 16_000
SUFFIXES = {".flac", ".wav", ".opus", ".ogg"}
# Clips of a weak group, and what is taken of each: from this second on, so long.
WEAK_CLIPS, WEAK_FROM, WEAK_SECONDS = 8, 1.0, 6.0
CHILD_AGE = 12


def load(path, begin=0.0, seconds=None):
    rate = soundfile.info(path).samplerate
    samples, rate = soundfile.read(path, dtype="float64", always_2d=True, start=int(begin * rate),
                                   frames=-1 if seconds is None else int(seconds * rate))
    divisor = np.gcd(rate, RATE)
    return resample_poly(samples.mean(axis=1), RATE // divisor, rate // divisor)


def write(samples, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(target, np.clip(samples, -1, 1), RATE, subtype="PCM_16")
    return len(samples) / RATE


def age(row):
    found = re.search(r"age (\d+)", row["language"])
    return int(found.group(1)) if found else None


def weak_groups(data):
    """-> name of the group, rows; at most so many, spread over the sources."""
    rows = list(csv.DictReader(open(data / "MANIFEST.csv", newline="")))
    speech = [r for r in rows if r["kind"] == "speech"]
    groups = {
        "music": [r for r in rows if r["kind"] == "music"],
        "noise": [r for r in rows if r["kind"] == "noise"],
        "second language (L1 Chinese)": [r for r in speech if r["split"] == "test" and "L1" in r["language"]],
        "children (speakers of the training set)": [r for r in speech if (age(r) or 99) <= CHILD_AGE],
        "German and Dutch (speakers of the training set)":
            [r for r in speech if r["language"].startswith(("de", "nl"))],
    }
    for name, rows in groups.items():
        stride = max(len(rows) // WEAK_CLIPS, 1)
        yield name, rows[::stride][:WEAK_CLIPS]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--clips", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--data", type=Path)
    p.add_argument("--count", type=int, help="only so many clips of each group")
    a = p.parse_args()
    found = []

    def take(source, group, name, **part):
        target = a.out / re.sub(r"\W+", "-", group) / f"{name}.wav"
        seconds = write(load(source, **part), target)
        found.append({"name": name, "group": group, "wav": str(target), "seconds": seconds})

    clips = sorted(f for f in a.clips.rglob("*") if f.suffix.lower() in SUFFIXES)
    if not clips:
        sys.exit(f"{a.clips}: no sound files ({', '.join(sorted(SUFFIXES))})")
    # Neighbours in the alphabet are often of one collection: a few clips are taken from all over.
    stride = len(clips) // a.count if a.count and a.count < len(clips) else 1
    for clip in clips[::stride][: a.count]:
        take(clip, "speech", clip.stem)
    if a.data:
        for group, rows in weak_groups(a.data):
            for row in rows[: a.count]:
                take(a.data / row["path"], group, Path(row["path"]).stem, begin=WEAK_FROM, seconds=WEAK_SECONDS)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
