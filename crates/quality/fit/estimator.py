"""Fits the online quality estimator to PESQ-WB and writes its constants; see README.md beside this file.

    prepare DATA OUT             choose training clips by their licence, as 16 kHz WAV in OUT/train
    score CACHE CLIPS CODED      PESQ-WB of every coded clip, in pieces of 3.2 s, into CODED/pesq.csv
    choose TRAIN                 compare sizes and penalties by folds of training speakers
    fit TRAIN TEST RUST          fit on the folder TRAIN, report on TEST, write the constants
"""

import csv
import json
import os
import random
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "testing"))
from network import Network, constants  # noqa: E402
from speech_clips import load, write  # noqa: E402

PIECE = 51200
PIECES = 2
LOWEST, HIGHEST = 1.0, 4.64
# Families whose licence is plain (CC0, CC BY, public domain, Apache-2.0), with clips taken from each; LJ Speech and VCTK
# are the lossless ones.
FAMILIES = {"libri": 44, "ocean": 24, "ljspeech": 9, "vctk": 14, "kerstin": 6, "nathalie": 6, "flemishguy": 6, "sti": 6}
FAMILY_OF = {"auralink": "AuraLink", "opus": "Opus", "lyra": "Lyra V2"}
HIDDEN, PENALTY = 16, 10.0
FOLDS = 5


def prepare(data, out):
    rows = [r for r in csv.DictReader(open(data / "MANIFEST.csv", newline="")) if r["kind"] == "speech"]
    chosen = []
    for family, count in FAMILIES.items():
        speakers = defaultdict(list)
        for row in rows:
            fits = Path(row["path"]).name.startswith(family) and "unclear" not in row["licence"]
            if row["split"] == "train" and fits:
                speakers[row["speaker"] or row["path"]].append(row)
        names = sorted(speakers)
        random.Random(7).shuffle(names)
        picks = [max(speakers[name], key=lambda r: float(r["seconds"])) for name in names]
        extra = [r for name in names for r in speakers[name] if r not in picks]
        random.Random(7).shuffle(extra)
        chosen += (picks + extra)[:count]
    speakers = out / "coded/train/speakers.json"
    speakers.parent.mkdir(parents=True, exist_ok=True)
    speakers.write_text(json.dumps({Path(r["path"]).stem: r["speaker"] or r["path"] for r in chosen}))
    for row in chosen:
        stem = Path(row["path"]).stem
        write(load(data / row["path"], seconds=PIECES * PIECE / 16000 + 0.01), out / "train" / f"{stem}.wav")


