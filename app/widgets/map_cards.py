"""Small pictures of tables side by side, each with a name above and numbers below; one of them is chosen.

Every picture has a colour scale of its own, from 0 to the number in its corner, linear or logarithmic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QPoint, QRect, QRectF, QSize, Qt, Signal, Slot
from PySide6.QtGui import QFontMetrics, QImage, QKeyEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QFrame, QSizePolicy, QWidget

from app import theme
from app.widgets.colour_scale import ColourScale
from app.widgets.scrolled import ScrollArea

LEAST, GAP, PAD = 176, 8, 8
_TITLE, _LINE = 20, 17


@dataclass(frozen=True, eq=False)
class Card:
    """One table. `lines` are pairs of words and a number; `values` None: not there yet. `above` hides what lies over the diagonal."""

    key: str
    title: str
    values: np.ndarray | None = None
    lines: tuple[tuple[str, str], ...] = ()
    colour: int | None = None
    above: bool = False
    tip: str = ""


class MapCards(ScrollArea):
    """A grid that scrolls."""

    selected = Signal(str)
    opened = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.sheet = _Sheet(self)
        self.setWidget(self.sheet)
        self.setFocusProxy(self.sheet)
        self.setAccessibleName("Maps side by side")

    def set_cards(self, cards: Sequence[Card]) -> None:
        """Show these; the choice stays if it is among them."""
        self.sheet.set_cards(list(cards))

    def put(self, card: Card) -> None:
        """Replace the card of the same key."""
        self.sheet.put(card)

    def cards(self) -> list[Card]:
        """What is shown."""
        return list(self.sheet.cards)

    def set_log(self, log: bool) -> None:
        """Linear or logarithmic colours."""
        self.sheet.set_log(log)

    def select(self, key: str) -> None:
        """Mark a card, and scroll to it; tells nobody."""
        self.sheet.chosen = key
        self.sheet.update()
        if (place := self.sheet.place(key)) is not None:
            self.ensureVisible(place.center().x(), place.center().y(), place.width() // 2, place.height() // 2)

    def set_empty(self, words: str) -> None:
        """What stands here while there is no card."""
        self.sheet.empty = words
        self.sheet.update()


class _Sheet(QWidget):
    def __init__(self, owner: MapCards) -> None:
        super().__init__()
        self.owner = owner
        self.cards: list[Card] = []
        self.chosen, self.empty = "", ""
        self._log = False
        self._pictures: dict[str, tuple[QImage, ColourScale]] = {}
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        self.setMouseTracking(True)
        theme.notifier().changed.connect(self._forget)

    # content ---------------------------------------------------------------------------------------------------

    def set_cards(self, cards: list[Card]) -> None:
        self.cards = cards
        self._forget()
        self._fit()

    def put(self, card: Card) -> None:
        self.cards = [card if old.key == card.key else old for old in self.cards]
        self._pictures.pop(card.key, None)
        self._fit()
        self.update()

    def set_log(self, log: bool) -> None:
        self._log = log
        self._forget()

    @Slot()
    def _forget(self) -> None:
        self._pictures = {}
        self.update()

    def _picture(self, card: Card) -> tuple[QImage, ColourScale]:
        if card.key not in self._pictures:
            top = float(np.nanmax(np.abs(card.values))) if card.values.size else 1.0
            scale = ColourScale(top or 1.0, self._log, bool((card.values < 0).any()))
            rows, columns = card.values.shape
            hidden = np.arange(columns)[None, :] > np.arange(rows)[:, None] if card.above else None
            self._pictures[card.key] = scale.picture(card.values, hidden), scale
        return self._pictures[card.key]

    # places ----------------------------------------------------------------------------------------------------

    @property
    def across(self) -> int:
        return max(1, (self.width() - GAP) // (LEAST + GAP))

    def _size(self) -> QSize:
        width = (self.width() - GAP) // self.across - GAP
        lines = max((len(card.lines) for card in self.cards), default=0)
        return QSize(width, width - 2 * PAD + _TITLE + lines * _LINE + 3 * PAD)

    def _place(self, number: int) -> QRect:
        size = self._size()
        row, column = divmod(number, self.across)
        return QRect(QPoint(GAP + column * (size.width() + GAP), GAP + row * (size.height() + GAP)), size)

    def place(self, key: str) -> QRect | None:
        return next((self._place(n) for n, card in enumerate(self.cards) if card.key == key), None)

    def _fit(self) -> None:
        self.setMinimumHeight(self._place(len(self.cards) - 1).bottom() + GAP if self.cards else 0)

    def resizeEvent(self, event) -> None:
        super().resizeEvent(event)
        self._fit()

    # painting --------------------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if not self.cards:
            painter.setPen(theme.colour("muted"))
            painter.drawText(self.rect().adjusted(24, 24, -24, -24), Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, self.empty)
        for number, card in enumerate(self.cards):
            place = self._place(number)
            if place.intersects(event.rect()):
                self._paint_card(painter, card, place)

    def _paint_card(self, painter: QPainter, card: Card, place: QRect) -> None:
        chosen = card.key == self.chosen
        edge = "focus" if chosen and self.hasFocus() else "accent" if chosen else "line"
        painter.setPen(QPen(theme.colour(edge), 2 if chosen else 1))
        painter.setBrush(theme.colour("surface"))
        painter.drawRoundedRect(QRectF(place).adjusted(1, 1, -1, -1), theme.RADIUS, theme.RADIUS)
        inside = place.adjusted(PAD, PAD, -PAD, -PAD)
        painter.setFont(theme.font(theme.SMALL, bold=True))
        title = QRect(inside.topLeft(), QSize(inside.width(), _TITLE - 4))
        if card.colour is not None:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.data_colour(card.colour))
            painter.drawEllipse(QRectF(title.left(), title.center().y() - 4, 8, 8))
            title.setLeft(title.left() + 14)
        painter.setPen(theme.colour("text"))
        painter.drawText(title, Qt.AlignmentFlag.AlignVCenter, _elided(painter.fontMetrics(), card.title, title.width()))
        side = inside.width()
        square = QRect(inside.left(), inside.top() + _TITLE, side, side)
        self._paint_map(painter, card, square)
        painter.setFont(theme.font(theme.LEAST))
        for number, (words, value) in enumerate(card.lines):
            line = QRect(inside.left(), square.bottom() + 5 + number * _LINE, side, _LINE)
            painter.setPen(theme.colour("muted"))
            painter.drawText(line, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, words)
            painter.setPen(theme.colour("text"))
            painter.drawText(line, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, value)

    def _paint_map(self, painter: QPainter, card: Card, square: QRect) -> None:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.fillRect(square, theme.colour("stage"))
        painter.setFont(theme.font(theme.LEAST))
        if card.values is None:
            painter.setPen(theme.colour("on_stage"))
            painter.drawText(square, Qt.AlignmentFlag.AlignCenter, "computing …")
            return
        picture, scale = self._picture(card)
        smooth = picture.width() > square.width() * self.devicePixelRatioF()
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, smooth)
        painter.drawImage(square, picture)
        words = f"{'log ' if self._log else ''}{scale.ends()[0]} – {scale.ends()[1]}"
        width = painter.fontMetrics().horizontalAdvance(words) + 10
        tag = QRect(square.right() - width - 3, square.top() + 4, width, 16)
        painter.setBrush(theme.colour("surface", 225))
        painter.drawRoundedRect(tag, 4, 4)
        painter.setPen(theme.colour("text"))
        painter.drawText(tag, Qt.AlignmentFlag.AlignCenter, words)

    # mouse and keys --------------------------------------------------------------------------------------------

    def _at(self, point: QPoint) -> Card | None:
        return next((card for number, card in enumerate(self.cards) if self._place(number).contains(point)), None)

    def mousePressEvent(self, event) -> None:
        self._choose(self._at(event.position().toPoint()))

    def mouseDoubleClickEvent(self, event) -> None:
        if (card := self._at(event.position().toPoint())) is not None:
            self.owner.opened.emit(card.key)

    def mouseMoveEvent(self, event) -> None:
        card = self._at(event.position().toPoint())
        self.setToolTip(card.tip if card else "")

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.chosen:
            self.owner.opened.emit(self.chosen)
            return
        step = {Qt.Key.Key_Up: -self.across, Qt.Key.Key_Down: self.across}.get(Qt.Key(event.key()))
        if step is None or not self.cards:
            super().keyPressEvent(event)
            return
        number = next((n for n, card in enumerate(self.cards) if card.key == self.chosen), 0) + step
        if 0 <= number < len(self.cards):
            self._choose(self.cards[number])

    def _choose(self, card: Card | None) -> None:
        if card is not None and card.key != self.chosen:
            self.owner.select(card.key)
            self.owner.selected.emit(card.key)


def _elided(metrics: QFontMetrics, words: str, width: int) -> str:
    return metrics.elidedText(words, Qt.TextElideMode.ElideRight, width)
