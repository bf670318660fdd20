"""What a `MetricPlot` is made of: faint dots, bands, lines that do not move the view, the head line, and the key that reads values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QPainter, QPainterPath, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QWidget

from app import theme

ROW, CHIP, PAD = 17, 18, 8
SLACK = 1.5
"""How many times longer than what is seen an axis may be before it shrinks."""


class Shape(pg.GraphicsObject):
    """Something drawn in the units of the plot, which never changes the view."""

    def __init__(self, z: float) -> None:
        super().__init__()
        self._box = QRectF()
        self.setZValue(z)

    def boundingRect(self) -> QRectF:
        return self._box

    def informViewBoundsChanged(self) -> None: ...

    def _take(self, x: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
        self.prepareGeometryChange()
        if len(x):
            bottom, top = float(low.min()), float(high.max())
            self._box = QRectF(float(x[0]), bottom, float(x[-1] - x[0]) or 1e-9, (top - bottom) or 1e-9)
        else:
            self._box = QRectF()
        self.update()


class Dots(Shape):
    """Points, each a dot of the same few pixels."""

    def __init__(self, z: float = -5) -> None:
        super().__init__(z)
        self._points, self._pen = QPolygonF(), QPen()

    def show_points(self, x: np.ndarray, y: np.ndarray, colour: QColor, size: float = 2.5) -> None:
        """float (n,) each, finite; x grows."""
        self._points = pg.functions.arrayToQPolygonF(x, y) if len(x) else QPolygonF()
        self._pen = QPen(colour, size, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap)
        self._pen.setCosmetic(True)
        self._take(x, y, y)

    def paint(self, painter: QPainter, *_style: object) -> None:
        painter.setPen(self._pen)
        painter.drawPoints(self._points)


class Band(Shape):
    """The room between two curves."""

    def __init__(self, z: float = -8) -> None:
        super().__init__(z)
        self._path, self._fill = QPainterPath(), QColor()

    def show_between(self, x: np.ndarray, low: np.ndarray, high: np.ndarray, colour: QColor) -> None:
        """float (n,) each, finite; x grows."""
        self._path, self._fill = QPainterPath(), colour
        if len(x):
            around = pg.functions.arrayToQPolygonF(np.concatenate((x, x[::-1])), np.concatenate((low, high[::-1])))
            self._path.addPolygon(around)
        self._take(x, low, high)

    def paint(self, painter: QPainter, *_style: object) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        painter.fillPath(self._path, self._fill)


class Still(pg.InfiniteLine):
    """A line over the curves that is no reason for the view to find its range anew."""

    def informViewBoundsChanged(self) -> None: ...


class FigureAxis(pg.AxisItem):
    """Numbers in full, with separators and a true minus."""

    def tickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:
        if self.logMode or spacing * scale < 1 or max(map(abs, values), default=0) * scale >= 1e9:
            return [text.replace("-", "−") for text in super().tickStrings(values, scale, spacing)]
        return [f"{value * scale:,.0f}".replace("-", "−") for value in values]


def settled(now: tuple[float, float] | None, low: float, high: float, ahead: tuple[float, float]) -> tuple[float, float]:
    """Ends of an axis for low .. high: as they are while they fit, so that the axis is not drawn anew with every point; else with room."""
    span = high - low
    if now is not None and now[0] <= low and now[1] >= high and now[1] - now[0] <= SLACK * span:
        return now
    return low - ahead[0] * span, high + ahead[1] * span


@dataclass(frozen=True)
class KeyRow:
    """A line of the key: colour, what it is, and its value where the pointer is."""

    words: str
    colour: QColor
    value: str = ""
    thin: bool = False
    dotted: bool = False


class PlotKey(QWidget):
    """The legend inside a plot; with the pointer over the plot it reads all values at that place."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._rows: tuple[KeyRow, ...] = ()
        self._head = ""
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.hide()

    def show_rows(self, head: str, rows: Sequence[KeyRow], most: int = 12) -> None:
        """Show these, the heading above them if there is one."""
        kept = tuple(rows[:most])
        if len(rows) > most:
            kept = (*kept[:-1], KeyRow(f"and {len(rows) - most + 1} more", theme.colour("muted")))
        if (head, kept) != (self._head, self._rows):
            self._head, self._rows = head, kept
            self.setVisible(bool(kept or head))
            self.resize(self.sizeHint())
            self.update()

    def rows(self) -> tuple[KeyRow, ...]:
        """What is shown."""
        return self._rows

    @property
    def head(self) -> str:
        """Where the values are read."""
        return self._head

    def sizeHint(self):
        self.setFont(theme.font(theme.LEAST))
        metrics = self.fontMetrics()
        wide = max((metrics.horizontalAdvance(row.words) + metrics.horizontalAdvance(row.value) + 16 for row in self._rows), default=0)
        wide = max(wide + CHIP, metrics.horizontalAdvance(self._head)) + 2 * PAD
        return QRectF(0, 0, wide, ROW * (len(self._rows) + bool(self._head)) + 8).toRect().size()

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(theme.colour("line"))
        painter.setBrush(theme.colour("surface", 225))
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 4, 4)
        painter.setFont(theme.font(theme.LEAST))
        line = QRectF(PAD, 4, self.width() - 2 * PAD, ROW)
        left, right = (side | Qt.AlignmentFlag.AlignVCenter for side in (Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignRight))
        if self._head:
            painter.setPen(theme.colour("muted"))
            painter.drawText(line, left, self._head)
            line.translate(0, ROW)
        for row in self._rows:
            style = Qt.PenStyle.DashLine if row.dotted else Qt.PenStyle.SolidLine
            painter.setPen(QPen(row.colour, 1.2 if row.thin else 2.5, style))
            painter.drawLine(QPointF(line.left(), line.center().y()), QPointF(line.left() + CHIP - 6, line.center().y()))
            painter.setPen(theme.colour("text"))
            painter.drawText(line.adjusted(CHIP, 0, 0, 0), left, row.words)
            painter.drawText(line, right, row.value)
            line.translate(0, ROW)


