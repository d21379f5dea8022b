"""PESQ-WB, STOI and ESTOI of decoded speech against its reference, many files at once.

Reads `{"cache": FILE, "processes": N, "piece": SAMPLES or null, "jobs": [{"reference": WAV, "decoded": WAV}, ...]}` on
standard input. Both files are 16 kHz mono and sample-aligned. Prints one JSON line for each job as it is done:
`{"job": index, "scores": [{"pesq_wb", "stoi", "estoi"}, ...]}`: one entry for the whole clip, or one for each whole
piece (PESQ only); `null` where a figure could not be had, as PESQ of a clip in which it finds no utterance.

What was scored once is not scored again: results are kept in the cache by the hash of both files.
"""

import hashlib
import json
import os
import sys
import warnings
from multiprocessing import Pool
from pathlib import Path

# One thread a process: the numeric libraries' own threads would only wait for each other.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np  # noqa: E402
import soundfile  # noqa: E402
from pesq import PesqError, pesq  # noqa: E402
from pystoi import stoi  # noqa: E402

RATE = 16_000
NICENESS = 5
SHORTEST = RATE // 4


def polite():
    """Other work on the machine comes first."""
    os.nice(max(NICENESS - os.nice(0), 0))


def key(job, piece):
    digest = hashlib.sha256(f"1 {piece} ".encode())
    for path in (job["reference"], job["decoded"]):
        digest.update(hashlib.sha256(Path(path).read_bytes()).digest())
    return digest.hexdigest()[:32]


def mark(reference, decoded):
    try:
        value = float(pesq(RATE, reference, decoded, "wb"))
    except (PesqError, ValueError):
        return None
    return value if np.isfinite(value) else None


def intelligible(reference, decoded, extended):
    # pystoi answers 1e-5 with a warning when it finds less than 30 frames of speech.
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        value = float(stoi(reference, decoded, RATE, extended=extended))
    return None if any("Not enough STFT frames" in str(w.message) for w in said) else value


def score(task):
    index, job, piece, name = task
    reference, decoded = (soundfile.read(job[side])[0] for side in ("reference", "decoded"))
    length = min(len(reference), len(decoded))
    if piece:
        parts = [slice(at, at + piece) for at in range(0, length - piece + 1, piece)]
        scores = [{"pesq_wb": mark(reference[part], decoded[part])} for part in parts]
    elif length < SHORTEST:
        scores = [{"pesq_wb": None, "stoi": None, "estoi": None}]
    else:
        reference, decoded = reference[:length], decoded[:length]
        scores = [{"pesq_wb": mark(reference, decoded), "stoi": intelligible(reference, decoded, False),
                   "estoi": intelligible(reference, decoded, True)}]
    return index, name, scores


def main():
    wanted = json.load(sys.stdin)
    cache, piece = wanted.get("cache"), wanted.get("piece")
    known = {}
    if cache and Path(cache).exists():
        for line in open(cache):
            try:
                entry = json.loads(line)
                known[entry["key"]] = entry["scores"]
            except (ValueError, KeyError):
                continue  # the last line of a run that was stopped
    tasks = []
    for index, job in enumerate(wanted["jobs"]):
        name = key(job, piece)
        if name in known:
            print(json.dumps({"job": index, "scores": known[name]}), flush=True)
        else:
            tasks.append((index, job, piece, name))
    with Pool(wanted.get("processes", 2), polite) as pool, \
            open(cache or os.devnull, "a", buffering=1) as out:
        for index, name, scores in pool.imap_unordered(score, tasks, chunksize=4):
            print(json.dumps({"key": name, "scores": scores}), file=out)
            print(json.dumps({"job": index, "scores": scores}), flush=True)


if __name__ == "__main__":
    main()
