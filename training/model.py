"""The codec network: MDCT front end, linear skip, causal trunks, residual quantiser.

Shapes: audio [B, S]; everything else [B, T, C], T in hops (100 Hz), trunk steps or frames (50 Hz).
Causal throughout: a frame's code depends on the past and on 320 new samples, and decodes to 320 samples that end
one hop before them, which is the 30 ms delay.
"""

import math
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import nn

HOP = 160
FRAME = 2 * HOP
LATENT = 64
LEVELS = 18
ENTRIES = 1024
# Companded MDCT coefficients of speech come out near unit size after this factor.
COMPAND_SCALE = 6.0
LOG_FLOOR = 1e-7


@dataclass
class Shape:
    enc_width: int = 160
    enc_blocks: int = 4
    dec_width: int = 192
    dec_blocks: int = 6
    expand: int = 3
    kernel: int = 5
    hops_per_step: int = 1

    def as_dict(self):
        return asdict(self)


def mdct_bases():
    """Windowed MDCT and MDST bases [2*HOP, HOP], orthonormal for the sine window (Princen-Bradley)."""
    n = torch.arange(2 * HOP, dtype=torch.float64)
    k = torch.arange(HOP, dtype=torch.float64)
    window = torch.sin(math.pi * (n + 0.5) / (2 * HOP))
    phase = math.pi / HOP * (n[:, None] + 0.5 + HOP / 2) * (k[None, :] + 0.5)
    scale = math.sqrt(2.0 / HOP)
    return (window[:, None] * torch.cos(phase) * scale).float(), (window[:, None] * torch.sin(phase) * scale).float()


def compand(x):
    return COMPAND_SCALE * torch.sign(x) * torch.sqrt(torch.abs(x) + 1e-12)


def expand(y):
    return y * torch.abs(y) / COMPAND_SCALE ** 2


class Analysis(nn.Module):
    def __init__(self):
        super().__init__()
        c, s = mdct_bases()
        self.register_buffer("both", torch.cat([c, s], 1), persistent=False)

    def forward(self, audio):
        """[B, S] -> MDCT and MDST, each [B, S/HOP, HOP]; the stream starts after a hop of silence."""
        blocks = F.pad(audio, (HOP, 0)).unfold(1, 2 * HOP, HOP)
        return (blocks @ self.both).split(HOP, -1)


class Synthesis(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("basis", mdct_bases()[0].t().contiguous(), persistent=False)

    def forward(self, mdct):
        """[B, T, HOP] -> [B, T*HOP], one hop late against Analysis' input."""
        blocks = mdct @ self.basis
        first, second = blocks.split(HOP, -1)
        return (first + F.pad(second, (0, 0, 1, 0))[:, :-1]).flatten(1)


def exact(x, matrix):
    """The linear path stays in f32 where the networks around it run in bf16."""
    with torch.autocast(x.device.type, enabled=False):
        return x.float() @ matrix


def rms_norm(x):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-2)


class Block(nn.Module):
    """Causal depthwise convolution, branch norm, two pointwise layers; the residual path itself is never normalised."""

    def __init__(self, width, kernel, dilation, expansion):
        super().__init__()
        self.kernel, self.dilation = kernel, dilation
        self.depth = nn.Parameter(torch.randn(kernel, width) / math.sqrt(kernel))
        self.up = nn.Linear(width, width * expansion)
        self.down = nn.Linear(width * expansion, width)
        nn.init.zeros_(self.down.bias)
        with torch.no_grad():
            self.down.weight.mul_(0.3)

    def forward(self, x):
        reach = (self.kernel - 1) * self.dilation
        padded = F.pad(x, (0, 0, reach, 0))
        steps = x.shape[1]
        h = padded[:, :steps] * self.depth[0]
        for k in range(1, self.kernel):
            at = k * self.dilation
            h = torch.addcmul(h, padded[:, at:at + steps], self.depth[k])
        return x + self.down(F.hardswish(self.up(rms_norm(h))))


DILATIONS = (1, 2, 4, 1, 2, 4, 1, 2)


