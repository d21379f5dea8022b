"""Training losses: log-mel at several scales, companded complex spectrum, companded MDCT, log signal-to-noise."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from .data import RATE

# (window, mel bands, weight); hop is a quarter window.
SCALES = ((128, 16, 0.5), (256, 32, 1.0), (512, 64, 1.5), (1024, 80, 1.0), (2048, 96, 0.5))
MEL_FLOOR = 1e-3
COMPLEX_WINDOW = 512
COMPLEX_POWER = 0.35


def mel_bank(window, bands):
    """Triangular mel filters, rows normalised to sum 1: [window/2+1, bands]."""
    to_mel = lambda f: 2595 * math.log10(1 + f / 700)
    edges = 700 * (10 ** (torch.linspace(to_mel(0), to_mel(RATE / 2), bands + 2, dtype=torch.float64) / 2595) - 1)
    f = torch.linspace(0, RATE / 2, window // 2 + 1, dtype=torch.float64)[:, None]
    up = (f - edges[:-2]) / (edges[1:-1] - edges[:-2])
    down = (edges[2:] - f) / (edges[2:] - edges[1:-1])
    bank = torch.minimum(up, down).clamp_min(0)
    # A filter narrower than a bin takes the nearest bin instead of nothing.
    empty = bank.sum(0) == 0
    centre = (edges[1:-1] / (RATE / 2) * (window // 2)).round().long()
    bank[centre[empty], empty.nonzero()[:, 0]] = 1
    return (bank / bank.sum(0)).float()


class Losses(nn.Module):
    def __init__(self):
        super().__init__()
        for window, bands, _ in SCALES:
            self.register_buffer(f"bank{window}", mel_bank(window, bands), persistent=False)
            self.register_buffer(f"hann{window}", torch.hann_window(window), persistent=False)

    def spectrum(self, x, window):
        hann = getattr(self, f"hann{window}")
        return torch.stft(x, window, window // 4, window=hann, center=False, return_complex=True) / math.sqrt(window)

    def forward(self, y, x):
        """y produced, x wanted, both [B, S] -> dict of terms."""
        mel = y.new_zeros(())
        both = torch.cat([y, x])
        total_weight = sum(w for _, _, w in SCALES)
        for window, _, weight in SCALES:
            s = torch.view_as_real(self.spectrum(both, window))
            mag = (s.square().sum(-1) + 1e-10).sqrt()
            bands = torch.log(mag.transpose(1, 2) @ getattr(self, f"bank{window}") + MEL_FLOOR)
            a, b = bands.chunk(2)
            mel = mel + weight * (a - b).abs().mean()
            if window == COMPLEX_WINDOW:
                companded = s * (mag + 1e-3).pow(COMPLEX_POWER - 1).unsqueeze(-1)
                c, d = companded.chunk(2)
                complex_l1 = (c - d).abs().mean()
        err = (y - x).square().mean(1)
        sig = x.square().mean(1)
        snr = (torch.log10(err + 1e-6) - torch.log10(sig + 1e-6)).mean()
        return {"mel": mel / total_weight, "cplx": complex_l1, "snr": snr}


def mdct_loss(produced, wanted):
    return F.smooth_l1_loss(produced, wanted, beta=0.5)
