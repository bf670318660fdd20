"""The plane's one network: an MLP of three hidden layers of 128 that reads a point, a time and, if wanted, a label.

The first layer is a sum, `W_x x + W_t features(t) + W_y[label] + b`, so that one time for all points costs one row. Times are about
0 .. 1 or a few units long (a method with another clock scales it first); their features are t itself and sines and cosines whose
periods fall from 4 to 1/8. Parameters: about 38,000.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

FREQUENCIES = 6
"""Periods 4, 2, 1, 1/2, 1/4, 1/8."""


class PlaneNet(nn.Module):
    """(N, dim) at times (N,) or one number -> (N, out). With `classes`, labels run 0 .. classes - 1 and `null` means no label."""

    def __init__(self, seed: int, *, dim: int = 2, out: int = 2, width: int = 128, depth: int = 3, classes: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.point = nn.Linear(dim, width)
            self.time = nn.Linear(1 + 2 * FREQUENCIES, width, bias=False)
            self.label = nn.Embedding(classes + 1, width) if classes else None
            self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(depth - 1))
            self.out = nn.Linear(width, out)
        self.null = classes
        self.register_buffer("turns", 2 * math.pi * 2.0 ** torch.arange(-2, FREQUENCIES - 2), persistent=True)

    def forward(self, x: Tensor, time: Tensor | float, label: Tensor | int | None = None) -> Tensor:
        """The answer (N, out) at points x; `label` (N,), one for all, or None for `null`."""
        time = torch.as_tensor(time, dtype=x.dtype, device=x.device).reshape(-1, 1)                 # (N or 1, 1)
        angle = time * self.turns.to(x.dtype)
        features = torch.cat([time, angle.sin(), angle.cos()], 1)
        h = self.point(x) + self.time(features)                                                     # (N, width)
        if self.label is not None:
            h = h + self.label(torch.as_tensor(self.null if label is None else label, device=x.device))
        h = nn.functional.silu(h)
        for layer in self.hidden:
            h = nn.functional.silu(layer(h))
        return self.out(h)
