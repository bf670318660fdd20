"""Values of the quadratic lab: the landscape `f(x) = x'Ax/2 - b'x` over a square, and the paths of descents on it.

Jobs: `app/jobs/quadratic.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.protocol.payloads import Payload, _freeze


@dataclass(frozen=True, eq=False)
class Landscape(Payload):
    """f over a square in the plane: `values` float64 (n, n), rows from the bottom up, corners included, `centre` +- `reach` both ways.

    With more than two variables the square spans, around the minimum, the axes of the smallest and the largest eigenvalue.
    """

    values: np.ndarray
    centre: tuple[float, float]
    reach: float
    level: float
    """f at the minimum, or at the saddle; what contours count from."""
    definite: bool
    axes: tuple[tuple[float, float], ...]
    """Two unit vectors: along the smallest (the way f falls, if A is singular) and the largest eigenvalue."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", _freeze(self.values, np.float64, (None, None), "Landscape.values"))


@dataclass(frozen=True, eq=False)
class DescentPath(Payload):
    """A descent from start to end, T records: `points` float64 (T, 2) in the landscape's plane, and figures for each."""

    points: np.ndarray
    excess: np.ndarray
    """f - f*, (T,)"""
    residual: np.ndarray
    """|b - Ax|, (T,)"""
    bound: np.ndarray
    """What theory promises f - f* to stay below, (T,); nan where it promises nothing."""
    name: str
    title: str
    says: tuple[str, ...]
    """Each step's formula with its numbers; empty at the start."""
    notice: str = ""
    """Why it ended early, if it ran away."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", _freeze(self.points, np.float64, (None, 2), "DescentPath.points"))
        for name in ("excess", "residual", "bound"):
            object.__setattr__(self, name, _freeze(getattr(self, name), np.float64, (len(self.points),), f"DescentPath.{name}"))
