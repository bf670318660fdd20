"""A text as chips: under each token a thin bar for every layer in the colours of the experts it visited, and for the chosen layer a number.

A bar is divided by the weights of the experts. Only what is in sight is painted. A click selects a token; Shift with the arrows goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from PySide6.QtCore import QEvent, QRectF, QSize, Qt, Signal, Slot
from PySide6.QtGui import QColor, QFontMetricsF, QHelpEvent, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from app import theme
from app.widgets.expert_paint import expert_colour, paint_badge
from app.widgets.token_layout import Heights, TokenLayout

WORDS, NUMBER, LINE_GAP = 19, 14, 8
LEAST_CHIP, EMPTY_HEIGHT, FIRST_WIDTH = 22, 24, 600.0
BARS = 42
"""Pixels that the bars of all layers may take together."""


@dataclass(frozen=True, slots=True)
class RoutedToken:
    """One token: experts and weights (L, K), which choices the bias alone made, and which found no place."""

    text: str
    experts: np.ndarray
    weights: np.ndarray
    flips: np.ndarray
    dropped: np.ndarray
    written: bool


class RoutedText(QWidget):
    """Shows the tokens of one text; grows at its end."""

    selected = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.tokens: list[RoutedToken] = []
        self.current = self._hover = -1
        self.row = 0
        """Which of the layers the numbers are about."""
        self._shown: int | None = None
        self._bar, self._tip, self._empty = 4.0, _no_tip, ""
        self._widths: dict[str, float] = {}
        self._colours: dict[int, QColor] = {}
        self._places: TokenLayout
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Tokens and their experts")
        self.setAccessibleDescription("Click a token to see its experts; Shift with Left and Right goes from token to token.")
        theme.notifier().changed.connect(self._restyle)
        self._restyle()

    # content -------------------------------------------------------------------------------------------------------

    def clear(self, n_layers: int = 0) -> None:
        """Another text, of a model with so many layers of experts."""
        self.tokens, self.current, self._hover, self._shown = [], -1, -1, None
        self._bar = max(1.0, min(5.0, BARS / max(n_layers, 1)))
        self.row = min(self.row, max(n_layers - 1, 0))
        heights = Heights(entropy=0, chip=WORDS + ceil(self._bar * n_layers) + NUMBER, ghost=0, gap=LINE_GAP)
        self._places = TokenLayout(self._measure, max(float(self.width()), LEAST_CHIP * 2.0) if self.width() > 80 else FIRST_WIDTH, heights)
        self._fit()
        self.update()

    def append(self, tokens: Sequence[RoutedToken]) -> None:
        """More tokens at the end."""
        self.tokens += tokens
        line = max(len(self._places.lines) - 2, 0)
        self._places.begin(tokens)
        self._fit()
        self.update(QRectF(0, self._places.lines[line].y, self.width(), self.height()).toAlignedRect())

    def set_empty_text(self, text: str) -> None:
        """What stands here while there are no tokens."""
        self._empty = text
        self.update()

    def set_tip(self, tip: Callable[[int], str]) -> None:
        """What to say about a token that the pointer rests on."""
        self._tip = tip

    def set_row(self, row: int) -> None:
        """Let the numbers be those of another layer."""
        if row != self.row:
            self.row = row
            self.update()

    def set_shown(self, tokens: int | None) -> None:
        """Show only so many tokens in full, the rest pale; None: all."""
        if tokens != self._shown:
            self._shown = tokens
            self.update()

    def select(self, token: int) -> None:
        """Mark a token; tells nobody."""
        if token != self.current:
            before, self.current = self.current, token
            self._update_tokens(before, token)

    def _update_tokens(self, *tokens: int) -> None:
        for token in tokens:
            if 0 <= token < len(self.tokens):
                self.update(self.place_of(token).adjusted(-1, -1, 1, 1).toAlignedRect())

    def place_of(self, token: int) -> QRectF:
        """Where a token stands."""
        chip, line = self._places.chips[token], self._places.lines[self._places.line_of(token)]
        return QRectF(chip.x, line.y, chip.width, self._places.heights.chip)

    def text(self) -> str:
        """The chips, separated by a bar."""
        return "|".join(token.text for token in self.tokens)

    # size ----------------------------------------------------------------------------------------------------------

    def _measure(self, text: str) -> float:
        if text not in self._widths:
            self._widths[text] = max(self._metrics.horizontalAdvance(text) + 4, LEAST_CHIP)
        return self._widths[text]

    @Slot()
    def _restyle(self) -> None:
        self.setFont(theme.font(mono=True))
        self._metrics = QFontMetricsF(self.font())
        self._widths.clear()
        self._struck = theme.font(mono=True)
        self._struck.setStrikeOut(True)
        self._colours.clear()
        if not hasattr(self, "_places"):
            self.clear()
        self.update()

    def _fit(self) -> None:
        height = max(ceil(self._places.height), EMPTY_HEIGHT)
        if height != self.height():
            self.setFixedHeight(height)

    def resizeEvent(self, event) -> None:
        super().resizeEvent(event)
        width = max(float(self.width()), LEAST_CHIP * 2.0)
        if width != self._places.width:
            self._places.flow(width)
            self._fit()

    def sizeHint(self) -> QSize:
        return QSize(400, max(ceil(self._places.height), EMPTY_HEIGHT))

    # painting ------------------------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        places = self._places
        if not places.lines:
            painter.setFont(theme.font())
            painter.setPen(theme.colour("muted"))
            painter.drawText(self.rect(), Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextWordWrap, self._empty)
            return
        for line in range(places.line_at(event.rect().top()), places.line_at(event.rect().bottom()) + 1):
            for number in places.chips_of(line):
                chip = places.chips[number]
                if chip.x <= event.rect().right() + 1 and chip.x + chip.width >= event.rect().left() - 1:
                    self._paint_chip(painter, number, chip.text, QRectF(chip.x, places.lines[line].y, chip.width, places.heights.chip))

    def _paint_chip(self, painter: QPainter, number: int, text: str, place: QRectF) -> None:
        token = self.tokens[number]
        pale = self._shown is not None and number >= self._shown
        words = QRectF(place.left(), place.top(), place.width(), WORDS - 1)
        painter.fillRect(words, theme.colour("selection" if token.written else "raised", 90 if pale else 255))
        painter.setFont(self._struck if token.dropped[self.row].all() else self.font())
        painter.setPen(theme.colour("muted" if pale else "text"))
        painter.drawText(words.adjusted(3, 0, 0, 0), Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, text)
        if not pale:
            self._paint_bars(painter, token, QRectF(place.left(), words.bottom() + 1, place.width(), self._bar))
            below = QRectF(place.left(), place.bottom() - NUMBER + 1, place.width(), NUMBER - 1)
            paint_badge(painter, below, int(token.experts[self.row, 0]), struck=bool(token.dropped[self.row, 0]))
            if token.flips[self.row].any():
                painter.setPen(QPen(theme.colour("text"), 1, Qt.PenStyle.DotLine))
                painter.drawRect(below.adjusted(0, 0, -1, -1))
        if number in (self.current, self._hover):
            painter.setPen(QPen(theme.colour("accent"), 2 if number == self.current else 1))
            painter.drawRect(place.adjusted(0, 0, -1, -1))

    def _paint_bars(self, painter: QPainter, token: RoutedToken, bar: QRectF) -> None:
        for row in range(len(token.experts)):
            weights = token.weights[row]
            total, x = float(weights.sum()), bar.left()
            for expert, weight in zip(token.experts[row], weights, strict=True):
                width = bar.width() * float(weight) / total if total > 0 else 0.0
                painter.fillRect(QRectF(x, bar.top() + row * self._bar, width, max(self._bar - 0.6, 0.8)), self._colour(int(expert)))
                x += width

    def _colour(self, expert: int) -> QColor:
        if expert not in self._colours:
            self._colours[expert] = expert_colour(expert)
        return self._colours[expert]

    # mouse and keys ------------------------------------------------------------------------------------------------

    def _at(self, event) -> int:
        found = self._places.chip_at(event.position().x(), event.position().y())
        return -1 if found is None else found

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._hover_over(self._at(event))

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self._hover_over(-1)

    def _hover_over(self, token: int) -> None:
        if token != self._hover:
            before, self._hover = self._hover, token
            self.setCursor(Qt.CursorShape.PointingHandCursor if token >= 0 else Qt.CursorShape.ArrowCursor)
            self._update_tokens(before, token)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        token = self._at(event)
        if event.button() == Qt.MouseButton.LeftButton and token >= 0:
            self.select(token)
            self.selected.emit(token)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        step = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(Qt.Key(event.key()), 0)
        if step and event.modifiers() & Qt.KeyboardModifier.ShiftModifier and self.tokens:
            self.select(min(max(self.current + step, 0), len(self.tokens) - 1))
            self.selected.emit(self.current)
        else:
            super().keyPressEvent(event)

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            found = self._places.chip_at(event.pos().x(), event.pos().y())
            QToolTip.showText(event.globalPos(), "" if found is None else self._tip(found), self)
            return True
        return super().event(event)


def _no_tip(_token: int) -> str:
    return ""
