"""The marker of a `MetricPlot` that is dragged to a moment of the run, and the moments it snaps to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyqtgraph as pg

from app import theme
from app.widgets.metric_items import Dots, Still

FOOT = 0.012
"""Share of the height at which the ticks of the moments stand."""


class Marker:
    """A line across one plot, with the place it stands at written on it."""

    def __init__(self, plot: pg.PlotWidget, *, small: bool) -> None:
        self._plot, self._small, self._moments = plot, small, np.empty(0)
        self.line = Still(angle=90, movable=not small, label="" if small else "{value:,.0f}")
        self.ticks = Dots(4)
        for item in (self.ticks, self.line):
            plot.addItem(item, ignoreBounds=True)
        self.line.hide()

    @property
    def wanted(self) -> bool:
        """Is there something to be moved, or a moment to move to?"""
        return self.line.isVisible() or len(self._moments) > 0

    def set_moments(self, xs: Sequence[float]) -> bool:
        """Places to snap to; returns whether they are others."""
        moments = np.sort(np.asarray(xs, float))
        if np.array_equal(moments, self._moments):
            return False
        self._moments = moments
        return True

    def place(self, x: float | None) -> None:
        """Stand at x, or nowhere."""
        self.line.setVisible(x is not None)
        if x is not None:
            self.line.setValue(x)

    def at(self) -> float | None:
        """Where it stands."""
        return float(self.line.value()) if self.line.isVisible() else None

    def nearest(self, x: float) -> float:
        """The moment nearest to x; x itself if there are none."""
        return float(self._moments[np.argmin(np.abs(self._moments - x))]) if len(self._moments) else x

    def beside(self, step: int, stride: float) -> float:
        """The moment before (-1) or after (1) the one it stands at; without moments, a stride further."""
        at = float(self.line.value())
        if not len(self._moments):
            return at + step * stride
        number = int(np.argmin(np.abs(self._moments - at))) + step
        return float(self._moments[min(max(number, 0), len(self._moments) - 1)])

    def draw(self, x0: float, x1: float, ends: tuple[float, float]) -> None:
        """The ticks of the moments in sight, at the foot of the plot."""
        seen = self._moments[(self._moments >= x0) & (self._moments <= x1)]
        height = ends[0] + (ends[1] - ends[0]) * FOOT
        self.ticks.show_points(seen, np.full(len(seen), height), theme.colour("accent", 170), 3.5 * self._plot.devicePixelRatioF())

    def restyle(self) -> None:
        """Take the colours of the theme in use."""
        tokens = theme.tokens()
        self.line.setPen(pg.mkPen(tokens.text, width=2))
        self.line.setHoverPen(pg.mkPen(tokens.text, width=4))
        if not self._small:
            self.line.label.setColor(tokens.on_accent)
            self.line.label.fill = pg.mkBrush(tokens.accent)
            self.line.label.setFont(theme.font(theme.LEAST, bold=True))
