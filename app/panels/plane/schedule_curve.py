"""The curve of a noise schedule: share of the signal and signal over noise over the clock, with dots that can be taken hold of."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget

from app import theme
from app.protocol.payloads import Curve

HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 156, 26, 36, 18, 18
DOT, NEAR = 4.5, 12
NUDGE = 0.01
"""How far a key moves a dot."""
SHARE, RATIO = 0, 1
"""Data colours of the two curves."""
TIP = "ᾱ: share of the variance that is signal. SNR: signal over noise, logarithmic. Both over the method's clock, from data to noise"
DRAG = "Drag the dots; Left and Right choose one, Up and Down move it"


class ScheduleCurve(QWidget):
    """Share of the signal and signal over noise over the clock; dots that only ever fall from left to right."""

    dragged = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._curves: tuple[Curve, Curve] | None = None
        self.dots: list[float] = []
        """Shares at even times; empty where the curve cannot be held."""
        self.range = (0.0, 1.0)
        self._held, self._chosen = -1, 0
        self.setMinimumHeight(HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Noise schedule")
        theme.notifier().changed.connect(self.update)

    def show_curves(self, share: Curve, ratio: Curve) -> None:
        """Other curves."""
        self._curves = (share, ratio)
        self.update()

    def show_dots(self, dots: list[float]) -> None:
        """Where the curve can be held; a dot that is being dragged stays under the pointer."""
        if self._held < 0:
            self.dots = dots
            self.setToolTip(f"{TIP}. {DRAG}" if dots else TIP)
            self.setFocusPolicy(Qt.FocusPolicy.StrongFocus if dots else Qt.FocusPolicy.NoFocus)
            self.update()

    def move_dot(self, number: int, share: float) -> None:
        """Set a dot as near to a share as its neighbours allow."""
        above = self.dots[number - 1] * 0.999 if number else self.range[1]
        below = self.dots[number + 1] * 1.001 if number + 1 < len(self.dots) else self.range[0]
        self.dots[number] = float(f"{min(max(share, below), above):.5g}")
        self._chosen = number
        self.update()
        self.dragged.emit()

    # where ---------------------------------------------------------------------------------------------------------

    def place(self) -> QRectF:
        """The plot inside its margins."""
        return QRectF(LEFT, TOP, self.width() - LEFT - RIGHT, self.height() - TOP - BOTTOM)

    def dot_at(self, number: int) -> QPointF:
        """Pixels of a dot."""
        place = self.place()
        return QPointF(place.left() + number / (len(self.dots) - 1) * place.width(), place.bottom() - self.dots[number] * place.height())

    # painting ------------------------------------------------------------------------------------------------------

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter, place = QPainter(self), self.place()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(theme.font(theme.LEAST))
        painter.fillRect(place, theme.colour("surface"))
        painter.setPen(theme.colour("border"))
        painter.drawRect(place)
        if self._curves is not None:
            share, ratio = self._curves
            decades = np.log10(ratio.y)
            low = float(np.floor(decades.min()))
            high = max(low + 1, float(np.ceil(decades.max())))
            self._paint_curve(painter, share.x, share.y, SHARE)
            self._paint_curve(painter, ratio.x, (decades - low) / (high - low), RATIO)
            self._paint_words(painter, ("0", "1"), ("10" + _raised(low), "10" + _raised(high)))
        for number in range(len(self.dots)):
            chosen = number == self._chosen and self.hasFocus()
            painter.setPen(QPen(theme.colour("focus") if chosen else theme.data_colour(SHARE), 2))
            painter.setBrush(theme.colour("surface"))
            painter.drawEllipse(self.dot_at(number), DOT + chosen, DOT + chosen)

    def _paint_curve(self, painter: QPainter, x: np.ndarray, y: np.ndarray, ink: int) -> None:
        place = self.place()
        across, up = place.left() + x * place.width(), place.bottom() - y * place.height()
        painter.setPen(QPen(theme.data_colour(ink), 2))
        painter.drawPolyline(QPolygonF([QPointF(a, b) for a, b in zip(across.tolist(), up.tolist())]))

    def _paint_words(self, painter: QPainter, left: tuple[str, str], right: tuple[str, str]) -> None:
        place = self.place()
        at_right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        painter.setPen(theme.colour("muted"))
        for words, y in zip(left, (place.bottom() - 8, place.top())):
            painter.drawText(QRectF(0, y - 4, LEFT - 6, 16), at_right, words)
        for words, y in zip(right, (place.bottom() - 8, place.top())):
            painter.drawText(QRectF(place.right() + 8, y - 4, RIGHT - 8, 16), Qt.AlignmentFlag.AlignVCenter, words)
        painter.drawText(QRectF(place.left(), place.bottom() + 2, place.width(), 16), Qt.AlignmentFlag.AlignLeft, "data")
        painter.drawText(QRectF(place.left(), place.bottom() + 2, place.width(), 16), Qt.AlignmentFlag.AlignHCenter, "t")
        painter.drawText(QRectF(place.left(), place.bottom() + 2, place.width(), 16), Qt.AlignmentFlag.AlignRight, "noise")
        painter.setPen(theme.colour("text"))
        for words, x, ink in (("ᾱ", place.left(), SHARE), ("SNR", place.right() - 42, RATIO)):
            painter.fillRect(QRectF(x, 7, 12, 3), theme.data_colour(ink))
            painter.drawText(QRectF(x + 16, 0, 60, TOP - 2), Qt.AlignmentFlag.AlignVCenter, words)

    # pointer and keys ----------------------------------------------------------------------------------------------

    def mousePressEvent(self, event: QMouseEvent) -> None:
        away = [(self.dot_at(number) - event.position()).manhattanLength() for number in range(len(self.dots))]
        if away and min(away) <= NEAR:
            self._held = self._chosen = away.index(min(away))
            self.update()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._held >= 0:
            place = self.place()
            self.move_dot(self._held, (place.bottom() - event.position().y()) / place.height())

    def mouseReleaseEvent(self, _event: QMouseEvent) -> None:
        self._held = -1

    def keyPressEvent(self, event: QKeyEvent) -> None:
        turn = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(event.key())
        lift = {Qt.Key.Key_Up: NUDGE, Qt.Key.Key_Down: -NUDGE}.get(event.key())
        if turn and self.dots:
            self._chosen = min(max(self._chosen + turn, 0), len(self.dots) - 1)
            self.update()
        elif lift and self.dots:
            self.move_dot(self._chosen, self.dots[self._chosen] + lift)
        else:
            super().keyPressEvent(event)


def _raised(power: float) -> str:
    return str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
