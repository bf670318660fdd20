"""Shares with their intervals, a row each: a whisker for the interval, a tick for chance, sample sizes beside it.

A row whose sample is too small, or whose interval holds chance, is pale: it says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from app import theme

ROW, LEFT, RIGHT, FOOT = 22, 96, 168, 18


@dataclass(frozen=True)
class Interval:
    """One row; `speaks`: the sample is large enough and the interval leaves chance out."""

    label: str
    share: float
    low: float
    high: float
    note: str
    speaks: bool


class IntervalRows(QWidget):
    """Rows on one scale from 0 to 1."""

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows: tuple[Interval, ...] = ()
        self._chance, self._colour = 0.0, None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName(name)
        theme.notifier().changed.connect(self.update)

    def set_rows(self, rows: Sequence[Interval], chance: float) -> None:
        """Show rows; `chance` is the share that none of them would differ from."""
        self._rows, self._chance = tuple(rows), chance
        self.setFixedHeight(self.sizeHint().height())
        self.setAccessibleDescription("; ".join(f"{row.label}: {row.share:.2f} ({row.note})" for row in rows))
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(420, ROW * max(len(self._rows), 1) + FOOT)

    def paintEvent(self, _event) -> None:
        painter = QPainter(self)
        painter.setFont(theme.font(theme.LEAST))
        room = max(self.width() - LEFT - RIGHT, 60)

        def x(share: float) -> float:
            return LEFT + room * min(max(share, 0.0), 1.0)

        for number, row in enumerate(self._rows):
            y = number * ROW + ROW / 2
            ink = theme.colour("text" if row.speaks else "muted")
            painter.setPen(ink)
            name = painter.fontMetrics().elidedText(row.label, Qt.TextElideMode.ElideRight, LEFT - 10)
            right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
            painter.drawText(QRectF(0, y - ROW / 2, LEFT - 8, ROW), right, name)
            painter.drawText(QRectF(self.width() - RIGHT + 8, y - ROW / 2, RIGHT - 8, ROW), Qt.AlignmentFlag.AlignVCenter, row.note)
            painter.fillRect(QRectF(LEFT, y, room, 1), theme.colour("line"))
            painter.setPen(QPen(theme.colour("accent") if row.speaks else ink, 2))
            painter.drawLine(QPointF(x(row.low), y), QPointF(x(row.high), y))
            for end in (row.low, row.high):
                painter.drawLine(QPointF(x(end), y - 4), QPointF(x(end), y + 4))
            painter.setBrush(theme.colour("accent") if row.speaks else theme.colour("surface"))
            painter.drawEllipse(QPointF(x(row.share), y), 4, 4)
            painter.setBrush(Qt.BrushStyle.NoBrush)
        if self._rows:
            painter.setPen(QPen(theme.colour("muted"), 1, Qt.PenStyle.DashLine))
            painter.drawLine(QPointF(x(self._chance), 0), QPointF(x(self._chance), ROW * len(self._rows)))
            foot = QRectF(0, ROW * len(self._rows), 0, FOOT)
            for share, words in ((0.0, "0"), (1.0, "1"), (self._chance, f"chance {self._chance:.2f}")):
                place = foot.translated(x(share) - 40, 0)
                place.setWidth(80)
                painter.drawText(place, Qt.AlignmentFlag.AlignCenter, words)
