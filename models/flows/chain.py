"""A normalizing flow as a chain of invertible layers (Dinh et al., arXiv 1605.08803, eq. 2-3).

`log p(x) = log p_Z(f(x)) + sum_k log|det df_k|`: forward goes from data to noise, inverse from noise to data. Every layer answers both
ways with the image and the log-determinant of that very way, (N,) in nats, so inverse's is forward's with the sign turned.
Read next: `coupling.py`, `nice.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LOG_2PI = math.log(2 * math.pi)


class Layer(nn.Module):
    """An invertible map of (N, ...) to (N, ...); `forward` and `inverse` return (image, log|det| (N,))."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def initialise(self, x: Tensor) -> None:
        """Set what depends on data from a first batch; most layers have nothing to set."""


@dataclass(frozen=True, kw_only=True)
class ChainStep:
    """The batch between two layers."""

    i: int  # layers behind it
    n: int
    layer: str  # the one it came out of, in words
    x: Tensor
    log_det: Tensor  # (N,) of all layers behind it
    layer_log_det: Tensor  # (N,) of the last one
    last: bool


class Chain(Layer):
    """Layers one after another: data go in at the first, noise comes out of the last."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        log_det = x.new_zeros(len(x))
        for layer in self.layers:
            x, change = layer(x)
            log_det = log_det + change
        return x, log_det

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        log_det = y.new_zeros(len(y))
        for layer in reversed(self.layers):
            y, change = layer.inverse(y)
            log_det = log_det + change
        return y, log_det

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Let every layer see the first batch (N, ...) as the layers before it leave it."""
        for layer in self.layers:
            layer.initialise(x)
            x, _ = layer(x)


class Part(Layer):
    """A layer of pictures at work on the first entries of a vector (N, D), read as (N, *shape) and left as (N, *out); the rest is noise.

    So a multi-scale flow, whose levels hand half of their channels to the noise, is a plain chain of maps of vectors.
    """

    def __init__(self, layer: Layer, shape: tuple[int, ...], out: tuple[int, ...]) -> None:
        super().__init__()
        self.layer, self.shape, self.out = layer, shape, out
        self.size = math.prod(shape)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y, log_det = self.layer(x[:, : self.size].unflatten(1, self.shape))
        return torch.cat([y.flatten(1), x[:, self.size :]], 1), log_det

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        x, log_det = self.layer.inverse(y[:, : self.size].unflatten(1, self.out))
        return torch.cat([x.flatten(1), y[:, self.size :]], 1), log_det

    def initialise(self, x: Tensor) -> None:
        self.layer.initialise(x[:, : self.size].unflatten(1, self.shape))


class Flow(Chain):
    """A chain with a law for the noise that comes out."""

    def __init__(self, layers: Sequence[Layer], log_prior: Callable[[Tensor], Tensor]) -> None:
        super().__init__(layers)
        self.log_prior = log_prior

    def log_density(self, x: Tensor) -> Tensor:
        """log p(x) in nats, (N,), exact."""
        z, log_det = self(x)
        return self.log_prior(z) + log_det


def walk(flow: Chain, x: Tensor, *, inverse: bool = False) -> Iterator[ChainStep]:
    """The batch before the first layer and after each; with `inverse` from noise to data, last layer first."""
    layers = list(reversed(flow.layers)) if inverse else list(flow.layers)
    log_det = x.new_zeros(len(x))
    yield ChainStep(i=0, n=len(layers), layer="noise" if inverse else "data", x=x, log_det=log_det, layer_log_det=log_det, last=False)
    for i, layer in enumerate(layers):
        x, change = layer.inverse(x) if inverse else layer(x)
        log_det = log_det + change
        name = type(layer).__name__
        yield ChainStep(i=i + 1, n=len(layers), layer=name, x=x, log_det=log_det, layer_log_det=change, last=i + 1 == len(layers))


def inverse_error(flow: Layer, x: Tensor) -> float:
    """The largest |f^-1(f(x)) - x| over the batch: what rounding costs."""
    with torch.no_grad():
        return float((flow.inverse(flow(x)[0])[0] - x).abs().max())


def log_normal(z: Tensor) -> Tensor:
    """log N(z; 0, I), summed over all but the first axis."""
    return -0.5 * (z.square() + LOG_2PI).flatten(1).sum(1)


def log_logistic(z: Tensor) -> Tensor:
    """Log density of the standard logistic law, `-softplus(z) - softplus(-z)`, summed over all but the first axis."""
    return -(F.softplus(z) + F.softplus(-z)).flatten(1).sum(1)


def logistic(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Draws of the standard logistic law: log u - log(1 - u)."""
    u = torch.rand(tuple(shape), generator=generator, dtype=torch.float64).clamp(1e-12, 1 - 1e-12)
    return torch.logit(u).float()


def seeded(seed: int, build: Callable[[], nn.Module]) -> nn.Module:
    """What `build` makes when its draws come from that seed; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def mlp(widths: Sequence[int], activation: Callable[[], nn.Module] = nn.SiLU, *, zero_last: bool = True) -> nn.Sequential:
    """Linear layers of these widths with an activation between; the last one zero, so that a coupling begins as the identity."""
    layers: list[nn.Module] = []
    for a, b in zip(widths[:-1], widths[1:], strict=True):
        layers += [nn.Linear(a, b), activation()]
    net = nn.Sequential(*layers[:-1])
    if zero_last:
        nn.init.zeros_(net[-1].weight)
        nn.init.zeros_(net[-1].bias)
    return net
