"""TRPO's trust region in the plane of natural and plain gradient: gain as a map, the true and the quadratic boundary, the step taken.

Both axes count in steps of the same quadratic KL: the trust region is a circle, and who goes further up within it gains more.
"""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QImage, QPainter, QPen

from app import theme
from app.protocol.rl import Landscape, LineSearchView
from app.widgets.agents.strokes import arrow, disc
from app.widgets.chart_box import ChartBox
from app.widgets.chart_frame import ChartFrame, paint_scale
from app.widgets.colour_scale import ColourScale, figure

SCALE = 18
WIDEST = 1.6
"""Width over height of the map, at most: a circle shall be known as one."""
ROUND = np.linspace(0, 2 * np.pi, 97)


class LandscapeChart(ChartBox):
    """One update, seen from above."""

    def __init__(self, parent=None) -> None:
        super().__init__("Trust region", "The plane of both gradients appears here with TRPO's next update.", parent)
        self._view: LineSearchView | None = None
        self._picture, self._scale = QImage(), ColourScale()
        self._edge: list[np.ndarray] = []
        self.setToolTip(
            "Colours: gain of the surrogate (between the 17 x 17 points measured, interpolated). Solid line: where the true KL is delta; "
            "dotted circle: where its quadratic model is. The arrows are the natural and the plain gradient with the same KL allowed; "
            "the disc is the step that was taken."
        )

    def show_view(self, view: LineSearchView | None) -> None:
        """Another update; one without a landscape shows nothing."""
        self._view = view
        self.renew()

    @property
    def _plane(self) -> Landscape:
        return self._view.landscape

    def has_view(self) -> bool:
        return self._view is not None and self._view.landscape is not None

    def renew(self) -> None:
        if self.has_view():
            self._scale = ColourScale.spanning(self._plane.gain, signed=True)
            self._picture = self._scale.picture(np.asarray(self._plane.gain, float)[::-1])
            self._edge = boundary(self._plane, self._view.delta)
        super().renew()

    def caption(self) -> str:
        plane = self._plane
        middle, one = len(plane.at) // 2, int(np.abs(plane.at - 1).argmin())
        gains = f"at the same KL the natural step gains {figure(float(plane.gain[middle, one]))}, the plain one {figure(plane.plain_gain)}"
        return f"{gains}; solid: KL = {self._view.delta:g}, dotted: its quadratic model; after {self._view.timesteps:,} steps"

    def frame(self) -> ChartFrame:
        """The axes, of nearly the same scale."""
        ends = float(self._plane.at[0]), float(self._plane.at[-1])
        frame = ChartFrame.within(self.room().adjusted(0, SCALE, 0, 0), ends, ends)
        high = frame.place.height()
        place = QRectF(0, 0, min(frame.place.width(), WIDEST * high), min(high, WIDEST * frame.place.width()))
        place.moveCenter(frame.place.center())
        return ChartFrame(place, ends, ends)

    def readout(self, at: QPointF) -> str:
        place = self.frame().under(at)
        if place is None:
            return ""
        plane = self._plane
        column, row = (int(np.abs(plane.at - part).argmin()) for part in place)
        where = f"({plane.at[column]:.1f}, {plane.at[row]:.1f})".replace("-", "−")
        return f"{where}: gain {figure(float(plane.gain[row, column]))}, KL {figure(float(plane.kl[row, column]))}"

    def paint_chart(self, painter: QPainter, room: QRectF) -> None:
        view, plane, frame = self._view, self._plane, self.frame()
        paint_scale(painter, self._scale, 8, room.top() + 1, "gain (diverging)", width=60)
        dx, dy = (side / (len(plane.at) - 1) / 2 for side in (frame.place.width(), frame.place.height()))
        painter.save()
        painter.setClipRect(frame.place)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.drawImage(frame.place.adjusted(-dx, -dy, dx, dy), self._picture)
        painter.setPen(QPen(theme.colour("text"), 2))
        for line in self._edge:
            painter.drawPolyline(frame.polygon(line[:, 0], line[:, 1]))
        painter.setPen(QPen(theme.colour("text"), 1.5, Qt.PenStyle.DotLine))
        painter.drawPolyline(frame.polygon(np.cos(ROUND), np.sin(ROUND)))
        start = frame.at(0, 0)
        arrow(painter, start, frame.at(*plane.plain), 2, theme.data_colour(2))
        arrow(painter, start, frame.at(1, 0), 2, theme.colour("text"))
        if view.accepted >= 0:
            disc(painter, frame.at(view.fractions[view.accepted], 0), 5, theme.colour("ok"), theme.colour("surface"))
        painter.setFont(theme.font(theme.LEAST, bold=True))
        painter.setPen(theme.colour("text"))
        for (x, y), words in (((1.0, 0.0), "natural"), (plane.plain, "plain")):
            wide, tip = painter.fontMetrics().horizontalAdvance(words), frame.at(x, y)
            left = min(max(tip.x() - wide / 2, frame.place.left() + 3), frame.place.right() - wide - 3)
            painter.drawText(QPointF(left, max(tip.y() + (15 if y <= 0 else -6), frame.place.top() + 12)), words)
        painter.restore()
        frame.paint_axes(painter, "along the natural gradient (full steps)", "across")


def boundary(plane: Landscape, delta: float) -> list[np.ndarray]:
    """Lines on which the true KL is delta, (k, 2) in the plane's units."""
    kl = np.nan_to_num(np.asarray(plane.kl, float), nan=1e9, posinf=1e9)
    lines = pg.functions.isocurve(kl.T, delta, connected=True)
    steps = np.arange(len(plane.at))
    found = []
    for line in lines:
        at = np.asarray(line, float) - 0.5  # pyqtgraph counts from the corners of cells
        found.append(np.stack((np.interp(at[:, 0], steps, plane.at), np.interp(at[:, 1], steps, plane.at)), 1))
    return found
