"""A small chart that paints itself: an empty state that says what to do, a caption that becomes a readout, repainted on a new theme."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Slot
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from app import theme
from app.widgets.chart_frame import paint_empty

HEAD, CAPTION = 22, 20
_MIDDLE = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter


class ChartBox(QWidget):
    """Subclasses say whether they have something (`has_view`), and paint it into `room`."""

    def __init__(self, title: str, empty: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._title, self._empty = title, empty
        self._pointer: QPointF | None = None
        self.setMinimumSize(220, 160)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setMouseTracking(True)
        self.setAccessibleName(title)
        theme.notifier().changed.connect(self._on_theme)

    # what a chart says of itself -----------------------------------------------------------------------------------

    def has_view(self) -> bool:
        """Is there something to show?"""
        raise NotImplementedError

    def caption(self) -> str:
        """What is shown, in a sentence."""
        return ""

    def readout(self, at: QPointF) -> str:
        """What is under the pointer; empty if nothing."""
        return ""

    def paint_chart(self, painter: QPainter, room: QRectF) -> None:
        """Draw it."""
        raise NotImplementedError

    def renew(self) -> None:
        """Something changed."""
        self.setAccessibleDescription(self.caption() if self.has_view() else self._empty)
        self.update()

    # painting ------------------------------------------------------------------------------------------------------

    def room(self) -> QRectF:
        """Between the title and the caption."""
        return QRectF(0, HEAD, self.width(), self.height() - HEAD - CAPTION)

    def sizeHint(self) -> QSize:
        return QSize(380, 260)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.fillRect(self.rect(), theme.colour("surface"))
        painter.setFont(theme.font(theme.SMALL, bold=True))
        painter.setPen(theme.colour("text"))
        painter.drawText(QRectF(8, 2, self.width() - 16, HEAD - 2), _MIDDLE, self._title)
        if not self.has_view():
            paint_empty(painter, self.room(), self._empty)
            return
        self.paint_chart(painter, self.room())
        strip = QRectF(0, self.height() - CAPTION, self.width(), CAPTION)
        painter.fillRect(strip, theme.colour("background"))
        painter.setFont(theme.font(theme.LEAST))
        words = self.readout(self._pointer) if self._pointer is not None else ""
        painter.setPen(theme.colour("text" if words else "muted"))
        shown = painter.fontMetrics().elidedText(words or self.caption(), Qt.TextElideMode.ElideRight, int(strip.width()) - 16)
        painter.drawText(strip.adjusted(8, 0, -8, 0), _MIDDLE, shown)

    @Slot()
    def _on_theme(self) -> None:
        self.renew()

    def mouseMoveEvent(self, event) -> None:
        self._pointer = event.position()
        self.update()

    def leaveEvent(self, event) -> None:
        super().leaveEvent(event)
        self._pointer = None
        self.update()
