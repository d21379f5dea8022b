"""Speech, noise and music of a MANIFEST.csv as one memory-mapped 16 kHz array, and the batches cut from it."""

import csv
import hashlib
import json
import multiprocessing
import os
import subprocess
from pathlib import Path

import numpy as np

RATE = 16_000
# One speaker in twenty is held back: the run's own loss and scores are taken on voices it never trains on.
HELD_BACK_PARTS = 20


def clear_licence(row):
    return not row["licence"].strip().lower().startswith("unclear") and row["licence"].strip() != ""


def is_held_back(speaker):
    return int(hashlib.sha256(speaker.encode()).hexdigest(), 16) % HELD_BACK_PARTS == 0


def decode(path):
    """Any audio file as mono int16 at 16 kHz (through ffmpeg's resampler)."""
    out = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(path), "-ac", "1", "-ar", str(RATE), "-af",
         "aresample=resampler=swr:filter_size=64:cutoff=0.97", "-f", "s16le", "-"],
        check=True, stdout=subprocess.PIPE).stdout
    return np.frombuffer(out, dtype="<i2")


def prepare(data_dir, cache_dir):
    """Decode every usable training row once; returns (samples, index rows)."""
    data_dir, cache_dir = Path(data_dir), Path(cache_dir)
    cache_dir.mkdir(parents=True, exist_ok=True)
    manifest = data_dir / "MANIFEST.csv"
    digest = hashlib.sha256(manifest.read_bytes()).hexdigest()
    pcm, index = cache_dir / "pcm.i16", cache_dir / "index.json"
    if index.exists():
        stored = json.loads(index.read_text())
        if stored["manifest_sha256"] == digest:
            return np.memmap(pcm, dtype="<i2", mode="r"), stored["rows"]
    rows, at = [], 0
    with open(manifest, newline="") as f:
        wanted = [r for r in csv.DictReader(f)
                  if r["kind"] in ("speech", "noise", "music") and r["split"] == "train" and clear_licence(r)]
    partial = cache_dir / "pcm.partial"
    with open(partial, "wb") as out:
        for n, row in enumerate(wanted):
            samples = decode(data_dir / row["path"])
            samples.tofile(out)
            rows.append({"kind": row["kind"], "speaker": row["speaker"] or row["path"], "path": row["path"],
                         "licence": row["licence"], "start": at, "len": len(samples)})
            at += len(samples)
            if n % 100 == 0:
                print(f"decoding {n}/{len(wanted)} files, {at / RATE / 60:.0f} min", flush=True)
    os.replace(partial, pcm)
    index.write_text(json.dumps({"manifest_sha256": digest, "rows": rows}))
    return np.memmap(pcm, dtype="<i2", mode="r"), rows


