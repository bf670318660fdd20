"""Values of the derivative lab: a surface over a square, and how fast it rises from a point in every direction.

Jobs: `app/jobs/derivatives.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.protocol.payloads import Payload, _freeze


@dataclass(frozen=True, eq=False)
class Surface(Payload):
    """f over the square `centre` +- `reach`: `values` float64 (n, n) at the middles of cells, rows from low y to high y; nan for none."""

    values: np.ndarray
    centre: tuple[float, float]
    reach: float
    formula: str
    cut: tuple[float, float] | None = None
    """Heights between which a picture still tells something, if f has a pole in view; the values themselves are not cut."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", _freeze(self.values, np.float64, (None, None), "Surface.values"))


@dataclass(frozen=True, eq=False)
class Rise(Payload):
    """What happens at the point: along the direction, and all around."""

    point: tuple[float, float]
    value: float
    unit: tuple[float, float]
    directional: float | None
    """D_u f, the one-sided limit; None where there is none."""
    gradient: tuple[float, float] | None
    """None where f is not differentiable."""
    steepest: float | None
    angle: float | None
    """From the gradient to the direction, radians."""
    exact: str
    """D_u f in rational numbers and roots; empty if it has no such form."""
    slice_at: np.ndarray
    """t (T,) along the direction"""
    slice_height: np.ndarray
    """f(p + t u) (T,)"""
    turn: np.ndarray
    """Angles of directions in radians (K,)"""
    around: np.ndarray
    """D_u f in those directions (K,); nan where there is none."""
    secant_step: np.ndarray
    """h (H,), falling"""
    secant_slope: np.ndarray
    """(f(p + h u) - f(p)) / h (H,)"""
    secant_central: np.ndarray
    """(f(p + h u) - f(p - h u)) / 2h (H,)"""
    level: np.ndarray
    """(L, 2) along the level curve through the point; empty where it cannot be traced."""
    worked: tuple[str, ...]
    """The solution line by line."""

    def __post_init__(self) -> None:
        for name in ("slice_at", "slice_height", "turn", "around", "secant_step", "secant_slope", "secant_central"):
            object.__setattr__(self, name, _freeze(getattr(self, name), np.float64, (None,), f"Rise.{name}"))
        object.__setattr__(self, "level", _freeze(self.level, np.float64, (None, 2), "Rise.level"))
