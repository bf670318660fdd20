"""Who looks at whom, as lines from a column of queries to a column of keys: thicker and darker with the weight.

Only rows in sight are drawn, and of their lines the strongest; the caption says how many were left out and from which weight on they are
shown. Pointing at a token leaves only its own lines.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QPainter, QPainterPath, QPen
from PySide6.QtWidgets import QAbstractScrollArea, QFrame, QWidget

from app import theme
from app.widgets.matrix_axes import label
from app.widgets.matrix_place import Part

ROW, CAPTION, PAD = 18, 22, 8
MOST = 200
"""Lines drawn at once."""
THICK = 0.25  # weight from which on a line is thicker than a pixel; thin ones are painted five times as fast
COLUMN = 0.3  # share of the width that each column of tokens has
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
_LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter


class ArcView(QAbstractScrollArea):
    """Lines between tokens."""

    hovered = Signal(int, int)
    """(query, key) under the pointer; one of them is -1."""
    clicked = Signal(int, int, bool)
    """(query, key), one of them -1, and whether Shift was held."""
    window_changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows: Sequence[str] = ()
        self._columns: Sequence[str] = ()
        self._part: Part | None = None
        self._caption, self._empty = "", ""
        self.threshold = 0.05
        self._pointed, self._pinned = (-1, -1), (frozenset(), frozenset())
        self._drawn = (0, 0)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.viewport().setMouseTracking(True)
        self.setAccessibleName("Lines between tokens")
        self.verticalScrollBar().valueChanged.connect(self._on_scrolled)
        theme.notifier().changed.connect(self.viewport().update)

    def set_axes(self, rows: Sequence[str], columns: Sequence[str]) -> None:
        """Queries and keys; forgets the weights."""
        self._rows, self._columns = rows, columns
        self._pointed, self._pinned = (-1, -1), (frozenset(), frozenset())
        self.set_part(None, "")
        self._fit()

    def set_part(self, part: Part | None, caption: str) -> None:
        """The weights; lines are drawn only where a value is a single weight."""
        self._part, self._caption = part, caption
        self.setAccessibleDescription(caption)
        self.viewport().update()

    def set_threshold(self, threshold: float) -> None:
        """The least weight that is drawn."""
        self.threshold = threshold
        self.viewport().update()

    def set_pinned(self, rows: Sequence[int], columns: Sequence[int]) -> None:
        """Draw only the lines of these tokens; none: all lines."""
        self._pinned = (frozenset(rows), frozenset(columns))
        self.viewport().update()

    def set_cross(self, row: int, column: int) -> None:
        """A token pointed at elsewhere."""
        self._point((row, column), tell=False)

    def set_empty(self, text: str) -> None:
        """What stands here while there are no weights."""
        self._empty = text
        self.viewport().update()

    def window(self) -> tuple[int, int]:
        """First and end of the rows in sight."""
        first = self.verticalScrollBar().value() // ROW
        return first, min(first + (self.viewport().height() - CAPTION) // ROW + 2, max(len(self._rows), len(self._columns)))

    def lines(self) -> list[tuple[int, int, float]]:
        """(query, key, weight) of what is drawn, weakest first."""
        part = self._part
        if part is None or part.block != (1, 1):
            self._drawn = (0, 0)
            return []
        first, end = self.window()
        queries, keys = (np.arange(*ends) for ends in (part.rows, part.columns))
        shown = part.values >= self.threshold
        shown &= ((queries >= first) & (queries < end))[:, None] | ((keys >= first) & (keys < end))[None, :]
        if self._pointed != (-1, -1):
            shown &= queries[:, None] == self._pointed[0] if self._pointed[0] >= 0 else keys[None, :] == self._pointed[1]
        elif any(self._pinned):
            shown &= np.isin(queries, list(self._pinned[0]))[:, None] | np.isin(keys, list(self._pinned[1]))[None, :]
        places = np.argwhere(shown)
        order = np.argsort(part.values[shown])[-MOST:]
        self._drawn = (len(order), len(places))
        return [(int(queries[r]), int(keys[c]), float(part.values[r, c])) for r, c in places[order]]

    def caption(self) -> str:
        """What is drawn, in words."""
        drawn, there = self._drawn
        if self._part is not None and self._part.block != (1, 1):
            return f"{self._caption} · single weights are on their way"
        left_out = f", {there - drawn} weaker ones left out" if there > drawn else ""
        lines = "1 line" if drawn == 1 else f"{drawn} lines"
        return f"{lines} of weight {self.threshold:g} or more{left_out} · {self._caption}" if self._part is not None else ""

    # painting ------------------------------------------------------------------------------------------------------

    def paintEvent(self, _event) -> None:
        painter = QPainter(self.viewport())
        painter.fillRect(self.viewport().rect(), theme.colour("surface"))
        if self._part is None:
            painter.setPen(theme.colour("muted"))
            box, flags = self.viewport().rect().adjusted(24, 24, -24, -24), Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(box, flags, self._empty)
            return
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = theme.colour("accent")
        for row, column, weight in self.lines():
            self._paint_line(painter, ink, row, column, weight)
        painter.setFont(theme.font(theme.SMALL, mono=True))
        first, end = self.window()
        for number in range(first, end):
            self._paint_token(painter, self._rows, number, 0)
            self._paint_token(painter, self._columns, number, 1)
        strip = QRectF(0, self.viewport().height() - CAPTION, self.viewport().width(), CAPTION)
        painter.fillRect(strip, theme.colour("background"))
        painter.setFont(theme.font(theme.SMALL))
        painter.setPen(theme.colour("muted"))
        place = strip.adjusted(PAD, 0, -PAD, 0)
        painter.drawText(place, _LEFT, painter.fontMetrics().elidedText(self.caption(), Qt.TextElideMode.ElideRight, int(place.width())))

    def _paint_line(self, painter: QPainter, ink: QColor, row: int, column: int, weight: float) -> None:
        share = min(weight, 1.0)
        left, right = self._edges()
        start, end = QPointF(left, self._middle(row)), QPointF(right, self._middle(column))
        bend = (right - left) / 2
        path = QPainterPath(start)
        path.cubicTo(start + QPointF(bend, 0), end - QPointF(bend, 0), end)
        ink.setAlpha(round(50 + 205 * share))
        painter.setPen(QPen(ink, 1 + 4 * share if share >= THICK else 1))
        painter.drawPath(path)

    def _paint_token(self, painter: QPainter, texts: Sequence[str], number: int, side: int) -> None:
        if number >= len(texts):
            return
        left, right = self._edges()
        from_, to = (0.0, left) if side == 0 else (right, float(self.viewport().width()))
        place = QRectF(from_ + PAD, self._middle(number) - ROW / 2, to - from_ - 2 * PAD, ROW)
        if number == self._pointed[side] or number in self._pinned[side]:
            painter.fillRect(place.adjusted(-4, 1, 4, -1), theme.colour("selection"))
        painter.setPen(theme.colour("text"))
        words = painter.fontMetrics().elidedText(label(texts, number), Qt.TextElideMode.ElideRight, int(place.width()))
        painter.drawText(place, _RIGHT if side == 0 else _LEFT, words)

    def _edges(self) -> tuple[float, float]:
        """x at which lines begin and end."""
        width = self.viewport().width()
        return COLUMN * width, (1 - COLUMN) * width

    def _middle(self, number: int) -> float:
        return number * ROW + ROW / 2 - self.verticalScrollBar().value()

    def _fit(self) -> None:
        bar, page = self.verticalScrollBar(), max(self.viewport().height() - CAPTION, ROW)
        bar.setRange(0, max(max(len(self._rows), len(self._columns)) * ROW - page, 0))
        bar.setPageStep(page)
        bar.setSingleStep(ROW)

    # mouse ---------------------------------------------------------------------------------------------------------

    def token_at(self, x: float, y: float) -> tuple[int, int]:
        """(query, key) under a point, one or both -1."""
        left, right = self._edges()
        number = int((y + self.verticalScrollBar().value()) // ROW)
        if y >= self.viewport().height() - CAPTION:
            return -1, -1
        if x <= left:
            return (number, -1) if number < len(self._rows) else (-1, -1)
        return (-1, number) if x >= right and number < len(self._columns) else (-1, -1)

    def mouseMoveEvent(self, event) -> None:
        self._point(self.token_at(event.position().x(), event.position().y()))

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self._point((-1, -1))

    def _point(self, token: tuple[int, int], *, tell: bool = True) -> None:
        if token != self._pointed:
            self._pointed = token
            self.viewport().update()
            if tell:
                self.hovered.emit(*token)

    def mousePressEvent(self, event) -> None:
        token = self.token_at(event.position().x(), event.position().y())
        if event.button() == Qt.MouseButton.LeftButton and token != (-1, -1):
            self.clicked.emit(*token, bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier))

    def _on_scrolled(self) -> None:
        self.viewport().update()
        self.window_changed.emit()

    def resizeEvent(self, event) -> None:
        super().resizeEvent(event)
        self._fit()
        self.window_changed.emit()
