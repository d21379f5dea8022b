"""Train the speech codec: `python -m training.train --data DIR --cache DIR --out DIR --hours H`.

Resumes from OUT/last.pt when it is there, else starts from `--init MODEL.safetensors` if given, else from principal
components. The learning rate follows a cosine over the wall time given, so that a run always ends annealed, however
fast the machine is. `--adversarial-from 0.6` adds the discriminators for the last 40 % of the run.
"""

import argparse
import json
import math
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

from . import data as datasets
from .adversary import Adversary
from .losses import Losses, mdct_loss
from .model import FRAME, HOP, LEVELS, Codec, Shape, compand, expand, hold_lost, principal_components
from .perceptual import PerceptualDistance
from .quantizer import FORGET, FORGET_LEAST

# Levels an item is trained with: the ladder's rungs mostly, any prefix sometimes.
RUNGS, RUNG_SHARE = (3, 6, 12, 18), (0.18, 0.22, 0.35, 0.10)
KMEANS_AT_STEP = 60
WARM_STEPS = 100
COMMITMENT = 0.25
LOSS_WEIGHTS = {"mel": 1.0, "cplx": 2.0, "snr": 0.3, "mdct": 1.5, "perceptual": 0.15}
# Discriminators learn at this rate, every so many steps.
ADVERSARY_RATE, ADVERSARY_EVERY = 3e-4, 2
# 0.23 and 0.61 GMAC/s.
SIZES = {"small": Shape(), "large": Shape(enc_width=256, enc_blocks=6, dec_width=256, dec_blocks=8)}
# Use of a code per update that a model without a history of its own is given.
ASSUMED_COUNT = 0.4


def draw_levels(batch, generator):
    choice = torch.rand(batch, generator=generator)
    levels = torch.randint(1, LEVELS + 1, (batch,), generator=generator)
    edge = 0.0
    for rung, share in zip(RUNGS, RUNG_SHARE):
        levels[(choice >= edge) & (choice < edge + share)] = rung
        edge += share
    return levels


def draw_lost(batch, frames, generator):
    """Bursts of lost frames (two on average) in a quarter of the items: [B, T, 1] of 0/1."""
    lost = torch.zeros(batch, frames, 1)
    for i in range(batch):
        if torch.rand((), generator=generator) < 0.25:
            at = 0
            while at < frames:
                at += int(torch.randint(4, 24, (), generator=generator))
                run = 1 + int(torch.rand((), generator=generator) < 0.5) + int(torch.rand((), generator=generator) < 0.3)
                lost[i, at: at + run] = 1
                at += run
    lost[:, 0] = 0
    return lost


class Criteria(torch.nn.Module):
    """Everything a produced signal is measured by."""

    def __init__(self):
        super().__init__()
        self.distances, self.perceptual = Losses(), PerceptualDistance()

    def forward(self, y, x):
        out = self.distances(y, x)
        out["perceptual"] = self.perceptual(y, x).mean()
        return out


def terms(model, criteria, x, levels, deepest, lost, quantise, update):
    mdct, mdst = model.analysis(x)
    # The trunks alone in bf16: a third of the time, and their outputs are corrections to an exact path.
    with torch.autocast(x.device.type, dtype=torch.bfloat16):
        z = model.encoder(mdct, mdst)
    commit, bits = z.new_zeros(()), 0.0
    if quantise:
        z, commit, bits = model.quantizer(z, levels, deepest, update)
    if lost is not None:
        z = hold_lost(z, lost)
    with torch.autocast(x.device.type, dtype=torch.bfloat16):
        produced = model.decoder(z, lost)
    y = model.synthesis(expand(produced))
    # The output comes one hop late.
    out = criteria(y[:, HOP:], x[:, :-HOP])
    out["mdct"] = mdct_loss(produced, compand(mdct))
    out["commit"] = commit
    return out, bits, y


def weigh(out):
    return sum(LOSS_WEIGHTS[k] * out[k] for k in LOSS_WEIGHTS) + COMMITMENT * out["commit"]


@torch.no_grad()
def held_back(model, criteria, clips):
    model.eval()
    result = {}
    for levels in RUNGS:
        out, _, y = terms(model, criteria, clips, torch.full((len(clips),), levels, device=clips.device), levels, None,
                          True, False)
        result[str(levels)] = {k: round(float(v), 4) for k, v in out.items()}
        result[str(levels)]["total"] = round(float(weigh(out)), 4)
    model.train()
    return result


