"""A table of weights as one picture: query rows, key columns, their tokens at the margins, and the number under the pointer.

However large the table is, it is painted as a picture: a coarse one of all of it, and over it an exact one of the part that is in sight
once that has come.  Wheel zooms about the pointer, drag pans, double-click shows all again.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import QEvent, QPoint, QRectF, QSize, Qt, Signal, Slot
from PySide6.QtGui import QImage, QPainter, QPen, QPixmap
from PySide6.QtWidgets import QSizePolicy, QWidget

from app import theme
from app.widgets.colour_scale import ColourScale
from app.widgets.matrix_axes import LEFT, TOP, label, paint_axes, paint_corner, paint_pointed
from app.widgets.matrix_place import MatrixPlace, Part
from app.widgets.turns import in_turn

CAPTION = 22
_SLOP = 4  # a press that moves less than this many pixels is a click
_NOTCH = 1.25


class MatrixView(QWidget):
    """Shows one table."""

    hovered = Signal(int, int)
    """(row, column) under the pointer, -1, -1 if there is none."""
    clicked = Signal(int, int, bool)
    """(row, column), and whether Shift was held."""
    window_changed = Signal()
    """Another part is in sight."""

    def __init__(self, parent: QWidget | None = None, *, name: str = "Map") -> None:
        super().__init__(parent)
        self.place = MatrixPlace()
        self.causal = False
        self._rows: Sequence[str] = ()
        self._columns: Sequence[str] = ()
        self._names = ("query", "key")
        self._parts: list[Part] = []
        self._pictures: list[QImage] = []
        self._log, self.scale = False, ColourScale()
        self._caption, self._empty = "", ""
        self._pointed, self._cross = (-1, -1), (-1, -1)
        self._marked: tuple[frozenset[int], frozenset[int]] = (frozenset(), frozenset())
        self._base: QPixmap | None = None
        self._press: QPoint | None = None
        self._dragged = False
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumSize(LEFT + 96, TOP + 96 + CAPTION)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setAccessibleName(name)
        theme.notifier().changed.connect(self._colour)

    # content -------------------------------------------------------------------------------------------------------

    def set_axes(
        self, rows: Sequence[str], columns: Sequence[str], *, causal: bool = False, names: tuple[str, str] = ("query", "key")
    ) -> None:
        """What rows and columns are; forgets the values."""
        self._rows, self._columns, self._names, self.causal = rows, columns, names, causal
        self.place.set_counts(len(rows), len(columns))
        self._pointed = self._cross = (-1, -1)
        self.set_marked((), ())
        self.set_parts([], "")

    def grow_axes(self, rows: Sequence[str], columns: Sequence[str]) -> None:
        """More rows and columns of the same table; its values so far stay in their places."""
        self._rows, self._columns = rows, columns
        self.place.set_counts(len(rows), len(columns))
        self._renew()

    def set_parts(self, parts: Sequence[Part], caption: str) -> None:
        """The values: one coarse or whole part, perhaps an exact one to be laid over it; `caption` says what they are."""
        self._parts, self._caption = list(parts), caption
        self.setAccessibleDescription(caption)
        self._colour()

    def set_log(self, log: bool) -> None:
        """Linear or logarithmic colours."""
        if log != self._log:
            self._log = log
            self._colour()

    def set_empty(self, text: str) -> None:
        """What stands here while there are no values."""
        self._empty = text
        self.update()

    def set_cross(self, row: int, column: int) -> None:
        """Light a row and a column (-1: none) that are pointed at elsewhere."""
        if (row, column) != self._cross:
            self._cross = (row, column)
            in_turn(self)

    def set_marked(self, rows: Sequence[int], columns: Sequence[int]) -> None:
        """Rows and columns that are pinned."""
        self._marked = (frozenset(rows), frozenset(columns))
        self.update()

    def value(self, row: int, column: int) -> tuple[float, bool] | None:
        """The finest value known of a cell, and whether it is exact; None if none is."""
        for part in reversed(self._parts):
            value = part.at(row, column)
            if value is not None:
                return value, part.block == (1, 1)
        return None

    def readout(self) -> str:
        """The cell under the pointer in words."""
        row, column = self._pointed
        known = self.value(row, column) if row >= 0 else None
        if known is None:
            return ""
        cell = f"“{label(self._rows, row)}” ({row}) → “{label(self._columns, column)}” ({column})"
        if self.causal and column > row:
            return f"{cell}: a later token, hidden from the query"
        if known[1]:
            return f"{cell}: {known[0]:.4g}"
        return f"{cell}: about {known[0]:.4g}, mean of a block; zoom in for the exact weight"

    @Slot()
    def _colour(self) -> None:
        largest = max((float(np.nanmax(np.abs(part.values))) for part in self._parts if part.values.size), default=1.0)
        signed = any(bool((part.values < 0).any()) for part in self._parts)
        self.scale = ColourScale(largest or 1.0, self._log, signed)
        self._pictures = [self.scale.picture(part.values, part.later_keys() if self.causal else None) for part in self._parts]
        self._renew()

    def _renew(self) -> None:
        self._base = None
        in_turn(self)

    # painting ------------------------------------------------------------------------------------------------------

    def paintEvent(self, _event) -> None:
        painter = QPainter(self)
        if self._base is None:
            self._base = self._paint_base()
        painter.drawPixmap(0, 0, self._base)
        if self._parts:
            self._paint_marks(painter)
        self._paint_caption(painter)
        if self.hasFocus():
            painter.setPen(QPen(theme.colour("focus"), 2))
            painter.drawRect(self.rect().adjusted(1, 1, -1, -1))

    def _paint_base(self) -> QPixmap:
        """All that stands still while the pointer moves."""
        ratio = self.devicePixelRatioF()
        base = QPixmap(self.size() * ratio)
        base.setDevicePixelRatio(ratio)
        base.fill(theme.colour("surface"))
        painter = QPainter(base)
        if not self._parts:
            painter.setPen(theme.colour("muted"))
            painter.setFont(theme.font())
            box, flags = self.rect().adjusted(24, 24, -24, -24 - CAPTION), Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(box, flags, self._empty)
            painter.end()
            return base
        painter.save()
        painter.setClipRect(self._area())
        for part, picture in zip(self._parts, self._pictures, strict=True):
            self._paint_part(painter, part, picture)
        painter.restore()
        paint_corner(painter, self.scale, *self._names)
        paint_axes(painter, self.place, self._rows, self._columns)
        painter.end()
        return base

    def _paint_part(self, painter: QPainter, part: Part, picture: QImage) -> None:
        rows, columns = self.place.rows, self.place.columns
        ends = (part.rows[0] + part.block[0] * picture.height(), part.columns[0] + part.block[1] * picture.width())
        top, left = rows.pixel(part.rows[0]), columns.pixel(part.columns[0])
        target = QRectF(LEFT + left, TOP + top, columns.pixel(ends[1]) - left, rows.pixel(ends[0]) - top)
        shrinks = target.width() * self.devicePixelRatioF() < picture.width()
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, shrinks)
        if shrinks:  # scaling by half or less while painting would skip cells
            size = QSize(max(round(target.width()), 1), max(round(target.height()), 1)) * self.devicePixelRatioF()
            picture = picture.scaled(size, Qt.AspectRatioMode.IgnoreAspectRatio, Qt.TransformationMode.SmoothTransformation)
        painter.drawImage(target, picture)

    def _paint_marks(self, painter: QPainter) -> None:
        rows, columns = self.place.rows, self.place.columns
        row, column = (there if there >= 0 else other for there, other in zip(self._pointed, self._cross, strict=True))
        painter.save()
        painter.setClipRect(self._area())
        ink = theme.colour("accent")
        for numbers, axis, down in ((self._marked[0], rows, True), (self._marked[1], columns, False)):
            for number in numbers:
                painter.setPen(QPen(ink, 2))
                self._paint_band(painter, axis.pixel(number), axis.size, down)
        for number, axis, down in ((row, rows, True), (column, columns, False)):
            if number >= 0:
                painter.setPen(QPen(theme.colour("warn"), 1))
                self._paint_band(painter, axis.pixel(number), axis.size, down)
        painter.restore()
        paint_pointed(painter, self.place, row, column, self._rows, self._columns)
        for numbers, axis, down in ((self._marked[0], rows, True), (self._marked[1], columns, False)):
            for number in numbers:
                at = axis.pixel(number)
                if 0 <= at < axis.room:
                    bar = QRectF(LEFT - 3, TOP + at, 3, max(axis.size, 2)) if down else QRectF(LEFT + at, TOP - 3, max(axis.size, 2), 3)
                    painter.fillRect(bar, ink)

    def _paint_band(self, painter: QPainter, at: float, size: float, down: bool) -> None:
        """The outline of a row or a column over the whole map."""
        far = self._reach()
        painter.drawRect(QRectF(LEFT, TOP + at, far[0], size) if down else QRectF(LEFT + at, TOP, size, far[1]))

    def _reach(self) -> tuple[float, float]:
        """Width and height of the table on the screen."""
        across, down = self.place.columns, self.place.rows
        return min(across.pixel(across.count), across.room), min(down.pixel(down.count), down.room)

    def _paint_caption(self, painter: QPainter) -> None:
        strip = QRectF(0, self.height() - CAPTION, self.width(), CAPTION)
        painter.fillRect(strip, theme.colour("background"))
        painter.setFont(theme.font(theme.SMALL))
        words = self.readout()
        painter.setPen(theme.colour("text" if words else "muted"))
        words = words or (f"{self.scale.words()} · {self._caption}" if self._parts else "")
        place = strip.adjusted(8, 0, -8, 0)
        shown = painter.fontMetrics().elidedText(words, Qt.TextElideMode.ElideRight, int(place.width()))
        painter.drawText(place, Qt.AlignmentFlag.AlignVCenter, shown)
        self.setToolTip(self._caption if shown != words else "")

    def _area(self) -> QRectF:
        return QRectF(LEFT, TOP, self.place.columns.room, self.place.rows.room)

    # mouse and keys ------------------------------------------------------------------------------------------------

    def mousePressEvent(self, event) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self._press, self._dragged = event.position().toPoint(), False

    def mouseMoveEvent(self, event) -> None:
        point = event.position().toPoint()
        if self._press is not None and (self._dragged or (point - self._press).manhattanLength() > _SLOP):
            step, self._press, self._dragged = point - self._press, point, True
            self.place.pan(step.x(), step.y())
            self._moved()
        self._point(self.place.cell(point.x() - LEFT, point.y() - TOP) if self._parts else None)

    def mouseReleaseEvent(self, event) -> None:
        cell = self.place.cell(event.position().x() - LEFT, event.position().y() - TOP)
        if self._press is not None and not self._dragged and cell and self._parts:
            self.clicked.emit(*cell, bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier))
        self._press = None

    def mouseDoubleClickEvent(self, _event) -> None:
        self.place.fit()
        self._moved()

    def wheelEvent(self, event) -> None:
        if event.angleDelta().y() and self._parts:
            at = event.position()
            self.place.zoom(_NOTCH ** (event.angleDelta().y() / 120), at.x() - LEFT, at.y() - TOP)
            self._moved()
            self._point(self.place.cell(at.x() - LEFT, at.y() - TOP))
        event.accept()

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self._point(None)

    def resizeEvent(self, event) -> None:
        super().resizeEvent(event)
        self.place.set_room(self.width() - LEFT - 8, self.height() - TOP - CAPTION - 8)
        self._moved()

    def _moved(self) -> None:
        self._renew()
        self.window_changed.emit()

    def _point(self, cell: tuple[int, int] | None) -> None:
        cell = cell or (-1, -1)
        if cell != self._pointed:
            self._pointed = cell
            self.update()
            self.hovered.emit(*cell)
