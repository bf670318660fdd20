"""Affine couplings: RealNVP on the plane (Dinh et al., arXiv 1605.08803) and Glow on pictures (Kingma and Dhariwal, arXiv 1807.03039).

A coupling leaves one part as it is and scales and shifts the other by functions of it, so its Jacobian is triangular and its inverse
costs as much as itself. Glow's step is actnorm, an invertible 1x1 convolution that mixes the channels, and a coupling of halves; its
levels are a squeeze (space into channels), steps, and a split that hands half of the channels to the noise.
Actnorm is set from data by `initialise`, once, and its buffer says so: training that resumes never sets it again.
Read next: `nice.py`, `tiles.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from models.flows.chain import Chain, Flow, Layer, Part, log_normal, mlp

PLANE_COUPLINGS, PLANE_WIDTH = 8, 64


def places(x: Tensor) -> int:
    """H W of a picture (N, C, H, W), 1 for vectors (N, C)."""
    return x[0, 0].numel()


def along_channels(values: Tensor, x: Tensor) -> Tensor:
    """(C,) shaped to be broadcast over x (N, C, ...)."""
    return values.reshape(1, -1, *[1] * (x.ndim - 2))


class AffineCoupling(Layer):
    """`y = b x + (1 - b) (x exp(s(b x)) + t(b x))`, `s = c tanh(.)` with learned c; log-det `sum (1 - b) s` (RealNVP eq. 7-9)."""

    def __init__(self, mask: Tensor, net: nn.Module) -> None:
        super().__init__()
        self.register_buffer("mask", mask)  # (D,) 1: stays
        self.net = net  # (N, D) -> (N, 2 D)
        self.bound = nn.Parameter(torch.ones(len(mask)))

    def _scale_shift(self, x: Tensor) -> tuple[Tensor, Tensor]:
        raw, shift = self.net(x * self.mask).chunk(2, dim=1)                # 2 x (N, D)
        moved = 1 - self.mask
        return moved * self.bound * raw.tanh(), moved * shift

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        s, t = self._scale_shift(x)
        return x * s.exp() + t, s.sum(1)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        s, t = self._scale_shift(y)
        return (y - t) * (-s).exp(), -s.sum(1)


class ActNorm(Layer):
    """`y = e^{ls} (x + b)` for each channel; log-det `H W sum ls` (Glow, section 3.1)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.shift = nn.Parameter(torch.zeros(channels))
        self.register_buffer("initialised", torch.zeros((), dtype=torch.bool))

    def initialise(self, x: Tensor) -> None:
        """Each channel of this batch to mean 0 and standard deviation 1; a second call changes nothing."""
        if self.initialised:
            return
        values = x.transpose(0, 1).flatten(1)                               # (C, N H W)
        with torch.no_grad():
            self.shift.copy_(-values.mean(1))
            self.log_scale.copy_(-values.std(1, correction=0).clamp_min(1e-6).log())
            self.initialised.fill_(True)

    def _log_det(self, x: Tensor) -> Tensor:
        return (places(x) * self.log_scale.sum()).expand(len(x))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return along_channels(self.log_scale.exp(), x) * (x + along_channels(self.shift, x)), self._log_det(x)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return along_channels((-self.log_scale).exp(), y) * y - along_channels(self.shift, y), -self._log_det(y)


