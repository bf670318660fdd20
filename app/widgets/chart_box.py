"""A small chart that paints itself: an empty state that says what to do, a caption that becomes a readout, repainted on a new theme."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Slot
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from app import theme
from app.widgets.chart_frame import lines_of, paint_caption, paint_empty

HEAD, LINE = 22, 15
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

    def foot(self) -> int:
        """Height of the caption: one line, or up to three where it needs them and there is room."""
        if not self.has_view():
            return LINE + 5
        return lines_of(self.caption(), self.width() - 16, 3 if self.height() > 240 else 1) * LINE + 5

    def room(self) -> QRectF:
        """Between the title and the caption."""
        return QRectF(0, HEAD, self.width(), self.height() - HEAD - self.foot())

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
        strip = QRectF(0, self.height() - self.foot(), self.width(), self.foot())
        readout = self.readout(self._pointer) if self._pointer is not None else ""
        paint_caption(painter, strip, readout, self.caption(), (self.foot() - 5) // LINE)

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
