"""A small picture whose pixels are hidden with a brush: the left button hides, the right one shows again."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from PySide6.QtCore import QEvent, QPointF, Qt, Signal
from PySide6.QtGui import QMouseEvent
from PySide6.QtWidgets import QWidget

from app.protocol.payloads import Image
from app.widgets.image_view import ImageView

BRUSH = 1.5
"""Radius in pixels."""
DARK, LIGHT = 40, 80


class HidingView(ImageView):
    """The picture with its hidden pixels as a dark checkerboard; `changed` tells of a finished stroke."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None, *, title: str = "") -> None:
        super().__init__(parent, title=title)
        self._whole: Image | None = None
        self._hidden = np.zeros((0, 0), bool)
        self._stroke: bool | None = None
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.PreventContextMenu)
        self.setCursor(Qt.CursorShape.CrossCursor)
        self.set_note("paint here")
        self.setToolTip("Paint to hide pixels; the right button shows them again")

    def set_picture(self, picture: Image) -> None:
        """Another picture; what is hidden stays hidden while the size stays the same."""
        self._whole = picture
        if self._hidden.shape != picture.pixels.shape[:2]:
            self._hidden = np.zeros(picture.pixels.shape[:2], bool)
        self._draw()

    def hidden(self) -> tuple[int, ...]:
        """Hidden pixels, counted along the rows."""
        return tuple(int(k) for k in np.flatnonzero(self._hidden))

    def set_hidden(self, pixels: Iterable[int]) -> None:
        """Hide exactly these; tells nobody."""
        if self._whole is None:
            return
        fresh = np.zeros(self._hidden.size, bool)
        fresh[[k for k in pixels if 0 <= k < fresh.size]] = True
        self._hidden = fresh.reshape(self._hidden.shape)
        self._draw()

    def _draw(self) -> None:
        if self._whole is None:
            return
        y, x = np.indices(self._hidden.shape)
        cover = np.where((y + x) % 2 == 0, DARK, LIGHT).astype(np.uint8)[..., None]
        self.set_image(Image(np.where(self._hidden[..., None], cover, self._whole.pixels), label=f"{int(self._hidden.sum())} hidden"))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if self._whole is not None and event.button() in (Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton):
            self._stroke = event.button() == Qt.MouseButton.LeftButton
            self._paint(event.position())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._point_at(event.position())
        if self._stroke is not None:
            self._paint(event.position())

    def mouseReleaseEvent(self, _event: QMouseEvent) -> None:
        if self._stroke is not None:
            self._stroke = None
            self.changed.emit()

    def focusOutEvent(self, event: QEvent) -> None:
        self._stroke = None
        super().focusOutEvent(event)

    def _paint(self, position: QPointF) -> None:
        point = self.to_picture(position)
        y, x = np.indices(self._hidden.shape)
        near = (x + 0.5 - point.x()) ** 2 + (y + 0.5 - point.y()) ** 2 <= BRUSH**2
        if (self._hidden[near] != self._stroke).any():
            self._hidden[near] = self._stroke
            self._draw()
