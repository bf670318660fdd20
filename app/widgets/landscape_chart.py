"""TRPO's trust region in the plane of natural and plain gradient: gain as a map, the true and the quadratic boundary, the step taken."""

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
ELONGATED = 2.5
"""Ratio of the sides from which the plane fills the chart, with a scale of its own on each axis."""


class LandscapeChart(ChartBox):
    """One update, seen from above."""

    def __init__(self, parent=None) -> None:
        super().__init__("Trust region", "The plane of both gradients appears here with TRPO's next update.", parent)
        self._view: LineSearchView | None = None
        self._picture, self._scale = QImage(), ColourScale()
        self._edge: list[np.ndarray] = []
        self.setToolTip(
            "Colours: gain of the surrogate. Solid line: where the true KL is delta; dotted: where its quadratic model is. The natural "
            "gradient leads along x, the plain one where its arrow points; the disc is the step that was taken."
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
        return f"solid: KL = delta = {self._view.delta:g}; dotted: its quadratic model; after {self._view.timesteps:,} steps"

    def frame(self) -> ChartFrame:
        """The axes, of the same scale where the plane is about as high as it is wide."""
        plane = self._plane
        x, y = ((float(axis[0]), float(axis[-1])) for axis in (plane.x, plane.y))
        room = self.room().adjusted(0, SCALE, 0, 0)
        frame = ChartFrame.within(room, x, y)
        if not 1 / ELONGATED < (x[1] - x[0]) / (y[1] - y[0]) < ELONGATED:
            return frame
        side = min(frame.place.width() / (x[1] - x[0]), frame.place.height() / (y[1] - y[0]))
        place = QRectF(0, 0, side * (x[1] - x[0]), side * (y[1] - y[0]))
        place.moveCenter(frame.place.center())
        return ChartFrame(place, x, y)

    def _plain(self) -> tuple[float, float]:
        """Where the arrow of the plain gradient ends: its direction tells, so it is as long as the plane has room for."""
        (x, y), plane = self._plane.gradient, self._plane
        room = [abs(float(axis[-1] if part > 0 else axis[0]) / part) for axis, part in ((plane.x, x), (plane.y, y)) if abs(part) > 1e-6]
        length = min(1.0, *(0.85 * reach for reach in room))
        return x * length, y * length

    def readout(self, at: QPointF) -> str:
        place = self.frame().under(at)
        if place is None:
            return ""
        plane = self._plane
        column, row = int(np.abs(plane.x - place[0]).argmin()), int(np.abs(plane.y - place[1]).argmin())
        where = f"({plane.x[column]:.2f}, {plane.y[row]:.2f})".replace("-", "−")
        return f"{where}: gain {figure(float(plane.gain[row, column]))}, KL {figure(float(plane.kl[row, column]))}"

    def paint_chart(self, painter: QPainter, room: QRectF) -> None:
        view, plane, frame = self._view, self._plane, self.frame()
        paint_scale(painter, self._scale, 8, room.top() + 1, "gain (diverging)", width=60)
        dx, dy = frame.place.width() / (len(plane.x) - 1) / 2, frame.place.height() / (len(plane.y) - 1) / 2
        painter.save()
        painter.setClipRect(frame.place)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, False)
        painter.drawImage(frame.place.adjusted(-dx, -dy, dx, dy), self._picture)
        painter.setPen(QPen(theme.colour("text"), 2))
        for line in self._edge:
            painter.drawPolyline(frame.polygon(line[:, 0], line[:, 1]))
        painter.setPen(QPen(theme.colour("text"), 1.5, Qt.PenStyle.DotLine))
        closed = np.vstack((plane.ellipse, plane.ellipse[:1]))
        painter.drawPolyline(frame.polygon(closed[:, 0], closed[:, 1]))
        start = frame.at(0, 0)
        plain = self._plain()
        arrow(painter, start, frame.at(*plain), 2, theme.data_colour(2))
        arrow(painter, start, frame.at(1, 0), 2, theme.colour("text"))
        if view.accepted >= 0:
            disc(painter, frame.at(view.fractions[view.accepted], 0), 5, theme.colour("ok"), theme.colour("surface"))
        painter.setFont(theme.font(theme.LEAST, bold=True))
        painter.setPen(theme.colour("text"))
        for (x, y), words in (((1.0, 0.0), "natural"), (plain, "plain")):
            wide, tip = painter.fontMetrics().horizontalAdvance(words), frame.at(x, y)
            left = min(max(tip.x() - wide / 2, frame.place.left() + 3), frame.place.right() - wide - 3)
            painter.drawText(QPointF(left, max(tip.y() + (15 if y <= 0 else -6), frame.place.top() + 12)), words)
        painter.restore()
        frame.paint_axes(painter, "along the natural gradient (full steps)", "across it")


def boundary(plane: Landscape, delta: float) -> list[np.ndarray]:
    """Lines on which the true KL is delta, (k, 2) in the plane's units."""
    kl = np.nan_to_num(np.asarray(plane.kl, float), nan=1e9, posinf=1e9)
    lines = pg.functions.isocurve(kl.T, delta, connected=True)
    steps = np.arange(len(plane.x)), np.arange(len(plane.y))
    found = []
    for line in lines:
        at = np.asarray(line, float) - 0.5  # pyqtgraph counts from the corners of cells
        found.append(np.stack((np.interp(at[:, 0], steps[0], plane.x), np.interp(at[:, 1], steps[1], plane.y)), 1))
    return found
