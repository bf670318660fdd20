"""The square stage of the plane: particles as soft points, a field as thin arrows, density as a muted map, paths, and a pen.

The axes run from -span to span both ways, y upwards. Layers are painted once each and kept as pictures until they change, so that moving
particles cost only themselves. With `set_pen` a drag adds points; the wheel zooms, double-click shows all again.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QImage, QMouseEvent, QPainter, QPaintEvent, QPen, QPixmap, QPolygonF, QWheelEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from app import theme
from app.widgets.plane_paint import MOST_SIDE, arrow_lines, arrow_tips, cloud_picture, contours, round_ticks, shade

LEFT, BOTTOM, TOP, RIGHT = 36, 24, 26, 10
SPAN = 3.0
RADII, MANY = (1.6, 1.1), 3000
"""Pixels of a particle's radius: for few, and for many."""
HANDLE = 6
_NOTCH = 1.2
_AT_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
_MUTED = 0.5
"""Opacity of the map of density under the particles."""
_DRAWN_APART = 5
"""Pixels a drag must move before the pen leaves another point."""


class PlaneStage(QWidget):
    """One square of the plane."""

    pen_moved = Signal(float, float)
    """The pen left a point at x, y."""
    pointed = Signal(float, float)
    """x, y under the pointer; nan when it leaves."""
    clicked = Signal(float, float)
    handle_moved = Signal(str, float, float)
    """A handle was dragged: its name, x, y."""

    def __init__(self, name: str, parent: QWidget | None = None, *, empty: str = "") -> None:
        super().__init__(parent)
        self._title, self._empty, self._span, self._seen, self._centre = "", empty, SPAN, SPAN, np.zeros(2)
        self._points: list[tuple[np.ndarray, np.ndarray | None, int, float]] = []
        self._arrows: tuple[np.ndarray, np.ndarray, np.ndarray | None] | None = None
        self._density: tuple[np.ndarray, str] | None = None
        self._paths: list[tuple[np.ndarray, int]] = []
        self._contours: tuple[np.ndarray, np.ndarray] | None = None
        self._handles: dict[str, tuple[float, float]] = {}
        self._held = ""
        self._bare: QPixmap | None = None
        self._back: QPixmap | None = None
        self._drawn: dict[int, QImage] = {}
        """Layers of points as they were painted last."""
        self._pen, self._framed, self._last = False, False, QPointF()
        self._dotted = False
        self.arrow_unit = 0.0
        """What the longest arrows stand for."""
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumSize(220, 220)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setAccessibleName(name)
        theme.notifier().changed.connect(self._renew_all)

    # content -------------------------------------------------------------------------------------------------------

    def set_title(self, title: str) -> None:
        """What the stage shows, in its upper margin."""
        if title != self._title:
            self._title = title
            self.setAccessibleDescription(title)
            self.update()

    def set_span(self, span: float, centre: tuple[float, float] = (0.0, 0.0)) -> None:
        """Half the side of the square, and where its middle lies; a zoom stays if nothing changes."""
        if (span, *centre) != (self._span, *self._centre):
            self._span = self._seen = span
            self._centre = np.array(centre, float)
            self._renew_all()

    def set_points(self, xy: np.ndarray, *, groups: np.ndarray | None = None, ink: int = 0, layer: int = 0) -> None:
        """Particles (N, 2); `groups` (N,) gives each its own data colour, else all have number `ink`. Higher layers lie on top."""
        radius = RADII[len(xy) > MANY]
        while len(self._points) <= layer:
            self._points.append((np.zeros((0, 2)), None, 0, radius))
        old, old_groups, *style = self._points[layer]
        if style == [ink, radius] and np.array_equal(old, xy) and (old_groups is groups or np.array_equal(old_groups, groups)):
            return
        self._points[layer] = (xy, groups, ink, radius)
        self._drawn.pop(layer, None)
        self.update()

    def set_field(self, places: np.ndarray, vectors: np.ndarray, groups: np.ndarray | None = None) -> None:
        """Arrows (N, 2) at places (N, 2) of a regular grid; empty arrays take them away. `groups` (N,) gives each a data colour."""
        self._arrows = (places, vectors, groups) if len(places) else None
        self._renew()

    def set_density(self, values: np.ndarray | None, words: str = "") -> None:
        """Density (n, n) over the whole square, rows from low y to high y; `words` say which."""
        self._density = None if values is None else (values, words)
        self._renew()

    def set_paths(self, paths: Sequence[np.ndarray], inks: Sequence[int] | None = None, *, dots: bool = False) -> None:
        """Ways (T, 2) of single particles, or lines of a grid, each in a data colour; `dots` marks their points."""
        inks = [1] * len(paths) if inks is None else inks
        self._paths = [(path, ink) for path, ink in zip(paths, inks, strict=True) if len(path) > 1]
        self._dotted = dots
        self.update()

    def set_contours(self, values: np.ndarray | None, levels: np.ndarray | None = None) -> None:
        """A function (n, n) at the middles of cells of the whole square, rows from low y to high y, with lines at levels."""
        self._contours = None if values is None else (values, levels)
        self._renew()

    def set_handles(self, handles: dict[str, tuple[float, float]]) -> None:
        """Points that can be dragged, by name; the name is written beside them. The one that is held stays under the pointer."""
        held = {self._held: self._handles[self._held]} if self._held in handles else {}
        self._handles = {**handles, **held}
        self.update()

    @property
    def held(self) -> str:
        """The handle that is being dragged, or nothing."""
        return self._held

    def set_framed(self, framed: bool) -> None:
        """Mark this stage among several."""
        if framed != self._framed:
            self._framed = framed
            self.update()

    def set_pen(self, on: bool) -> None:
        """Whether a drag leaves points."""
        self._pen = on
        self.setCursor(Qt.CursorShape.CrossCursor if on else Qt.CursorShape.ArrowCursor)

    def clear(self) -> None:
        """Back to the empty stage."""
        self._points, self._arrows, self._density, self._paths, self._contours = [], None, None, [], None
        self._renew_all()

    def _renew(self) -> None:
        """What stands still has changed."""
        self._back = None
        self.update()

    def _renew_all(self) -> None:
        """Places or colours of everything have changed."""
        self._bare = None
        self._drawn.clear()
        self._renew()

    # where ---------------------------------------------------------------------------------------------------------

    def square(self) -> QRectF:
        """The stage inside its margins, as a square in the middle."""
        side = max(1.0, min(self.width() - LEFT - RIGHT, self.height() - TOP - BOTTOM))
        left = LEFT + (self.width() - LEFT - RIGHT - side) / 2
        return QRectF(left, TOP + (self.height() - TOP - BOTTOM - side) / 2, side, side)

    def to_pixels(self, xy: np.ndarray) -> np.ndarray:
        """Points of the plane (..., 2) -> pixels of the widget."""
        place = self.square()
        unit = place.width() / (2 * self._seen)
        x, y = (xy[..., k] - self._centre[k] for k in (0, 1))
        return np.stack((place.center().x() + x * unit, place.center().y() - y * unit), -1)

    def to_plane(self, at: QPointF) -> tuple[float, float]:
        """A pixel of the widget -> x, y."""
        place = self.square()
        unit = place.width() / (2 * self._seen)
        x, y = self._centre.tolist()
        return x + (at.x() - place.center().x()) / unit, y + (place.center().y() - at.y()) / unit

    # painting ------------------------------------------------------------------------------------------------------

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        if self._back is None:
            self._back = self._paint_back()
        painter.drawPixmap(0, 0, self._back)
        painter.setClipRect(self.square())
        self._paint_paths(painter)
        for layer, points in enumerate(self._points):
            self._paint_points(painter, layer, *points)
        self._paint_handles(painter)
        painter.setClipping(False)
        self._paint_title(painter)
        if not (any(len(points[0]) for points in self._points) or self._density or self._arrows or self._contours):
            self._paint_empty(painter)
        if self.hasFocus() or self._framed:
            painter.setPen(QPen(theme.colour("focus"), 2))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(self.square())

    def _paint_back(self) -> QPixmap:
        """All that stands still while particles move: axes, density, arrows."""
        if self._bare is None:
            self._bare = self._paint_bare()
        back = QPixmap(self._bare)
        painter = QPainter(back)
        painter.setClipRect(self.square())
        self._paint_contours(painter)
        self._paint_density(painter)
        self._paint_arrows(painter)
        painter.setClipping(False)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        painter.setPen(theme.colour("border"))
        painter.drawRect(self.square())
        painter.end()
        return back

    def _paint_bare(self) -> QPixmap:
        """The ground with its axes."""
        ratio = self.devicePixelRatioF()
        bare = QPixmap(self.size() * ratio)
        bare.setDevicePixelRatio(ratio)
        bare.fill(theme.colour("background"))
        painter = QPainter(bare)
        painter.fillRect(self.square(), theme.colour("surface"))
        self._paint_axes(painter)
        painter.end()
        return bare

    def _whole(self) -> QRectF:
        """The square of -span to span in pixels, which zoom moves against the stage."""
        ends = self.to_pixels(self._centre + np.array([[-self._span, self._span], [self._span, -self._span]]))
        return QRectF(QPointF(*ends[0]), QPointF(*ends[1]))

    def _paint_contours(self, painter: QPainter) -> None:
        if self._contours is None:
            return
        side = max(16, min(round(self._whole().width() * self.devicePixelRatioF()), 2 * MOST_SIDE))
        inks = (theme.colour("surface"), theme.colour("raised"), theme.colour("border"))
        painter.drawImage(self._whole(), contours(self._contours[0], side, self._contours[1], *inks))

    def _paint_density(self, painter: QPainter) -> None:
        if self._density is None:
            return
        picture = shade(self._density[0], theme.data_colour(2))
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.setOpacity(_MUTED)
        painter.drawImage(self._whole(), picture)
        painter.setOpacity(1)
        painter.setFont(theme.font(theme.LEAST))
        painter.setPen(theme.colour("muted"))
        corner = self.square().adjusted(6, 4, -6, -4)
        words = painter.fontMetrics().elidedText(self._density[1], Qt.TextElideMode.ElideRight, int(corner.width()))
        painter.drawText(corner, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignBottom, words)

    def _paint_arrows(self, painter: QPainter) -> None:
        if self._arrows is None:
            return
        places, vectors, groups = self._arrows
        kinds = [None] if groups is None else np.unique(groups).tolist()
        spacing = 2 * self._span / max(1, round((len(places) / len(kinds)) ** 0.5))
        tips, self.arrow_unit = arrow_tips(places, vectors, spacing)
        tails, tips = self.to_pixels(places), self.to_pixels(tips)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for kind in kinds:
            mine = slice(None) if kind is None else groups == kind
            painter.setPen(QPen(theme.colour("muted", 190), 1) if kind is None else QPen(theme.data_colour(kind), 1.5))
            painter.drawPath(arrow_lines(tails[mine], tips[mine]))

    def _paint_paths(self, painter: QPainter) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for path, ink in self._paths:
            painter.setPen(QPen(theme.data_colour(ink, 200), 2 if self._dotted else 1))
            line = QPolygonF([QPointF(x, y) for x, y in self.to_pixels(path).tolist()])
            painter.drawPolyline(line)
            if self._dotted:
                painter.setPen(QPen(theme.data_colour(ink), 6, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap))
                painter.drawPoints(line)

    def _paint_handles(self, painter: QPainter) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(theme.font(theme.SMALL, bold=True))
        for name, at in self._handles.items():
            x, y = self.to_pixels(np.array(at)).tolist()
            painter.setPen(QPen(theme.colour("text"), 2))
            painter.setBrush(theme.colour("surface"))
            painter.drawEllipse(QPointF(x, y), HANDLE, HANDLE)
            painter.drawText(QPointF(x + HANDLE + 4, y - HANDLE), name)

    def _paint_points(self, painter: QPainter, layer: int, xy: np.ndarray, groups: np.ndarray | None, ink: int, radius: float) -> None:
        if not len(xy):
            return
        place, ratio = self.square(), self.devicePixelRatioF()
        side = max(16, min(round(place.width() * ratio), MOST_SIDE))
        scale = side / place.width()
        if layer not in self._drawn or self._drawn[layer].width() != side:
            places = (self.to_pixels(xy) - (place.x(), place.y())) * scale
            inks = [_solid(ink)] if groups is None else [_solid(k) for k in range(int(groups.max()) + 1)]
            self._drawn[layer] = cloud_picture(places, side, radius * scale / max(1.0, ratio), inks, groups)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, side != round(place.width() * ratio))
        painter.drawImage(place, self._drawn[layer])

    def _paint_axes(self, painter: QPainter) -> None:
        place = self.square()
        painter.setFont(theme.font(theme.SMALL))
        painter.setPen(theme.colour("muted"))
        for axis in (0, 1):
            middle = float(self._centre[axis])
            for value in round_ticks(middle - self._seen, middle + self._seen):
                at = float(self.to_pixels(np.full(2, value))[axis])
                self._paint_tick(painter, place, axis, at, f"{value:g}".replace("-", "−"))

    def _paint_title(self, painter: QPainter) -> None:
        place = self.square()
        painter.setFont(theme.font(theme.SMALL))
        painter.setPen(theme.colour("text"))
        words = QRectF(place.left(), place.top() - TOP, place.width(), TOP - 4)
        shown = painter.fontMetrics().elidedText(self._title, Qt.TextElideMode.ElideRight, int(words.width()))
        painter.drawText(words, Qt.AlignmentFlag.AlignVCenter, shown)

    @staticmethod
    def _paint_tick(painter: QPainter, place: QRectF, axis: int, at: float, text: str) -> None:
        if axis == 0:
            painter.drawLine(QPointF(at, place.bottom()), QPointF(at, place.bottom() + 4))
            painter.drawText(QRectF(at - 24, place.bottom() + 4, 48, BOTTOM - 4), Qt.AlignmentFlag.AlignCenter, text)
        else:
            painter.drawLine(QPointF(place.left() - 4, at), QPointF(place.left(), at))
            painter.drawText(QRectF(place.left() - LEFT, at - 9, LEFT - 7, 18), _AT_RIGHT, text)

    def _paint_empty(self, painter: QPainter) -> None:
        painter.setPen(theme.colour("muted"))
        painter.setFont(theme.font())
        box = self.square().adjusted(24, 24, -24, -24)
        painter.drawText(box, Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, self._empty)

    # pointer -------------------------------------------------------------------------------------------------------

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() != Qt.MouseButton.LeftButton:
            return
        self._last = event.position()
        self._held = self._handle_at(event.position())
        if self._held:
            return
        (self.pen_moved if self._pen else self.clicked).emit(*self.to_plane(event.position()))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        at = event.position()
        if self._held and event.buttons() & Qt.MouseButton.LeftButton:
            self._handles[self._held] = self.to_plane(at)
            self.handle_moved.emit(self._held, *self.to_plane(at))
            self.update()
            return
        self.pointed.emit(*self.to_plane(at))
        held = self._pen and event.buttons() & Qt.MouseButton.LeftButton
        if held and self.square().contains(at) and (at - self._last).manhattanLength() >= _DRAWN_APART:
            self._last = at
            self.pen_moved.emit(*self.to_plane(at))

    def mouseReleaseEvent(self, _event: QMouseEvent) -> None:
        self._held = ""

    def _handle_at(self, at: QPointF) -> str:
        """The nearest handle under the pointer, if one is near enough to be held."""
        apart = {name: float(np.abs(self.to_pixels(np.array(place)) - (at.x(), at.y())).max()) for name, place in self._handles.items()}
        name = min(apart, key=apart.get, default="")
        return name if name and apart[name] <= 2 * HANDLE else ""

    def leaveEvent(self, _event: QEvent) -> None:
        self.pointed.emit(float("nan"), float("nan"))

    def mouseDoubleClickEvent(self, _event: QMouseEvent) -> None:
        self._seen = self._span
        self._renew_all()

    def wheelEvent(self, event: QWheelEvent) -> None:
        self._seen = float(np.clip(self._seen * _NOTCH ** (-event.angleDelta().y() / 120), self._span / 8, self._span * 8))
        self._renew_all()
        event.accept()

    def resizeEvent(self, _event: QEvent) -> None:
        self._renew_all()


def _solid(index: int) -> QColor:
    return theme.data_colour(index)
