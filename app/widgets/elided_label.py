"""One line of words that gives way when there is no room: it ends in an ellipsis, and its tooltip has all of it."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import QSizePolicy, QWidget

from app import theme

WORDS = -1

class ElidedLabel(QWidget):
    """Paints itself, so changing its words lays nothing out, unless its width is that of its words."""

    def __init__(self, role: str = "text", size: int = theme.BODY, *, bold: bool = False, width: int = 0) -> None:
        """`width`: pixels it would like to have; 0: whatever is left; WORDS: what its words take."""
        super().__init__()
        self._role, self._text, self._wish = role, "", width
        self.setFont(theme.font(size, bold=bold))
        self.setSizePolicy(QSizePolicy.Policy.Preferred if width else QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        theme.notifier().changed.connect(self.update)

    def setText(self, text: str) -> None:
        """Show other words; named as Qt names it."""
        if text != self._text:
            self._text = text
            self.setToolTip(text)
            self.setAccessibleName(text)
            self.update()
            if self._wish == WORDS:
                self.updateGeometry()

    def text(self) -> str:
        """All the words."""
        return self._text

    def sizeHint(self) -> QSize:
        width = self.fontMetrics().horizontalAdvance(self._text) + 1 if self._wish == WORDS else self._wish or 80
        return QSize(width, self.fontMetrics().height() + 2)

    def minimumSizeHint(self) -> QSize:
        return QSize(0, self.fontMetrics().height() + 2)

    def paintEvent(self, _event) -> None:
        painter = QPainter(self)
        painter.setPen(theme.colour(self._role))
        words = self.fontMetrics().elidedText(self._text, Qt.TextElideMode.ElideRight, self.width())
        if words == "…":
            return  # dots alone say nothing
        painter.drawText(self.rect(), Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, words)
