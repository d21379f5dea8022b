"""Fits the content detector (speech, music, noise, crosstalk) and writes its constants; see README.md beside this file.

    prepare DATA OUT   clips and mixtures as 16 kHz WAV in OUT/content
    fit OUT RUST       folds by source and by speaker, then on all training rows; the test; the constants

Rows whose licence is unclear are only tested on. File names are SPLIT-CLASS-SOURCE-NUMBER.wav.
"""

import csv
import os
import random
import sys
from collections import defaultdict
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np  # noqa: E402
from scipy.signal import lfilter, resample_poly  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "testing"))
from network import Network, constants  # noqa: E402
from speech_clips import load, write  # noqa: E402

RATE = 16000
SECONDS = 8.0
SPEECH_CLIPS, CROSSTALK_CLIPS, BABBLE_CLIPS, SYNTHETIC_CLIPS = 260, 60, 12, 12
CLASSES = ["speech", "music", "noise", "crosstalk"]
HIDDEN, PENALTY = 16, 40.0
# Crosstalk is hard to tell from speech, and speech must not be sent away for it.
SHARES = {"speech": 2.0, "music": 1.0, "noise": 1.0, "crosstalk": 0.3}
FOLDS = 5
# As in content.rs.
BLEND, LEAVE, RETURN, PATIENCE = 0.25, 0.15, 0.8, 2


def level(samples, rms):
    return samples * rms / max(np.sqrt(np.mean(samples ** 2)), 1e-9)


def loudness(rng):
    return 10 ** (rng.uniform(-38, -18) / 20)


def fit_length(samples, length):
    return np.resize(samples, length)


def synthetic_noise(kind, rng, length):
    """White, pink, brown, a fan (noise with its hum), rain drops, a band."""
    white = rng.normal(size=length)
    if kind == 0:
        return white
    if kind == 1:
        return lfilter([0.05, -0.096, 0.051, -0.0044], [1, -2.495, 2.017, -0.522], white)
    if kind == 2:
        return lfilter([1], [1, -0.98], white)
    t = np.arange(length) / RATE
    if kind == 3:
        hum = sum(np.sin(2 * np.pi * f * t + p) / k for k, (f, p) in enumerate(
            [(rng.uniform(45, 130) * m, rng.uniform(0, 6)) for m in (1, 2, 3, 5)], 1))
        return lfilter([1], [1, -0.9], white) + rng.uniform(0.5, 3) * hum
    if kind == 4:
        drops = (rng.uniform(size=length) < 0.002) * rng.exponential(size=length)
        return np.convolve(drops, np.exp(-np.arange(200) / 30) * rng.normal(size=200), "same") + 0.05 * white
    low = rng.uniform(200, 3000)
    pole = np.exp(-2 * np.pi * rng.uniform(50, 800) / RATE)
    return lfilter([1], [1, -2 * pole * np.cos(2 * np.pi * low / RATE), pole ** 2], white)


def synthetic_music(rng, length):
    """Chords and a melody of decaying or held harmonics, with or without a beat."""
    out = np.zeros(length)
    t = np.arange(length) / RATE
    beat = rng.uniform(0.15, 0.6)
    scale = 110 * 2 ** (rng.integers(0, 12) / 12) * 2 ** (np.array([0, 2, 4, 5, 7, 9, 11, 12, 14, 16]) / 12)
    decay, voices = rng.uniform(0.15, 2.5), rng.integers(1, 5)
    for start in np.arange(0, length / RATE, beat):
        for voice in range(voices):
            if rng.uniform() < 0.75:
                f = rng.choice(scale) * 2 ** rng.integers(0, 3)
                since = t - start
                on = since >= 0
                gone = np.exp(-np.where(on, since, 0) / decay) * on * (since < beat * rng.uniform(0.8, 4))
                brightness = rng.uniform(0.7, 2.0)
                out += gone * sum(np.sin(2 * np.pi * f * k * since) / k ** brightness
                                  for k in range(1, 9) if f * k < 7500)
        if rng.uniform() < 0.5:
            hit = np.exp(-np.where(t >= start, t - start, 9) / 0.03)
            out += rng.uniform(0, 2) * hit * rng.normal(size=length)
    return out


