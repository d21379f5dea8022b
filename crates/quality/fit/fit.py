"""Fits the online quality estimator to PESQ-WB and prints its coefficients; see README.md beside this file.

    prepare DATA OUT   choose clips by their licence and convert them to 16 kHz WAV in OUT/train and OUT/test
    score OUT/train    PESQ-WB of every coded clip, in pieces of 3.2 s, into pesq.csv
    fit OUT            fit on OUT/train, report on OUT/test, print coefficients and the table of rungs
"""

import csv
import random
import subprocess
import sys
from collections import defaultdict
from multiprocessing import Pool
from pathlib import Path

import numpy as np
import soundfile

RATE, PIECE = 16000, 51200
LOWEST, HIGHEST = 1.0, 4.64
# Families whose licence is plain (CC0, CC BY, public domain, Apache-2.0), with clips taken from each.
FAMILIES = {"libri": 16, "sti": 10, "kerstin": 4, "nathalie": 5, "flemishguy": 4, "ljspeech": 4, "vctk": 6}


def prepare(data, out):
    rows = [r for r in csv.DictReader(open(data / "MANIFEST.csv")) if r["kind"] == "speech"]
    chosen = {"train": [], "test": [r for r in rows if r["split"] == "test"]}
    for family, count in FAMILIES.items():
        speakers = defaultdict(list)
        for row in rows:
            if row["split"] == "train" and Path(row["path"]).name.startswith(family):
                speakers[row["speaker"] or row["path"]].append(row)
        names = sorted(speakers)
        random.Random(7).shuffle(names)
        picks = [max(speakers[name], key=lambda r: float(r["seconds"])) for name in names]
        extra = [r for name in names for r in speakers[name] if r not in picks]
        random.Random(7).shuffle(extra)
        chosen["train"] += (picks + extra)[:count]
    for split, rows in chosen.items():
        (out / split).mkdir(parents=True, exist_ok=True)
        for row in rows:
            source = data / row["path"]
            subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", str(source), "-t", "6.4", "-ac", "1", "-ar", str(RATE),
                            "-sample_fmt", "s16", str(out / split / (source.stem + ".wav"))], check=True)


