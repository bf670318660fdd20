"""A label for words that change many times a second.

A `QLabel` makes the whole window lay itself out anew whenever its text changes. This one asks for that only when the
new words need more room than it has; otherwise it paints itself again, and nothing else moves.
"""

from __future__ import annotations

from PySide6.QtCore import QEvent, QSize, Qt
from PySide6.QtGui import QEnterEvent, QResizeEvent
from PySide6.QtWidgets import QLabel, QWidget


class SteadyLabel(QWidget):
    """A `QLabel` of plain text inside a frame that keeps its size: a line as wide as its longest words, or a paragraph."""

    def __init__(self, role: str = "", *, wrap: bool = False, selectable: bool = False, name: str = "", tip: str = "") -> None:
        super().__init__()
        self.label = QLabel(self)
        self.label.setTextFormat(Qt.TextFormat.PlainText)
        self.label.setProperty("role", role)
        self.label.setWordWrap(wrap)
        self.label.setAccessibleName(name)
        self.setToolTip(tip)
        self._wrap, self._selectable = wrap, selectable
        self._needed = QSize(0, 0)
        policy = self.sizePolicy()
        policy.setHeightForWidth(wrap)
        self.setSizePolicy(policy)

    def text(self) -> str:
        """The words on show."""
        return self.label.text()

    def setText(self, text: str) -> None:
        """Show other words; named as Qt names it."""
        if text != self.label.text():
            self.label.setText(text)
            self._fit()

    def set_role(self, role: str) -> None:
        """Change the role that the style sheet knows the words by."""
        if role != self.label.property("role"):
            self.label.setProperty("role", role)
            self.label.style().unpolish(self.label)
            self.label.style().polish(self.label)

    def _fit(self) -> None:
        needed = QSize(0, self.label.heightForWidth(self.width())) if self._wrap else self._widest()
        if needed != self._needed:
            self._needed = needed
            self.updateGeometry()

    def _widest(self) -> QSize:
        return self._needed.expandedTo(self.label.sizeHint())

    def line_width(self) -> int:
        """Pixels that the words would take on one line."""
        return self.label.fontMetrics().horizontalAdvance(self.label.text()) + 1

    def sizeHint(self) -> QSize:
        return self.label.sizeHint() if self._wrap else self._widest()

    def minimumSizeHint(self) -> QSize:
        return self.label.minimumSizeHint() if self._wrap else self.sizeHint()

    def hasHeightForWidth(self) -> bool:
        return self._wrap

    def heightForWidth(self, width: int) -> int:
        return self.label.heightForWidth(width)

    def enterEvent(self, event: QEnterEvent) -> None:
        """Words can be selected while the pointer is there: Qt then keeps a document for them, which is slow to change."""
        super().enterEvent(event)
        if self._selectable:
            self.label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        if self._selectable and not self.label.hasSelectedText():
            self.label.setTextInteractionFlags(Qt.TextInteractionFlag.NoTextInteraction)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.label.setGeometry(self.rect())
        if self._wrap:
            self._needed = QSize(0, self.label.heightForWidth(self.width()))
            if self._needed.height() > self.height():
                self.updateGeometry()  # the layout remembers heights by width, those of words before these too