def pieces(samples, seconds=SECONDS, least=4.0):
    size = int(seconds * RATE)
    for at in range(0, len(samples), size):
        piece = samples[at:at + size]
        if len(piece) >= least * RATE:
            yield piece


def prepare(data, out):
    rng = np.random.default_rng(7)
    folder = out / "content"
    rows = list(csv.DictReader(open(data / "MANIFEST.csv", newline="")))
    counts = defaultdict(int)

    def put(split, kind, source, samples):
        source = source.replace("-", "_")
        counts[split, kind, source] += 1
        write(level(samples, loudness(rng)), folder / f"{split}-{kind}-{source}-{counts[split, kind, source]}.wav")

    def take(row):
        return load(data / row["path"], seconds=60.0)

    clear = [r for r in rows if "unclear" not in r["licence"]]
    noises = {Path(r["path"]).stem: take(r) for r in clear if r["kind"] == "noise"}
    for row in rows:
        if row["kind"] == "music":
            # A change of speed is another tempo and key: more music of the same source.
            for n, (up, down) in enumerate([(1, 1), (8, 7), (7, 8), (3, 4)]):
                for piece in pieces(resample_poly(take(row), up, down)):
                    put("train" if n == 0 else "more", "music", Path(row["path"]).stem, piece)
        if row["kind"] == "noise":
            for piece in pieces(take(row)):
                put("test" if "unclear" in row["licence"] else "train", "noise", Path(row["path"]).stem, piece)
    names = sorted(noises)
    for n in range(3 * len(names)):
        a, b = rng.choice(names, 2, replace=False)
        length = int(SECONDS * RATE)
        parts = [level(fit_length(np.roll(noises[x], -int(rng.integers(len(noises[x])))), length), 1) for x in (a, b)]
        put("more", "noise", a, parts[0] + 10 ** (rng.uniform(-10, 0) / 20) * parts[1])
    speech = defaultdict(list)
    for row in clear:
        if row["kind"] == "speech" and float(row["seconds"]) >= 4:
            speech[row["split"], row["speaker"] or Path(row["path"]).stem].append(row)
    for row in rows:
        if row["kind"] == "speech" and row["split"] == "test":
            put("test", "speech", Path(row["path"]).stem, take(row)[:int(12 * RATE)])
    talkers = sorted(name for split, name in speech if split == "train")
    random.Random(7).shuffle(talkers)
    said = {}
    for name in talkers[:SPEECH_CLIPS]:
        piece = next(pieces(take(speech["train", name][0])))
        said[name] = piece
        put("train", "speech", name, piece)
        if rng.uniform() < 0.5:
            noise = noises[names[rng.integers(len(names))]]
            noise = fit_length(np.roll(noise, -int(rng.integers(len(noise)))), len(piece))
            snr = rng.uniform(15, 30)
            put("more", "speech", name, level(piece, 1) + level(noise, 10 ** (-snr / 20)))
    order = sorted(said)
    for n in range(CROSSTALK_CLIPS):
        a, b = rng.choice(order, 2, replace=False)
        size = min(len(said[a]), len(said[b]))
        put("train", "crosstalk", f"{a}", level(said[a][:size], 1) + level(said[b][:size], 10 ** (rng.uniform(-4, 4) / 20)))
    for n in range(BABBLE_CLIPS):
        several = rng.choice(order, int(rng.integers(5, 12)), replace=False)
        size = int(SECONDS * RATE)
        put("more", "noise", f"babble{n}", sum(level(fit_length(said[x], size), rng.uniform(0.4, 1)) for x in several))
    for n in range(SYNTHETIC_CLIPS):
        size = int(SECONDS * RATE)
        put("more", "noise", f"made{n}", synthetic_noise(n % 6, rng, size))
        put("more", "music", f"made{n}", synthetic_music(rng, size))
    testers = sorted(Path(r["path"]).stem for r in rows if r["kind"] == "speech" and r["split"] == "test")
    wavs = {n: load(data / f"speech/test/{n}.flac") for n in testers}
    for a, b in zip(testers[::2], reversed(testers)):
        if a.rsplit("_", 1)[0] != b.rsplit("_", 1)[0]:
            size = min(len(wavs[a]), len(wavs[b]))
            put("test", "crosstalk", a, level(wavs[a][:size], 1) + level(wavs[b][:size], 1))
    print(f"{sum(counts.values())} clips in {folder}")


