"""From the units of an environment to pixels: one scale for both axes, y upward there and downward here."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRectF


@dataclass(frozen=True)
class Camera:
    """`scale` in pixels per unit; `origin`, the pixel of (0, 0)."""

    scale: float
    origin: QPointF

    @classmethod
    def onto(cls, window: tuple[float, float, float, float], place: QRectF) -> Camera:
        """Show all of `window` (left, bottom, right, top) as large as `place` allows, in its middle."""
        left, bottom, right, top = window
        scale = max(min(place.width() / (right - left), place.height() / (top - bottom)), 1e-6)
        middle = place.center()
        return cls(scale, QPointF(middle.x() - scale * (left + right) / 2, middle.y() + scale * (bottom + top) / 2))

    def at(self, x: float, y: float) -> QPointF:
        """The pixel of a point."""
        return QPointF(self.origin.x() + self.scale * x, self.origin.y() - self.scale * y)

    def width(self, units: float, least: float = 1.0) -> float:
        """A length in pixels, at least so many."""
        return max(units * self.scale, least)
