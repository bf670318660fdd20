"""Strokes that several portraits and maps share: rods with round ends, arrows straight and round."""

from __future__ import annotations

from math import atan2, cos, degrees, hypot, radians, sin

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPen, QPolygonF

ROUND = Qt.PenCapStyle.RoundCap


def pen(colour: QColor, width: float = 1.0, style: Qt.PenStyle = Qt.PenStyle.SolidLine) -> QPen:
    """A pen with round ends."""
    return QPen(colour, width, style, ROUND, Qt.PenJoinStyle.RoundJoin)


def rod(painter: QPainter, one: QPointF, other: QPointF, width: float, colour: QColor) -> None:
    """A thick line between two joints."""
    painter.setPen(pen(colour, width))
    painter.drawLine(one, other)


def disc(painter: QPainter, middle: QPointF, radius: float, colour: QColor, edge: QColor | None = None) -> None:
    """A filled circle."""
    painter.setPen(pen(edge, 1.5) if edge is not None else Qt.PenStyle.NoPen)
    painter.setBrush(colour)
    painter.drawEllipse(middle, radius, radius)
    painter.setBrush(Qt.BrushStyle.NoBrush)


def head(painter: QPainter, tip: QPointF, angle: float, size: float, colour: QColor) -> None:
    """The head of an arrow that points along `angle` (rad, on the screen: y downward)."""
    back = [tip - QPointF(cos(angle + turn), sin(angle + turn)) * size for turn in (0.45, -0.45)]
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(colour)
    painter.drawPolygon(QPolygonF([tip, *back]))
    painter.setBrush(Qt.BrushStyle.NoBrush)


def arrow(painter: QPainter, start: QPointF, end: QPointF, width: float, colour: QColor) -> None:
    """A straight arrow; a dot if it has no length."""
    way = end - start
    length = hypot(way.x(), way.y())
    if length < 0.5:
        disc(painter, start, max(width, 1.2), colour)
        return
    size = min(width * 3.5 + 2, length)
    painter.setPen(QPen(colour, width, Qt.PenStyle.SolidLine, Qt.PenCapStyle.FlatCap))
    painter.drawLine(start, end - way * (size * 0.7 / length))
    head(painter, end, atan2(way.y(), way.x()), size, colour)


def turn_arrow(painter: QPainter, middle: QPointF, radius: float, turn: float, width: float, colour: QColor) -> None:
    """An arrow round a joint from the top, by `turn` radians, positive counter-clockwise."""
    if abs(turn) < 0.02:
        return
    circle = QRectF(middle.x() - radius, middle.y() - radius, 2 * radius, 2 * radius)
    painter.setPen(QPen(colour, width, Qt.PenStyle.SolidLine, Qt.PenCapStyle.FlatCap))
    painter.drawArc(circle, 90 * 16, round(degrees(turn) * 16))
    end = radians(90) + turn  # counter-clockwise from the right, as mathematics has it
    tip = middle + QPointF(cos(end), -sin(end)) * radius
    heading = -(end + (radians(90) if turn > 0 else -radians(90)))
    size = width * 3 + 3
    head(painter, tip + QPointF(cos(heading), sin(heading)) * size * 0.5, heading, size, colour)
