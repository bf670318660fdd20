"""Flows on 16x16 pictures: whole numbers made continuous, bits per dimension, samples, interpolation, inpainting.

A picture of whole numbers 0-255 becomes `v = (x + u) / 256` with u uniform in [0, 1), and Glow's flow sees `logit(0.05 + 0.9 v)` (RealNVP,
arXiv 1605.08803, section 4.1). The density of v bounds the probability of the numbers, `log p(x) >= E log p(v) - D log 256`, so what is
reported, `-log2 p(v) / D + 8` with the logit's volume counted, are honest bits per dimension; a uniform law has 8.
NICE works on grey pictures in [0, 1] with a logistic prior (arXiv 1410.8516, section 5), Glow on colour. Read next: `training.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.flows.chain import Flow, logistic
from models.flows.coupling import GLOW_CONFIGS, GlowConfig, glow
from models.flows.nice import NICE_CONFIGS, NiceConfig, nice

VALUES = 256  # whole numbers a pixel may have
MIDDLE = 0.5  # grey pixels are moved there, so that the noise, symmetric about 0, meets them half-way
EDGE = 0.05  # kept away from both ends of the logit
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def to_logit(v: Tensor) -> tuple[Tensor, Tensor]:
    """(N, D) in [0, 1] -> `logit(0.05 + 0.9 v)` and log|det| (N,)."""
    p = EDGE + (1 - 2 * EDGE) * v
    return torch.logit(p), (math.log(1 - 2 * EDGE) - p.log() - (1 - p).log()).sum(1)


def from_logit(y: Tensor) -> Tensor:
    """Back to [0, 1], and beyond it by at most a twentieth."""
    return (y.sigmoid() - EDGE) / (1 - 2 * EDGE)


class TileFlow(nn.Module):
    """A flow together with what stands before it. Pictures are (N, C, H, W) in [0, 1], noise is (N, D)."""

    def __init__(self, flow: Flow, shape: tuple[int, int, int], *, logit: bool, prior: str) -> None:
        super().__init__()
        self.flow, self.shape, self.logit, self.prior = flow, shape, logit, prior

    @property
    def dims(self) -> int:
        return math.prod(self.shape)

    def encode(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures -> noise (N, D) and log|det dz/dv| (N,)."""
        x = v.flatten(1)
        x, change = to_logit(x) if self.logit else (x - MIDDLE, x.new_zeros(len(x)))
        z, log_det = self.flow(x)
        return z, change + log_det

    def decode(self, z: Tensor) -> Tensor:
        """Noise -> pictures, as the flow gives them: samples may leave [0, 1] a little."""
        x, _ = self.flow.inverse(z)
        return (from_logit(x) if self.logit else x + MIDDLE).reshape(-1, *self.shape)

    def log_density(self, v: Tensor) -> Tensor:
        """log p(v) in nats (N,)."""
        z, log_det = self.encode(v)
        return self.flow.log_prior(z) + log_det

    def bits_per_dim(self, v: Tensor) -> Tensor:
        """Bits that a whole number of a picture costs on average, (N,), for pictures that `dequantise` made."""
        return -self.log_density(v) / (self.dims * math.log(2)) + math.log2(VALUES)

    def noise(self, n: int, generator: torch.Generator) -> Tensor:
        """n draws from the prior, (n, D)."""
        if self.prior == "logistic":
            return logistic((n, self.dims), generator)
        return torch.randn(n, self.dims, generator=generator)

    def initialise(self, v: Tensor) -> None:
        """Set actnorm, or NICE's scaling, from the first pictures, once."""
        x = v.flatten(1)
        self.flow.initialise(to_logit(x)[0] if self.logit else x - MIDDLE)


def glow_tiles(config: GlowConfig) -> TileFlow:
    """Glow on colour pictures."""
    return TileFlow(glow(config), (config.channels, config.size, config.size), logit=True, prior="normal")


def nice_tiles(config: NiceConfig) -> TileFlow:
    """NICE on square grey pictures."""
    side = math.isqrt(config.dim)
    return TileFlow(nice(config), (1, side, side), logit=False, prior=config.prior)


TILES = {
    "glow": lambda: glow_tiles(GLOW_CONFIGS["playworld"]),
    "nice": lambda: nice_tiles(NICE_CONFIGS["playworld"]),
}
"""Builders of the tile models by name."""


def dequantise(pictures: Tensor, channels: int, generator: torch.Generator) -> Tensor:
    """uint8 (N, H, W, 3) -> (x + u) / 256 in [0, 1), (N, channels, H, W); grey is rounded to whole numbers first."""
    x = pictures.float()
    if channels == 1:
        x = (x @ torch.tensor(LUMA))[..., None].round()
    u = torch.rand(x.shape, generator=generator).clamp_max(1 - 2**-16)      # 255 + u must stay below 256 in float32
    return ((x + u) / VALUES).permute(0, 3, 1, 2).contiguous()


def quantise(v: Tensor) -> Tensor:
    """Pictures (N, C, H, W) in [0, 1] -> uint8 (N, H, W, 3); grey in all three."""
    x = (v * VALUES).floor().clamp(0, VALUES - 1).to(torch.uint8).permute(0, 2, 3, 1)
    return x.expand(*x.shape[:3], 3)


@torch.no_grad()
def sample(model: TileFlow, n: int, temperature: float, generator: torch.Generator) -> Tensor:
    """n pictures from noise times the temperature."""
    return model.decode(temperature * model.noise(n, generator))


