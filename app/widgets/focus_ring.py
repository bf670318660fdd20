"""The ring around what the keys go to, for all that neither the style sheet nor its own painting marks: plots, texts, columns, strips.

One frame for a whole window: a child of whatever has the focus, so it moves along.  It shows where Tab has led; a click needs no ring.
"""

from __future__ import annotations

import shiboken6
from PySide6.QtCore import QEvent, QObject, Qt, Slot
from PySide6.QtGui import QPainter, QRegion
from PySide6.QtWidgets import QApplication, QGraphicsView, QPlainTextEdit, QScrollArea, QTextEdit, QWidget

from app import theme

WIDTH = 2
RINGED = (QScrollArea, QGraphicsView)
"""What shows nothing by itself; widgets of ours that do not either say so by a property `wants_ring`."""


class FocusRing(QObject):
    """Follows the focus within a window."""

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self._window, self._frame = window, None
        QApplication.instance().focusChanged.connect(self._on_focus)

    @property
    def around(self) -> QWidget | None:
        """What the ring is drawn around now."""
        return self._frame.parentWidget() if self._frame is not None and shiboken6.isValid(self._frame) else None

    @Slot(QWidget, QWidget)
    def _on_focus(self, _before: QWidget | None, now: QWidget | None) -> None:
        if self.around is not None:
            self._frame.hide()
            self._frame.deleteLater()
        self._frame = None
        clicked = QApplication.mouseButtons() != Qt.MouseButton.NoButton
        if now is not None and not clicked and self._window.isAncestorOf(now) and _needs_ring(now):
            self._frame = _Frame(now)


def _needs_ring(widget: QWidget) -> bool:
    only_read = isinstance(widget, (QPlainTextEdit, QTextEdit)) and widget.isReadOnly()
    silent = only_read or isinstance(widget, RINGED) or bool(widget.property("wants_ring"))
    return silent and bool(widget.focusPolicy() & Qt.FocusPolicy.TabFocus)


class _Frame(QWidget):
    """Two pixels at the inner edge of its parent."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        parent.installEventFilter(self)
        self._fit()
        self.show()

    def _fit(self) -> None:
        box = self.parentWidget().rect()
        self.setGeometry(box)
        self.setMask(QRegion(box) - QRegion(box.adjusted(WIDTH, WIDTH, -WIDTH, -WIDTH)))
        self.raise_()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Resize:
            self._fit()
        return super().eventFilter(watched, event)

    def paintEvent(self, _event) -> None:
        QPainter(self).fillRect(self.rect(), theme.colour("focus"))
