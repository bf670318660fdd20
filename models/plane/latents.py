"""Latents of deterministic walks: a row of them between two, and those from which given points come.

A walk without noise of its own is a map from noise to data. Two latents are joined along the sphere (Shoemake 1985; for DDIM Song et al.
2021, arXiv 2010.02502, appendix D.5): in many dimensions a straight line would leave the shell in which noise lies, in the plane it only
cuts through the middle. The way back ("inversion") finds the latents of any points; walking on from them returns the points as nearly as
the steps are short.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from models.plane.errors import PlaneError
from models.plane.method import Knobs, Method

FAR = 100.0
"""Points further out than this, in units of the data, are no data."""


def slerp(a: Tensor, b: Tensor, shares: Tensor) -> Tensor:
    """`sin((1 - u) w) / sin w a + sin(u w) / sin w b` (n, D) at shares u (n,), w the angle between a and b (D,); opposite ones, where it
    does not say which way round, and parallel ones are joined by a straight line."""
    size = a.norm() * b.norm()
    cosine = float((a @ b) / size) if size > 0 else 1.0
    angle = math.acos(max(-1.0, min(1.0, cosine)))
    u = shares[:, None]
    if math.sin(angle) < 1e-4:
        return (1 - u) * a + u * b
    return (((1 - u) * angle).sin() * a + (u * angle).sin() * b) / math.sin(angle)


def inverted(row: Method, net: nn.Module, x: Tensor, *, solver: str, evaluations: int, knobs: Knobs) -> Tensor:
    """Starts (N, 2), in units of the noise that `row.walk` takes, from which a deterministic walk leads to the points x (N, 2), nearly."""
    if float(x.abs().max()) > FAR:
        raise PlaneError(f"A point lies at {float(x.abs().max()):.3g}, too far from the data.", hint=f"Keep within {FAR:g} of the middle.")
    options = {"solver": solver, "evaluations": evaluations, "generator": torch.Generator(), "knobs": knobs}
    *_, end = row.forward(net, x, **options)
    unit = float(next(row.walk(net, torch.ones(1, 2), **options)).x[0, 0])  # what a walk makes of noise of size 1
    return end.x / unit
