"""What the colours of several plots mean: dots or dashes with words, in lines that wrap; instead of a legend over the curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QLineF, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QFontMetrics, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from app import theme

LINE, SAMPLE, GAP, MARGIN = 18, 22, 16, 8


@dataclass(frozen=True)
class Entry:
    """One colour of the data set."""

    words: str
    colour: int
    dashed: bool = False


class ColourKey(QWidget):
    """As many lines as the width asks for."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._entries: tuple[Entry, ...] = ()
        policy = QSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        theme.notifier().changed.connect(self.update)

    def set_entries(self, entries: Sequence[Entry]) -> None:
        """Show these."""
        if tuple(entries) != self._entries:
            self._entries = tuple(entries)
            self.setAccessibleName("; ".join(entry.words for entry in entries))
            self.setVisible(bool(entries))
            self.updateGeometry()
            self.update()

    def entries(self) -> tuple[Entry, ...]:
        """What is shown."""
        return self._entries

    def _places(self, width: int) -> list[tuple[Entry, QRectF]]:
        metrics, x, y, places = QFontMetrics(theme.font(theme.LEAST)), float(MARGIN), 2.0, []
        for entry in self._entries:
            wide = SAMPLE + metrics.horizontalAdvance(entry.words) + 2
            if x > MARGIN and x + wide > width - MARGIN:
                x, y = float(MARGIN), y + LINE
            places.append((entry, QRectF(x, y, wide, LINE)))
            x += wide + GAP
        return places

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        places = self._places(width)
        return round(places[-1][1].bottom()) + 3 if places else 0

    def sizeHint(self) -> QSize:
        return QSize(200, self.heightForWidth(max(self.width(), 200)))

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.fillRect(self.rect(), theme.colour("surface"))
        painter.setFont(theme.font(theme.LEAST))
        for entry, place in self._places(self.width()):
            style = Qt.PenStyle.DashLine if entry.dashed else Qt.PenStyle.SolidLine
            middle = place.center().y()
            painter.setPen(QPen(theme.data_colour(entry.colour), 2, style))
            painter.drawLine(QLineF(place.left(), middle, place.left() + SAMPLE - 6, middle))
            if not entry.dashed:
                painter.setBrush(theme.data_colour(entry.colour))
                painter.drawEllipse(QPointF(place.left() + (SAMPLE - 6) / 2, middle), 2, 2)
            painter.setPen(theme.colour("text"))
            painter.drawText(place.adjusted(SAMPLE, 0, 8, 0), Qt.AlignmentFlag.AlignVCenter, entry.words)
