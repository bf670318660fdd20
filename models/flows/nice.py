"""NICE (Dinh et al., arXiv 1410.8516): additive couplings, which keep every volume, and one diagonal scaling.

`y1 = x1`, `y2 = x2 + m(x1)` with the roles swapped from layer to layer; at the end `h_i = e^{a_i} z_i`. All of log|det| is `sum a`.
A direction with a large a is squeezed before it meets the prior: the data vary little along it, so `e^{-a}` is a spectrum.
Read next: `coupling.py` for couplings that scale, `tiles.py` for pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.flows.chain import Flow, Layer, log_logistic, log_normal, mlp

COUPLINGS = 4  # fewer than three leave some entries unmixed (section 3.2)
PRIORS: dict[str, Callable[[Tensor], Tensor]] = {"normal": log_normal, "logistic": log_logistic}


class AdditiveCoupling(Layer):
    """`y2 = x2 + m(x1)`; entries of the parity `kept` are x1 and stay. Determinant 1 (eq. 4)."""

    def __init__(self, kept: int, net: nn.Module) -> None:
        super().__init__()
        self.kept, self.net = kept, net

    def _shifted(self, x: Tensor, sign: float) -> tuple[Tensor, Tensor]:
        parts = [x[:, 0::2], x[:, 1::2]]
        parts[1 - self.kept] = parts[1 - self.kept] + sign * self.net(parts[self.kept])
        return torch.stack(parts, 2).flatten(1), x.new_zeros(len(x))        # even and odd entries take turns again

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._shifted(x, 1.0)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return self._shifted(y, -1.0)


class Scaling(Layer):
    """`h_i = e^{a_i} z_i`; log-det `sum a` (section 3.3).

    A first batch, if one is shown, sets a to unit spread, once; and what is learned is a / GAIN. Neither is in the paper: Adam moves every
    weight by about its rate, with which a would need thousands of updates to follow the couplings down to the small spread of pixels.
    """

    GAIN = 10.0

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.zeros(dim))
        self.register_buffer("initialised", torch.zeros((), dtype=torch.bool))

    @property
    def log_scale(self) -> Tensor:
        """a (D,)."""
        return self.GAIN * self.raw

    def initialise(self, x: Tensor) -> None:
        """Each direction of this batch to standard deviation 1; a second call changes nothing."""
        if self.initialised:
            return
        with torch.no_grad():
            self.raw.copy_(-x.std(0, correction=0).clamp_min(1e-3).log() / self.GAIN)
            self.initialised.fill_(True)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x * self.log_scale.exp(), self.log_scale.sum().expand(len(x))

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return y * (-self.log_scale).exp(), (-self.log_scale.sum()).expand(len(y))


@dataclass(frozen=True)
class NiceConfig:
    """Vectors of an even number `dim` of entries; nets with `depth` hidden layers of `width`; a prior of PRIORS."""

    dim: int
    couplings: int
    width: int
    depth: int
    prior: str

    def __post_init__(self) -> None:
        if self.dim % 2:
            raise ValueError(f"even and odd entries must be equally many, but there are {self.dim}")
        if self.prior not in PRIORS:
            raise ValueError(f"prior {self.prior!r} is not one of {', '.join(PRIORS)}")


NICE_CONFIGS = {
    "plane": NiceConfig(dim=2, couplings=10, width=64, depth=2, prior="normal"),  # what two moons take
    "plane-2": NiceConfig(dim=2, couplings=2, width=64, depth=2, prior="normal"),  # too few
    "playworld": NiceConfig(dim=256, couplings=COUPLINGS, width=256, depth=3, prior="logistic"),  # grey, 16 x 16
}


def nice(config: NiceConfig) -> Flow:
    """The couplings with ReLU nets, then the scaling."""
    half, widths = config.dim // 2, [config.width] * config.depth
    couplings = [AdditiveCoupling(i % 2, mlp((half, *widths, half), nn.ReLU)) for i in range(config.couplings)]
    return Flow([*couplings, Scaling(config.dim)], PRIORS[config.prior])


def spectrum(flow: Flow) -> Tensor:
    """`e^{-a}` of all directions (D,), largest first: how widely the data vary along each."""
    return (-flow.layers[-1].log_scale.detach()).exp().sort(descending=True).values
