"""DDPG's exploration: the noise that was added to the actor's actions, over time, with its spread about 0."""

from __future__ import annotations

import math

import numpy as np
from PySide6.QtCore import QPointF, QRectF
from PySide6.QtGui import QPainter, QPen

from app import theme
from app.protocol.rl import NoiseView
from app.widgets.agents.portraits import signed
from app.widgets.chart_box import ChartBox
from app.widgets.chart_frame import ChartFrame


class NoiseChart(ChartBox):
    """The last stretch of noise of the first environment."""

    def __init__(self, parent=None) -> None:
        super().__init__("Exploration noise", "The noise that DDPG adds to its actions appears here once it acts.", parent)
        self._view: NoiseView | None = None
        self.setToolTip(
            "In units where actions span −1 to 1. White noise jumps; Ornstein-Uhlenbeck noise wanders, and pushes one way for a while. "
            "The band is ± its root mean square over this stretch."
        )

    def show_view(self, view: NoiseView | None) -> None:
        """Another stretch."""
        self._view = view
        self.renew()

    def has_view(self) -> bool:
        return self._view is not None and self._view.history.size > 0

    def spread(self) -> float:
        """Root mean square over the stretch: the spread about 0, where noise should be centred."""
        return float(np.sqrt(np.mean(np.square(self._view.history))))

    def caption(self) -> str:
        view = self._view
        kind = "white" if view.theta == 0 else f"Ornstein-Uhlenbeck, theta {view.theta:g}"
        lag = "" if math.isnan(view.target_lag) else f"; target network behind by {view.target_lag:.2%}"
        return f"{kind}, sigma {view.sigma:g}; band: ± rms of these {len(view.history)} steps, {self.spread():.3f}{lag}"

    def frame(self) -> ChartFrame:
        """Steps before now below, noise at the side, 0 in the middle."""
        view = self._view
        top = max(float(np.abs(view.history[np.isfinite(view.history)]).max(initial=0.0)), 2 * view.sigma, 0.05) * 1.1
        return ChartFrame.within(self.room(), (1.0 - len(view.history), 0.0), (-top, top))

    def readout(self, at: QPointF) -> str:
        place = self.frame().under(at)
        if place is None:
            return ""
        back = min(max(round(-place[0]), 0), len(self._view.history) - 1)
        values = ", ".join(f"{value:+.3f}" for value in self._view.history[len(self._view.history) - 1 - back])
        return signed(f"{back} steps ago: {values}")

    def paint_chart(self, painter: QPainter, room: QRectF) -> None:
        view, frame = self._view, self.frame()
        rms = self.spread()
        painter.fillRect(QRectF(frame.at(frame.x[0], rms), frame.at(frame.x[1], -rms)), theme.colour("pending", 40))
        frame.paint_axes(painter, "environment steps before now", "noise", grid=True)
        painter.setPen(QPen(theme.colour("border"), 1))
        painter.drawLine(frame.at(frame.x[0], 0), frame.at(frame.x[1], 0))
        steps = np.arange(1.0 - len(view.history), 1.0)
        painter.setClipRect(frame.place)
        for column in range(view.history.shape[1]):
            painter.setPen(QPen(theme.data_colour(column), 1.3))
            painter.drawPolyline(frame.polygon(steps, view.history[:, column]))
        painter.setClipping(False)
