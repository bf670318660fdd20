"""Who goes from which expert to which: columns of experts, a layer each, and bands between neighbouring layers.

A band is as wide as its share of the visits. Bands no wider than independent layers would have are pale: they are nothing special.
"""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QHelpEvent, QMouseEvent, QPainter, QPainterPath, QPen
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from app import theme
from app.widgets.expert_paint import expert_colour, paint_badge

HEAD, NODE, ROW = 18, 26, 17
LEAST_STEP = 72
"""Pixels from one layer to the next, at least."""
MOST_BANDS = 40
"""Widest bands drawn between two layers."""
LIFT = 1.25
"""A band is more than chance from this many times the product of its two experts' shares on."""


class ExpertFlow(QWidget):
    """Shows flows (L - 1, E, E) that sum to 1 each."""

    chosen = Signal(int, int)
    """A layer's row and an expert that was clicked."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._flow = np.zeros((0, 0, 0), np.float32)
        self._layers: tuple[int, ...] = ()
        self._lit = (-1, -1)
        self._empty = ""
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMouseTracking(True)
        self.setAccessibleName("Flow of experts from layer to layer")
        theme.notifier().changed.connect(self.update)

    def set_flow(self, flow: np.ndarray, layers: tuple[int, ...]) -> None:
        """Show other flows."""
        self._flow, self._layers = np.asarray(flow), layers
        self.setFixedHeight(self.sizeHint().height())
        self.setMinimumWidth(LEAST_STEP * (len(layers) - 1) + NODE if len(layers) else 0)
        self.update()

    def set_empty_text(self, text: str) -> None:
        """What stands here while there is nothing to show."""
        self._empty = text
        self.update()

    def sizeHint(self) -> QSize:
        E = self._flow.shape[1] if self._flow.size else 4
        return QSize(480, HEAD + ROW * E + 8)

    def node(self, row: int, expert: int) -> QRectF:
        """Where an expert of a layer stands."""
        step = (self.width() - NODE) / max(len(self._layers) - 1, 1)
        return QRectF(row * step, HEAD + expert * ROW, NODE, ROW - 2)

    def bands(self, gap: int) -> list[tuple[int, int, float, float]]:
        """The widest bands between two layers: (from, to, share, times chance), widest first."""
        table = self._flow[gap]
        expected = np.outer(table.sum(1), table.sum(0))
        order = np.argsort(table, axis=None)[::-1][:MOST_BANDS]
        found = [np.unravel_index(place, table.shape) for place in order]
        return [(int(a), int(b), float(table[a, b]), float(table[a, b] / max(expected[a, b], 1e-12))) for a, b in found if table[a, b] > 0]

    def paintEvent(self, _event) -> None:
        painter = QPainter(self)
        painter.setFont(theme.font(theme.LEAST))
        if not self._flow.size:
            painter.setPen(theme.colour("muted"))
            painter.drawText(self.rect(), Qt.AlignmentFlag.AlignLeft | Qt.TextFlag.TextWordWrap, self._empty)
            return
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for gap in range(len(self._flow)):
            for band in reversed(self.bands(gap)):
                self._paint_band(painter, gap, *band)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        for row, layer in enumerate(self._layers):
            head = QRectF(self.node(row, 0).left() - 14, 0, NODE + 28, HEAD - 2)
            head.moveLeft(min(max(head.left(), 0), self.width() - head.width()))
            painter.setFont(theme.font(theme.LEAST))
            painter.setPen(theme.colour("muted"))
            painter.drawText(head, Qt.AlignmentFlag.AlignCenter, f"layer {layer}")
            for expert in range(self._flow.shape[1]):
                place = self.node(row, expert)
                paint_badge(painter, place, expert)
                if (row, expert) == self._lit:
                    painter.setPen(QPen(theme.colour("accent"), 2))
                    painter.drawRect(place)

    def _paint_band(self, painter: QPainter, gap: int, source: int, target: int, share: float, lift: float) -> None:
        a, b = self.node(gap, source), self.node(gap + 1, target)
        begin, end = QPointF(a.right(), a.center().y()), QPointF(b.left(), b.center().y())
        middle = (begin.x() + end.x()) / 2
        path = QPainterPath(begin)
        path.cubicTo(QPointF(middle, begin.y()), QPointF(middle, end.y()), end)
        lit = self._lit in ((gap, source), (gap + 1, target))
        colour = expert_colour(source) if lift >= LIFT else theme.colour("muted")
        alpha = 230 if lit else 35 if self._lit[0] >= 0 else 170 if lift >= LIFT else 45
        colour.setAlpha(alpha)
        widest = float(self._flow[gap].max())
        painter.setPen(QPen(colour, 0.6 + 6 * share / widest))
        painter.drawPath(path)

    def _node_at(self, x: float, y: float) -> tuple[int, int]:
        for row in range(len(self._layers)):
            place = self.node(row, 0)
            expert = int((y - HEAD) // ROW)
            if place.left() - 4 <= x <= place.right() + 4 and y >= HEAD and self._flow.size and expert < self._flow.shape[1]:
                return row, expert
        return -1, -1

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._light(self._node_at(event.position().x(), event.position().y()))

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self._light((-1, -1))

    def _light(self, node: tuple[int, int]) -> None:
        if node != self._lit:
            self._lit = node
            self.update()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        node = self._node_at(event.position().x(), event.position().y())
        if node[0] >= 0:
            self.chosen.emit(*node)

    def tip_at(self, x: float, y: float) -> str:
        """Where the tokens of an expert go, and where they come from."""
        row, expert = self._node_at(x, y)
        if row < 0:
            return ""
        lines = [f"layer {self._layers[row]}, expert {expert}"]
        if row < len(self._flow):
            lines.append(_going("goes on to", [(b, s, n) for a, b, s, n in self.bands(row) if a == expert]))
        if row > 0:
            lines.append(_going("comes from", [(a, s, n) for a, b, s, n in self.bands(row - 1) if b == expert]))
        return "\n".join(lines)

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            QToolTip.showText(event.globalPos(), self.tip_at(event.pos().x(), event.pos().y()), self)
            return True
        return super().event(event)


def _going(words: str, found: list[tuple[int, float, float]]) -> str:
    told = ", ".join(f"{expert} ({share:.1%} of all visits, {lift:.1f} x chance)" for expert, share, lift in found[:4])
    return f"{words} {told or 'no wide band'}"
