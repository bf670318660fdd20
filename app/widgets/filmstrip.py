"""A strip of thumbnails, one a step: scrub through time with the mouse; the keys are those of the transport.

Painted in one widget, without a child per frame; a new step paints the cells it changes and no others.  Frames are
counted from 1, as people count steps.  Thumbnails are kept in a bounded number of bytes; where one had to go, its number
is still shown and can still be selected.
"""

from __future__ import annotations

from collections import OrderedDict

from PySide6.QtCore import QEvent, QRect, QSize, Qt, Signal
from PySide6.QtGui import QHelpEvent, QKeyEvent, QPainter, QPaintEvent, QPen, QPixmap
from PySide6.QtWidgets import QAbstractScrollArea, QFrame, QToolTip, QWidget

from app import theme
from app.protocol.payloads import Image
from app.widgets.image_view import to_qimage
from app.widgets.transport import is_time_key

GAP = 4
NUMBER = 16  # height of the line with the step number
BAND = 4  # height of one shaded range
MAX_BANDS = 4


class Filmstrip(QAbstractScrollArea):
    """Thumbnails of steps 1 to ``total`` with a selection, shaded ranges and a mark at the running step."""

    selected = Signal(int)
    hovered = Signal(int)

    def __init__(self, parent: QWidget | None = None, *, thumb: int = 72, max_bytes: int = 32 << 20) -> None:
        super().__init__(parent)
        self._thumb = thumb
        self._max_bytes = max_bytes
        self._bytes = 0
        self._frames: OrderedDict[int, QPixmap] = OrderedDict()
        self._notes: dict[int, str] = {}
        self._total = 0
        self._hover = 0
        self._running = 0
        self._ranges: list[tuple[int, int, str, int]] = []
        self._empty = "The steps of a run appear here, one picture each."
        self.current = 0
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.viewport().setMouseTracking(True)
        self.viewport().setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setAccessibleName("Film strip")
        self.setAccessibleDescription("Left and Right move a step, Home and End to the ends, Space plays.")
        self._layout()

    # content ---------------------------------------------------------------------------------------------------

    def clear(self, total: int = 0) -> None:
        """Forget all frames and expect ``total`` new ones."""
        self._frames.clear()
        self._notes.clear()
        self._bytes = self._hover = self._running = self.current = 0
        self.set_total(total)
        self.horizontalScrollBar().setValue(0)

    def set_total(self, total: int) -> None:
        """How many steps there will be."""
        self._total = max(total, 0)
        self._layout()

    def set_empty_text(self, text: str) -> None:
        """What the strip says while it has no steps."""
        self._empty = text
        self.viewport().update()

    def set_frame(self, index: int, image: Image, note: str = "") -> None:
        """Put the picture of step ``index`` (from 1) into the strip; ``note`` is its tooltip."""
        side = round(self._thumb * self.devicePixelRatioF())
        how = Qt.TransformationMode.SmoothTransformation
        if max(image.width, image.height) * 2 <= side:
            how = Qt.TransformationMode.FastTransformation
        pixmap = QPixmap.fromImage(to_qimage(image).scaled(side, side, Qt.AspectRatioMode.KeepAspectRatio, how))
        pixmap.setDevicePixelRatio(self.devicePixelRatioF())
        self._drop(index)
        self._frames[index] = pixmap
        self._bytes += _size(pixmap)
        self._notes[index] = note
        while self._bytes > self._max_bytes and len(self._frames) > 1:
            self._drop(next(iter(self._frames)))
        if index > self._total:
            self.set_total(index)
        self._update_cell(index)

    def _drop(self, index: int) -> None:
        gone = self._frames.pop(index, None)
        if gone is not None:
            self._bytes -= _size(gone)
            self._update_cell(index)

    def frame_indices(self) -> list[int]:
        """Steps whose thumbnail is held."""
        return sorted(self._frames)

    def set_ranges(self, ranges: list[tuple[int, int, str, int]]) -> None:
        """Shade steps ``first`` to ``last``, inclusive: (first, last, name, data colour index), at most four."""
        self._ranges = list(ranges)[:MAX_BANDS]
        self._layout()

    def set_running(self, index: int | None) -> None:
        """Mark the step being computed."""
        before, self._running = self._running, index or 0
        self._reveal(self._running)
        self._update_change(before, self._running)

    def select(self, index: int) -> None:
        """Move the selection without telling anybody."""
        before, self.current = self.current, min(max(index, 0), self._total)
        self._reveal(self.current)
        self._update_change(before, self.current)

    # geometry --------------------------------------------------------------------------------------------------

    def _pitch(self) -> int:
        return self._thumb + GAP

    def _bands(self) -> int:
        return BAND * len(self._ranges)

    def _layout(self) -> None:
        self.setFixedHeight(self._thumb + NUMBER + 2 * GAP + self._bands())
        overhang = GAP + self._total * self._pitch() - self.viewport().width()
        bar = self.horizontalScrollBar()
        bar.setRange(0, max(overhang, 0))
        bar.setPageStep(self.viewport().width())
        bar.setSingleStep(self._pitch())
        self.viewport().update()

    def sizeHint(self) -> QSize:
        return QSize(480, self.height())

    def minimumSizeHint(self) -> QSize:
        return QSize(2 * self._pitch(), self.height())

    def _cell(self, index: int) -> QRect:
        left = GAP + (index - 1) * self._pitch() - self.horizontalScrollBar().value()
        return QRect(left, GAP, self._thumb, self._thumb + NUMBER)

    def _update_cell(self, index: int) -> None:
        """Paint one cell again."""
        if index:
            self.viewport().update(self._cell(index))

    def _update_change(self, before: int, after: int) -> None:
        """Paint two cells again because a mark went from one to the other."""
        if before != after:
            self._update_cell(before)
            self._update_cell(after)

    def _index_at(self, x: float) -> int:
        index = int((x + self.horizontalScrollBar().value() - GAP / 2) // self._pitch()) + 1
        return min(max(index, 1), self._total) if self._total else 0

    def _reveal(self, index: int) -> None:
        if index:
            bar, cell = self.horizontalScrollBar(), self._cell(index)
            if cell.left() < GAP:
                bar.setValue(bar.value() + cell.left() - self._pitch())
            elif cell.right() > self.viewport().width() - GAP:
                bar.setValue(bar.value() + cell.right() - self.viewport().width() + self._pitch())

    # painting --------------------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self.viewport())
        painter.fillRect(event.rect(), theme.colour("background"))
        if not self._total:
            painter.setFont(theme.font(theme.SMALL))
            painter.setPen(theme.colour("muted"))
            painter.drawText(self.viewport().rect(), Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, self._empty)
        else:
            for index in range(self._index_at(event.rect().left()), self._index_at(event.rect().right()) + 1):
                if event.region().intersects(self._cell(index)):
                    self._paint_cell(painter, index)
            for row, band in enumerate(self._ranges):
                self._paint_band(painter, row, band)
        if self.hasFocus():
            painter.setPen(QPen(theme.colour("focus"), 2))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(self.viewport().rect().adjusted(1, 1, -1, -1))

    def _paint_cell(self, painter: QPainter, index: int) -> None:
        cell = self._cell(index)
        box = QRect(cell.left(), cell.top(), self._thumb, self._thumb)
        painter.fillRect(box, theme.colour("stage"))
        frame = self._frames.get(index)
        if frame is not None:
            size = frame.deviceIndependentSize().toSize()
            painter.drawPixmap(
                box.left() + (box.width() - size.width()) // 2, box.top() + (box.height() - size.height()) // 2, frame
            )
        chosen = index == self.current
        painter.setBrush(Qt.BrushStyle.NoBrush)
        if chosen or index == self._hover:
            painter.setPen(QPen(theme.colour("accent" if chosen else "border"), 3 if chosen else 1))
            painter.drawRect(box.adjusted(1, 1, -1, -1) if chosen else box.adjusted(0, 0, -1, -1))
        painter.setPen(theme.colour("text" if chosen else "muted"))
        painter.setFont(theme.font(theme.LEAST, bold=chosen))
        number = f"{index} …" if index == self._running else str(index)
        painter.drawText(QRect(cell.left(), box.bottom() + 1, self._thumb, NUMBER), Qt.AlignmentFlag.AlignCenter, number)

    def _paint_band(self, painter: QPainter, row: int, band: tuple[int, int, str, int]) -> None:
        first, last, _name, colour = band
        if last < first:
            return
        top = GAP + self._thumb + NUMBER + row * BAND
        left, right = self._cell(first).left(), self._cell(last).right()
        painter.fillRect(QRect(left, top, right - left + 1, BAND - 1), theme.data_colour(colour))

    # mouse and keys --------------------------------------------------------------------------------------------

    def _choose(self, index: int) -> None:
        if index and index != self.current:
            self.select(index)
            self.selected.emit(self.current)

    def mousePressEvent(self, event) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self._choose(self._index_at(event.position().x()))

    def mouseMoveEvent(self, event) -> None:
        index = self._index_at(event.position().x())
        self._hover_over(index if self._cell(index).contains(event.position().toPoint()) else 0)
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._choose(index)

    def mouseReleaseEvent(self, _event) -> None:
        """Releasing ends the scrub; nothing else happens."""

    def mouseDoubleClickEvent(self, event) -> None:
        self.mousePressEvent(event)

    def wheelEvent(self, event) -> None:
        turned = event.angleDelta().x() or event.angleDelta().y()
        bar = self.horizontalScrollBar()
        bar.setValue(bar.value() - round(turned / 120 * self._pitch()))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if is_time_key(event):
            event.ignore()  # the transport knows whether one step on is looked at or has to be computed
        else:
            super().keyPressEvent(event)

    def viewportEvent(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Leave:
            self._hover_over(0)
        elif event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            index = self._index_at(event.pos().x())
            QToolTip.showText(event.globalPos(), self._tip(index), self)
            return True
        return super().viewportEvent(event)

    def _tip(self, index: int) -> str:
        bands = [name for first, last, name, _ in self._ranges if first <= index <= last]
        parts = [f"step {index} of {self._total}", self._notes.get(index, ""), ", ".join(bands)]
        return "\n".join(part for part in parts if part) if index else self._empty

    def _hover_over(self, index: int) -> None:
        if index != self._hover:
            before, self._hover = self._hover, index
            self.hovered.emit(index)
            self._update_change(before, index)

    def resizeEvent(self, event) -> None:
        super().resizeEvent(event)
        self._layout()

    def focusInEvent(self, event) -> None:
        super().focusInEvent(event)
        self.viewport().update()

    def focusOutEvent(self, event) -> None:
        super().focusOutEvent(event)
        self.viewport().update()

    def scrollContentsBy(self, dx: int, _dy: int) -> None:
        if self.hasFocus():  # its ring stays where it is
            self.viewport().update()
        else:
            self.viewport().scroll(dx, 0)


def _size(pixmap: QPixmap) -> int:
    return pixmap.width() * pixmap.height() * 4
