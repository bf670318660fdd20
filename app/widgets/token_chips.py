"""A text as token chips, shaded by a weight each: what is pointed at, what is pinned, and how much each of the others counts for it.

Words are never broken; only lines in sight are painted. A click pins a token, Shift adds one, Enter and Shift+Enter do the same from the
keyboard, where the arrows go from token to token.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np
from PySide6.QtCore import QEvent, QLineF, QPointF, QRectF, QSize, Qt, Signal, Slot
from PySide6.QtGui import QFontMetricsF, QHelpEvent, QKeyEvent, QPainter, QPaintEvent, QPen, QPixmap
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from app import theme
from app.protocol.chat import ForcedToken
from app.widgets.colour_scale import ColourScale, figure
from app.widgets.token_layout import Heights, TokenLayout
from app.widgets.token_words import quoted
from app.widgets.turns import in_turn

FULL_SHADE = 120  # alpha of the largest weight: words on it keep a contrast of 4.5 to 1
_STEPS = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1, Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1}
KEY_HELP = [
    ("Arrows, Enter", "In the text: another token, pin it"),
    ("Shift+Enter, Shift+click", "In the text: pin one more"),
    ("Esc", "Unpin all"),
]


class TokenChips(QWidget):
    """Shows the tokens of one text."""

    hovered = Signal(int)
    """The token under the pointer or at the keyboard's cursor, -1 if there is none."""
    clicked = Signal(int, bool)
    """A token, and whether it comes in addition to those pinned."""

    def __init__(self, parent: QWidget | None = None, *, name: str = "Tokens") -> None:
        super().__init__(parent)
        self._shades: np.ndarray | None = None
        self._scale = ColourScale()
        self._pinned: frozenset[int] = frozenset()
        self._hover = self._lit = self._current = -1
        self._note = ""
        self._texts: tuple[str, ...] = ()
        self._alphas = np.zeros(0, int)
        self._widths: dict[str, float] = {}
        self._metrics = QFontMetricsF(theme.font(mono=True))
        self._layout = self._made(560.0)
        self._words: tuple[range, QPixmap] | None = None
        """Lines, and their words as they were painted last."""
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setSizePolicy(policy)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName(name)
        theme.notifier().changed.connect(self._restyle)

    # content -------------------------------------------------------------------------------------------------------

    def set_tokens(self, texts: Sequence[str]) -> None:
        """Show another text, unshaded; of one that goes on, only what is new is laid out, and its shades stay."""
        texts = tuple(texts)
        known = len(self._texts)
        if not 0 < known < len(texts) or texts[:known] != self._texts:
            self._layout, known = self._made(max(float(self.width()), 40.0)), 0
            self._shades, self._pinned = None, frozenset()
            self._hover = self._lit = self._current = -1
        self._layout.begin([ForcedToken(id=0, text=text, piece=text) for text in texts[known:]])
        self._texts, self._words = texts, None
        self._fit()
        self.update()

    def set_shades(self, weights: np.ndarray | None, *, log: bool = False, note: str = "") -> None:
        """A weight for each token, shaded from 0 to the largest; `note` tells in tooltips what the weights are."""
        self._shades = weights
        largest = float(np.nanmax(np.abs(weights))) if weights is not None and weights.size else 1.0
        self._scale, self._note = ColourScale(largest, log), note
        shares = self._scale.shares(np.abs(weights)) if weights is not None else np.zeros(0)
        self._alphas = np.nan_to_num(FULL_SHADE * shares).round().astype(int)
        in_turn(self)

    def set_pinned(self, tokens: Sequence[int]) -> None:
        """Outline tokens."""
        self._pinned = frozenset(tokens)
        in_turn(self)

    def set_lit(self, token: int) -> None:
        """Outline a token that is pointed at elsewhere, -1: none."""
        if token != self._lit:
            self._lit = token
            in_turn(self)

    @property
    def scale(self) -> ColourScale:
        """How weights become shades."""
        return self._scale

    def count(self) -> int:
        """How many tokens there are."""
        return len(self._layout.chips)

    def text(self) -> str:
        """The chips, separated by a bar: what a screen reader and a test see."""
        return "|".join(chip.text for chip in self._layout.chips)

    def weight(self, token: int) -> float | None:
        """The weight a token is shaded by."""
        return float(self._shades[token]) if self._shades is not None and token < len(self._shades) else None

    # size ----------------------------------------------------------------------------------------------------------

    def _made(self, width: float) -> TokenLayout:
        return TokenLayout(self._measure, width, Heights(entropy=0, chip=20, ghost=0, gap=3))

    def _measure(self, text: str) -> float:
        if text not in self._widths:
            self._widths[text] = self._metrics.horizontalAdvance(text)
        return self._widths[text]

    @Slot()
    def _restyle(self) -> None:
        self.setFont(theme.font(mono=True))
        self._metrics = QFontMetricsF(self.font())
        self._widths.clear()
        self._words = None
        self.update()

    def _fit(self) -> None:
        height = max(ceil(self._layout.height), 20)
        if height != self.height():
            self.setFixedHeight(height)

    def resizeEvent(self, event) -> None:
        super().resizeEvent(event)
        self._words = None
        if self.width() != self._layout.width:
            self._layout.flow(max(float(self.width()), 40.0))
            self._fit()

    def sizeHint(self) -> QSize:
        return QSize(300, max(ceil(self._layout.height), 20))

    def top_of(self, token: int) -> int:
        """Where the line of a token begins, for scrolling to it."""
        return int(self._layout.lines[self._layout.line_of(token)].y) if self._layout.lines else 0

    # painting ------------------------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        layout = self._layout
        if not layout.lines:
            return
        lines = range(layout.line_at(event.rect().top()), layout.line_at(event.rect().bottom()) + 1)
        places = {number: self._place(line, number) for line in lines for number in layout.chips_of(line)}
        self._paint_shades(painter, places)
        if self._words is None or self._words[0] != lines:
            self._words = (lines, self._paint_words(places))
        painter.drawPixmap(0, int(layout.lines[lines.start].y), self._words[1])
        self._paint_outlines(painter, places)
        if self.hasFocus():
            painter.setPen(QPen(theme.colour("focus"), 1))
            painter.drawRect(self.rect().adjusted(0, 0, -1, -1))

    def _paint_words(self, places: dict[int, QRectF]) -> QPixmap:
        """The words of some lines with a line under each, kept while only their shades change."""
        tops = [place.top() for place in places.values()]
        top, ratio = int(min(tops)), self.devicePixelRatioF()
        words = QPixmap(QSize(self.width(), ceil(max(tops)) - top + self._layout.heights.chip + 1) * ratio)
        words.setDevicePixelRatio(ratio)
        words.fill(Qt.GlobalColor.transparent)
        painter = QPainter(words)
        painter.translate(0, -top)
        painter.setFont(theme.font(mono=True))
        painter.setPen(theme.colour("text"))
        baseline = (self._layout.heights.chip + self._metrics.ascent() - self._metrics.descent()) / 2
        for number, place in places.items():
            painter.drawText(QPointF(place.left() + 1, place.top() + baseline), self._layout.chips[number].text)
        painter.setPen(QPen(theme.colour("line"), 1))
        painter.drawLines([QLineF(place.bottomLeft(), place.bottomRight()) for place in places.values()])
        painter.end()
        return words

    def _place(self, line: int, number: int) -> QRectF:
        chip = self._layout.chips[number]
        return QRectF(chip.x, self._layout.lines[line].y, chip.width, self._layout.heights.chip)

    def _paint_shades(self, painter: QPainter, places: dict[int, QRectF]) -> None:
        """The ground of each chip, from its weight; those of the same shade in one go."""
        grounds: dict[tuple[str, int], list[QRectF]] = {}
        for number, place in places.items():
            alpha = int(self._alphas[number]) if number < len(self._alphas) else 0
            if alpha and self._shades is not None:
                grounds.setdefault(("accent" if self._shades[number] >= 0 else "error", alpha), []).append(place)
        painter.setPen(Qt.PenStyle.NoPen)
        for (role, alpha), rects in grounds.items():
            painter.setBrush(theme.colour(role, alpha))
            painter.drawRects(rects)
        painter.setBrush(Qt.BrushStyle.NoBrush)

    def _paint_outlines(self, painter: QPainter, places: dict[int, QRectF]) -> None:
        """Of what is pinned, pointed at, or under the keyboard's cursor."""
        painter.setPen(QPen(theme.colour("accent"), 2))
        for number in self._pinned & places.keys():
            painter.drawRect(places[number].adjusted(0, 1, -1, -1))
        painter.setPen(QPen(theme.colour("warn"), 1))
        for number in ({self._hover, self._lit, self._current if self.hasFocus() else -1} & places.keys()) - self._pinned:
            painter.drawRect(places[number].adjusted(0, 0, -1, -1))

    # mouse and keys ------------------------------------------------------------------------------------------------

    def mouseMoveEvent(self, event) -> None:
        token = self._layout.chip_at(event.position().x(), event.position().y())
        self.setCursor(Qt.CursorShape.ArrowCursor if token is None else Qt.CursorShape.PointingHandCursor)
        self._point(-1 if token is None else token)

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self._point(-1)

    def _point(self, token: int) -> None:
        if token != self._hover:
            self._hover = token
            self.update()
            self.hovered.emit(token)

    def mousePressEvent(self, event) -> None:
        token = self._layout.chip_at(event.position().x(), event.position().y())
        if event.button() == Qt.MouseButton.LeftButton and token is not None:
            self._current = token
            self.clicked.emit(token, bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key, last = Qt.Key(event.key()), self.count() - 1
        if key in _STEPS and last >= 0:
            self._go(min(max(self._current + _STEPS[key], 0), last))
        elif key in (Qt.Key.Key_Home, Qt.Key.Key_End) and last >= 0:
            self._go(0 if key == Qt.Key.Key_Home else last)
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self._current >= 0:
            self.clicked.emit(self._current, bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier))
        else:
            super().keyPressEvent(event)

    def _go(self, token: int) -> None:
        self._current = token
        self._point(token)
        self.update()

    def focusOutEvent(self, event) -> None:
        super().focusOutEvent(event)
        self._point(-1)
        self.update()

    def tip(self, token: int) -> str:
        """What hovering over a token tells."""
        weight = self.weight(token)
        first = f"{quoted(self._layout.chips[token].text)}, token {token}"
        return first if weight is None else f"{first}: {figure(weight)}\n{self._note}".strip()

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            token = self._layout.chip_at(event.pos().x(), event.pos().y())
            QToolTip.showText(event.globalPos(), "" if token is None else self.tip(token), self)
            return True
        return super().event(event)
