"""A column that scrolls when it has no room."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget

from app.widgets.transport import is_time_key


class ScrollArea(QScrollArea):
    """A scroll area that leaves the keys of time to the transport: Qt's own takes Left and Right even with nothing to scroll."""

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if is_time_key(event):
            event.ignore()
        else:
            super().keyPressEvent(event)


def scrolled(inside: QWidget) -> ScrollArea:
    """A frameless scroll area around a widget."""
    scroll = ScrollArea(widgetResizable=True)
    scroll.setFrameShape(QFrame.Shape.NoFrame)
    scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # Tab goes to the fields inside, and they are scrolled to
    scroll.setWidget(inside)
    return scroll


def fill(outer: QWidget, inside: QWidget) -> None:
    """Make `inside` the scrolling content of `outer`, which has no layout yet."""
    box = QVBoxLayout(outer)
    box.setContentsMargins(0, 0, 0, 0)
    box.addWidget(scrolled(inside))
