"""Two axes with names, units and few ticks round a picture or a curve, for widgets that paint themselves: geometry and painting."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, floor, log10

import numpy as np
from PySide6.QtCore import QPointF, QRect, QRectF, Qt
from PySide6.QtGui import QFontMetrics, QPainter, QPen, QPolygonF

from app import theme
from app.widgets.colour_scale import ColourScale, figure

LEFT, RIGHT, TOP, FOOT = 58, 12, 10, 38
"""Pixels round the place of the picture for ticks and names."""
_CENTRE = Qt.AlignmentFlag.AlignCenter
WRAPPED = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextWordWrap
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


@dataclass(frozen=True)
class ChartFrame:
    """`place`: the picture without its margins, pixels; `x`, `y`: what its edges stand for, y upward."""

    place: QRectF
    x: tuple[float, float]
    y: tuple[float, float]

    @classmethod
    def within(cls, room: QRectF, x: tuple[float, float], y: tuple[float, float], *, foot: int = FOOT) -> ChartFrame:
        """As large as the room allows with the margins kept."""
        place = room.adjusted(LEFT, TOP, -RIGHT, -foot)
        return cls(QRectF(place.left(), place.top(), max(place.width(), 10), max(place.height(), 10)), _open(x), _open(y))

    def at(self, x: float, y: float) -> QPointF:
        """The pixel of a point."""
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return QPointF(self.place.left() + across * self.place.width(), self.place.bottom() - up * self.place.height())

    def under(self, point: QPointF) -> tuple[float, float] | None:
        """What a pixel stands for; None outside."""
        if not self.place.contains(point):
            return None
        across = (point.x() - self.place.left()) / self.place.width()
        up = (self.place.bottom() - point.y()) / self.place.height()
        return self.x[0] + across * (self.x[1] - self.x[0]), self.y[0] + up * (self.y[1] - self.y[0])

    def polygon(self, xs: np.ndarray, ys: np.ndarray) -> QPolygonF:
        """Points of a curve; those that are not finite are left out."""
        good = np.isfinite(xs) & np.isfinite(ys)
        return QPolygonF([self.at(float(x), float(y)) for x, y in zip(xs[good], ys[good], strict=True)])

    # painting ------------------------------------------------------------------------------------------------------

    def paint_axes(self, painter: QPainter, x_name: str, y_name: str, *, grid: bool = False) -> None:
        """Edge, ticks, numbers and names; a grid for curves."""
        painter.setFont(theme.font(theme.LEAST))
        self._paint_ticks(painter, grid)
        painter.setPen(QPen(theme.colour("border"), 1))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRect(self.place)
        painter.setPen(theme.colour("muted"))
        foot = QRectF(self.place.left() - LEFT, self.place.bottom() + 18, self.place.width() + LEFT + RIGHT, 16)
        painter.drawText(foot.adjusted(LEFT, 0, 0, 0), Qt.AlignmentFlag.AlignHCenter, x_name)
        painter.save()
        painter.translate(self.place.left() - LEFT + 2, self.place.bottom())
        painter.rotate(-90)
        metrics = painter.fontMetrics()
        words = metrics.elidedText(y_name, Qt.TextElideMode.ElideRight, int(self.place.height()))
        painter.drawText(QRectF(0, 0, self.place.height(), 14), _CENTRE, words)
        painter.restore()

    def _paint_ticks(self, painter: QPainter, grid: bool) -> None:
        faint = theme.colour("line")
        for value in ticks(self.x, max(int(self.place.width() // 64), 2)):
            at = self.at(value, self.y[0])
            painter.setPen(faint if grid else theme.colour("border"))
            painter.drawLine(at, QPointF(at.x(), self.place.top() if grid else at.y() + 4))
            painter.setPen(theme.colour("muted"))
            painter.drawText(QRectF(at.x() - 40, at.y() + 4, 80, 14), _CENTRE, tick_words(value, self.x))
        for value in ticks(self.y, max(int(self.place.height() // 44), 2)):
            at = self.at(self.x[0], value)
            painter.setPen(faint if grid else theme.colour("border"))
            painter.drawLine(at, QPointF(self.place.right() if grid else at.x() - 4, at.y()))
            painter.setPen(theme.colour("muted"))
            painter.drawText(QRectF(at.x() - LEFT + 14, at.y() - 8, LEFT - 19, 16), _RIGHT, tick_words(value, self.y))


def _open(ends: tuple[float, float]) -> tuple[float, float]:
    """A range that is not empty."""
    low, high = ends
    if not (np.isfinite(low) and np.isfinite(high)):
        return 0.0, 1.0
    return (low, high) if high > low else (low - (abs(low) * 0.05 or 0.5), low + (abs(low) * 0.05 or 0.5))


def ticks(ends: tuple[float, float], most: int) -> list[float]:
    """Round numbers within a range, about so many, at least two."""
    found: list[float] = []
    for wanted in range(max(most, 1), max(most, 1) + 4):
        raw = (ends[1] - ends[0]) / wanted
        power = 10 ** floor(log10(raw))
        step = next(power * f for f in (1, 2, 2.5, 5, 10) if power * f >= raw * (1 - 1e-9))
        first = ceil(ends[0] / step - 1e-9)
        found = [round(n * step, 12) for n in range(first, floor(ends[1] / step + 1e-9) + 1)]
        if len(found) > 1:
            break
    return found


def tick_words(value: float, ends: tuple[float, float]) -> str:
    """A number beside a tick: as many figures as the range asks for."""
    span = ends[1] - ends[0]
    if value == 0:
        return "0"
    if abs(value) >= 100_000 or span < 1e-4:
        return f"{value:.3g}".replace("-", "−")
    digits = 0 if span >= 20 else 1 if span >= 4 else 2 if span >= 0.3 else 3 if span >= 0.03 else 4
    text = f"{value:,.{digits}f}"
    return (text.rstrip("0").rstrip(".") if digits else text).replace("-", "−")


def padded(values: np.ndarray, share: float = 0.06) -> tuple[float, float]:
    """The range of the finite values with some air."""
    known = values[np.isfinite(values)]
    if not known.size:
        return 0.0, 1.0
    low, high = float(known.min()), float(known.max())
    air = (high - low) * share
    return low - air, high + air


@lru_cache(maxsize=256)
def lines_of(words: str, width: int, most: int) -> int:
    """How many lines of small type the words need within a width, at most so many."""
    metrics = QFontMetrics(theme.font(theme.LEAST))
    needed = metrics.boundingRect(QRect(0, 0, max(width, 40), 400), WRAPPED, words).height()
    return min(max(round(needed / metrics.lineSpacing()), 1), most)


def paint_caption(painter: QPainter, strip: QRectF, readout: str, caption: str, lines: int) -> None:
    """A quiet strip: the caption, or what is read under the pointer."""
    painter.fillRect(strip, theme.colour("background"))
    painter.setFont(theme.font(theme.LEAST))
    painter.setPen(theme.colour("text" if readout else "muted"))
    text, place = readout or caption, strip.adjusted(8, 0, -8, 0)
    if lines == 1:
        text = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, int(place.width()))
    painter.drawText(place, WRAPPED, text)


def paint_scale(painter: QPainter, scale: ColourScale, left: float, top: float, words: str, width: float = 90) -> float:
    """A bar of colours between its two numbers, then words; returns where they end."""
    painter.setFont(theme.font(theme.LEAST))
    painter.setPen(theme.colour("muted"))
    metrics = painter.fontMetrics()
    low, high = scale.ends()
    x = left
    painter.drawText(QPointF(x, top + 10), low)
    x += metrics.horizontalAdvance(low) + 5
    scale.paint_bar(painter, QRectF(x, top + 2, width, 8))
    x += width + 5
    text = f"{high}   {words}"
    painter.drawText(QPointF(x, top + 10), text)
    return x + metrics.horizontalAdvance(text)


def paint_empty(painter: QPainter, place: QRectF, words: str) -> None:
    """What stands where nothing is known yet."""
    painter.setPen(theme.colour("muted"))
    painter.setFont(theme.font())
    painter.drawText(place.adjusted(24, 12, -24, -12), _CENTRE | Qt.TextFlag.TextWordWrap, words)


def number(value: float) -> str:
    """A figure for captions; an en dash if there is none."""
    return figure(value) if np.isfinite(value) else "–"