class Table:
    def __init__(self, path):
        clips, figures, before = [], [], []
        for line in open(path):
            name, judged, *values = line.strip().split(",")
            clips.append(name)
            before.append(judged)
            figures.append([float(v) for v in values])
        self.clips, self.x, self.before = np.array(clips), np.array(figures), np.array(before)
        parts = [name.split("-") for name in clips]
        self.split = np.array([p[0] for p in parts])
        self.kind = np.array([CLASSES.index(p[1]) for p in parts])
        self.source = np.array([p[2] for p in parts])


def softmax(z):
    z = np.exp(z - z.max(1, keepdims=True))
    return z / z.sum(1, keepdims=True)


def verdicts(p):
    """What the leg does at each judgement of one clip, as content.rs has it; 0 is speech."""
    belief, state, states = None, 0, []
    for number, row in enumerate(p):
        belief = row if belief is None else belief + BLEND * (row - belief)
        other = 1 + int(np.argmax(belief[1:]))
        if state == 0:
            state = other if number >= PATIENCE and belief[0] < LEAVE else 0
        else:
            state = 0 if belief[0] > RETURN else other
        states.append(state)
    return np.array(states)


def weights(table, rows):
    """Classes weigh as in SHARES, and within a class the sources alike."""
    names = np.char.add(table.kind[rows].astype(str), table.source[rows])
    _, which, count = np.unique(names, return_inverse=True, return_counts=True)
    weight = 1 / np.sqrt(count[which])
    for kind, name in enumerate(CLASSES):
        at = table.kind[rows] == kind
        weight[at] *= SHARES[name] / weight[at].sum()
    return weight / weight.sum()


def train(table, rows, seed=7):
    """MLPClassifier takes no weights: rows are drawn by weight instead."""
    drawn = np.random.default_rng(seed).choice(np.flatnonzero(rows), 12000, p=weights(table, rows))
    return Network(table.x[drawn], table.kind[drawn], HIDDEN, PENALTY, classes=True)


def report(title, table, p, rows):
    """By clips: sent to Opus at the end, at any time, and how long it took."""
    print(f"\n{title}\n\n| class | clips | sources | on Opus at the end % | ever % | median s until | judged right % |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for kind, name in enumerate(CLASSES):
        clips = sorted(set(table.clips[rows & (table.kind == kind)]))
        if not clips:
            continue
        end, ever, until, right, misses = [], [], [], [], []
        for clip in clips:
            states = verdicts(p[table.clips == clip])
            away = states != 0
            end.append(away[-1])
            ever.append(away.any())
            right.append(states[-1] == kind)
            if away.any():
                until.append(1.0 + 0.256 * int(np.argmax(away)))
            if away[-1] != (kind != 0) or (kind == 0 and away.any()):
                misses.append(clip)
        sources = len(set(c.split("-")[2] for c in clips))
        print(f"| {name} | {len(clips)} | {sources} | {100 * np.mean(end):.1f} | {100 * np.mean(ever):.1f} "
              f"| {np.median(until) if until else float('nan'):.1f} | {100 * np.mean(right):.1f} |")
        if misses:
            print(f"  wrong: {', '.join(misses[:14])}", file=sys.stderr)


def fit(out, rust):
    table = Table(out / "content/figures.csv")
    ours = (table.split == "train") | (table.split == "more")
    # A source, and all made from it, is in one fold only; so is a speaker.
    sources = sorted(set(table.source[ours]))
    random.Random(3).shuffle(sources)
    p = np.zeros((len(table.x), len(CLASSES)))
    for fold in range(FOLDS):
        held = np.isin(table.source, sources[fold::FOLDS]) & ours
        p[held] = softmax(train(table, ours & ~held)(table.x[held]))
    report(f"{FOLDS} folds by source and speaker, what was not made for the fit", table, p, table.split == "train")
    net = train(table, ours)
    p = softmax(net(table.x))
    report("Test: unseen speakers; noise of unclear licence, never trained on; music: see the folds", table, p,
           table.split == "test")
    rust.write_text("// Written by crates/quality/fit/content.sh; see crates/quality/fit/README.md for its figures.\n"
                    + constants(net))


if __name__ == "__main__":
    command, *paths = sys.argv[1:]
    {"prepare": prepare, "fit": fit}[command](*map(Path, paths))
