"""The ellipse of one level of f, whose half axes can be dragged: their lengths are the eigenvalues, their direction is the angle.

Along the axis of eigenvalue l, f rises above its lowest point by `l r^2 / 2`; on the level c the half axis is `r = sqrt(2 c / |l|)`. Of a
negative eigenvalue the same length is shown, with f falling.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from app.protocol.quadratic import Landscape

HANDLES = ("λ₁", "λ₂")
LONG, CUT = 0.8, 0.95
"""The longer half axis when a drag begins, and where it is cut, as shares of the square's half side."""
LEAST, MOST = 0.1, 100.0
"""Sizes of an eigenvalue that can be dragged."""


def level_of(eigenvalues: Sequence[float], reach: float) -> float:
    """The height c above the lowest point at which the longer half axis is well in sight."""
    return 0.5 * max(min(map(abs, eigenvalues)), LEAST) * (LONG * reach) ** 2


def ends(eigenvalues: Sequence[float], angle: float, centre: Sequence[float], level: float, reach: float) -> dict[str, tuple[float, float]]:
    """Where the handles stand, by name; `angle` of the first axis in degrees."""
    places = {}
    for k, (name, value) in enumerate(zip(HANDLES, eigenvalues)):
        half = min(math.sqrt(2 * level / max(abs(value), 1e-12)), CUT * reach)
        turn = math.radians(angle + 90 * k)
        places[name] = (centre[0] + half * math.cos(turn), centre[1] + half * math.sin(turn))
    return places


def read(name: str, x: float, y: float, centre: Sequence[float], level: float) -> tuple[float, float]:
    """The size of the eigenvalue and the angle of the first axis, within ±90 degrees, that a handle dragged to x, y asks for."""
    dx, dy = x - centre[0], y - centre[1]
    size = 2 * level / max(dx * dx + dy * dy, 1e-12)
    angle = math.degrees(math.atan2(dy, dx)) - 90 * HANDLES.index(name)
    return min(max(size, LEAST), MOST), (angle + 90) % 180 - 90


def downhill(land: Landscape) -> list[np.ndarray]:
    """The ways without end (2, 2) from the middle to the edge along which f of a landscape without minimum does not rise."""
    side, middle = len(land.values), np.array(land.centre)
    ways = []
    for sign in (1, -1):
        step = sign * np.array(land.axes[0]) / np.abs(land.axes[0]).max()
        column, row = np.round((step + 1) / 2 * (side - 1)).astype(int)
        if land.values[row, column] <= land.level + 1e-9 * np.abs(land.values).max():
            ways.append(np.stack([middle, middle + land.reach * step]))
    return ways
