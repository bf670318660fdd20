"""DDPG: the critic's Q over one number of the state and the action, with the actor's curve and the best action on it."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QImage, QKeyEvent, QPainter, QPen

from app import theme
from app.protocol.rl import QSurfaceView
from app.widgets.agents.portraits import signed
from app.widgets.chart_box import ChartBox
from app.widgets.chart_frame import ChartFrame, paint_scale
from app.widgets.colour_scale import ColourScale, figure

SCALE = 18


class QSurfaceChart(ChartBox):
    """One moment of critic and actor."""

    def __init__(self, parent=None) -> None:
        super().__init__("Q surface", "The critic's Q over state and action appears here with DDPG on Pendulum.", parent)
        self._view: QSurfaceView | None = None
        self._picture, self._scale = QImage(), ColourScale()
        self._relative = False
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setToolTip(
            "The actor climbs this surface: its curve (solid) should follow the ridge, the best action in each column (dotted). "
            "Where the two part, the actor lags or the critic bulges. C: colours compare the actions of each column alone."
        )

    def show_view(self, view: QSurfaceView | None) -> None:
        """Another moment."""
        self._view = view
        self.renew()

    def renew(self) -> None:
        if self._view is not None:
            shown = self.shown()
            self._scale = ColourScale.spanning(shown)
            self._picture = self._scale.picture(shown[::-1])
        super().renew()

    def set_relative(self, relative: bool) -> None:
        """Colour Q less the best Q of its column, so that the action shows where the state outweighs it."""
        self._relative = relative
        self.renew()

    def shown(self) -> np.ndarray:
        """What the colours say, (m, n)."""
        q = np.asarray(self._view.q, float)
        return q - q.max(0) if self._relative else q

    def has_view(self) -> bool:
        return self._view is not None

    def ridge(self) -> np.ndarray:
        """The best action at each x, by the critic."""
        return self._view.action[self._view.q.argmax(0)]

    def caption(self) -> str:
        view = self._view
        away = float(np.abs(view.actor - self.ridge()).mean())
        fixed = f"; {view.fixed}" if view.fixed else ""
        return f"actor solid, best action dotted, {figure(away)} apart on average; after {view.timesteps:,} steps{fixed}"

    def frame(self) -> ChartFrame:
        """The axes."""
        view = self._view
        room = self.room().adjusted(0, SCALE, 0, 0)
        return ChartFrame.within(room, (float(view.x[0]), float(view.x[-1])), (float(view.action[0]), float(view.action[-1])))

    def readout(self, at: QPointF) -> str:
        place = self.frame().under(at)
        if place is None:
            return ""
        view = self._view
        column, row = int(np.abs(view.x - place[0]).argmin()), int(np.abs(view.action - place[1]).argmin())
        name = view.x_name.partition(" (")[0]
        where = signed(f"{name} {view.x[column]:.3g}, action {view.action[row]:+.2f}")
        return f"{where}: Q {figure(float(view.q[row, column]))}" + signed(f"; the actor does {view.actor[column]:+.2f}")

    def paint_chart(self, painter: QPainter, room: QRectF) -> None:
        view, frame = self._view, self.frame()
        what = "Q − column's best" if self._relative else "Q"
        paint_scale(painter, self._scale, 8, room.top() + 1, f"{what} (viridis, linear)", width=60)
        dx, dy = frame.place.width() / (len(view.x) - 1) / 2, frame.place.height() / (len(view.action) - 1) / 2
        painter.save()
        painter.setClipRect(frame.place)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, False)
        painter.drawImage(frame.place.adjusted(-dx, -dy, dx, dy), self._picture)
        for curve, style, width in ((self.ridge(), Qt.PenStyle.DotLine, 2.0), (view.actor, Qt.PenStyle.SolidLine, 2.0)):
            points = frame.polygon(view.x, curve)
            for colour, extra in ((theme.colour("surface", 200), 2.5), (theme.colour("text"), 0.0)):
                painter.setPen(QPen(colour, width + extra, style if not extra else Qt.PenStyle.SolidLine))
                if style == Qt.PenStyle.SolidLine or not extra:
                    painter.drawPolyline(points)
        painter.restore()
        frame.paint_axes(painter, view.x_name, "action")

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_C:
            self.set_relative(not self._relative)
        else:
            super().keyPressEvent(event)
