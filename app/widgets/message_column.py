"""Messages under one another in a column that can be read: at most 75 characters a line, centred, following the newest.

The cards are placed by hand: when one grows, the others are asked for nothing but what they remember, so a long conversation costs no
more a token than a short one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QEvent, Qt, Signal, Slot
from PySide6.QtGui import QFontMetricsF, QKeyEvent
from PySide6.QtWidgets import QFrame, QLabel, QPushButton, QScrollArea, QWidget

from app import theme
from app.widgets.icons import icon
from app.widgets.message_card import MessageCard
from app.widgets.transport import is_time_key

MOST_CHARACTERS = 75
PAD, GAP, LEAST_WIDTH = 16, 16, 220
NEAR_END = 24
_SAMPLE = "The quick brown fox jumps over the lazy dog, and then it sleeps in the sun."


def column_width() -> int:
    """Pixels that 75 characters of running text take."""
    return round(QFontMetricsF(theme.font()).horizontalAdvance(_SAMPLE) * MOST_CHARACTERS / len(_SAMPLE))


class MessageColumn(QScrollArea):
    """Holds cards by key; `top` is a widget above them, `empty` is shown when there are none."""

    earlier_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMinimumWidth(LEAST_WIDTH)
        self.setAccessibleName("Conversation")
        self._cards: list[MessageCard] = []
        self._heading: QWidget | None = None
        self._stack = _Stack(self)
        self.setWidget(self._stack)
        self._earlier = QPushButton("Show earlier messages", self._stack)
        self._earlier.setProperty("role", "flat")
        self._earlier.clicked.connect(self.earlier_wanted)
        self._earlier.hide()
        self.empty: QWidget = QLabel("", self._stack)
        self._newest = QPushButton(icon("down"), "Newest", self.viewport())
        self._newest.setToolTip("Go to the newest words, and follow them")
        self._newest.clicked.connect(self.follow)
        self._newest.hide()
        self._following = True
        self.verticalScrollBar().valueChanged.connect(self._on_scrolled)

    # cards ---------------------------------------------------------------------------------------------------------

    def set_empty(self, widget: QWidget) -> None:
        """What is shown while there are no messages."""
        self.empty.deleteLater()
        self.empty = widget
        widget.setParent(self._stack)
        self._place()

    def set_heading(self, widget: QWidget) -> None:
        """A widget above the messages."""
        self._heading = widget
        widget.setParent(self._stack)
        self._place()

    def sync(self, keys: Sequence[int], make: Callable[[int], MessageCard], *, earlier: bool = False) -> None:
        """Show the cards of these keys, in order; those that are there already are kept."""
        have = {card.key: card for card in self._cards}
        kept = set(keys)
        for key, card in have.items():
            if key not in kept:
                card.hide()
                card.deleteLater()
        self._cards = []
        for key in keys:
            card = have.get(key)
            if card is None:
                card = make(key)
                card.setParent(self._stack)
                card.show()
            self._cards.append(card)
        self._earlier.setVisible(earlier)
        self._place()

    def cards(self) -> list[MessageCard]:
        """All cards, from the oldest."""
        return list(self._cards)

    def card(self, key: int) -> MessageCard | None:
        """The card of a message."""
        return next((card for card in self._cards if card.key == key), None)

    # placing -------------------------------------------------------------------------------------------------------

    def _place(self) -> None:
        width = self.viewport().width()
        inner = min(column_width() + 24, width - 2 * PAD)
        x, y = (width - inner) // 2, PAD
        self.empty.setVisible(not self._cards)
        above = [widget for widget in (self._heading, self._earlier if not self._earlier.isHidden() else None) if widget is not None]
        for widget in (*above, *(self._cards or [self.empty])):
            height = _height(widget, inner)
            widget.setGeometry(x, y, inner, height)
            y += height + GAP
        if self._cards:
            y += PAD
        self._stack.resize(width, max(y, self.viewport().height()))
        if self._following:
            self._to_end()

    def _to_end(self) -> None:
        self.verticalScrollBar().setValue(self.verticalScrollBar().maximum())

    @Slot()
    def follow(self) -> None:
        """Show the newest words and keep following them."""
        self._following = True
        self._place()

    def hold(self) -> None:
        """Stay where the view is, whatever arrives."""
        self._following = False

    def reveal(self, key: int) -> None:
        """Bring a message into sight."""
        card = self.card(key)
        if card is not None:
            self.ensureVisible(card.x(), card.y(), 0, 40)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if is_time_key(event):
            event.ignore()
        else:
            super().keyPressEvent(event)

    @Slot(int)
    def _on_scrolled(self, value: int) -> None:
        self._following = value >= self.verticalScrollBar().maximum() - NEAR_END
        self._newest.setVisible(not self._following)

    def resizeEvent(self, event) -> None:
        super().resizeEvent(event)
        size = self._newest.sizeHint()
        self._newest.setGeometry((self.viewport().width() - size.width()) // 2, self.viewport().height() - 40, size.width(), size.height())
        following = self._following
        self._place()
        self._place()  # the words know their height once they know their width
        self._following = following
        if following:
            self._to_end()


def _height(widget: QWidget, width: int) -> int:
    layout = widget.layout()
    if layout is not None and layout.hasHeightForWidth():
        return layout.totalHeightForWidth(width)
    if widget.hasHeightForWidth():
        return widget.heightForWidth(width)
    return widget.sizeHint().height()


class _Stack(QWidget):
    """The surface the cards stand on: places them anew when one of them asks for another size."""

    def __init__(self, column: MessageColumn) -> None:
        super().__init__()
        self._column = column

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.LayoutRequest:
            self._column._place()
        return super().event(event)
