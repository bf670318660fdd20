"""Curves that grow while they are looked at: the axes run ahead of them, and are drawn anew only when a curve reaches their end."""

from __future__ import annotations

from typing import Any

import numpy as np
from PySide6.QtCore import Slot

from app.protocol.payloads import Curve
from app.widgets.curve_view import CurveView, drawable
from app.widgets.metric_items import settled

AHEAD, AIR = 0.25, 0.06
"""Shares of the length by which x runs ahead of a growing curve, and y leaves room above and below."""


class GrowingCurves(CurveView):
    """A `CurveView` whose view moves in steps instead of with every point."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._ends: list[tuple[float, float] | None] | None = [None, None]
        """What x and y show; None while a person has chosen that."""
        self._box = self._plot.getPlotItem().vb
        self._box.disableAutoRange()
        self._box.sigRangeChangedManually.connect(self._on_moved)

    def set_curve(self, key: str, curve: Curve, *, colour: int | None = None, dashed: bool = False) -> None:
        super().set_curve(key, curve, colour=colour, dashed=dashed)
        self._settle()

    def remove(self, key: str) -> None:
        super().remove(key)
        if self._ends is not None:
            self._ends = [None, None]
        self._settle()

    def set_log(self, x: bool = False, y: bool = False) -> None:
        super().set_log(x, y)
        self.reset_view()

    @Slot()
    def reset_view(self) -> None:
        self._ends = [None, None]
        self._settle()

    def _settle(self) -> None:
        """Move the axes on if a curve has left them."""
        known = [(x[np.isfinite(y)], y[np.isfinite(y)]) for x, y in (drawable(curve, self._log) for curve in self._curves.values())]
        known = [xy for xy in known if len(xy[0])]
        if self._ends is None or not known:
            return
        for axis, (room, show) in enumerate((((0.0, AHEAD), self._box.setXRange), ((AIR, AIR), self._box.setYRange))):
            values = [np.log10(xy[axis]) if self._log[axis] else xy[axis] for xy in known]
            low, high = min(map(np.min, values)), max(map(np.max, values))
            if high == low:
                high = low + (abs(low) * AIR or 1.0)
            ends = settled(self._ends[axis], float(low), float(high), room)
            if ends != self._ends[axis]:
                self._ends[axis] = ends
                show(*ends, padding=0)

    @Slot()
    def _on_moved(self) -> None:
        self._ends = None
