"""PESQ-WB and STOI of recordings against what was spoken.

Reads `{"jobs": [{"reference": WAV, "recorded": WAV, "from_s": 3.0, "to_s": 18.0}, ...]}` on standard input, where
the times are of the recording, and writes a list of `{"pesq_wb", "stoi", "lag_ms", "pieces"}` in the same order;
`null` where nothing could be scored. A receiver stretches and shortens its delay, so the recording is compared in
pieces of some seconds, each put in place by cross-correlation; the figures are means over the pieces.
"""

import json
import sys

import numpy as np
import soundfile
from pesq import NoUtterancesError, pesq
from pystoi import stoi
from scipy.signal import correlate, resample_poly

RATE = 16_000
PIECE_SECONDS = 5.0
# How far the delay may have moved against the whole recording's.
DRIFT_SECONDS = 0.5


def load(path):
    samples, rate = soundfile.read(path, dtype="float64", always_2d=True)
    divisor = np.gcd(rate, RATE)
    return resample_poly(samples.mean(axis=1), RATE // divisor, rate // divisor)


def lag(piece, reference):
    """Index in the reference at which the piece fits best; negative when it begins before it."""
    fit = correlate(reference, piece, mode="full", method="fft")
    return int(np.argmax(fit)) - (len(piece) - 1)


def score(job):
    reference, recorded = load(job["reference"]), load(job["recorded"])
    begin = int(job.get("from_s", 0.0) * RATE)
    end = min(int(job["to_s"] * RATE) if job.get("to_s") else len(recorded), len(recorded))
    whole = recorded[begin:end]
    if len(whole) < RATE or not np.any(whole):
        return None
    start = lag(whole, reference)
    length = min(int(PIECE_SECONDS * RATE), len(whole))
    drift = int(DRIFT_SECONDS * RATE)
    marks, intelligible, lags = [], [], []
    for at in range(0, len(whole) - length + 1, length):
        piece = whole[at : at + length]
        low = max(start + at - drift, 0)
        around = reference[low : start + at + length + drift]
        if len(around) < length or not np.any(piece):
            continue
        offset = low + lag(piece, around)
        spoken = reference[max(offset, 0) : offset + length]
        if offset < 0 or len(spoken) < length:
            continue
        try:
            marks.append(pesq(RATE, spoken, piece, "wb"))
        except NoUtterancesError:
            continue
        intelligible.append(stoi(spoken, piece, RATE))
        lags.append((begin + at - offset) * 1000.0 / RATE)
    if not marks:
        return None
    return {
        "pesq_wb": float(np.mean(marks)),
        "stoi": float(np.mean(intelligible)),
        "lag_ms": float(np.median(lags)),
        "pieces": len(marks),
    }


def main():
    results = []
    for job in json.load(sys.stdin)["jobs"]:
        try:
            results.append(score(job))
        except Exception as problem:  # one bad file must not take the others' figures with it
            print(f"score: {job.get('recorded')}: {problem}", file=sys.stderr)
            results.append(None)
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
