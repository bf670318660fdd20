"""A text as chips: under each token a thin bar for every layer in the colours of the experts it visited, and for the chosen layer a number.

A bar is divided by the weights of the experts. Only what is in sight is painted, each line once (`routed_lines.py`). A click selects a
token; Shift with the arrows goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal, Slot
from PySide6.QtGui import QFontMetricsF, QHelpEvent, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from app import theme
from app.widgets.routed_lines import NUMBER, WORDS, ChipPainter, LinePictures, RoutedToken
from app.widgets.token_layout import Heights, TokenLayout

LINE_GAP = 8
LEAST_CHIP, EMPTY_HEIGHT, FIRST_WIDTH = 22, 24, 600.0
BARS = 42
"""Pixels that the bars of all layers may take together."""


class RoutedText(QWidget):
    """Shows the tokens of one text; grows at its end."""

    selected = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.tokens: list[RoutedToken] = []
        self.current = self._hover = -1
        self._chip, self._pictures = ChipPainter(), LinePictures()
        self._shown: int | None = None
        self._tip, self._empty = _no_tip, ""
        self._widths: dict[str, float] = {}
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
        self._pictures.clear()
        self._chip.bar = bar = max(1.0, min(5.0, BARS / max(n_layers, 1)))
        self._chip.row = min(self.row, max(n_layers - 1, 0))
        heights = Heights(entropy=0, chip=WORDS + ceil(bar * n_layers) + NUMBER, ghost=0, gap=LINE_GAP)
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
            self._chip.row = row
            self._pictures.clear()
            self.update()

    @property
    def row(self) -> int:
        """Which of the layers the numbers are about."""
        return self._chip.row

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
        self._chip.restyle()
        self._pictures.clear()
        self.setFont(self._chip.font)
        self._metrics = QFontMetricsF(self.font())
        self._widths.clear()
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
            self._pictures.clear()
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
        size, scale = QSize(self.width(), ceil(places.heights.chip)), self.devicePixelRatioF()
        shown = len(self.tokens) if self._shown is None else self._shown
        for line in range(places.line_at(event.rect().top()), places.line_at(event.rect().bottom()) + 1):
            picture = self._pictures.picture(line, places.chips_of(line), size, scale, shown, self._chip, self.tokens, places.chips)
            painter.drawPixmap(QPointF(0, places.lines[line].y), picture)
        for number in {self.current, self._hover}:
            if 0 <= number < len(self.tokens):
                self._paint_frame(painter, number)

    def _paint_frame(self, painter: QPainter, number: int) -> None:
        painter.setPen(QPen(theme.colour("accent"), 2 if number == self.current else 1))
        painter.drawRect(self.place_of(number).adjusted(0, 0, -1, -1))

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