def warm(path):
    """A model from exported weights and the manifest beside them."""
    manifest = json.loads(Path(path).with_suffix(".json").read_text())
    model = Codec(Shape(**manifest["shape"]))
    model.load_state_dict({k: v.float() for k, v in load_file(path).items()}, strict=False)
    model.quantizer.counts.fill_(ASSUMED_COUNT)
    model.quantizer.sums.copy_(model.quantizer.books * ASSUMED_COUNT)
    return model


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--data", required=True)
    p.add_argument("--cache", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--hours", type=float, default=1.0, help="wall time of the whole schedule")
    p.add_argument("--batch", type=int, default=8)
    p.add_argument("--seconds", type=float, default=1.0)
    p.add_argument("--lr", type=float, default=1.5e-3)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--workers", type=int, default=0, help="processes that cut and augment batches")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--size", choices=SIZES, default="small")
    p.add_argument("--init", help="safetensors to start from, when there is nothing to resume")
    p.add_argument("--adversarial-from", type=float, default=1.0, help="part of the run after which discriminators join")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    out_dir = Path(a.out)
    out_dir.mkdir(parents=True, exist_ok=True)
    samples, rows = datasets.prepare(a.data, a.cache)
    length = int(a.seconds * datasets.RATE) // FRAME * FRAME
    batches = datasets.Batches(samples, rows, a.seed, a.batch, length, a.workers)
    speech = batches.speech
    clips = torch.from_numpy(speech.held_clips(16, 2 * datasets.RATE // FRAME * FRAME)).to(device)
    generator = torch.Generator().manual_seed(a.seed)

    state = torch.load(out_dir / "last.pt", map_location="cpu", weights_only=False) if (out_dir / "last.pt").exists() else None
    if state:
        model = Codec(Shape(**state["shape"]))
        model.load_state_dict(state["model"])
        step, spent, best = state["step"], state["spent"], state["best"]
    elif a.init:
        model, step, spent, best = warm(a.init), 0, 0.0, math.inf
    else:
        pca, kept = principal_components(torch.from_numpy(speech.batch(160, length)))
        print(f"PCA keeps {100 * kept:.1f} % of the companded energy", flush=True)
        model, step, spent, best = Codec(SIZES[a.size], pca), 0, 0.0, math.inf
    model.to(device)
    criteria = Criteria().to(device)
    adversary = Adversary().to(device)
    judge = torch.optim.AdamW(adversary.parameters(), lr=ADVERSARY_RATE, betas=(0.5, 0.9))
    optimiser = torch.optim.AdamW(model.parameters(), lr=a.lr, betas=(0.8, 0.99), weight_decay=1e-3)
    if state:
        optimiser.load_state_dict(state["optimiser"])
        adversary.load_state_dict(state["adversary"])
        judge.load_state_dict(state["judge"])
    print(f"{sum(q.numel() for q in model.encoder.parameters()) / 1e6:.2f} M encoder, "
          f"{sum(q.numel() for q in model.decoder.parameters()) / 1e6:.2f} M decoder, device {device}", flush=True)

    begin, last_report, running = time.monotonic() - spent, time.monotonic(), {}
    log = open(out_dir / "log.jsonl", "a")
    recent, next_save = [], spent + 120
    while True:
        spent = time.monotonic() - begin
        done = spent / (a.hours * 3600)
        if done >= 1:
            break
        rate = a.lr * min(1.0, (step + 1) / WARM_STEPS) * max(0.01, 0.5 * (1 + math.cos(math.pi * done)))
        for group in optimiser.param_groups:
            group["lr"] = rate
        model.quantizer.forget = max(FORGET_LEAST, FORGET * rate / a.lr)
        x = torch.from_numpy(batches.next()).to(device)
        quantise = step >= KMEANS_AT_STEP or a.init is not None
        if not quantise:
            with torch.no_grad():
                recent.append(model.latent(x))
        if step == KMEANS_AT_STEP and recent:
            model.quantizer.init_kmeans(torch.cat(recent[-50:]))
            recent.clear()
        levels = draw_levels(a.batch, generator)
        lost = draw_lost(a.batch, length // FRAME, generator) if quantise else None
        if lost is not None:
            lost = lost.to(device) if lost.any() else None
        out, bits, y = terms(model, criteria, x, levels.to(device), int(levels.max()), lost, quantise, quantise)
        loss = weigh(out)
        if done >= a.adversarial_from:
            real, made = x[:, :-HOP], y[:, HOP:]
            if step % ADVERSARY_EVERY == 0:
                out["judge"] = adversary.own_loss(real, made.detach())
                judge.zero_grad(set_to_none=True)
                out["judge"].backward()
                judge.step()
            out["adversary"] = adversary.generator_loss(real, made)
            loss = loss + out["adversary"]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        if torch.isfinite(norm):
            optimiser.step()
        step += 1
        for k, v in out.items():
            v = v.detach()
            running[k] = torch.lerp(running.get(k, v), v, 0.02)
        if time.monotonic() - last_report > 20:
            last_report = time.monotonic()
            print(f"{100 * done:5.1f} % step {step} lr {rate:.1e} norm {float(norm):.2f} bits {bits:.2f} " +
                  " ".join(f"{k} {v:.3f}" for k, v in running.items()), flush=True)
        if spent >= next_save:
            next_save = spent + 180
            best = save(model, (optimiser, adversary, judge), criteria, clips, step, spent, best, out_dir, log)
    save(model, (optimiser, adversary, judge), criteria, clips, step, spent, best, out_dir, log)


def save(model, learners, criteria, clips, step, spent, best, out_dir, log):
    held = held_back(model, criteria, clips)
    total = sum(held[str(r)]["total"] for r in RUNGS) / len(RUNGS)
    log.write(json.dumps({"step": step, "spent_s": round(spent), "held_back": held}) + "\n")
    log.flush()
    print(f"      held back, step {step}: " + ", ".join(
        f"{r * 0.5:g} kbps mel {held[str(r)]['mel']:.3f} snr {-10 * held[str(r)]['snr']:.1f} dB "
        f"perceptual {held[str(r)]['perceptual']:.2f}" for r in RUNGS), flush=True)
    better = total < best
    optimiser, adversary, judge = (part.state_dict() for part in learners)
    state = {"shape": model.shape.as_dict(), "model": model.state_dict(), "optimiser": optimiser,
             "adversary": adversary, "judge": judge,
             "step": step, "spent": spent, "best": min(best, total), "held_back": held}
    torch.save(state, out_dir / "partial.pt")
    (out_dir / "partial.pt").replace(out_dir / "last.pt")
    if better:
        torch.save({k: v for k, v in state.items() if k not in ("optimiser", "adversary", "judge")}, out_dir / "best.pt")
    return min(best, total)


if __name__ == "__main__":
    main()
