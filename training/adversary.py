"""Discriminators on complex spectra at several scales, hinge losses and feature matching (Zeghidour et al. 2021,
Defossez et al. 2022). Small on purpose: at full published size they are three quarters of a step's cost on a CPU."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

WINDOWS = (256, 512, 1024)
CHANNELS = 8
SLOPE = 0.2
# The generator's share; feature matching carries the detail, the hinge keeps it honest.
HINGE_WEIGHT, FEATURE_WEIGHT = 0.05, 0.25


class SpectrumDiscriminator(nn.Module):
    def __init__(self, window):
        super().__init__()
        self.size = window
        self.register_buffer("window", torch.hann_window(window), persistent=False)
        layers, inside = [], 2
        for dilation, stride in ((1, 2), (2, 2), (3, 2), (1, 1)):
            layers.append(weight_norm(nn.Conv2d(inside, CHANNELS, (3, 7), (1, stride), (dilation, 3),
                                                dilation=(dilation, 1))))
            inside = CHANNELS
        self.layers = nn.ModuleList(layers)
        self.out = weight_norm(nn.Conv2d(CHANNELS, 1, (3, 3), padding=1))

    def forward(self, x):
        """[B, S] -> (verdict per patch, features of every layer)."""
        s = torch.stft(x, self.size, self.size // 4, window=self.window, center=False, return_complex=True)
        s = torch.view_as_real(s).permute(0, 3, 2, 1) / self.size ** 0.5
        # Speech spans 60 dB: companded, quiet bands are heard by the discriminator too.
        s = s * (s.square().sum(1, keepdim=True) + 1e-6).pow(-0.35)
        features = []
        for layer in self.layers:
            s = F.leaky_relu(layer(s), SLOPE)
            features.append(s)
        return self.out(s), features


class Adversary(nn.Module):
    def __init__(self):
        super().__init__()
        self.scales = nn.ModuleList(SpectrumDiscriminator(w) for w in WINDOWS)

    def own_loss(self, real, made):
        """What the discriminators minimise; `made` must be detached."""
        loss = 0
        for scale in self.scales:
            loss = loss + F.relu(1 - scale(real)[0]).mean() + F.relu(1 + scale(made)[0]).mean()
        return loss / len(self.scales)

    def generator_loss(self, real, made):
        """What the codec minimises on top of its own losses."""
        hinge, match = 0, 0
        for scale in self.scales:
            with torch.no_grad():
                wanted = scale(real)[1]
            verdict, got = scale(made)
            hinge = hinge - verdict.mean()
            match = match + sum((a - b).abs().mean() / (b.abs().mean() + 1e-3) for a, b in zip(got, wanted)) / len(got)
        return (HINGE_WEIGHT * hinge + FEATURE_WEIGHT * match) / len(self.scales)