def score_clip(job):
    from pesq import pesq
    reference_path, coded_path = job
    reference, _ = soundfile.read(reference_path)
    coded, _ = soundfile.read(coded_path)
    rows = []
    for piece in range(min(len(reference), len(coded)) // PIECE):
        part = slice(piece * PIECE, (piece + 1) * PIECE)
        try:
            rows.append((piece, pesq(RATE, reference[part], coded[part], "wb")))
        except Exception as error:  # a piece without speech has no score
            print(coded_path.name, piece, error, file=sys.stderr)
    return coded_path.stem, rows


def score(folder):
    jobs = []
    for coded in sorted((folder / "coded").glob("*.wav")):
        clip, condition = coded.stem.rsplit(".", 1)
        jobs.append((folder / f"{clip}.wav", coded))
    with Pool(2) as pool, open(folder / "pesq.csv", "w") as out:
        print("clip,condition,piece,pesq", file=out)
        for stem, rows in pool.imap_unordered(score_clip, jobs, chunksize=8):
            clip, condition = stem.rsplit(".", 1)
            for piece, value in rows:
                print(f"{clip},{condition},{piece},{value:.4f}", file=out)


NAMES = ["disturbance", "added", "low", "mid", "high", "dulled", "snr_low", "snr_mid"]


def load(folder):
    pesq = {(r["clip"], r["condition"], r["piece"]): float(r["pesq"]) for r in csv.DictReader(open(folder / "pesq.csv"))}
    keys, xs, ys, kbps = [], [], [], []
    for row in csv.DictReader(open(folder / "coded" / "features.csv")):
        key = (row["clip"], row["condition"], row["piece"])
        if key in pesq:
            keys.append(key)
            xs.append([float(row[name]) for name in NAMES])
            ys.append(pesq[key])
            kbps.append(float(row["kbps"]))
    return keys, np.array(xs), np.array(ys), np.array(kbps)


def terms(x):
    d, a, low, mid, high, dulled, snr_low, snr_mid = x.T
    one = np.ones_like(d)
    return np.stack([one, d, a, np.sqrt(d), np.sqrt(a), low, mid, high, dulled, snr_low, snr_mid, d * d], 1)


TERMS = ["1", "d", "a", "sqrt d", "sqrt a", "low", "mid", "high", "dulled", "snr_low", "snr_mid", "d^2"]


def predict(x, w):
    return LOWEST + (HIGHEST - LOWEST) / (1 + np.exp(-np.clip(terms(x) @ w, -30, 30)))


def regress(x, y, ridge, keep):
    """Levenberg-Marquardt on the score itself, ridge on standardised terms."""
    t = terms(x)
    mean, deviation = t.mean(0), t.std(0)
    mean[0], deviation[0] = 0, 1
    s = (t - mean) / deviation
    s[:, ~keep] = 0
    part = np.clip((y - LOWEST) / (HIGHEST - LOWEST), 0.01, 0.99)
    penalty = ridge * len(y) * np.eye(s.shape[1])
    penalty[0, 0] = 0
    w = np.linalg.solve(s.T @ s + penalty + 1e-9 * np.eye(s.shape[1]), s.T @ np.log(part / (1 - part)))
    for _ in range(200):
        p = 1 / (1 + np.exp(-np.clip(s @ w, -30, 30)))
        slope = (HIGHEST - LOWEST) * p * (1 - p)
        error = y - LOWEST - (HIGHEST - LOWEST) * p
        j = s * slope[:, None]
        step = np.linalg.solve(j.T @ j + penalty + 1e-2 * np.eye(s.shape[1]), j.T @ error - penalty @ w)
        w = w + 0.5 * step
    raw = w / deviation
    raw[0] -= (w * mean / deviation)[1:].sum()
    return raw


def report(name, y, p, keys):
    print(f"{name}: n {len(y)}, MAE {np.abs(p - y).mean():.3f}, RMSE {np.sqrt(((p - y) ** 2).mean()):.3f}, r {np.corrcoef(p, y)[0, 1]:.3f}")


def fit(out):
    keys, x, y, _ = load(out / "train")
    test_keys, test_x, test_y, test_kbps = load(out / "test")
    speakers = np.array([k[0].rsplit("_", 1)[0] for k in keys])
    for label, drop in {"all": [], "without snr": [9, 10]}.items():
        keep = np.ones(12, bool)
        keep[drop] = False
        for ridge in (1e-5, 1e-4, 1e-3):
            folds = []
            names = sorted(set(speakers))
            for fold in range(5):
                held = np.isin(speakers, names[fold::5])
                folds.append(np.abs(predict(x[held], regress(x[~held], y[~held], ridge, keep)) - y[held]))
            print(f"{label}, ridge {ridge:g}: MAE over five folds of speakers {np.concatenate(folds).mean():.3f}")
        w = regress(x, y, 1e-4, keep)
        print("terms: " + ", ".join(np.array(TERMS)[keep]))
        report(f"{label}: train", y, predict(x, w), keys)
        p = predict(test_x, w)
        report(f"{label}: test, 3.2 s pieces", test_y, p, test_keys)
        clips = defaultdict(list)
        for key, a, b in zip(test_keys, test_y, p):
            clips[key[:2]].append((a, b))
        means = np.array([np.mean(v, 0) for v in clips.values()])
        report(f"{label}: test, clip means", means[:, 0], means[:, 1], None)
        print("const COEFFICIENTS: [f32; TERMS] = [" + ", ".join(f"{v:.5f}" for v in w[keep]) + "];")
    conditions = defaultdict(list)
    for key, actual, estimate, rate in zip(test_keys, test_y, p, test_kbps):
        conditions[key[1]].append((actual, estimate, rate))
    print("condition: payload kbps, PESQ, estimate, MAE (test)")
    for name, rows in sorted(conditions.items(), key=lambda c: np.mean(c[1], 0)[0]):
        rows = np.array(rows)
        print(f"  {name}: {rows[:, 2].mean():.2f} {rows[:, 0].mean():.2f} {rows[:, 1].mean():.2f} {np.abs(rows[:, 0] - rows[:, 1]).mean():.2f}")
    table = defaultdict(list)
    for key, actual in zip(keys, y):
        table[key[1]].append(actual)
    print("mean PESQ on train: " + ", ".join(f"{name} {np.mean(v):.2f}" for name, v in sorted(table.items())))


if __name__ == "__main__":
    command, *paths = sys.argv[1:]
    {"prepare": prepare, "score": score, "fit": fit}[command](*map(Path, paths))
