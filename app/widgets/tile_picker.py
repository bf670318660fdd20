"""A sheet of little pictures to choose from: click one, or walk with the arrow keys; letters mark those that are chosen."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import QRect, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from app import theme
from app.protocol.payloads import Image
from app.widgets.image_view import to_qimage

COLUMNS, ZOOM, GAP = 8, 2, 2


class TilePicker(QWidget):
    """Tiles in the rows of their sheet; `chosen` tells the number of the one that was clicked."""

    chosen = Signal(int)

    def __init__(self, side: int, parent: QWidget | None = None) -> None:
        """`side`: pixels of a tile's side."""
        super().__init__(parent)
        self._side, self._sheet, self._count = side, None, 0
        self._marks: dict[int, str] = {}
        self._at = 0
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Real pictures")
        self.setToolTip("Pictures that no network was trained on: click one")
        theme.notifier().changed.connect(self.update)

    def set_sheet(self, sheet: Image) -> None:
        """Show a sheet of tiles, COLUMNS in a row."""
        self._sheet = to_qimage(sheet)
        self._count = (sheet.width // self._side) * (sheet.height // self._side)
        self.updateGeometry()
        self.update()

    def set_marks(self, marks: Mapping[int, str]) -> None:
        """Which tiles are chosen, with a letter for each."""
        self._marks = dict(marks)
        self._at = next(iter(self._marks), self._at)
        words = ", ".join(f"{letter}: number {number + 1}" for number, letter in self._marks.items())
        self.setAccessibleDescription(f"Chosen: {words}" if words else "Nothing is chosen")
        self.update()

    def sizeHint(self) -> QSize:
        rows = max(1, -(-self._count // COLUMNS))
        return QSize(COLUMNS * self._cell + GAP, rows * self._cell + GAP)

    @property
    def _cell(self) -> int:
        return self._side * ZOOM + GAP

    def cell(self, number: int) -> QRect:
        """Where a tile stands."""
        size = self._side * ZOOM
        return QRect(GAP + number % COLUMNS * self._cell, GAP + number // COLUMNS * self._cell, size, size)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setFont(theme.font(theme.SMALL, bold=True))
        for number in range(self._count):
            place = self.cell(number)
            row, column = divmod(number, COLUMNS)
            painter.drawImage(place, self._sheet, QRect(column * self._side, row * self._side, self._side, self._side))
            if number in self._marks:
                self._paint_mark(painter, place, self._marks[number])
        if self.hasFocus() and self._count:
            painter.setPen(QPen(theme.colour("focus"), 1, Qt.PenStyle.DotLine))
            painter.drawRect(self.cell(self._at).adjusted(-1, -1, 0, 0))

    @staticmethod
    def _paint_mark(painter: QPainter, place: QRect, letter: str) -> None:
        painter.setPen(QPen(theme.colour("accent"), 3))
        painter.drawRect(place.adjusted(1, 1, -2, -2))
        if letter:
            corner = QRect(place.left(), place.top(), 14, 14)
            painter.fillRect(corner, theme.colour("accent"))
            painter.setPen(theme.colour("on_accent"))
            painter.drawText(corner, Qt.AlignmentFlag.AlignCenter, letter)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        point = event.position().toPoint()
        number = next((k for k in range(self._count) if self.cell(k).adjusted(0, 0, GAP, GAP).contains(point)), None)
        if number is not None and event.button() == Qt.MouseButton.LeftButton:
            self._at = number
            self.chosen.emit(number)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        steps = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1, Qt.Key.Key_Up: -COLUMNS, Qt.Key.Key_Down: COLUMNS}
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self._count:
            self.chosen.emit(self._at)
        elif (step := steps.get(Qt.Key(event.key()))) is not None and 0 <= self._at + step < self._count:
            self._at += step
            self.update()
        else:
            super().keyPressEvent(event)
