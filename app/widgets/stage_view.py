"""A stage that shows something of a given pixel size, zoomed and panned: the ground both editors stand on.

`zoom` is screen pixels (logical) per content pixel, `origin` where the content's corner lies in the widget. The
wheel zooms at the cursor; Space or F + drag, the middle button or the hand tool pan; Ctrl+0/1/2 are fit, 100 %, 200 %;
until the user zooms or pans, the content stays fitted when the widget changes size. A subclass draws in `paint_content`
(content coordinates) and `paint_overlay` (widget coordinates) and gets the pointer in `pressed`, `dragged`,
`released` and `hovered`. Only the rectangles handed to `refresh` are painted again.
"""

from __future__ import annotations

import math

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRect, QRectF, QSize, Qt, Signal, Slot
from PySide6.QtGui import (
    QFocusEvent,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QResizeEvent,
    QTransform,
    QWheelEvent,
)
from PySide6.QtWidgets import QWidget

from app import theme
from app.protocol.payloads import Image
from app.widgets.key_map import KeyMap

MARGIN = 8  # px left free around the content when it is fitted
LEAST_ZOOM, MOST_ZOOM = 1 / 64, 64.0
WHEEL_NOTCH = 1.2  # zoom factor of one notch (120 units) of the wheel


def to_qimage(image: Image) -> QImage:
    """An `Image` payload as a QImage that owns its pixels, in the format that paints fastest."""
    pixels = np.ascontiguousarray(image.pixels)
    height, width = pixels.shape[:2]
    made = QImage(pixels.data, width, height, 3 * width, QImage.Format.Format_RGB888)
    return made.convertToFormat(QImage.Format.Format_RGB32)


def from_qimage(image: QImage) -> np.ndarray:
    """The pixels of a QImage as uint8 (H, W, 3); what is transparent lies on white."""
    flat = QImage(image.size(), QImage.Format.Format_RGB888)
    flat.fill(Qt.GlobalColor.white)
    painter = QPainter(flat)
    painter.drawImage(flat.rect(), image)  # a rectangle: images know their screen's scale, we want pixels
    painter.end()
    rows = np.frombuffer(flat.constBits(), np.uint8).reshape(flat.height(), flat.bytesPerLine())
    return rows[:, : 3 * flat.width()].reshape(flat.height(), flat.width(), 3).copy()


