"""The drawing surface of the edge canvas: the map, its undo history, and the strokes the pointer makes.

`pixels` (H, W) uint8 is the drawing. What is painted on the screen is a second image of the same size in which every
value is the line colour with that opacity (one table look-up per changed rectangle), so black lets the underlay
through. A stroke costs the painting of its own small rectangle, whatever the size of the map.
"""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QImage, QMouseEvent, QPainter, QPen
from PySide6.QtWidgets import QWidget

from app import theme
from app.protocol.payloads import Image
from app.widgets.canvas_history import History, Recording, whole
from app.widgets.canvas_raster import Box, Point, paint_chain, resized
from app.widgets.canvas_tools import Stroke
from app.widgets.stage_view import StageView, to_qimage

TINT = "#ff5fc4"  # stands out on pictures of landscapes and people alike
EMPTY_TEXT = "Draw white edges here,\nor drop or paste a picture to turn it into edges."
LARGEST_BRUSH = 64


class EdgeStage(StageView):
    """White lines on black, drawn by hand."""

    edited = Signal()
    brush_changed = Signal(int)
    history_changed = Signal()
    resized_by_edit = Signal(int, int)
    pointer_at = Signal(int, int)

    def __init__(self, width: int, height: int, parent: QWidget | None = None) -> None:
        super().__init__(width, height, parent)
        self.pixels = np.zeros((height, width), np.uint8)
        self.history = History()
        self.tool, self.brush, self.tinted = "pen", 2, False
        self.preview: QImage | None = None
        self.locked = False
        self._stroke: Stroke | None = None
        self._recording: Recording | None = None
        self._painted: Box | None = None
        self._master: np.ndarray | None = None
        self._cursor: QPointF | None = None
        self._empty = True
        self._rebuild_display()
        self.keys.bind("Esc", "Drop the stroke being drawn", self.cancel_stroke, self.drawing)
        self.keys.bind("]", "Larger brush", self.larger_brush)
        self.keys.bind("[", "Smaller brush", self.smaller_brush)

    # ---- the drawing as a whole

    def is_empty(self) -> bool:
        """Whether nothing is drawn."""
        return self._empty

    def replace(self, pixels: np.ndarray, name: str, *, undoable: bool = True) -> None:
        """Put another map in place of the drawing."""
        self.cancel_stroke()
        if pixels.shape == self.pixels.shape and (pixels == self.pixels).all():
            return
        if undoable:
            self.history.push(whole(name, self.pixels))
        else:
            self.history.clear()
        self._master = None
        self._take(np.array(pixels, np.uint8))

    def set_size(self, width: int, height: int) -> None:
        """Scale the drawing to another size; several in a row all start from the drawing before the first."""
        self.cancel_stroke()
        if (height, width) == self.pixels.shape:
            return
        master = self.pixels if self._master is None else self._master
        if not self._empty or self.history.undo_stack:
            self.history.push(whole("size", self.pixels))
        self._take(master.copy() if master.shape == (height, width) else resized(master, width, height))
        self._master = master

    def _take(self, pixels: np.ndarray) -> None:
        other_size = pixels.shape != self.pixels.shape
        self.pixels = pixels
        if other_size:
            self._rebuild_display()
            self.set_content_size(pixels.shape[1], pixels.shape[0])
        self._touched(None)
        self.history_changed.emit()

    def undo(self) -> None:
        """Take back the newest action."""
        self._travel(self.history.undo_stack, self.history.undo)

    def redo(self) -> None:
        """Do again what was taken back last."""
        self._travel(self.history.redo_stack, self.history.redo)

    def _travel(self, stack: list, step) -> None:
        self.cancel_stroke()
        if self.locked or not stack:
            return
        shape = self.pixels.shape
        self._master = None
        self._take(step(self.pixels))
        if self.pixels.shape != shape:
            self.resized_by_edit.emit(self.pixels.shape[1], self.pixels.shape[0])

    # ---- the picture on the screen

    def set_tint(self, tinted: bool) -> None:
        """Draw the lines in colour instead of white."""
        self.tinted = tinted
        self._rebuild_display()
        self.update()

    def set_preview(self, image: Image | None) -> None:
        """Show `image` in place of the drawing, without changing the drawing."""
        self.preview = None if image is None else to_qimage(image)
        self.update()

    def _rebuild_display(self) -> None:
        height, width = self.pixels.shape
        ink = QColor(TINT if self.tinted else "white")
        values = np.arange(256, dtype=np.uint32)
        red, green, blue = ((values * part + 127) // 255 for part in (ink.red(), ink.green(), ink.blue()))
        self._table = values << 24 | red << 16 | green << 8 | blue
        self._display = self._table[self.pixels]
        self._screen = QImage(self._display.data, width, height, 4 * width, QImage.Format.Format_ARGB32_Premultiplied)

    def _touched(self, box: Box | None) -> None:
        """Bring the screen up to date with the pixels in `box`, or with all of them."""
        was_empty = self._empty
        if box is None:
            self._display[:] = self._table[self.pixels]
            self._empty = not self.pixels.any()
            self.update()
            return
        left, top, right, bottom = box
        here = self.pixels[top:bottom, left:right]
        self._display[top:bottom, left:right] = self._table[here]
        if was_empty and here.any():
            self._empty = False
            self.update()
        self.refresh(QRectF(left, top, right - left, bottom - top))

    # ---- strokes

    def pressed(self, point: QPointF, event: QMouseEvent) -> None:
        if self.locked or self.tool == "pan":
            return
        shift = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        right = event.button() == Qt.MouseButton.RightButton
        self._stroke = Stroke(self.tool, point.toTuple(), self.brush, erase=right, straight=shift)
        self._recording = Recording(self.tool, self.pixels)
        self._paint(self._stroke.begin())

    def dragged(self, point: QPointF, event: QMouseEvent) -> None:
        if self._stroke is not None:
            self._paint(self._stroke.move(point.toTuple(), bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)))

    def released(self, point: QPointF, event: QMouseEvent) -> None:
        if self._stroke is None:
            return
        self._paint(self._stroke.end(point.toTuple(), bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)))
        entry = self._recording.entry()
        erased = self._stroke.erase
        self._stroke = self._recording = self._painted = None
        if entry is None:
            return
        self.history.push(entry)
        self._master = None
        if erased:
            self._empty = not self.pixels.any()
            self.update()
        self.history_changed.emit()
        self.edited.emit()

    def _paint(self, chain: list[Point]) -> None:
        stroke = self._stroke
        if not stroke.free:
            self._touched_if(self._rewound())
        if not chain:
            return
        box = stroke.box(chain, self.pixels.shape[1], self.pixels.shape[0])
        if box is None:
            return
        self._recording.before(box)
        self._touched_if(paint_chain(self.pixels, chain, stroke.size, erase=stroke.erase))
        self._painted = box

    def _rewound(self) -> Box | None:
        self._recording.rewind()
        box, self._painted = self._painted, None
        return box

    def _touched_if(self, box: Box | None) -> None:
        if box is not None:
            self._touched(box)

    def drawing(self) -> bool:
        """Whether a stroke is in progress."""
        return self._stroke is not None

    def cancel_stroke(self) -> None:
        """Forget the stroke in progress and what it drew."""
        if not self.drawing():
            return
        self.abort_drag()
        self._recording.rewind()
        self._stroke = self._recording = self._painted = None
        self._touched(None)

    # ---- pointer, keys, painting

    def idle_cursor(self) -> Qt.CursorShape:
        if self.locked:
            return Qt.CursorShape.ArrowCursor
        return Qt.CursorShape.CrossCursor

    def hovered(self, point: QPointF, event: QMouseEvent) -> None:
        self._refresh_cursor()
        self._cursor = point
        self._refresh_cursor()
        self.pointer_at.emit(int(point.x() // 1), int(point.y() // 1))

    def leaveEvent(self, event) -> None:
        self._refresh_cursor()
        self._cursor = None
        super().leaveEvent(event)

    def set_brush(self, size: int) -> None:
        """Diameter in pixels of the map, 1 to 64."""
        size = min(LARGEST_BRUSH, max(1, size))
        if size != self.brush:
            self._refresh_cursor()
            self.brush = size
            self._refresh_cursor()
            self.brush_changed.emit(size)

    def _refresh_cursor(self) -> None:
        if self._cursor is not None:
            reach = self.brush / 2 + 3 / self.zoom()
            self.refresh(QRectF(self._cursor.x() - reach, self._cursor.y() - reach, 2 * reach, 2 * reach))

    def larger_brush(self) -> None:
        """One step up: by one while fine, by an eighth when coarse."""
        self.set_brush(self.brush + max(1, self.brush // 8))

    def smaller_brush(self) -> None:
        """One step down."""
        self.set_brush(self.brush - max(1, self.brush // 9))

    def paint_content(self, painter: QPainter) -> None:
        self.draw_image(painter, self.preview or self._screen, pixel_true=True)

    def paint_overlay(self, painter: QPainter) -> None:
        if self._empty and self.preview is None and self.underlay is None and self._stroke is None:
            painter.setFont(theme.font(theme.BODY))
            painter.setPen(QColor("#a6aeb8"))
            painter.drawText(self.rect().adjusted(8, 8, -8, -8), Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, EMPTY_TEXT)
        if self._cursor is not None and not self.locked and not self.panning():
            self._paint_ring(painter)

    def _paint_ring(self, painter: QPainter) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        centre, radius = self.to_widget(self._cursor), max(1.0, self.brush * self.zoom() / 2)
        for colour, wider in ((QColor(0, 0, 0, 200), 1.0), (QColor(255, 255, 255, 230), 0.0)):
            painter.setPen(QPen(colour, 1))
            painter.drawEllipse(centre, radius + wider, radius + wider)
