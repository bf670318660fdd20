"""Widgets that are painted one after another: what one event changes in several large ones does not hold up the window in one piece."""

from __future__ import annotations

import shiboken6
from PySide6.QtCore import QObject, Qt, QTimer, Slot
from PySide6.QtWidgets import QWidget

APART_MS = 5


class Turns(QObject):
    """The first that asks is painted at once, each further one a few milliseconds after the last."""

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self._waiting: dict[QWidget, None] = {}
        self._clock = QTimer(self, interval=APART_MS)
        self._clock.timeout.connect(self._next)

    def ask(self, widget: QWidget) -> None:
        """Paint it anew before long; asking twice is asking once."""
        self._waiting[widget] = None
        if not self._clock.isActive():
            self._next()
            self._clock.start()

    @Slot()
    def _next(self) -> None:
        while self._waiting:
            widget = next(iter(self._waiting))
            del self._waiting[widget]
            if shiboken6.isValid(widget) and widget.isVisible():
                widget.update()
                return
        self._clock.stop()


def in_turn(widget: QWidget) -> None:
    """Paint a large widget anew, apart from other large ones of its window."""
    window = widget.window()
    turns = window.findChild(Turns, options=Qt.FindChildOption.FindDirectChildrenOnly) or Turns(window)
    turns.ask(widget)
