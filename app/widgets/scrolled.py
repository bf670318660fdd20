"""A column that scrolls when it has no room."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget


def scrolled(inside: QWidget) -> QScrollArea:
    """A frameless scroll area around a widget."""
    scroll = QScrollArea(widgetResizable=True)
    scroll.setFrameShape(QFrame.Shape.NoFrame)
    scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # Tab goes to the fields inside, and they are scrolled to
    scroll.setWidget(inside)
    return scroll


def fill(outer: QWidget, inside: QWidget) -> None:
    """Make `inside` the scrolling content of `outer`, which has no layout yet."""
    box = QVBoxLayout(outer)
    box.setContentsMargins(0, 0, 0, 0)
    box.addWidget(scrolled(inside))
