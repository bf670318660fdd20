"""A table of numbers as coloured cells with names at its sides: loads, shares, counts. Cells may be marked, or pale where nothing is known.

The scale stands in the corner below. A click or the arrows choose a cell; hovering tells its number. In a scroll area, which must paint
it anew when it scrolls sideways, the names of rows and the scale stay in sight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import isfinite

import numpy as np
from PySide6.QtCore import QEvent, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QHelpEvent, QImage, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from app import theme
from app.widgets.expert_paint import expert_paints, ink_on

LEFT, HEAD, FOOT, SCALE = 64, 20, 24, 44
"""Pixels: names of rows, names of columns, the foot with the scale, and where in it the colours begin."""
TEXT_LEAST = 30
"""Width of a cell from which its number is written into it."""


@lru_cache(maxsize=8)
def paints(table: str, _theme: str) -> list[tuple[QColor, QColor]]:
    """Ground and ink of each of the 256 steps of a table; made once a theme."""
    grounds = [QColor(*rgb) for rgb in theme.lookup_table(table).tolist()]
    return [(ground, ink_on(ground)) for ground in grounds]


@lru_cache(maxsize=8)
def scale_picture(table: str, _theme: str) -> QImage:
    """The steps of a table side by side."""
    rgb = np.ascontiguousarray(theme.lookup_table(table), np.uint8)
    return QImage(rgb.data, len(rgb), 1, 3 * len(rgb), QImage.Format.Format_RGB888).copy()


class GridMap(QWidget):
    """Rows x columns; colours say how large a value is, between two ends that are told."""

    chosen = Signal(int, int)
    hovered = Signal(int, int)

    def __init__(self, name: str, *, least: float = 8, row_height: int = 24, left: int = LEFT, parent: QWidget | None = None) -> None:
        """`least`: narrowest cell, in pixels; put the map in a scroll area if there may be many columns."""
        super().__init__(parent)
        self._values = np.zeros((0, 0), np.float32)
        self._rows: tuple[str, ...] = ()
        self._columns: tuple[str, ...] = ()
        self._experts = False
        self._marked = self._pale = np.zeros((0, 0), bool)
        self._ends, self._table, self._scale_words, self._empty = (0.0, 1.0), "viridis", "", ""
        self._digits, self._least, self._row_height, self._left = 2, least, row_height, left
        self._tip: Callable[[int, int], str] | None = None
        self.current, self._hover = (-1, -1), (-1, -1)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName(name)
        theme.notifier().changed.connect(self.update)

    # content -------------------------------------------------------------------------------------------------------

    def set_values(
        self, values: np.ndarray, rows: Sequence[str], columns: Sequence[str], ends: tuple[float, float], words: str, *,
        table: str = "viridis", digits: int = 2, marked: np.ndarray | None = None, pale: np.ndarray | None = None,
        experts: bool = False,
    ) -> None:  # fmt: skip
        """Show values (R, C); `ends` of the colours and `words` about them; `marked`, `pale` (R, C) bool; `experts`: columns are such."""
        self._values, self._rows, self._columns = np.asarray(values, np.float32), tuple(rows), tuple(columns)
        self._ends, self._scale_words, self._table, self._digits = ends, words, table, digits
        nothing = np.zeros(self._values.shape, bool)
        self._marked, self._pale = nothing if marked is None else marked, nothing if pale is None else pale
        self._experts = experts
        if not (self.current[0] < len(self._rows) and self.current[1] < len(self._columns)):
            self.current = (-1, -1)
        self.setFixedHeight(self.sizeHint().height())
        self.setMinimumWidth(self.sizeHint().width())
        self.update()

    def set_empty_text(self, text: str) -> None:
        """What stands here while there are no values."""
        self._empty = text
        self.update()

    def clear(self) -> None:
        """Show no values."""
        self.set_values(np.zeros((0, 0)), (), (), (0, 1), "")

    def set_tip(self, tip: Callable[[int, int], str]) -> None:
        """What to say about a cell."""
        self._tip = tip

    def select(self, row: int, column: int) -> None:
        """Mark a cell; tells nobody."""
        if (row, column) != self.current:
            self.current = (row, column)
            self.update()

    @property
    def values(self) -> np.ndarray:
        """What is shown."""
        return self._values

    # geometry ------------------------------------------------------------------------------------------------------

    def sizeHint(self) -> QSize:
        if not self._values.size:
            return QSize(self._left + 100, HEAD + FOOT + self._row_height)
        return QSize(round(self._left + self._least * len(self._columns)) + 4, HEAD + self._row_height * len(self._rows) + FOOT)

    @property
    def _sight(self) -> int:
        """The left end of what is in sight, where the names of rows stand; 0 but in a scroll area."""
        return max(self.visibleRegion().boundingRect().left(), 0)

    @property
    def _width(self) -> float:
        return max((self.width() - self._left - 4) / max(len(self._columns), 1), self._least)

    def _place(self, row: int, column: int) -> QRectF:
        return QRectF(self._left + column * self._width, HEAD + row * self._row_height, self._width, self._row_height)

    def cell_at(self, x: float, y: float) -> tuple[int, int]:
        """Row and column under a point, -1, -1 if there is none."""
        row, column = int((y - HEAD) // self._row_height), int((x - self._left) // self._width)
        inside = y >= HEAD and x >= self._sight + self._left and row < len(self._rows) and column < len(self._columns)
        return (row, column) if inside else (-1, -1)

    # painting ------------------------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setFont(theme.font(theme.LEAST))
        if not self._values.size:
            painter.setPen(theme.colour("muted"))
            flags = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(self.rect(), flags, self._empty)
            return
        first = max(int((event.rect().left() - self._left) // self._width), 0)
        last = min(int((event.rect().right() - self._left) // self._width) + 1, len(self._columns))
        self._paint_columns(painter, first, last)
        colours = paints(self._table, theme.tokens().name)
        low, high = self._ends
        index = np.nan_to_num((self._values - low) / max(high - low, 1e-12)).clip(0, 1) * 255
        for row, indices in enumerate(index[:, first:last].astype(int).tolist()):
            for column, number in enumerate(indices, start=first):
                self._paint_cell(painter, row, column, *colours[number])
        for (row, column), width in ((self._hover, 1), (self.current, 2)):
            if row >= 0 and column >= 0:
                painter.setPen(QPen(theme.colour("accent"), width))
                painter.drawRect(self._place(row, column).adjusted(0, 0, -1, -1))
        self._paint_rows(painter)
        self._paint_scale(painter)

    def _paint_cell(self, painter: QPainter, row: int, column: int, colour: QColor, ink: QColor) -> None:
        width = self._width
        place = self._place(row, column).adjusted(0, 0, -1 if width > 6 else 0, -1)
        value, pale = float(self._values[row, column]), self._pale[row, column]
        known = isfinite(value)
        painter.fillRect(place, colour if known and not pale else theme.colour("raised"))
        ink = theme.colour("muted") if pale else ink
        if width >= TEXT_LEAST and known:
            painter.setPen(ink)
            painter.drawText(place, Qt.AlignmentFlag.AlignCenter, f"{value:.{self._digits}f}")
        if self._marked[row, column]:
            painter.setPen(QPen(ink, 1, Qt.PenStyle.DotLine))
            painter.drawRect(place.adjusted(1, 1, -2, -2))

    def _paint_columns(self, painter: QPainter, first: int, last: int) -> None:
        metrics = painter.fontMetrics()
        widest = max((metrics.horizontalAdvance(name) for name in self._columns[first:last]), default=0) + 4
        every = 1 if self._experts else max(1, int(np.ceil(min(widest, 60) / self._width)))
        for column in range(first, last):
            place = QRectF(self._left + column * self._width, 0, self._width - 1, HEAD - 3)
            if self._experts:
                ground, ink = expert_paints(column)
                painter.fillRect(place, ground)
                painter.setPen(ink)
            else:
                painter.setPen(theme.colour("muted"))
            if column % every == 0 and (not self._experts or self._width >= widest - 2):
                place.setWidth(self._width * every - 2)
                words = metrics.elidedText(self._columns[column], Qt.TextElideMode.ElideRight, max(int(place.width()), 8))
                painter.drawText(place, Qt.AlignmentFlag.AlignCenter if every == 1 else Qt.AlignmentFlag.AlignLeft, words)

    def _paint_rows(self, painter: QPainter) -> None:
        """The names of rows, at the left end of what is in sight."""
        left = self._sight
        if left:
            painter.fillRect(QRectF(left, 0, self._left, self.height() - FOOT), theme.colour("background"))
        for row, name in enumerate(self._rows):
            chosen = row == self.current[0]
            painter.setPen(theme.colour("text" if chosen else "muted"))
            painter.setFont(theme.font(theme.LEAST, bold=chosen))
            place = QRectF(left, HEAD + row * self._row_height, self._left - 6, self._row_height)
            words = painter.fontMetrics().elidedText(name, Qt.TextElideMode.ElideRight, int(place.width()))
            painter.drawText(place, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, words)
        painter.setFont(theme.font(theme.LEAST))

    def _paint_scale(self, painter: QPainter) -> None:
        y, width, begin = self.height() - FOOT + 8, 96, self._sight + self._left
        painter.drawImage(QRectF(begin + SCALE, y, width, 8), scale_picture(self._table, theme.tokens().name))
        painter.setPen(theme.colour("muted"))
        low, high = (f"{end:.3g}" for end in self._ends)
        left = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        painter.drawText(QRectF(begin, y - 4, SCALE - 4, 16), Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, low)
        painter.drawText(QRectF(begin + SCALE + width + 4, y - 4, self.width(), 16), left, f"{high}   {self._scale_words}")

    # mouse and keys ------------------------------------------------------------------------------------------------

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._hover_over(self.cell_at(event.position().x(), event.position().y()))

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self._hover_over((-1, -1))

    def _hover_over(self, cell: tuple[int, int]) -> None:
        if cell != self._hover:
            self._hover = cell
            self.update()
            self.hovered.emit(*cell)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        cell = self.cell_at(event.position().x(), event.position().y())
        if event.button() == Qt.MouseButton.LeftButton and cell[0] >= 0:
            self._choose(*cell)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """The arrows alone belong to the transport; with Shift they move the chosen cell."""
        key, (row, column) = Qt.Key(event.key()), self.current
        moves = {Qt.Key.Key_Up: (-1, 0), Qt.Key.Key_Down: (1, 0), Qt.Key.Key_Left: (0, -1), Qt.Key.Key_Right: (0, 1)}
        if key not in moves or not event.modifiers() & Qt.KeyboardModifier.ShiftModifier or not self._values.size:
            super().keyPressEvent(event)
            return
        down, right = moves[key]
        self._choose(min(max(row + down, 0), len(self._rows) - 1), min(max(column + right, 0), len(self._columns) - 1))

    def _choose(self, row: int, column: int) -> None:
        self.select(row, column)
        self.chosen.emit(row, column)

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            row, column = self.cell_at(event.pos().x(), event.pos().y())
            QToolTip.showText(event.globalPos(), self._tip(row, column) if row >= 0 and self._tip else "", self)
            return True
        return super().event(event)
