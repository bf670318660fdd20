"""Rows of a word, a bar and a number: probabilities, shares, acceptance. A row may be pressed; a tick in its bar marks a second value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QHelpEvent, QKeyEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from app import theme

ROW, PAD, BAR = 22, 4, 8
LABEL_SHARE, NUMBER_WIDTH = 0.4, 52


@dataclass(frozen=True)
class Bar:
    """A row. `value` and `mark` run from 0 to 1."""

    label: str
    value: float
    text: str
    role: str | int = "accent"
    """A theme role, or the index of a data colour."""
    mark: float | None = None
    key: object = None
    """What pressing the row tells; None: it cannot be pressed."""
    tip: str = ""
    chosen: bool = False
    mono: bool = False


class ProbabilityBars(QWidget):
    """Rows on top of one another, as high as they need."""

    pressed = Signal(object)
    """The key of a row."""

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bars: list[Bar] = []
        self._current = self._hover = -1
        self._name = name
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMouseTracking(True)
        theme.notifier().changed.connect(self.update)
        self.set_bars([])

    def set_bars(self, bars: Sequence[Bar]) -> None:
        """Show rows."""
        if list(bars) == self._bars and self._bars:
            return
        self._bars = list(bars)
        self._current = self._hover = -1
        can = any(bar.key is not None for bar in self._bars)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus if can else Qt.FocusPolicy.NoFocus)
        self.setAccessibleName(f"{self._name}: " + "; ".join(f"{bar.label} {bar.text}" for bar in self._bars))
        self.setFixedHeight(len(self._bars) * ROW)
        self.setVisible(bool(self._bars))
        self.update()

    def bars(self) -> list[Bar]:
        """The rows on show."""
        return list(self._bars)

    def sizeHint(self) -> QSize:
        return QSize(200, len(self._bars) * ROW)

    # painting ------------------------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        first, last = event.rect().top() // ROW, min(event.rect().bottom() // ROW + 1, len(self._bars))
        for index in range(first, last):
            self._paint_row(painter, self._bars[index], QRectF(0, index * ROW, self.width(), ROW), index)

    def _paint_row(self, painter: QPainter, bar: Bar, row: QRectF, index: int) -> None:
        if bar.key is not None and index in (self._hover, self._current if self.hasFocus() else -1):
            painter.fillRect(row, theme.colour("raised"))
        painter.setFont(theme.font(theme.SMALL, mono=bar.mono, bold=bar.chosen))
        painter.setPen(theme.colour("text"))
        words = QRectF(PAD, row.top(), row.width() * LABEL_SHARE - PAD, ROW)
        label = painter.fontMetrics().elidedText(bar.label, Qt.TextElideMode.ElideRight, int(words.width()))
        painter.drawText(words, Qt.AlignmentFlag.AlignVCenter, label)
        painter.setFont(theme.font(theme.SMALL, bold=bar.chosen))
        figure = QRectF(row.right() - NUMBER_WIDTH - PAD, row.top(), NUMBER_WIDTH, ROW)
        painter.drawText(figure, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, bar.text)
        left, right = words.right() + PAD, figure.left() - PAD
        track = QRectF(left, row.center().y() - BAR / 2, max(right - left, 8), BAR)
        painter.fillRect(track, theme.colour("raised" if index != self._hover else "line"))
        filled = QRectF(track.left(), track.top(), track.width() * min(max(bar.value, 0.0), 1.0), BAR)
        painter.fillRect(filled, theme.data_colour(bar.role) if isinstance(bar.role, int) else theme.colour(bar.role))
        if bar.mark is not None:
            x = track.left() + track.width() * min(max(bar.mark, 0.0), 1.0)
            painter.setPen(QPen(theme.colour("text"), 2))
            painter.drawLine(QPointF(x, track.top() - 3), QPointF(x, track.bottom() + 3))

    # mouse and keys ------------------------------------------------------------------------------------------------

    def _row_at(self, y: float) -> int:
        index = int(y // ROW)
        return index if 0 <= index < len(self._bars) else -1

    def mouseMoveEvent(self, event) -> None:
        index = self._row_at(event.position().y())
        if index != self._hover:
            self._hover = index
            self.update()
        able = index >= 0 and self._bars[index].key is not None
        self.setCursor(Qt.CursorShape.PointingHandCursor if able else Qt.CursorShape.ArrowCursor)

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self._hover = -1
        self.update()

    def mousePressEvent(self, event) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self._press(self._row_at(event.position().y()))

    def _press(self, index: int) -> None:
        if index >= 0 and self._bars[index].key is not None:
            self._current = index
            self.pressed.emit(self._bars[index].key)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        step = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1}.get(Qt.Key(event.key()), 0)
        if step and self._bars:
            self._current = min(max(self._current + step, 0), len(self._bars) - 1)
            self.update()
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._press(self._current)
        else:
            super().keyPressEvent(event)

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            index = self._row_at(event.pos().y())
            tip = self._bars[index].tip if index >= 0 else ""
            QToolTip.showText(event.globalPos(), tip, self)
            return True
        return super().event(event)

    def focusInEvent(self, event) -> None:
        super().focusInEvent(event)
        self._current = max(self._current, 0)
        self.update()