def score(cache, clips, folder):
    coded = sorted(c for c in folder.glob("*.wav") if "-loss" not in c.name)
    jobs = [{"reference": str(clips / (c.name.split(".", 1)[0] + ".wav")), "decoded": str(c)} for c in coded]
    wanted = {"cache": str(cache), "processes": 2, "piece": PIECE, "jobs": jobs}
    program = subprocess.Popen([sys.executable, Path(__file__).resolve().parents[3] / "testing/speech_scores.py"],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    program.stdin.write(json.dumps(wanted))
    program.stdin.close()
    with open(folder / "pesq.csv", "w") as table:
        print("clip,condition,piece,pesq", file=table)
        for done, line in enumerate(program.stdout, 1):
            answer = json.loads(line)
            clip, condition = coded[answer["job"]].stem.split(".", 1)
            for piece, marks in enumerate(answer["scores"]):
                if marks["pesq_wb"] is not None:
                    print(f"{clip},{condition},{piece},{marks['pesq_wb']:.4f}", file=table)
            print(f"\rscoring {folder.name}: {done}/{len(jobs)}", end="", file=sys.stderr)
    print(file=sys.stderr)
    if program.wait():
        sys.exit("speech_scores.py failed")


class Table:
    """Features and scores of one split."""

    def __init__(self, folder):
        key = lambda r: (r["clip"], r["condition"], r["piece"])
        pesq = {key(r): float(r["pesq"]) for r in csv.DictReader(open(folder / "pesq.csv"))}
        rows = [r for r in csv.DictReader(open(folder / "features.csv"))
                if key(r) in pesq and "-loss" not in r["condition"]]
        first = list(rows[0]).index("estimate") + 1
        self.names = list(rows[0])[first:]
        self.x = np.array([[float(r[n]) for n in self.names] for r in rows])
        self.y = np.array([pesq[key(r)] for r in rows])
        self.before = np.array([float(r["estimate"]) for r in rows])
        self.clips = np.array([r["clip"] for r in rows])
        # Test clips are named by speaker and number.
        known = folder / "speakers.json"
        known = json.loads(known.read_text()) if known.exists() else {}
        self.speakers = np.array([known.get(r["clip"], r["clip"].rsplit("_", 1)[0]) for r in rows])
        self.conditions = np.array([r["condition"] for r in rows])
        self.families = np.array([FAMILY_OF.get(r["condition"].split("-")[0], "not coded") for r in rows])


def logit(y):
    part = np.clip((y - LOWEST) / (HIGHEST - LOWEST), 0.01, 0.99)
    return np.log(part / (1 - part))


def mos(z):
    return LOWEST + (HIGHEST - LOWEST) / (1 + np.exp(-z.reshape(-1)))


def said(y, p):
    return f"MAE {np.abs(p - y).mean():.3f}, RMSE {np.sqrt(((p - y) ** 2).mean()):.3f}, r {np.corrcoef(p, y)[0, 1]:.3f}"


def folds(table, hidden, penalty):
    names = sorted(set(table.speakers))
    random.Random(1).shuffle(names)
    p = np.zeros_like(table.y)
    for fold in range(FOLDS):
        held = np.isin(table.speakers, names[fold::FOLDS])
        p[held] = mos(Network(table.x[~held], logit(table.y[~held]), hidden, penalty)(table.x[held]))
    return p


def choose(folder):
    table = Table(folder)
    print(f"{len(table.y)} pieces of {len(set(table.speakers))} training speakers; as it is: {said(table.y, table.before)}")
    for hidden in (4, 8, 16):
        for penalty in (3, 30, 100):
            print(f"hidden {hidden}, penalty {penalty}: {said(table.y, folds(table, hidden, penalty))}", flush=True)


def fit(train, test, rust):
    train, test = Table(train), Table(test)
    net = Network(train.x, logit(train.y), HIDDEN, PENALTY)
    p = mos(net(test.x))
    by_speaker = said(train.y, folds(train, HIDDEN, PENALTY))
    print(f"features: {', '.join(train.names)}")
    print(f"train, {FOLDS} folds of {len(set(train.speakers))} speakers, {len(train.y)} pieces: {by_speaker}")
    print(f"test, {len(test.y)} pieces of {len(set(test.speakers))} unseen speakers: {said(test.y, p)}")
    print(f"the same with the constants before: {said(test.y, test.before)}")
    means = defaultdict(list)
    for clip, condition, a, b in zip(test.clips, test.conditions, test.y, p):
        means[clip, condition].append((a, b))
    means = np.array([np.mean(v, 0) for v in means.values()])
    print(f"test, means of {len(means)} clips and conditions: {said(*means.T)}")
    print("\n| family | condition | pieces | PESQ-WB | estimate | MAE |\n|---|---|---:|---:|---:|---:|")
    for family in dict.fromkeys(test.families):
        for condition in dict.fromkeys(test.conditions[test.families == family]):
            at = test.conditions == condition
            print(f"| {family} | {condition} | {at.sum()} | {test.y[at].mean():.2f} | {p[at].mean():.2f} "
                  f"| {np.abs(p[at] - test.y[at]).mean():.2f} |")
    print("\n| family | pieces | MAE | r |\n|---|---:|---:|---:|")
    for name in dict.fromkeys(test.families):
        at = test.families == name
        print(f"| {name} | {at.sum()} | {np.abs(p[at] - test.y[at]).mean():.3f} "
                  f"| {np.corrcoef(p[at], test.y[at])[0, 1]:.3f} |")
    rust.write_text(f"// Written by crates/quality/fit/refit.sh: {len(train.y)} pieces of {len(set(train.speakers))} training"
                    f" speakers ({by_speaker} in {FOLDS} folds).\n"
                    f"// On {len(test.y)} pieces of {len(set(test.speakers))} unseen speakers: {said(test.y, p)}.\n"
                    + constants(net))


if __name__ == "__main__":
    command, *paths = sys.argv[1:]
    {"prepare": prepare, "score": score, "choose": choose, "fit": fit}[command](*map(Path, paths))