class PlotHead(QWidget):
    """Name of a plot, what is done to its numbers, and the newest value."""

    pressed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.title, self.note, self.value, self.unit = "", "", "", ""
        self.setFixedHeight(22)

    def set_title(self, title: str) -> None:
        """Name the metric."""
        self.title = title
        self.update()

    def show_words(self, note: str, value: str, unit: str = "") -> None:
        """Change the quiet words and the value; its unit stands where there is room."""
        if (note, value, unit) != (self.note, self.value, self.unit):
            self.note, self.value, self.unit = note, value, unit
            self.update()

    def mousePressEvent(self, event) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self.pressed.emit()

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(self.rect(), theme.colour("surface"))
        line = QRectF(self.rect()).adjusted(PAD, 2, -PAD, 0)
        left, right = (side | Qt.AlignmentFlag.AlignVCenter for side in (Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignRight))
        painter.setFont(theme.font(theme.SMALL, bold=True))
        painter.setPen(theme.colour("text"))
        metrics = painter.fontMetrics()
        fits = metrics.horizontalAdvance(f"{self.title}   {self.value} {self.unit}") <= line.width()
        value = f"{self.value} {self.unit}".rstrip() if fits else self.value
        painter.drawText(line, right, value)
        room = int(line.width()) - metrics.horizontalAdvance(value) - 8
        title = painter.fontMetrics().elidedText(self.title, Qt.TextElideMode.ElideRight, max(room, 0))
        painter.drawText(line, left, title)
        used = painter.fontMetrics().horizontalAdvance(title) + 10
        painter.setFont(theme.font(theme.LEAST))
        painter.setPen(theme.colour("muted"))
        note = painter.fontMetrics().elidedText(self.note, Qt.TextElideMode.ElideRight, max(room - used, 0))
        if room - used > 40:
            painter.drawText(line.adjusted(used, 0, 0, 0), left, note)
