"""The margins of a table on the screen: labels of rows and columns, thinned until they fit, and the colour scale in the corner."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QPainter

from app import theme
from app.widgets.colour_scale import ColourScale
from app.widgets.fate_marks import visible
from app.widgets.matrix_place import Axis, MatrixPlace

LEFT, TOP = 84, 68
LINE = 13  # px that a label needs
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
_MIDDLE = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter


def every(axis: Axis, line: float = LINE) -> int:
    """Each how many-th label is written: 1 when all fit, else the least of 2, 5, 10, 20, 50 … that does."""
    step = 1
    for factor in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000):
        step = factor
        if axis.size * factor >= line:
            break
    return step


def label(labels: Sequence[str], number: int) -> str:
    """What stands at a row or column: its token, or its number if it has none."""
    return visible(labels[number]).strip() or "␣" if number < len(labels) else str(number)


def paint_axes(painter: QPainter, place: MatrixPlace, rows: Sequence[str], columns: Sequence[str]) -> None:
    """Labels left of the rows and, turned upwards, above the columns."""
    painter.setFont(theme.font(theme.LEAST, mono=True))
    painter.setPen(theme.colour("muted"))
    for number, at in _shown(place.rows):
        _paint_row(painter, TOP + at, label(rows, number))
    for number, at in _shown(place.columns):
        _paint_column(painter, LEFT + at, label(columns, number))


def paint_pointed(painter: QPainter, place: MatrixPlace, row: int, column: int, rows: Sequence[str], columns: Sequence[str]) -> None:
    """The labels of one row and one column (-1: none) over all others, also where those are thinned out."""
    painter.setFont(theme.font(theme.LEAST, mono=True, bold=True))
    if row >= 0:
        middle = TOP + place.rows.pixel(row + 0.5)
        painter.fillRect(QRectF(0, middle - LINE / 2 - 1, LEFT - 2, LINE + 2), theme.colour("selection"))
        painter.setPen(theme.colour("text"))
        _paint_row(painter, middle, label(rows, row))
    if column >= 0:
        middle = LEFT + place.columns.pixel(column + 0.5)
        painter.fillRect(QRectF(middle - LINE / 2 - 1, 0, LINE + 2, TOP - 2), theme.colour("selection"))
        painter.setPen(theme.colour("text"))
        _paint_column(painter, middle, label(columns, column))


def paint_corner(painter: QPainter, scale: ColourScale, row_name: str, column_name: str) -> None:
    """What the axes are, and the colour scale with its numbers."""
    painter.fillRect(QRectF(0, 0, LEFT - 2, TOP - 2), theme.colour("surface"))
    painter.setFont(theme.font(theme.LEAST))
    painter.setPen(theme.colour("muted"))
    painter.drawText(QRectF(6, 2, LEFT - 12, 14), _RIGHT, f"{column_name} →")
    painter.drawText(QRectF(6, TOP - 18, LEFT - 12, 14), _MIDDLE, f"{row_name} ↓")
    scale.paint_bar(painter, QRectF(6, 19, LEFT - 14, 7))
    low, high = scale.ends()
    painter.setPen(theme.colour("text"))
    painter.drawText(QRectF(6, 27, LEFT - 14, 14), _MIDDLE, low)
    painter.drawText(QRectF(6, 27, LEFT - 14, 14), _RIGHT, high)
    if scale.log:
        painter.setPen(theme.colour("muted"))
        painter.drawText(QRectF(LEFT / 2 - 8, TOP - 18, LEFT / 2, 14), _RIGHT, "log")


def _shown(axis: Axis) -> list[tuple[int, float]]:
    """Numbers of the labels that are written, with the pixel of their middle, margin not included."""
    step, (first, end) = every(axis), axis.window()
    first = -(-first // step) * step
    return [(number, axis.pixel(number + 0.5)) for number in range(first, end, step) if 0 <= axis.pixel(number + 0.5) < axis.room]


def _paint_row(painter: QPainter, middle: float, text: str) -> None:
    place = QRectF(4, middle - LINE / 2, LEFT - 10, LINE)
    painter.drawText(place, _RIGHT, painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, int(place.width())))


def _paint_column(painter: QPainter, middle: float, text: str) -> None:
    painter.save()
    painter.translate(QPointF(middle, TOP - 5))
    painter.rotate(-90)
    place = QRectF(0, -LINE / 2, TOP - 10, LINE)
    painter.drawText(place, _MIDDLE, painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, int(place.width())))
    painter.restore()
