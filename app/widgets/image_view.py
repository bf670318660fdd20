"""One picture, shown true to its pixels, with a caption that says what it is, who decoded it and how large it is.

Small pictures (latents, maps, Playworld renders) are enlarged by whole device pixels with nearest neighbour, larger
ones smoothly; nothing is ever stretched.  Several views can be linked so that zoom and position stay equal.
"""

from __future__ import annotations

import weakref

import numpy as np
from PySide6.QtCore import QBuffer, QEvent, QIODevice, QPoint, QPointF, QRect, QRectF, Qt, Signal, Slot
from PySide6.QtGui import QAction, QBrush, QGuiApplication, QImage, QKeySequence, QPainter, QPaintEvent, QPen, QPixmap
from PySide6.QtWidgets import QMenu, QPushButton, QSizePolicy, QWidget

from app import theme
from app.protocol.payloads import Image
from app.widgets.picture_place import PicturePlace

CAPTION = 22
_CLICK_SLOP = 4  # a press that moves less than this many pixels is a click


def to_qimage(picture: Image | np.ndarray) -> QImage:
    """A payload or a uint8 array (H, W), (H, W, 3) or (H, W, 4) as a ``QImage`` that owns its memory."""
    pixels = np.ascontiguousarray(picture.pixels if isinstance(picture, Image) else picture)
    formats = {1: QImage.Format.Format_Grayscale8, 3: QImage.Format.Format_RGB888, 4: QImage.Format.Format_RGBA8888}
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    height, width = pixels.shape[:2]
    return QImage(pixels.data, width, height, width * channels, formats[channels]).copy()


def png_bytes(picture: Image | np.ndarray) -> bytes:
    """The picture as a PNG file; safe on any thread, so call it where files are written."""
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    to_qimage(picture).save(buffer, "PNG")
    return bytes(buffer.data())


def checkerboard(cell: int = 8) -> QBrush:
    """The pattern behind transparent parts."""
    tile = QPixmap(2 * cell, 2 * cell)
    tile.fill(theme.colour("checker_a"))
    painter = QPainter(tile)
    painter.fillRect(0, 0, cell, cell, theme.colour("checker_b"))
    painter.fillRect(cell, cell, cell, cell, theme.colour("checker_b"))
    painter.end()
    return QBrush(tile)


