"""TRPO's line search: gain of the surrogate and KL along the full natural step, the radius delta, every trial and what came of it."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QPainter, QPen

from app import theme
from app.protocol.rl import LineSearchView
from app.widgets.agents.strokes import disc
from app.widgets.chart_box import ChartBox
from app.widgets.chart_frame import ChartFrame, padded
from app.widgets.colour_scale import figure

MARK = 5


class LineSearchChart(ChartBox):
    """One update: gain above, KL below, the same axis of step sizes."""

    def __init__(self, parent=None) -> None:
        super().__init__("Line search", "TRPO's line search appears here after the first update.", parent)
        self._view: LineSearchView | None = None
        self.setToolTip(
            "The full step of length 1 makes the quadratic model of the KL equal to delta; it is shortened until the true KL is below "
            "delta and the surrogate has gained. ✕ rejected, ● accepted."
        )

    def show_view(self, view: LineSearchView | None) -> None:
        """Another update."""
        self._view = view
        self.renew()

    def has_view(self) -> bool:
        return self._view is not None and len(self._view.fractions) > 0

    def caption(self) -> str:
        view = self._view
        if view.accepted < 0:
            done = f"no trial of {len(view.fractions)} was accepted: the policy is as it was"
        else:
            at = view.accepted
            done = f"accepted {view.fractions[at]:.3g} of the full step: gain {figure(view.gain[at])}, KL {figure(view.kl[at])}"
        return f"{done}; delta {view.delta:g}; cosine of plain and natural gradient {view.cosine:.2f}"

    def x_ends(self) -> tuple[float, float]:
        """Fractions of the full step that are drawn."""
        return 0.0, max(1.1, *self._view.fractions, *(map(float, self._view.along[-1:])))

    def frames(self) -> tuple[ChartFrame, ChartFrame]:
        """Of the gain and of the KL."""
        view, room = self._view, self.room()
        half = (room.height() - 18) / 2
        gains = np.concatenate((np.array([0.0, *view.gain]), view.along_gain))
        kls = np.concatenate((np.array([0.0, view.delta, *view.kl]), view.along_kl))
        top = QRectF(room.left(), room.top(), room.width(), half)
        low = QRectF(room.left(), room.top() + half, room.width(), room.height() - half)
        kl_top = min(float(np.nanmax(kls[np.isfinite(kls)])), 6 * view.delta) * 1.08
        return ChartFrame.within(top, self.x_ends(), padded(gains), foot=20), ChartFrame.within(low, self.x_ends(), (0.0, kl_top))

    def trial_at(self, at: QPointF) -> int:
        """Number of the trial whose marks are nearest to the pointer, within 12 pixels; -1 if none is."""
        best, found = 12.0, -1
        for frame, values in zip(self.frames(), (self._view.gain, self._view.kl), strict=True):
            for number, (fraction, value) in enumerate(zip(self._view.fractions, values, strict=True)):
                away = frame.at(fraction, value) - at
                if away.manhattanLength() < best:
                    best, found = away.manhattanLength(), number
        return found

    def readout(self, at: QPointF) -> str:
        number = self.trial_at(at)
        if number < 0:
            return ""
        view = self._view
        verdict = "accepted" if number == view.accepted else "rejected: " + self.reason(number)
        step = f"trial {number + 1}, {view.fractions[number]:.3g} of the full step"
        return f"{step}: gain {figure(view.gain[number])}, KL {figure(view.kl[number])}; {verdict}"

    def reason(self, number: int) -> str:
        """Why a trial was rejected."""
        far = not self._view.kl[number] <= self._view.delta
        worse = not self._view.gain[number] > 0
        return " and ".join(["the KL is above delta"] * far + ["the surrogate has not gained"] * worse) or "a later trial was taken"

    def paint_chart(self, painter: QPainter, room: QRectF) -> None:
        view = self._view
        above, below = self.frames()
        above.paint_axes(painter, "", "gain", grid=True)
        below.paint_axes(painter, "step, as a share of the full one", "KL (nats)", grid=True)
        painter.setPen(QPen(theme.colour("border"), 1))
        painter.drawLine(above.at(above.x[0], 0), above.at(above.x[1], 0))
        edge = below.at(below.x[0], view.delta)
        painter.fillRect(QRectF(edge, below.place.bottomRight()), theme.colour("ok", 26))
        painter.setPen(QPen(theme.colour("ok"), 1.5, Qt.PenStyle.DashLine))
        painter.drawLine(edge, below.at(below.x[1], view.delta))
        painter.setFont(theme.font(theme.LEAST))
        words = f"delta {view.delta:g}"
        wide = painter.fontMetrics().horizontalAdvance(words)
        painter.drawText(QPointF(below.place.right() - wide - 6, edge.y() - 4), words)
        for frame, curve, colour in ((above, view.along_gain, 0), (below, view.along_kl, 1)):
            painter.setClipRect(frame.place)
            painter.setPen(QPen(theme.data_colour(colour), 2))
            painter.drawPolyline(frame.polygon(view.along, curve))
            painter.setClipping(False)
        for frame, values in ((above, view.gain), (below, view.kl)):
            for number, (fraction, value) in enumerate(zip(view.fractions, values, strict=True)):
                if np.isfinite(value):
                    kept = min(max(value, frame.y[0]), frame.y[1])
                    self._paint_trial(painter, frame.at(fraction, kept), number == view.accepted)

    def _paint_trial(self, painter: QPainter, at: QPointF, accepted: bool) -> None:
        if accepted:
            disc(painter, at, MARK, theme.colour("ok"), theme.colour("surface"))
            return
        painter.setPen(QPen(theme.colour("error"), 2))
        for side in (-1, 1):
            painter.drawLine(at + QPointF(-4, -4 * side), at + QPointF(4, 4 * side))
