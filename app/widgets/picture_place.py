"""Where a picture stands in a view: zoom and position, in whole device pixels for small pictures.

Zoom is counted in logical screen pixels per picture pixel.  The position is the point of the picture (as fractions of
its size) that stands in the middle of the stage, so that linked views of different sizes can share it.
"""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRect, QRectF, QSize
from PySide6.QtWidgets import QWidget

SMALL_SIDE = 320  # pictures up to this side are enlarged by whole pixels
LARGEST_ZOOM = 64.0


class PicturePlace:
    """Zoom and position of one picture on the stage of ``view`` (all of it but a caption at the bottom)."""

    def __init__(self, view: QWidget, caption: int) -> None:
        self._view, self._caption = view, caption
        self.size = QSize(0, 0)
        self.fits = True
        self.smooth = False
        self._zoom = 1.0
        self._centre = QPointF(0.5, 0.5)

    def stage(self) -> QRect:
        """The part of the view that pictures use."""
        return self._view.rect().adjusted(0, 0, 0, -self._caption)

    @property
    def ratio(self) -> float:
        """Device pixels per logical pixel."""
        return self._view.devicePixelRatioF()

    @property
    def whole_pixels(self) -> bool:
        """True if the picture is enlarged by whole device pixels, with nearest neighbour."""
        return not self.smooth and max(self.size.width(), self.size.height()) <= SMALL_SIDE

    @property
    def zoom(self) -> float:
        """Logical screen pixels per picture pixel, as shown."""
        return self._fitting_zoom() if self.fits else self._zoom

    def fit(self) -> None:
        """Show the whole picture, as large as possible."""
        self.fits = True
        self._centre = QPointF(0.5, 0.5)

    def set_zoom(self, zoom: float, anchor: QPointF | None = None) -> None:
        """Zoom to a factor, keeping the point under ``anchor`` (view coordinates) where it is."""
        anchor = QPointF(self.stage().center()) if anchor is None else anchor
        before = self.to_picture(anchor)
        self._zoom = min(max(self._snapped(zoom), 1 / LARGEST_ZOOM), LARGEST_ZOOM)
        self.fits = False
        moved = before - self.to_picture(anchor)
        self._move_centre(moved.x(), moved.y())

    def zoom_by(self, notches: float, anchor: QPointF) -> None:
        """Zoom by notches of a wheel, at least one step of whole pixels."""
        wanted = self.zoom * 1.25**notches
        if self._snapped(wanted) == self._snapped(self.zoom):
            wanted = self.zoom + (1 if notches > 0 else -1) / self.ratio
        self.set_zoom(max(wanted, 1 / (2 * self.ratio)), anchor)

    def pan(self, dx: float, dy: float) -> None:
        """Move the picture by logical screen pixels."""
        self._zoom, self.fits = self.zoom, False
        self._move_centre(-dx / self._zoom, -dy / self._zoom)

    def follow(self, other: PicturePlace) -> None:
        """Show the same part as another place, whatever the size of its picture."""
        self.fits, self._centre = other.fits, QPointF(other._centre)
        if not other.fits and self.size.width():
            self._zoom = other._zoom * other.size.width() / self.size.width()

    def target(self) -> QRectF:
        """Where the picture is painted, its corner on a device pixel."""
        stage, zoom, ratio = QRectF(self.stage()), self.zoom, self.ratio
        width, height = self.size.width() * zoom, self.size.height() * zoom
        left = stage.center().x() - self._centre.x() * width
        top = stage.center().y() - self._centre.y() * height
        return QRectF(round(left * ratio) / ratio, round(top * ratio) / ratio, width, height)

    def to_picture(self, point: QPointF) -> QPointF:
        """View coordinates to picture pixels."""
        return (point - self.target().topLeft()) / self.zoom

    def from_picture(self, point: QPointF) -> QPointF:
        """Picture pixels to view coordinates."""
        return self.target().topLeft() + point * self.zoom

    def inside(self, point: QPointF) -> bool:
        """True if a point in picture pixels lies in the picture."""
        return 0 <= point.x() < self.size.width() and 0 <= point.y() < self.size.height()

    def _move_centre(self, dx: float, dy: float) -> None:
        x = self._centre.x() + dx / max(self.size.width(), 1)
        y = self._centre.y() + dy / max(self.size.height(), 1)
        self._centre = QPointF(min(max(x, 0.0), 1.0), min(max(y, 0.0), 1.0))

    def _snapped(self, zoom: float) -> float:
        if self.whole_pixels and zoom * self.ratio >= 1:
            return round(zoom * self.ratio) / self.ratio
        return zoom

    def _fitting_zoom(self) -> float:
        if self.size.isEmpty():
            return 1.0
        stage = self.stage()
        zoom = min(stage.width() / self.size.width(), stage.height() / self.size.height())
        if self.whole_pixels and zoom * self.ratio >= 1:
            return int(zoom * self.ratio) / self.ratio
        return zoom if self.whole_pixels or self.smooth else min(zoom, 1.0)