class InvertibleConv(Layer):
    """1x1 convolution with `W = P L (U + diag s)`, begun as a random rotation; log-det `H W sum log|s|` (Glow eq. 10-11).

    P and the signs of s stay as they began; L has a unit diagonal.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        rotation, _ = torch.linalg.qr(torch.randn(channels, channels, dtype=torch.float64))
        permutation, lower, upper = torch.linalg.lu(rotation)
        self.register_buffer("order", permutation.argmax(1))  # row i of W is row order[i] of L U
        self.register_buffer("sign", upper.diagonal().sign().float())
        self.lower = nn.Parameter(lower.tril(-1).float())
        self.upper = nn.Parameter(upper.triu(1).float())
        self.log_s = nn.Parameter(upper.diagonal().abs().log().float())

    def _factors(self) -> tuple[Tensor, Tensor]:
        eye = torch.eye(len(self.log_s), dtype=self.log_s.dtype, device=self.log_s.device)
        return self.lower.tril(-1) + eye, self.upper.triu(1) + torch.diag(self.sign * self.log_s.exp())

    def weight(self) -> Tensor:
        """W (C, C)."""
        lower, upper = self._factors()
        return (lower @ upper)[self.order]

    def inverse_weight(self) -> Tensor:
        """W^-1 by two triangular solves: exact for the very factors, where a general inverse would round more."""
        lower, upper = self._factors()
        eye = torch.eye(len(lower), dtype=lower.dtype, device=lower.device)
        half = torch.linalg.solve_triangular(lower, eye[self.order].T, upper=False, unitriangular=True)  # L^-1 P^T
        return torch.linalg.solve_triangular(upper, half, upper=True)

    def _log_det(self, x: Tensor) -> Tensor:
        return (places(x) * self.log_s.sum()).expand(len(x))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return mix_channels(x, self.weight()), self._log_det(x)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return mix_channels(y, self.inverse_weight()), -self._log_det(y)


class Reverse(Layer):
    """The channels in reverse order: what RealNVP does between couplings, where Glow learns a matrix (Glow, figure 3)."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.flip(1), x.new_zeros(len(x))

    inverse = forward


def mix_channels(x: Tensor, weight: Tensor) -> Tensor:
    """The matrix applied to the channels at every place."""
    return F.linear(x, weight) if x.ndim == 2 else F.conv2d(x, weight[:, :, None, None])


class HalfCoupling(Layer):
    """Glow's coupling: the first half of the channels stays, `y2 = (x2 + t(x1)) s(x1)`, `s = sigmoid(h + 2)` (Glow table 1)."""

    def __init__(self, channels: int, net: nn.Module) -> None:
        super().__init__()
        self.kept = channels // 2
        self.net = net  # kept channels -> 2 x the others

    def _scale_shift(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        raw, shift = self.net(kept).chunk(2, dim=1)
        return F.logsigmoid(raw + 2), shift

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        kept, moved = x[:, : self.kept], x[:, self.kept :]
        log_s, t = self._scale_shift(kept)
        return torch.cat([kept, (moved + t) * log_s.exp()], 1), log_s.flatten(1).sum(1)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        kept, moved = y[:, : self.kept], y[:, self.kept :]
        log_s, t = self._scale_shift(kept)
        return torch.cat([kept, moved * (-log_s).exp() - t], 1), -log_s.flatten(1).sum(1)


class Squeeze(Layer):
    """(C, H, W) -> (4C, H/2, W/2): each 2x2 block becomes four channels; nothing changes its volume."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return rearrange(x, "n c (h a) (w b) -> n (c a b) h w", a=2, b=2), x.new_zeros(len(x))

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return rearrange(y, "n (c a b) h w -> n c (h a) (w b)", a=2, b=2), y.new_zeros(len(y))


class Split(Layer):
    """Half of the channels leave for the noise, standardised by a Gaussian that the other half predicts (Glow, section 3.4).

    The channels keep their number: the second half of the result is noise already, `(x2 - m(x1)) e^{-l(x1)}`.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.kept = channels // 2
        self.predict = zero_conv(self.kept, 2 * (channels - self.kept))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        kept, leaving = x[:, : self.kept], x[:, self.kept :]
        mean, log_std = self.predict(kept).chunk(2, dim=1)
        return torch.cat([kept, (leaving - mean) * (-log_std).exp()], 1), -log_std.flatten(1).sum(1)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        kept, noise = y[:, : self.kept], y[:, self.kept :]
        mean, log_std = self.predict(kept).chunk(2, dim=1)
        return torch.cat([kept, noise * log_std.exp() + mean], 1), log_std.flatten(1).sum(1)


def zero_conv(channels: int, out: int) -> nn.Conv2d:
    """A 3x3 convolution that begins as zero."""
    conv = nn.Conv2d(channels, out, 3, padding=1)
    nn.init.zeros_(conv.weight)
    nn.init.zeros_(conv.bias)
    return conv


def conv_net(channels: int, width: int, out: int) -> nn.Sequential:
    """The net of a coupling on pictures: 3x3, 1x1, and a 3x3 that begins as zero."""
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 1), nn.ReLU(), zero_conv(width, out)
    )