class Encoder(nn.Module):
    def __init__(self, shape, pca):
        super().__init__()
        r = shape.hops_per_step
        self.r = r
        self.inp = nn.Linear(3 * HOP * r, shape.enc_width)
        self.blocks = nn.ModuleList(
            Block(shape.enc_width, shape.kernel, DILATIONS[i], shape.expand) for i in range(shape.enc_blocks))
        self.out = nn.Linear(shape.enc_width * (2 // r), LATENT)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.skip = nn.Parameter(pca.clone())

    def forward(self, mdct, mdst):
        b, t, _ = mdct.shape
        c = compand(mdct)
        log_power = torch.log(mdct.square() + mdst.square() + LOG_FLOOR) * 0.25 + 2.0
        feats = torch.cat([c, compand(mdst), log_power], -1).reshape(b, t // self.r, -1)
        x = self.inp(feats).float()
        for block in self.blocks:
            x = block(x)
        frames = c.reshape(b, t // 2, FRAME)
        # Scaling by the frame's own level keeps silence exactly silent and lets loud and soft share one network.
        level = frames.square().mean(-1, keepdim=True).sqrt()
        return exact(frames, self.skip) + self.out(x.reshape(b, t // 2, -1)) * level


class Decoder(nn.Module):
    def __init__(self, shape, pca):
        super().__init__()
        r = shape.hops_per_step
        self.r, self.width = r, shape.dec_width
        self.inp = nn.Linear(LATENT, shape.dec_width * (2 // r))
        self.lost = nn.Parameter(torch.zeros(shape.dec_width * (2 // r)))
        self.blocks = nn.ModuleList(
            Block(shape.dec_width, shape.kernel, DILATIONS[i], shape.expand) for i in range(shape.dec_blocks))
        self.out = nn.Linear(shape.dec_width, 2 * HOP * r)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.skip = nn.Parameter(pca.t().clone())

    def forward(self, z, lost=None):
        """z [B, T50, LATENT], lost [B, T50, 1] with 1 where the frame never came -> companded MDCT [B, 2*T50, HOP]."""
        b, t, _ = z.shape
        linear = exact(z, self.skip)
        level = (linear.square().mean(-1, keepdim=True) + 1e-12).sqrt()
        x = self.inp(z).float()
        if lost is not None:
            x = x + lost * self.lost
        x = x.reshape(b, t * 2 // self.r, self.width)
        for block in self.blocks:
            x = block(x)
        gain, add = self.out(x).reshape(b, t * 2, 2 * HOP).split(HOP, -1)
        level = level.expand(b, t, 2).reshape(b, t * 2, 1)
        return linear.reshape(b, t * 2, HOP) * (1 + gain) + add * level


class Codec(nn.Module):
    def __init__(self, shape, pca=None):
        super().__init__()
        from .quantizer import ResidualQuantizer
        pca = torch.zeros(FRAME, LATENT) if pca is None else pca
        self.shape = shape
        self.analysis, self.synthesis = Analysis(), Synthesis()
        self.encoder, self.decoder = Encoder(shape, pca), Decoder(shape, pca)
        self.quantizer = ResidualQuantizer()

    def latent(self, audio):
        return self.encoder(*self.analysis(audio))

    def render(self, z, lost=None):
        companded = self.decoder(z, lost)
        return companded, self.synthesis(expand(companded))

    def encode(self, audio, levels):
        return self.quantizer.encode(self.latent(audio), levels)

    def decode(self, codes):
        return self.render(self.quantizer.decode(codes))[1]


# A lost frame repeats the last latent, weaker by this factor each time (companded domain: the square in amplitude).
LOST_FADE = 0.9


def hold_lost(z, lost):
    """Replace lost frames by the last one heard, fading; lost [B, T, 1] of 0/1."""
    at = torch.arange(z.shape[1], device=z.device).expand(z.shape[:2])
    heard = torch.where(lost[..., 0] > 0, -1, at).cummax(1).values
    # Before the first frame heard there is silence.
    fade = LOST_FADE ** (at - heard).to(z.dtype) * (heard >= 0)
    return z.gather(1, heard.clamp_min(0).unsqueeze(-1).expand_as(z)) * fade.unsqueeze(-1)


def principal_components(samples):
    """PCA (no mean: companded MDCT is symmetric) of frames of 2 hops: [FRAME, LATENT] orthonormal."""
    mdct, _ = Analysis()(samples)
    frames = compand(mdct).reshape(-1, FRAME).double()
    cov = frames.t() @ frames / len(frames)
    values, vectors = torch.linalg.eigh(cov)
    kept = vectors[:, -LATENT:].flip(1)
    return kept.float().contiguous(), float(values[-LATENT:].sum() / values.sum())
