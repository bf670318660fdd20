"""A quiet line of figures that can be pressed; it wraps where there is no room, and never loses a figure."""

from __future__ import annotations

from PySide6.QtCore import QRect, QSize, Qt
from PySide6.QtGui import QPainter, QPen
from PySide6.QtWidgets import QAbstractButton, QSizePolicy, QWidget

from app import theme

PAD = 4
_FLAGS = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextWordWrap


class FooterLine(QAbstractButton):
    """Its text is its accessible name."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFont(theme.font(theme.SMALL))
        policy = QSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        theme.notifier().changed.connect(self.update)

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        room = QRect(0, 0, max(width - 2 * PAD, 40), 1000)
        return self.fontMetrics().boundingRect(room, _FLAGS, self.text() or " ").height() + PAD

    def sizeHint(self) -> QSize:
        return QSize(160, self.fontMetrics().height() + PAD)

    def set_line(self, text: str) -> None:
        """Show other figures."""
        if text != self.text():
            needed = self.heightForWidth(self.width())
            self.setText(text)
            if self.heightForWidth(self.width()) != needed:
                self.updateGeometry()

    def paintEvent(self, _event) -> None:
        painter = QPainter(self)
        painter.setPen(theme.colour("text" if self.underMouse() and self.text() else "muted"))
        painter.drawText(self.rect().adjusted(PAD, 0, -PAD, 0), _FLAGS, self.text())
        if self.hasFocus():
            painter.setPen(QPen(theme.colour("focus"), 2))
            painter.drawRect(self.rect().adjusted(1, 1, -1, -1))

    def enterEvent(self, event) -> None:
        super().enterEvent(event)
        self.update()

    def leaveEvent(self, event) -> None:
        super().leaveEvent(event)
        self.update()