MIXINGS: dict[str, Callable[[int], list[Layer]]] = {
    "conv": lambda channels: [InvertibleConv(channels)],
    "reverse": lambda _channels: [Reverse()],
    "none": lambda _channels: [],
}
"""What may stand between two couplings; with none the same half of the channels stays, through the whole level."""


@dataclass(frozen=True)
class GlowConfig:
    """`levels` squeezes of pictures (channels, size, size), `steps` Glow steps a level, coupling nets `width` wide.

    `mixing`, a name of MIXINGS, is what stands between the couplings of a level.
    """

    channels: int
    size: int
    levels: int
    steps: int
    width: int
    mixing: str = "conv"

    def __post_init__(self) -> None:
        if self.size % 2**self.levels:
            raise ValueError(f"a picture {self.size} wide cannot be squeezed {self.levels} times")
        if self.mixing not in MIXINGS:
            raise ValueError(f"mixing {self.mixing!r} is not one of {', '.join(MIXINGS)}")

    @property
    def dims(self) -> int:
        return self.channels * self.size**2


GLOW_CONFIGS = {"playworld": GlowConfig(channels=3, size=16, levels=3, steps=8, width=96)}


def realnvp(dim: int = 2, couplings: int = PLANE_COUPLINGS, width: int = PLANE_WIDTH) -> Flow:
    """RealNVP on vectors: masks of every other entry, turned about from coupling to coupling; MLPs of two hidden layers."""
    even = (torch.arange(dim) % 2 == 0).float()
    masks = [even if i % 2 == 0 else 1 - even for i in range(couplings)]
    return Flow([AffineCoupling(mask, mlp((dim, width, width, 2 * dim))) for mask in masks], log_normal)


def glow_step(channels: int, net: nn.Module, mixing: str = "conv") -> list[Layer]:
    """Actnorm, invertible 1x1 convolution (or another mixing), coupling of halves (Glow, figure 2a)."""
    return [ActNorm(channels), *MIXINGS[mixing](channels), HalfCoupling(channels, net)]


def glow_plane(dim: int = 2, steps: int = PLANE_COUPLINGS, width: int = PLANE_WIDTH) -> Flow:
    """Glow on vectors: the 1x1 convolution is a matrix, the nets are MLPs."""
    moved = dim - dim // 2
    steps_ = [glow_step(dim, mlp((dim // 2, width, width, 2 * moved))) for _ in range(steps)]
    return Flow([layer for step in steps_ for layer in step], log_normal)


def glow(config: GlowConfig) -> Flow:
    """Glow on pictures given and returned as vectors (N, C H W): a level is a squeeze, steps, and (but for the last) a split."""
    channels, size, levels = config.channels, config.size, []
    for level in range(config.levels):
        shape = (channels, size, size)
        channels, size = 4 * channels, size // 2
        layers: list[Layer] = [Squeeze()]
        for _ in range(config.steps):
            layers += glow_step(channels, conv_net(channels // 2, config.width, 2 * (channels - channels // 2)), config.mixing)
        if level + 1 < config.levels:
            layers.append(Split(channels))
        levels.append(Part(Chain(layers), shape, (channels, size, size)))
        channels = channels // 2
    return Flow(levels, log_normal)
