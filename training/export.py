"""Export a checkpoint: `python -m training.export --checkpoint best.pt --cache DIR --models DIR [--golden FILE]`.

Writes f16 weights as safetensors with a manifest, and golden vectors (PyTorch's codes and sound on a synthetic
signal, computed from the rounded weights) for the Rust tests.
"""

import argparse
import collections
import hashlib
import json
import math
from pathlib import Path

import numpy as np
import torch

from . import data as datasets
from .model import FRAME, LEVELS, Codec, Shape, hold_lost

NAME = "aic-speech-1"
FORMAT = 1
LOST_IN_GOLDEN = [8, 9, 14, 20, 21, 22]
# How far another processor's sums may move a coordinate of a latent, and how often that is tried.
ROUNDING, DRAWS = 2e-5, 16


def safetensors_bytes(tensors):
    """The safetensors layout: u64 header length, JSON header, raw little-endian data."""
    header, blobs, at = {}, [], 0
    for name, value in sorted(tensors.items()):
        data = value.astype("<f2").tobytes()
        header[name] = {"dtype": "F16", "shape": list(value.shape), "data_offsets": [at, at + len(data)]}
        blobs.append(data)
        at += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(blobs)


def golden_signal(level, seconds=0.6):
    """A voice-like sound made of nothing but arithmetic: gliding harmonics under a syllable envelope; [S], as rounded
    as the file holds it."""
    t = np.arange(int(seconds * 16000) // FRAME * FRAME) / 16000
    phase = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 1.7 * t)) / 16000
    voice = sum(np.sin(k * phase + k * k) / k for k in range(1, 20))
    return np.round(level * voice * (0.5 + 0.5 * np.sin(2 * np.pi * 4 * t)), 6).astype(np.float32)


def without_ties(model):
    """The golden signal at the first level at which no code hangs on how a processor rounds, and its codes [1, T, L]."""
    generator = torch.Generator().manual_seed(1)
    for step in range(200):
        x = torch.from_numpy(golden_signal(0.12 * 0.99 ** step))
        z = model.latent(x[None])
        codes = model.quantizer.encode(z, LEVELS)
        moved = (z + ROUNDING * torch.randn(z.shape, generator=generator) for _ in range(DRAWS))
        if all(torch.equal(model.quantizer.encode(m, LEVELS), codes) for m in moved):
            return x.numpy(), codes
    raise SystemExit("no level of the golden signal is free of ties")


def apart(books, seed=1):
    """Copies of an entry within a book [L, N, D] replaced by points halfway between two others: a search that meets
    copies keeps fewer candidates, and which of them it names is chance."""
    rng = np.random.default_rng(seed)
    for book in books:
        while len(first := np.unique(book, axis=0, return_index=True)[1]) < len(book):
            copies = np.setdiff1d(np.arange(len(book)), first)
            pairs = rng.choice(first, (len(copies), 2))
            book[copies] = (book[pairs].astype(np.float32).mean(1)).astype(book.dtype)
    return books


def started_from(manifest):
    """Hash and steps of the model a run was begun with, and so on back to principal components."""
    if manifest is None:
        return None
    earlier = json.loads(Path(manifest).read_text())
    return {"sha256": earlier["sha256"], "steps": earlier["steps"], "started_from": earlier.get("started_from")}


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--checkpoint", required=True)
    p.add_argument("--cache", required=True)
    p.add_argument("--models", required=True)
    p.add_argument("--golden")
    p.add_argument("--started-from", help="manifest of the model that --init of the run named")
    p.add_argument("--figures", help="JSON of training.evaluate to record in the manifest; the weights stay the same")
    a = p.parse_args()
    state = torch.load(a.checkpoint, map_location="cpu", weights_only=False)
    wanted = {k: v for k, v in state["model"].items() if not k.endswith((".counts", ".sums"))}
    tensors = {k: v.numpy().astype(np.float16) for k, v in wanted.items()}
    apart(tensors["quantizer.books"])
    weights = safetensors_bytes(tensors)
    rows = json.loads((Path(a.cache) / "index.json").read_text())["rows"]
    used = collections.defaultdict(lambda: [0, 0.0])
    for row in rows:
        if row["kind"] == "speech" and datasets.is_held_back(row["speaker"]):
            continue
        used[f"{row['kind']}: {row['licence']}"][0] += 1
        used[f"{row['kind']}: {row['licence']}"][1] += row["len"] / 16000 / 3600
    shape = {k: v for k, v in state["shape"].items() if k != "hops_per_step"}
    manifest = {
        "format": FORMAT, "name": NAME, "sha256": hashlib.sha256(weights).hexdigest(), "licence": "Apache-2.0",
        "sample_rate": 16000, "frame": FRAME, "levels": LEVELS, "shape": shape, "steps": state["step"],
        "started_from": started_from(a.started_from),
        "data": {k: {"files": n, "hours": round(h, 3)} for k, (n, h) in sorted(used.items())},
        "figures": {"held_back_train_speakers": state["held_back"],
                    "test_speakers": json.loads(Path(a.figures).read_text())["summary"] if a.figures else []},
    }
    models = Path(a.models)
    models.mkdir(parents=True, exist_ok=True)
    (models / f"{NAME}.safetensors").write_bytes(weights)
    (models / f"{NAME}.json").write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
    print(f"{len(weights) / 1e6:.2f} MB, step {state['step']}, id {manifest['sha256'][:4]}")
    if a.golden:
        model = Codec(Shape(**state["shape"]))
        model.load_state_dict({**state["model"], **{k: torch.from_numpy(v.astype(np.float32)) for k, v in tensors.items()}})
        model.eval()
        with torch.no_grad():
            x, codes = without_ties(model)
            six = model.decode(codes[..., :12])[0]
            lost = torch.zeros(1, codes.shape[1], 1)
            lost[0, LOST_IN_GOLDEN] = 1
            holed = model.render(hold_lost(model.quantizer.decode(codes[..., :12]), lost), lost)[1][0]
        out = {"model": manifest["sha256"][:4], "pcm": [round(float(v), 6) for v in x],
               "codes": codes[0].tolist(), "decoded_6kbps": [round(float(v), 6) for v in six.clamp(-1, 1)],
               "lost": LOST_IN_GOLDEN, "concealed_6kbps": [round(float(v), 6) for v in holed.clamp(-1, 1)]}
        Path(a.golden).write_text(json.dumps(out, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