class StageView(QWidget):
    """Zoom, pan, underlay and the pointer in content coordinates."""

    view_changed = Signal()

    def __init__(self, width: int, height: int, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.content = QSize(width, height)
        self.keys = KeyMap()
        self.hand = False
        self.underlay: QImage | None = None
        self.underlay_opacity = 0.6
        self._zoom, self._origin, self._fitted = 1.0, QPointF(), True
        self._pan_from: tuple[QPointF, QPointF] | None = None
        self._pan_key = False
        self._button: Qt.MouseButton | None = None
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setMinimumSize(160, 120)
        theme.notifier().changed.connect(self._on_theme_changed)
        self.keys.bind("Ctrl+0", "Fit", self.fit)
        self.keys.bind("Ctrl+1", "100 %", self.actual_size)
        self.keys.bind("Ctrl+2", "200 %", self.double_size)
        self.keys.bind("Ctrl++ Ctrl+=", "Zoom in", self.zoom_in)
        self.keys.bind("Ctrl+-", "Zoom out", self.zoom_out)

    @Slot()
    def _on_theme_changed(self) -> None:
        self.update()

    # ---- where things are

    def zoom(self) -> float:
        """Screen pixels per content pixel."""
        return self._zoom

    def to_content(self, position: QPointF) -> QPointF:
        """A place in the widget, in content pixels."""
        return (position - self._origin) / self._zoom

    def to_widget(self, point: QPointF) -> QPointF:
        """A place in the content, in widget pixels."""
        return point * self._zoom + self._origin

    def content_rect(self) -> QRectF:
        """The content in widget pixels."""
        return QRectF(self._origin, self.content.toSizeF() * self._zoom)

    def fit_rect(self) -> QRectF:
        """What `fit` brings into view, in content pixels; a subclass may want more than the content."""
        return QRectF(0, 0, self.content.width(), self.content.height())

    # ---- moving the view

    def set_content_size(self, width: int, height: int) -> None:
        """Show content of another size, fitted."""
        self.content = QSize(width, height)
        self.fit()

    def fit(self) -> None:
        """All of it, in whole multiples where there is room (every pixel of a small map is then equally large)."""
        rect = self.fit_rect()
        room_x, room_y = max(1, self.width() - 2 * MARGIN), max(1, self.height() - 2 * MARGIN)
        zoom = min(room_x / rect.width(), room_y / rect.height())
        device = zoom * self.devicePixelRatioF()
        if device >= 2:
            zoom = math.floor(device) / self.devicePixelRatioF()
        self._place(zoom, QPointF(self.rect().toRectF().center()) - rect.center() * zoom)
        self._fitted = True

    def set_zoom(self, zoom: float) -> None:
        """Zoom about the middle of the widget."""
        self.zoom_at(zoom, QPointF(self.rect().toRectF().center()))

    def actual_size(self) -> None:
        """100 %."""
        self.set_zoom(1.0)

    def double_size(self) -> None:
        """200 %."""
        self.set_zoom(2.0)

    def zoom_in(self) -> None:
        """One notch closer."""
        self.set_zoom(self._zoom * WHEEL_NOTCH**2)

    def zoom_out(self) -> None:
        """One notch away."""
        self.set_zoom(self._zoom / WHEEL_NOTCH**2)

    def zoom_at(self, zoom: float, position: QPointF) -> None:
        """Zoom so that what lies under `position` (widget pixels) stays there."""
        fixed = self.to_content(position)
        zoom = min(MOST_ZOOM, max(LEAST_ZOOM, zoom))
        self._place(zoom, position - fixed * zoom)

    def _place(self, zoom: float, origin: QPointF) -> None:
        ratio = self.devicePixelRatioF()
        snapped = QPointF(round(origin.x() * ratio) / ratio, round(origin.y() * ratio) / ratio)
        self._fitted = False
        self._zoom, self._origin = zoom, snapped
        self.update()
        self.view_changed.emit()

    def resizeEvent(self, event: QResizeEvent) -> None:
        if self._fitted:
            self.fit()
        else:
            moved = (event.size() - event.oldSize()) / 2
            self._place(self._zoom, self._origin + QPointF(moved.width(), moved.height()))

    def wheelEvent(self, event: QWheelEvent) -> None:
        notches = event.angleDelta().y() / 120
        if notches:
            self.zoom_at(self._zoom * WHEEL_NOTCH**notches, event.position())
        event.accept()

    # ---- keys

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ShortcutOverride:
            if event.key() in (Qt.Key.Key_Space, Qt.Key.Key_F) and not event.modifiers():
                event.accept()
                return True
            if self.keys.claim(event):
                return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Space, Qt.Key.Key_F) and not event.modifiers():
            self._pan_key = True
            self.update_cursor()
        elif not self.keys.press(event):
            event.ignore()

    def keyReleaseEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Space, Qt.Key.Key_F) and not event.isAutoRepeat():
            self._pan_key = False
            self.update_cursor()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        self._pan_key = False
        self.update_cursor()
        super().focusOutEvent(event)

    # ---- pointer

    def panning(self) -> bool:
        """Whether a left drag would move the view now."""
        return self.hand or self._pan_key or self._pan_from is not None

    def update_cursor(self) -> None:
        """Show the hand while the view can be dragged."""
        if self._pan_from is not None:
            self.setCursor(Qt.CursorShape.ClosedHandCursor)
        elif self.panning():
            self.setCursor(Qt.CursorShape.OpenHandCursor)
        else:
            self.setCursor(self.idle_cursor())

    def idle_cursor(self) -> Qt.CursorShape:
        """The cursor while nothing is going on."""
        return Qt.CursorShape.ArrowCursor

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self.setFocus(Qt.FocusReason.MouseFocusReason)
        left = event.button() == Qt.MouseButton.LeftButton
        if self._button is not None or self._pan_from is not None:
            return
        if event.button() == Qt.MouseButton.MiddleButton or (left and self.panning()):
            self._pan_from = (event.position(), self._origin)
            self.update_cursor()
        elif left or event.button() == Qt.MouseButton.RightButton:
            self._button = event.button()
            self.pressed(self.to_content(event.position()), event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._pan_from is not None:
            start, origin = self._pan_from
            self._place(self._zoom, origin + event.position() - start)
        elif self._button is not None and not event.buttons() & self._button:
            self.mouseReleaseEvent(event)  # the release went elsewhere, to a window that opened meanwhile
        elif self._button is not None:
            self.dragged(self.to_content(event.position()), event)
        self.hovered(self.to_content(event.position()), event)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if self._pan_from is not None and not event.buttons():
            self._pan_from = None
            self.update_cursor()
        elif self._button is not None and not event.buttons() & self._button:
            self._button = None
            self.released(self.to_content(event.position()), event)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self.mousePressEvent(event)  # the second of two quick strokes is a stroke

    def abort_drag(self) -> None:
        """Forget a drag in progress; no `released` follows."""
        self._button = None

    def pressed(self, point: QPointF, event: QMouseEvent) -> None:
        """A button went down at `point` (content pixels)."""

    def dragged(self, point: QPointF, event: QMouseEvent) -> None:
        """The pointer moved with the button down."""

    def released(self, point: QPointF, event: QMouseEvent) -> None:
        """The button that went down went up."""

    def hovered(self, point: QPointF, event: QMouseEvent) -> None:
        """The pointer moved, with or without a button."""

    # ---- painting

    def set_underlay(self, image: Image | None) -> None:
        """Show a picture under what is edited."""
        self.underlay = None if image is None else to_qimage(image)
        self.update()

    def set_underlay_opacity(self, opacity: float) -> None:
        """0 hides the underlay, 1 shows it full."""
        self.underlay_opacity = min(1.0, max(0.0, opacity))
        self.update()

    def refresh(self, rect: QRectF) -> None:
        """Paint the part `rect` (content pixels) again."""
        spot = QRectF(self.to_widget(rect.topLeft()), self.to_widget(rect.bottomRight()))
        self.update(spot.toAlignedRect().adjusted(-1, -1, 1, 1))

    def draw_image(self, painter: QPainter, image: QImage, *, pixel_true: bool) -> None:
        """Draw `image` as large as fits the content, centred and never stretched."""
        box = QRectF(0, 0, self.content.width(), self.content.height())
        size = image.size().toSizeF().scaled(box.size(), Qt.AspectRatioMode.KeepAspectRatio)
        target = QRectF(QPointF(), size)
        target.moveCenter(box.center())
        scale = self._zoom * self.devicePixelRatioF() * size.width() / image.width()
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, scale < 2 or not pixel_true)
        painter.drawImage(target, image)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        self._paint_ground(painter, event.rect())
        painter.save()
        painter.setTransform(
            QTransform.fromScale(self._zoom, self._zoom) * QTransform.fromTranslate(self._origin.x(), self._origin.y())
        )
        self.paint_content(painter)
        painter.restore()
        self.paint_overlay(painter)
        if self.hasFocus():
            painter.setPen(theme.colour("focus"))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(self.rect().adjusted(0, 0, -1, -1))

    def _paint_ground(self, painter: QPainter, exposed: QRect) -> None:
        painter.fillRect(exposed, theme.colour("stage"))
        painter.fillRect(self.content_rect(), Qt.GlobalColor.black)
        if self.underlay is not None and self.underlay_opacity > 0:
            painter.save()
            painter.setClipRect(self.content_rect())
            painter.setTransform(
                QTransform.fromScale(self._zoom, self._zoom)
                * QTransform.fromTranslate(self._origin.x(), self._origin.y())
            )
            painter.setOpacity(self.underlay_opacity)
            self.draw_image(painter, self.underlay, pixel_true=self.underlay.width() <= 256)
            painter.restore()

    def paint_content(self, painter: QPainter) -> None:
        """Draw in content pixels."""

    def paint_overlay(self, painter: QPainter) -> None:
        """Draw in widget pixels, over everything."""
