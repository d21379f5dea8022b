"""Residual vector quantiser: 18 levels of 1024 entries, moving-average codebooks, every prefix decodable.

Entry 0 of every level is pinned to zero, so a silent frame codes to exact silence and a level can always abstain.
"""

import torch
import torch.nn.functional as F
from torch import nn

from .model import ENTRIES, LATENT, LEVELS

# What the moving averages forget per update while the learning rate is at its full height, and the least of it: the
# slower the encoder moves, the longer its latents stay good to average over.
FORGET, FORGET_LEAST = 0.02, 0.002
# Candidates the encoder keeps from level to level; training itself takes the nearest entry, which is much cheaper.
BEAM = 16
# An entry used less than this many times per update (moving average) is restarted on a live residual.
DEAD_BELOW = 0.02
# Use that a restarted entry is credited with.
RESTART_COUNT = 0.3


def nearest(x, book):
    """Index of the nearest entry for each row; ties and rounding do not matter to a decoder."""
    return torch.addmm(0.5 * book.square().sum(1), x, book.t(), alpha=-1.0).argmin(1)


class ResidualQuantizer(nn.Module):
    def __init__(self):
        super().__init__()
        self.forget = FORGET
        self.register_buffer("books", torch.zeros(LEVELS, ENTRIES, LATENT))
        self.register_buffer("counts", torch.ones(LEVELS, ENTRIES))
        self.register_buffer("sums", torch.zeros(LEVELS, ENTRIES, LATENT))

    @torch.no_grad()
    def init_kmeans(self, z, rounds=8):
        residual = z.reshape(-1, LATENT).clone()
        for level in range(LEVELS):
            book = residual[torch.randperm(len(residual))[:ENTRIES]].clone()
            book[0] = 0
            for _ in range(rounds):
                idx = nearest(residual, book)
                counts = torch.bincount(idx, minlength=ENTRIES).float()
                sums = torch.zeros(ENTRIES, LATENT).index_add_(0, idx, residual)
                live = counts > 0
                book[live] = sums[live] / counts[live, None]
                dead = (~live).nonzero()[:, 0]
                book[dead] = residual[torch.randint(len(residual), (len(dead),))]
                book[0] = 0
            idx = nearest(residual, book)
            self.books[level] = book
            self.counts[level] = 1.0
            self.sums[level] = book
            residual = residual - book[idx]

    def forward(self, z, levels, deepest, update):
        """z [B, T, D], levels [B] how many each item uses, the most of them -> (quantised z, commitment loss, used
        entropy in bits). Nothing here waits for the device: `deepest` is the host's copy of `levels.max()`."""
        b, t, d = z.shape
        flat = z.reshape(-1, d)
        detached = flat.detach()
        residual, total = detached, torch.zeros_like(detached)
        per_row = levels.repeat_interleave(t)
        commit = flat.new_zeros(())
        bits = []
        for level in range(deepest):
            idx = nearest(residual, self.books[level])
            chosen = self.books[level][idx]
            on = (per_row > level).unsqueeze(1).to(flat.dtype)
            if update:
                bits.append(self.learn(level, residual, idx, on))
            total = total + chosen * on
            residual = residual - chosen
            # Commitment: the encoder is drawn to what the first level+1 books can say.
            if level in (2, 5, 11, 17) or level == deepest - 1:
                commit = commit + (F.mse_loss(flat, total, reduction="mean"))
        commit = commit / 2
        quantised = flat + (total - flat).detach()
        return quantised.reshape(b, t, d), commit, (sum(bits) / len(bits) if bits else 0.0)

    @torch.no_grad()
    def learn(self, level, residual, idx, on):
        """Moves the book towards the residuals [N, D] that chose its entries; on [N, 1] is 1 for rows that count."""
        share = residual * on
        counts = torch.zeros_like(self.counts[level]).index_add_(0, idx, on[:, 0])
        sums = torch.zeros_like(self.sums[level]).index_add_(0, idx, share)
        counts = torch.lerp(self.counts[level], counts, self.forget)
        sums = torch.lerp(self.sums[level], sums, self.forget)
        # Only rows that count: zeros would be copies of entry 0, which no encoder could tell from it.
        fresh = share[torch.multinomial(on[:, 0], ENTRIES, replacement=True)]
        dead = counts < DEAD_BELOW
        counts = torch.where(dead, RESTART_COUNT, counts)
        sums = torch.where(dead.unsqueeze(1), fresh * RESTART_COUNT, sums)
        self.counts[level], self.sums[level] = counts, sums
        self.books[level] = sums / counts.unsqueeze(1)
        self.books[level, 0] = 0
        p = counts / counts.sum()
        return -(p * torch.log2(p.clamp_min(1e-12))).sum()

    @torch.no_grad()
    def encode(self, z, levels, beam=BEAM):
        """Beam search through the levels, as the Rust encoder does it: [B, T, D] -> [B, T, levels]."""
        b, t, d = z.shape
        n = b * t
        residual, codes = z.reshape(n, 1, d), z.new_zeros(n, 1, 0, dtype=torch.long)
        for level in range(levels):
            book = self.books[level]
            cost = 0.5 * residual.square().sum(-1, keepdim=True) + 0.5 * book.square().sum(1) - residual @ book.t()
            best = cost.reshape(n, -1).topk(beam, largest=False).indices
            parent, code = best // ENTRIES, best % ENTRIES
            residual = torch.gather(residual, 1, parent[..., None].expand(-1, -1, d)) - book[code]
            codes = torch.cat([torch.gather(codes, 1, parent[..., None].expand(-1, -1, level)), code[..., None]], 2)
        first = residual.square().sum(-1).argmin(1)
        return codes[torch.arange(n), first].reshape(b, t, levels)

    @torch.no_grad()
    def decode(self, codes):
        z = 0
        for level in range(codes.shape[-1]):
            z = z + self.books[level][codes[..., level]]
        return z