class ImageView(QWidget):
    """A picture with zoom, pan, an overlay, a caption and an empty state that teaches."""

    clicked = Signal(float, float)
    double_clicked = Signal()
    hovered = Signal(object)
    save_requested = Signal(object)
    placeholder_action = Signal()
    view_changed = Signal()

    def __init__(self, parent: QWidget | None = None, *, title: str = "") -> None:
        super().__init__(parent)
        self._image: Image | None = None
        self._pixels = QImage()
        self._overlay = QImage()
        self._opacity = 0.6
        self._title, self._note, self._placeholder = title, "", ""
        self._described = ("", "")
        self._place = PicturePlace(self, CAPTION)
        self._pointer: tuple[int, int] | None = None
        self._press: QPoint | None = None
        self._dragged = False
        self._shrunk: tuple[tuple, QImage] | None = None
        self._links: list[weakref.ref[ImageView]] = []
        self._button = QPushButton(self, visible=False)
        self._button.clicked.connect(self.placeholder_action)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)  # stage and caption cover it: nothing behind is painted
        self.setAccessibleName(title or "Picture")
        self.setMinimumSize(96, 96 + CAPTION)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self._add_actions()
        self._describe()

    # what is shown ---------------------------------------------------------------------------------------------

    def set_image(self, image: Image | None) -> None:
        """Show a payload (or nothing); zoom and position stay as they are while the size stays the same."""
        self._image = image
        self._pixels = QImage() if image is None else to_qimage(image)
        self._shrunk = None
        if self._pixels.size() != self._place.size:
            self._place.size = self._pixels.size()
            if not self._place.fits:
                self.fit()
        self._button.setVisible(image is None and bool(self._button.text()))
        self._describe()
        self.update(self._place.stage())

    def image(self) -> Image | None:
        """The payload on show."""
        return self._image

    def set_overlay(self, overlay: Image | np.ndarray | None, opacity: float | None = None) -> None:
        """Lay a map (a payload, or an RGBA array) over the picture, scaled to it."""
        self._overlay = QImage() if overlay is None else to_qimage(overlay)
        self.set_overlay_opacity(self._opacity if opacity is None else opacity)

    def set_overlay_opacity(self, opacity: float) -> None:
        """0 hides the overlay, 1 hides the picture."""
        self._opacity = min(max(opacity, 0.0), 1.0)
        self.update()

    def set_placeholder(self, text: str, action: str = "", tip: str = "") -> None:
        """What the empty view says, and the button that makes something appear."""
        self._placeholder = text
        self._button.setText(action)
        self._button.setToolTip(tip)
        self._button.setVisible(bool(action) and self._image is None)
        self._place_button()
        self._describe()
        self.update()

    def set_title(self, title: str) -> None:
        """A name for the view, first in the caption."""
        self._title = title
        self.setAccessibleName(title or "Picture")
        self._describe()
        self.update()

    def set_note(self, note: str) -> None:
        """Extra words at the end of the caption."""
        self._note = note
        self._describe()
        self.update()

    def caption(self, *, short: bool = False) -> str:
        """The caption after the title: what it is (left out if ``short`` and there is a title), decoder, size, notes."""
        if self._image is None:
            return self._note
        label = "" if self._title and (short or self._image.label == self._title) else self._image.label
        size = f"{self._pixels.width()} x {self._pixels.height()}"
        parts = (label, self._image.decoder, size, self._image.note, self._note)
        return " · ".join(part for part in parts if part)

    def _describe(self) -> None:
        """Bring the words up to date, and the caption if they are others or read pixels under the pointer."""
        caption = self.caption()
        described = (caption or self._placeholder, " · ".join(part for part in (self._title, caption) if part))
        if described != self._described:
            self._described = described
            self.setAccessibleDescription(described[0])
            self.setToolTip(described[1])
            self.update(self._caption_strip())
        elif self._pointer is not None:
            self.update(self._caption_strip())

    # zoom and position -----------------------------------------------------------------------------------------

    @property
    def zoom(self) -> float:
        """Logical screen pixels per picture pixel, as shown."""
        return self._place.zoom

    @Slot()
    def fit(self) -> None:
        """Show the whole picture, as large as possible."""
        self._place.fit()
        self._changed()

    def set_zoom(self, zoom: float, anchor: QPointF | None = None) -> None:
        """Zoom to a factor, keeping the point under ``anchor`` (widget coordinates) where it is."""
        if not self._pixels.isNull():
            self._place.set_zoom(zoom, anchor)
            self._changed()

    def link(self, other: ImageView) -> None:
        """Share zoom and position with another view, both ways."""
        self._links.append(weakref.ref(other))
        other._links.append(weakref.ref(self))

    def to_picture(self, point: QPointF) -> QPointF:
        """Widget coordinates to picture pixels."""
        return self._place.to_picture(point)

    def from_picture(self, point: QPointF) -> QPointF:
        """Picture pixels to widget coordinates."""
        return self._place.from_picture(point)

    def _changed(self) -> None:
        for reference in self._links:
            other = reference()
            if other is not None:
                other._follow(self)
        self.view_changed.emit()
        self.update()

    def _follow(self, other: ImageView) -> None:
        self._place.follow(other._place)
        self.update()

    # painting --------------------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        stage = self._place.stage()
        painter.fillRect(stage, theme.colour("stage"))
        if self._pixels.isNull():
            self._paint_placeholder(painter, stage)
        else:
            painter.setClipRect(stage)
            self._paint_picture(painter)
            painter.setClipping(False)
        if event.region().intersects(self._caption_strip()):
            self._paint_caption(painter)
        if self.hasFocus():
            painter.setPen(QPen(theme.colour("focus"), 2))
            painter.drawRect(self.rect().adjusted(1, 1, -1, -1))

    def _paint_picture(self, painter: QPainter) -> None:
        target = self._place.target()
        if self._pixels.hasAlphaChannel():
            painter.fillRect(target, checkerboard())
        smooth = not self._place.whole_pixels
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, smooth)
        pixels = self._shrunk_pixels(target) if self.zoom * self.devicePixelRatioF() < 1 else self._pixels
        painter.drawImage(target, pixels)
        if not self._overlay.isNull() and self._opacity > 0:
            painter.setOpacity(self._opacity)
            painter.drawImage(target, self._overlay)
            painter.setOpacity(1.0)

    def _shrunk_pixels(self, target: QRectF) -> QImage:
        """A cached reduced copy: scaling by half or less while painting would skip pixels."""
        ratio = self.devicePixelRatioF()
        size = (max(round(target.width() * ratio), 1), max(round(target.height() * ratio), 1))
        if self._shrunk is None or self._shrunk[0] != size:
            smooth = Qt.TransformationMode.SmoothTransformation
            self._shrunk = (size, self._pixels.scaled(*size, Qt.AspectRatioMode.IgnoreAspectRatio, smooth))
        return self._shrunk[1]

    def _paint_placeholder(self, painter: QPainter, stage: QRect) -> None:
        painter.setPen(theme.colour("on_stage"))
        painter.setFont(theme.font())
        box = stage.adjusted(16, 8, -16, -8)
        if self._button.text():
            box.setBottom(stage.center().y() - 4)
        vertical = Qt.AlignmentFlag.AlignBottom if self._button.text() else Qt.AlignmentFlag.AlignVCenter
        flags = Qt.AlignmentFlag.AlignHCenter | vertical | Qt.TextFlag.TextWordWrap
        painter.drawText(box, flags, self._placeholder)

    def _paint_caption(self, painter: QPainter) -> None:
        strip = self._caption_strip()
        painter.fillRect(strip, theme.colour("surface"))
        text_box = strip.adjusted(8, 0, -8, 0)
        middle = Qt.AlignmentFlag.AlignVCenter
        if self._title:
            painter.setFont(theme.font(theme.SMALL, bold=True))
            painter.setPen(theme.colour("text"))
            title = painter.fontMetrics().elidedText(self._title, Qt.TextElideMode.ElideRight, text_box.width())
            painter.drawText(text_box, middle, title)
            text_box.setLeft(text_box.left() + painter.fontMetrics().horizontalAdvance(title) + 10)
        painter.setFont(theme.font(theme.SMALL))
        painter.setPen(theme.colour("muted"))
        words = self._readout() or self.caption()
        if painter.fontMetrics().horizontalAdvance(words) > text_box.width():
            words = self._readout() or self.caption(short=True)
        shown = painter.fontMetrics().elidedText(words, Qt.TextElideMode.ElideRight, text_box.width())
        painter.drawText(text_box, middle, shown)

    def _caption_strip(self) -> QRect:
        return QRect(0, self.height() - CAPTION, self.width(), CAPTION)

    def _readout(self) -> str:
        if self._pointer is None or self._image is None:
            return ""
        x, y = self._pointer
        values = " ".join(f"{value:3d}" for value in np.atleast_1d(self._image.pixels[y, x]))
        return f"x {x}, y {y}: {values} · {self.zoom * 100:.0f} %"

    # mouse, wheel, keys ----------------------------------------------------------------------------------------

    def mousePressEvent(self, event) -> None:
        if event.button() in (Qt.MouseButton.LeftButton, Qt.MouseButton.MiddleButton):
            self._press = event.position().toPoint()
            self._dragged = False

    def mouseMoveEvent(self, event) -> None:
        position = event.position().toPoint()
        self._point_at(event.position())
        if self._press is None or self._pixels.isNull():
            return
        step = position - self._press
        if self._dragged or step.manhattanLength() > _CLICK_SLOP:
            self._dragged = True
            self._press = position
            self._place.pan(step.x(), step.y())
            self._changed()

    def mouseReleaseEvent(self, event) -> None:
        if self._press is not None and not self._dragged and event.button() == Qt.MouseButton.LeftButton:
            point = self.to_picture(event.position())
            if self._place.inside(point):
                self.clicked.emit(point.x(), point.y())
        self._press = None

    def mouseDoubleClickEvent(self, _event) -> None:
        self.double_clicked.emit()

    def wheelEvent(self, event) -> None:
        notches = event.angleDelta().y() / 120
        if notches and not self._pixels.isNull():
            self._place.zoom_by(notches, event.position())
            self._changed()
        event.accept()

    def leaveEvent(self, _event: QEvent) -> None:
        self._point_at(None)

    def resizeEvent(self, _event) -> None:
        self._place_button()

    def focusInEvent(self, event) -> None:
        super().focusInEvent(event)
        self.update()

    def focusOutEvent(self, event) -> None:
        super().focusOutEvent(event)
        self.update()

    def contextMenuEvent(self, event) -> None:
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.addActions(self.actions())
        menu.popup(event.globalPos())

    def _point_at(self, position: QPointF | None) -> None:
        point = None if position is None or self._pixels.isNull() else self.to_picture(position)
        found = (int(point.x()), int(point.y())) if point is not None and self._place.inside(point) else None
        if found != self._pointer:
            self._pointer = found
            self.hovered.emit(found)
            self.update(self._caption_strip())

    def _place_button(self) -> None:
        self._button.adjustSize()
        middle = self._place.stage().center()
        self._button.move(middle.x() - self._button.width() // 2, middle.y() + 8)

    # actions ---------------------------------------------------------------------------------------------------

    def _add_actions(self) -> None:
        table = (
            ("Copy picture", QKeySequence(QKeySequence.StandardKey.Copy), self._copy),
            ("Save as PNG …", QKeySequence(), self._save),
            ("Fit", QKeySequence("Ctrl+0"), self.fit),
            ("100 %", QKeySequence("Ctrl+1"), self._zoom_one),
            ("200 %", QKeySequence("Ctrl+2"), self._zoom_two),
            ("Smooth", QKeySequence(), self._toggle_smooth),
        )
        for text, key, slot in table:
            action = QAction(text, self)
            action.setShortcut(key)
            action.setShortcutContext(Qt.ShortcutContext.WidgetShortcut)
            action.triggered.connect(slot)
            self.addAction(action)
        self.actions()[-1].setCheckable(True)

    def _copy(self) -> None:
        if not self._pixels.isNull():
            QGuiApplication.clipboard().setImage(self._pixels)

    def _save(self) -> None:
        if self._image is not None:
            self.save_requested.emit(self._image)

    def _zoom_one(self) -> None:
        self.set_zoom(1.0)

    def _zoom_two(self) -> None:
        self.set_zoom(2.0)

    def _toggle_smooth(self) -> None:
        self._place.smooth = not self._place.smooth
        self._changed()
