"""The weights of one softmax row as thin bars, with the level at which all would be equal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import QLineF, QRectF, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from app import theme

LEFT, RIGHT, TOP, BOTTOM = 56, 12, 26, 22


class WeightBars(QWidget):
    """Bars from 0 to the largest weight or `full`."""

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._weights = np.zeros(0, np.float32)
        self._labels: Sequence[str] = ()
        self._caption, self._full, self._name = "", 1.0, name
        self.setMinimumHeight(110)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMouseTracking(True)
        self.setAccessibleName(name)
        theme.notifier().changed.connect(self.update)

    def set_weights(self, weights: np.ndarray, labels: Sequence[str], caption: str) -> None:
        """float (keys,), what the keys are, and a line that says what is shown."""
        self._weights, self._labels, self._caption = weights, labels, caption
        top = float(weights.max()) if len(weights) else 1.0
        self._full = next((level for level in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if level >= top * 0.999), max(top, 1.0))
        self.setAccessibleDescription(caption)
        self.update()

    def weights(self) -> np.ndarray:
        """What is shown."""
        return self._weights

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(self.rect(), theme.colour("surface"))
        painter.setFont(theme.font(theme.LEAST))
        painter.setPen(theme.colour("text"))
        head = QRectF(8, 4, self.width() - 16, 18)
        words = painter.fontMetrics().elidedText(self._caption, Qt.TextElideMode.ElideRight, int(head.width()))
        painter.drawText(head, Qt.AlignmentFlag.AlignVCenter, words)
        area = self._area()
        painter.setPen(theme.colour("muted"))
        for share in (0, 0.5, 1):
            y = area.bottom() - share * area.height()
            painter.drawText(QRectF(4, y - 8, LEFT - 10, 16), Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter,
                             f"{share * self._full:.3g}")  # fmt: skip
        painter.setPen(QPen(theme.colour("line"), 1))
        painter.drawLine(QLineF(area.bottomLeft(), area.bottomRight()))
        if not len(self._weights):
            return
        width = area.width() / len(self._weights)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.data_colour(0))
        for n, weight in enumerate(self._weights):
            height = float(weight) / self._full * area.height()
            painter.drawRect(QRectF(area.left() + n * width, area.bottom() - height, max(width - (1 if width > 3 else 0), 0.8), height))
        even = area.bottom() - area.height() / len(self._weights) / self._full
        painter.setPen(QPen(theme.data_colour(3), 1, Qt.PenStyle.DashLine))
        painter.drawLine(QLineF(area.left(), even, area.right(), even))
        painter.setPen(theme.colour("muted"))
        foot = QRectF(area.left(), area.bottom() + 3, area.width(), 16)
        painter.drawText(foot, Qt.AlignmentFlag.AlignLeft, "first key")
        painter.drawText(foot, Qt.AlignmentFlag.AlignRight, "last key")
        painter.drawText(foot, Qt.AlignmentFlag.AlignHCenter, f"dashed: 1/{len(self._weights)}, all equal")

    def mouseMoveEvent(self, event) -> None:
        area, at = self._area(), event.position()
        if not len(self._weights) or not area.contains(at):
            return
        n = min(int((at.x() - area.left()) / area.width() * len(self._weights)), len(self._weights) - 1)
        label = self._labels[n] if n < len(self._labels) else str(n)
        QToolTip.showText(event.globalPosition().toPoint(), f"“{label}” ({n}): {self._weights[n]:.4g}", self)

    def _area(self) -> QRectF:
        return QRectF(LEFT, TOP, self.width() - LEFT - RIGHT, self.height() - TOP - BOTTOM)
