"""Measures of the plane lab: how far two clouds are apart, how straight a flow is, with what order an error falls."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

PROJECTIONS = 256


@torch.no_grad()
def sliced_wasserstein(x: Tensor, y: Tensor, projections: int = PROJECTIONS, seed: int = 0) -> float:
    """Wasserstein-1 distance of x (N, D) and y (M, D) along one direction, averaged over `projections` directions.

    In the plane the directions are evenly spaced over the half circle, from a start that the seed draws. On a line the distance is
    `int_0^1 |F^-1 - G^-1|`, exact for empirical laws of equal or of different sizes (Bonneel et al. 2015; Kolouri et al. 2019).
    """
    directions = _directions(x.shape[1], projections, seed).to(x)               # (D, P)
    a, b = (x @ directions).sort(0).values, (y.to(x) @ directions).sort(0).values
    if len(a) == len(b):
        return float((a - b).abs().mean())
    i, j = torch.arange(1, len(a) + 1, dtype=torch.float64) / len(a), torch.arange(1, len(b) + 1, dtype=torch.float64) / len(b)
    knots = torch.cat([i, j]).sort().values
    weight = torch.diff(knots, prepend=knots.new_zeros(1))
    middle = knots - weight / 2
    here, there = (middle * len(a)).long().clamp(max=len(a) - 1), (middle * len(b)).long().clamp(max=len(b) - 1)
    return float((weight.to(x)[:, None] * (a[here] - b[there]).abs()).sum(0).mean())


@torch.no_grad()
def noised_density(x: Tensor, m: float, s: float, side: int, reach: float) -> Tensor:
    """Density of `m x + s eps` (side, side) on a square of half side `reach`, rows from low y to high y, values at the middles of cells.

    The points x (N, 2) are counted in cells and the counts blurred, by s or by one cell at least.
    """
    cell, spread = 2 * reach / side, max(s, 2 * reach / side)
    margin = math.ceil(3 * spread / cell)                                       # cells beyond the square that still blur into it
    wide = side + 2 * margin
    at = ((m * x.double() + reach) / cell + margin).floor().long()               # (N, 2)
    inside = ((at >= 0) & (at < wide)).all(1)
    count = torch.bincount(at[inside, 1] * wide + at[inside, 0], minlength=wide * wide).reshape(wide, wide).double()
    places = torch.arange(wide, dtype=torch.float64)
    apart = places[None] - places[margin : wide - margin, None]
    blur = torch.exp(-0.5 * (apart * cell / spread) ** 2) / (spread * math.sqrt(2 * math.pi))   # (side, wide)
    return blur @ count @ blur.T / max(1, len(x))


def _directions(dim: int, count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    if dim == 2:
        angle = math.pi * (torch.arange(count, dtype=torch.float64) + torch.rand(1, generator=generator, dtype=torch.float64)) / count
        return torch.stack([angle.cos(), angle.sin()])
    return torch.nn.functional.normalize(torch.randn(dim, count, generator=generator, dtype=torch.float64), dim=0)


def slope(counts: Sequence[float], errors: Sequence[float]) -> float:
    """Order of convergence: minus the slope of log error over log count, by least squares; nan for fewer than two positive errors."""
    pairs = [(math.log(n), math.log(e)) for n, e in zip(counts, errors, strict=True) if e > 0 and math.isfinite(e)]
    if len(pairs) < 2:
        return math.nan
    a, b = torch.tensor(pairs, dtype=torch.float64).unbind(1)
    a = a - a.mean()
    return -float((a * b).sum() / (a * a).sum())


@torch.no_grad()
def straightness(velocity: Callable[[Tensor, float], Tensor], path: Sequence[tuple[float, Tensor]]) -> float:
    """`S = int_0^1 E |(Z_1 - Z_0) - v(Z_t, t)|^2 dt` over the points of a solved path, by the trapezoid rule; 0: one Euler step is exact.

    Liu et al. 2022 (arXiv 2209.03003), eq. 4. `path` holds (t, Z_t (N, D)) from t = 0 to 1, as a solver went.
    """
    chord = path[-1][1] - path[0][1]
    gap = torch.tensor([float((chord - velocity(z, t)).square().sum(1).mean()) for t, z in path], dtype=torch.float64)
    return float(torch.trapezoid(gap, torch.tensor([t for t, _ in path], dtype=torch.float64)))