@torch.no_grad()
def interpolate(model: TileFlow, first: Tensor, second: Tensor, n: int) -> Tensor:
    """n pictures from one to the other (C, H, W), evenly along the straight line between their noises (Glow, section 5)."""
    z, _ = model.encode(torch.stack([first, second]))
    share = torch.linspace(0, 1, n)[:, None]
    return model.decode((1 - share) * z[:1] + share * z[1:])


@dataclass(frozen=True, kw_only=True)
class InpaintStep:
    """The pictures after a step of gradient ascent."""

    i: int
    n: int
    v: Tensor  # (N, C, H, W)
    log_density: Tensor  # (N,) of v
    accepted: Tensor  # (N,) whether this step was taken
    last: bool


def inpaint(model: TileFlow, v: Tensor, known: Tensor, steps: int, generator: torch.Generator, rate: float = 0.05) -> Iterator[InpaintStep]:
    """Fill in pixels by gradient ascent on log p(v), begun from uniform noise, the others held (NICE, section 5.2, without its noise).

    `known` (N or 1, 1 or C, H, W) is 1 where a pixel is given. A step is `rate` of the full range along the gradient at unit size; one that
    would lower log p is not taken and the next is half as long, so log p never falls.
    """
    free = (1 - known.to(v)).expand_as(v)
    v = torch.where(free > 0, torch.rand(v.shape, generator=generator), v)
    best, slope = _ascent(model, v, free)
    lengths = torch.full((len(v),), rate)
    yield InpaintStep(i=0, n=steps, v=v, log_density=best, accepted=torch.ones(len(v), dtype=torch.bool), last=steps == 0)
    for i in range(1, steps + 1):
        trial = (v + lengths[:, None, None, None] * slope).clamp(0, 1)
        value, fresh = _ascent(model, trial, free)
        better = value > best
        pick = better[:, None, None, None]
        v, slope, best = torch.where(pick, trial, v), torch.where(pick, fresh, slope), torch.where(better, value, best)
        lengths = torch.where(better, 1.2 * lengths, 0.5 * lengths)
        yield InpaintStep(i=i, n=steps, v=v, log_density=best, accepted=better, last=i == steps)


def langevin(
    model: TileFlow, v: Tensor, known: Tensor, steps: int, generator: torch.Generator, rate: float = 0.05
) -> Iterator[InpaintStep]:
    """The same with noise: `v += r_i (slope + eps)`, `r_i = rate 10 / (10 + i)`, every step taken, log p free to fall (NICE, section 5.2).

    The slope has unit size, as in `inpaint`, so that the balance of drift and noise is that of the paper's rule only in kind.
    """
    free = (1 - known.to(v)).expand_as(v)
    v = torch.where(free > 0, torch.rand(v.shape, generator=generator), v)
    value, slope = _ascent(model, v, free)
    taken = torch.ones(len(v), dtype=torch.bool)
    yield InpaintStep(i=0, n=steps, v=v, log_density=value, accepted=taken, last=steps == 0)
    for i in range(1, steps + 1):
        jolt = torch.randn(v.shape, generator=generator) * free
        v = torch.where(free > 0, (v + rate * 10 / (10 + i) * (slope + jolt)).clamp(0, 1), v)
        value, slope = _ascent(model, v, free)
        yield InpaintStep(i=i, n=steps, v=v, log_density=value, accepted=taken, last=i == steps)


def inpaint_adam(
    model: TileFlow, v: Tensor, known: Tensor, steps: int, generator: torch.Generator, rate: float = 0.1
) -> Iterator[InpaintStep]:
    """The same by Adam (arXiv 1412.6980) on log p: a step of its own size for each pixel, over the second half falling to 0.

    Far fewer steps than `inpaint` needs, since log p is much steeper along fine detail than along colours; but log p may dip on the way.
    """
    free = (1 - known.to(v)).expand_as(v)
    v = torch.where(free > 0, torch.rand(v.shape, generator=generator), v)
    value, slope = _ascent(model, v, free)
    drift, square, taken = torch.zeros_like(v), torch.zeros_like(v), torch.ones(len(v), dtype=torch.bool)
    yield InpaintStep(i=0, n=steps, v=v, log_density=value, accepted=taken, last=steps == 0)
    for i in range(1, steps + 1):
        drift, square = 0.9 * drift + 0.1 * slope, 0.99 * square + 0.01 * slope.square()
        push = drift / (1 - 0.9**i) / ((square / (1 - 0.99**i)).sqrt() + 1e-3)
        v = torch.where(free > 0, (v + rate * min(1.0, 2 * (1 - (i - 1) / steps)) * push).clamp(0, 1), v)
        value, slope = _ascent(model, v, free)
        yield InpaintStep(i=i, n=steps, v=v, log_density=value, accepted=taken, last=i == steps)


def _ascent(model: TileFlow, v: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
    """log p(v) and its gradient in the free pixels at a root mean square of 1."""
    with torch.enable_grad():
        v = v.detach().requires_grad_()
        value = model.log_density(v)
        slope = torch.autograd.grad(value.sum(), v)[0] * free
    size = (slope.flatten(1).square().sum(1) / free.flatten(1).sum(1).clamp_min(1)).sqrt().clamp_min(1e-12)
    return value.detach(), slope / size[:, None, None, None]