class Speech:
    """Random augmented segments; speakers are drawn by the square root of how much they say."""

    def __init__(self, samples, rows, seed):
        self.samples = samples
        self.rng = np.random.default_rng(seed)
        speech = [r for r in rows if r["kind"] == "speech"]
        self.train = [r for r in speech if not is_held_back(r["speaker"])]
        self.held = [r for r in speech if is_held_back(r["speaker"])]
        self.noise = [r for r in rows if r["kind"] == "noise"]
        self.music = [r for r in rows if r["kind"] == "music"]
        per_speaker = {}
        for r in self.train:
            per_speaker[r["speaker"]] = per_speaker.get(r["speaker"], 0) + r["len"]
        w = np.array([r["len"] / np.sqrt(per_speaker[r["speaker"]]) for r in self.train])
        self.cum = np.cumsum(w / w.sum())

    def cut(self, row, length):
        room = row["len"] - length
        at = int(self.rng.integers(0, room + 1)) if room > 0 else 0
        x = self.samples[row["start"] + at: row["start"] + min(at + length, row["len"])].astype(np.float32) / 32768.0
        return np.pad(x, (0, length - len(x))) if len(x) < length else x

    def pick(self, length):
        row = self.train[min(int(np.searchsorted(self.cum, self.rng.random())), len(self.train) - 1)]
        return self.cut(row, length)

    def segment(self, length):
        r = self.rng
        x = self.pick(length)
        # A cut out of a pause teaches nothing about speech: draw once more.
        if np.abs(x).max() < 0.01:
            x = self.pick(length)
        if r.random() < 0.2:
            x = self.equalised(x)
        if r.random() < 0.1:
            x = self.reverberated(x)
        kind = r.random()
        if kind < 0.10 and self.noise:
            x = self.mixed(x, self.cut(self.noise[r.integers(len(self.noise))], length), r.uniform(5, 25))
        elif kind < 0.14 and self.music:
            x = self.mixed(x, self.cut(self.music[r.integers(len(self.music))], length), r.uniform(0, 20))
        elif kind < 0.17:
            x = self.mixed(x, self.pick(length), r.uniform(0, 15))
        if r.random() < 0.6:
            x = x * 10 ** (r.uniform(-12, 6) / 20)
        peak = np.abs(x).max()
        return x * (0.99 / peak) if peak > 0.99 else x

    def equalised(self, x):
        """A smooth random response of up to 8 dB, as microphones and rooms have."""
        points = self.rng.uniform(-8, 8, 6)
        spectrum = np.fft.rfft(x)
        db = np.interp(np.sqrt(np.linspace(0, 1, len(spectrum))), np.linspace(0, 1, 6), points)
        return np.fft.irfft(spectrum * 10 ** (db / 20), len(x)).astype(np.float32)

    def reverberated(self, x):
        """A small room: noise that decays by 60 dB in 0.1 to 0.5 s, after a direct sound that is louder."""
        length = int(RATE * self.rng.uniform(0.1, 0.5))
        tail = self.rng.standard_normal(length) * 10 ** (-3 * np.arange(length) / length)
        tail *= 10 ** (self.rng.uniform(-12, 0) / 20) / np.sqrt(np.square(tail).sum())
        tail[0] = 1.0
        size = 1 << (len(x) + length - 1).bit_length()
        return np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(tail, size), size)[:len(x)].astype(np.float32)

    @staticmethod
    def mixed(x, other, snr_db):
        p, q = float(np.mean(x * x)), float(np.mean(other * other))
        if p <= 0 or q <= 0:
            return x
        return x + other * np.sqrt(p / q * 10 ** (-snr_db / 10))

    def batch(self, size, length):
        return np.stack([self.segment(length) for _ in range(size)]).astype(np.float32)

    def held_clips(self, count, length):
        """The same clips every time: one per held-back speaker in order, from the middle of the utterance."""
        clips, seen = [], {}
        for r in sorted(self.held, key=lambda r: r["path"]):
            if seen.get(r["speaker"], 0) >= 1 or r["len"] < length:
                continue
            seen[r["speaker"]] = seen.get(r["speaker"], 0) + 1
            at = r["start"] + (r["len"] - length) // 2
            clips.append(np.asarray(self.samples[at: at + length], dtype=np.float32) / 32768.0)
        step = max(1, len(clips) // count)
        return np.stack(clips[::step][:count])


class Batches:
    """Batches in order, cut by worker processes ahead of need; with no workers, by the caller."""

    def __init__(self, samples, rows, seed, size, length, workers):
        self.speech, self.size, self.length = Speech(samples, rows, seed), size, length
        self.queue = None
        if workers:
            # Fresh interpreters: a fork of a process that holds a GPU may not touch it, nor end cleanly.
            context = multiprocessing.get_context("spawn")
            self.queue = context.Queue(2 * workers)
            for n in range(workers):
                arguments = (self.queue, samples.filename, rows, (seed, n), size, length)
                context.Process(target=fill, args=arguments, daemon=True).start()

    def next(self):
        return self.queue.get() if self.queue else self.speech.batch(self.size, self.length)


def fill(queue, path, rows, seed, size, length):
    speech = Speech(np.memmap(path, dtype="<i2", mode="r"), rows, seed)
    while True:
        queue.put(speech.batch(size, length))


def main():
    import argparse
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--data", required=True)
    p.add_argument("--cache", required=True)
    a = p.parse_args()
    samples, rows = prepare(a.data, a.cache)
    s = Speech(samples, rows, 0)
    print(f"{len(rows)} files, {len(samples) / RATE / 3600:.2f} h; {len(s.train)} training utterances of "
          f"{len({r['speaker'] for r in s.train})} speakers, held back {len(s.held)} of "
          f"{len({r['speaker'] for r in s.held})}; noise {len(s.noise)}, music {len(s.music)}")


if __name__ == "__main__":
    main()
