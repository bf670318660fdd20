"""Lines of routed tokens as pictures: each is painted once, and while a text grows only what is new is painted into its last line."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QPainter, QPen, QPixmap

from app import theme
from app.widgets.expert_paint import expert_colour, paint_badge
from app.widgets.token_layout import Chip

WORDS, NUMBER = 19, 14
"""Pixels of a chip's words, and of the number at its foot."""
MOST_LINES = 64
"""Pictures kept; at 600 by 55 pixels one takes 130 kB."""


@dataclass(frozen=True, slots=True)
class RoutedToken:
    """One token: experts and weights (L, K), which choices the bias alone made, and which found no place."""

    text: str
    experts: np.ndarray
    weights: np.ndarray
    flips: np.ndarray
    dropped: np.ndarray
    written: bool


class ChipPainter:
    """Paints single chips; holds fonts and colours of the theme in use."""

    def __init__(self) -> None:
        self.row, self.bar = 0, 4.0
        """The layer the numbers are about, and pixels of a layer's bar."""
        self.restyle()

    def restyle(self) -> None:
        """Another theme."""
        self.font, self._struck = theme.font(mono=True), theme.font(mono=True)
        self._struck.setStrikeOut(True)
        self._grounds: dict[int, QColor] = {}

    def paint(self, painter: QPainter, token: RoutedToken, chip: Chip, height: float, *, pale: bool) -> None:
        """A chip of a line that begins at y = 0."""
        words = QRectF(chip.x, 0, chip.width, WORDS - 1)
        painter.fillRect(words, theme.colour("selection" if token.written else "raised", 90 if pale else 255))
        painter.setFont(self._font(token))
        painter.setPen(theme.colour("muted" if pale else "text"))
        painter.drawText(words.adjusted(3, 0, 0, 0), Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, chip.text)
        if pale:
            return
        self._paint_bars(painter, token, words)
        below = QRectF(chip.x, height - NUMBER + 1, chip.width, NUMBER - 1)
        paint_badge(painter, below, int(token.experts[self.row, 0]), struck=bool(token.dropped[self.row, 0]))
        if token.flips[self.row].any():
            painter.setPen(QPen(theme.colour("text"), 1, Qt.PenStyle.DotLine))
            painter.drawRect(below.adjusted(0, 0, -1, -1))

    def _font(self, token: RoutedToken) -> QFont:
        return self._struck if token.dropped[self.row].all() else self.font

    def _paint_bars(self, painter: QPainter, token: RoutedToken, words: QRectF) -> None:
        """A bar a layer, divided by the weights."""
        total = token.weights.sum(axis=1, keepdims=True)
        widths = (words.width() * token.weights / np.where(total > 0, total, 1.0)).tolist()
        top, thick = words.bottom() + 1, max(self.bar - 0.6, 0.8)
        for experts, shares in zip(token.experts.tolist(), widths, strict=True):
            x = words.left()
            for expert, width in zip(experts, shares, strict=True):
                painter.fillRect(QRectF(x, top, width, thick), self._ground(expert))
                x += width
            top += self.bar

    def _ground(self, expert: int) -> QColor:
        if expert not in self._grounds:
            self._grounds[expert] = expert_colour(expert)
        return self._grounds[expert]


@dataclass
class _Line:
    """The picture of chips `first` to `end`, of which those before `shown` are in full."""

    first: int
    end: int
    shown: int
    picture: QPixmap


class LinePictures:
    """The pictures of the lines seen last."""

    def __init__(self) -> None:
        self._lines: OrderedDict[int, _Line] = OrderedDict()
        self.painted = 0
        """Chips painted so far; what the tests count."""

    def clear(self) -> None:
        """Everything has changed."""
        self._lines.clear()

    def picture(
        self, line: int, chips: range, size: QSize, scale: float, shown: int, paint: ChipPainter, tokens: list[RoutedToken],
        places: list[Chip],
    ) -> QPixmap:  # fmt: skip
        """A line of chips in `size` logical pixels; those from `shown` on are pale."""
        known = self._lines.get(line)
        grown = known is not None and known.first == chips.start and known.end <= chips.stop
        if not grown or known.shown != within(shown, chips.start, known.end) or known.picture.devicePixelRatio() != scale:
            known = _Line(chips.start, chips.start, 0, QPixmap(size * scale))
            known.picture.setDevicePixelRatio(scale)
            known.picture.fill(Qt.GlobalColor.transparent)
            self._lines[line] = known
        if known.end < chips.stop:
            painter = QPainter(known.picture)
            for number in range(known.end, chips.stop):
                paint.paint(painter, tokens[number], places[number], size.height(), pale=number >= shown)
                self.painted += 1
            painter.end()
            known.end, known.shown = chips.stop, within(shown, chips.start, chips.stop)
        self._lines.move_to_end(line)
        while len(self._lines) > MOST_LINES:
            self._lines.popitem(last=False)
        return known.picture


def within(number: int, low: int, high: int) -> int:
    """The number, or the end it is beyond."""
    return min(max(number, low), high)
