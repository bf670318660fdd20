"""A surface over the plane, turned with the mouse: patches from back to front, with lines and points that lie on it or touch it.

The view is parallel: x to the right and y into the picture before it is turned, z upwards. Drag turns, the arrow keys with Shift too:
without it Left and Right belong to the transport.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget

from app import theme
from app.widgets.colour_scale import ColourScale
from app.widgets.transport import is_time_key

PATCHES = 36
"""Most patches a side."""
HEIGHT = 1.1
"""Of the box, in units of half its width."""
TURN = 0.01
MARGIN = 26


@dataclass(frozen=True)
class Line:
    """Points (T, 3) in the surface's own units, joined; `words` stand at the last one."""

    points: np.ndarray
    ink: int
    words: str = ""
    dots: bool = False


class SurfaceView(QWidget):
    """Shows z = f(x, y) over a square."""

    def __init__(self, name: str, parent: QWidget | None = None, *, empty: str = "") -> None:
        super().__init__(parent)
        self._values = np.zeros((0, 0))
        self._middle, self._reach = (0.0, 0.0), 1.0
        self._lines: list[Line] = []
        self._plane: np.ndarray | None = None
        self._empty, self._title, self._held = empty, "", QPointF()
        self.turn, self.tilt = -0.9, 0.5
        self.setMinimumSize(220, 200)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName(name)
        self.setToolTip("Drag, or press the arrow keys with Shift, to turn the surface")
        theme.notifier().changed.connect(self.update)

    # content -------------------------------------------------------------------------------------------------------

    def set_surface(self, values: np.ndarray, middle: tuple[float, float], reach: float, title: str = "") -> None:
        """Heights (n, n), rows from low y to high y, over the square of half side `reach` about `middle`, at the middles of cells."""
        step = max(1, math.ceil(len(values) / PATCHES))
        self._values = np.asarray(values, float)
        self._thin, self._middle, self._reach, self._title = step, middle, reach, title
        self.update()

    def set_lines(self, lines: Sequence[Line]) -> None:
        """Curves and points to be drawn over the surface."""
        self._lines = list(lines)
        self.update()

    def set_plane(self, corners: np.ndarray | None) -> None:
        """A flat patch (4, 3), such as a tangent plane."""
        self._plane = corners
        self.update()

    # where ---------------------------------------------------------------------------------------------------------

    def heights(self) -> tuple[float, float]:
        """Least and largest finite height."""
        known = self._values[np.isfinite(self._values)]
        return (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)

    def to_pixels(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3) in the surface's units -> pixels (..., 2) and depth, larger behind: (..., 3)."""
        low, high = self.heights()
        x, y = ((points[..., k] - self._middle[k]) / self._reach for k in (0, 1))
        z = ((points[..., 2] - low) / max(high - low, 1e-12) - 0.5) * HEIGHT
        c, s = math.cos(self.turn), math.sin(self.turn)
        across, into = c * x - s * y, s * x + c * y
        up, depth = z * math.cos(self.tilt) + into * math.sin(self.tilt), into * math.cos(self.tilt) - z * math.sin(self.tilt)
        unit = (min(self.width(), self.height() * 1.25) - 2 * MARGIN) / 2 / math.sqrt(2)
        return np.stack((self.width() / 2 + across * unit, self.height() / 2 - up * unit, depth), -1)

    # painting ------------------------------------------------------------------------------------------------------

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(self.rect(), theme.colour("surface"))
        if not self._values.size:
            painter.setPen(theme.colour("muted"))
            painter.drawText(self.rect().adjusted(24, 24, -24, -24), Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, self._empty)
            return
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._paint_box(painter)
        self._paint_patches(painter)
        self._paint_plane(painter)
        for line in self._lines:
            self._paint_line(painter, line)
        painter.setPen(theme.colour("text"))
        painter.setFont(theme.font(theme.SMALL))
        painter.drawText(self.rect().adjusted(10, 6, -10, 0), Qt.AlignmentFlag.AlignTop | Qt.TextFlag.TextWordWrap, self._title)
        if self.hasFocus():
            painter.setPen(QPen(theme.colour("focus"), 2))
            painter.drawRect(self.rect().adjusted(1, 1, -1, -1))

    def grid(self) -> np.ndarray:
        """The corners of the patches (m, m, 3)."""
        count = len(self._values)
        at = ((np.arange(count) + 0.5) / count * 2 - 1) * self._reach
        kept = np.unique(np.append(np.arange(0, count, self._thin), count - 1))
        x, y = np.meshgrid(at[kept] + self._middle[0], at[kept] + self._middle[1])
        return np.stack((x, y, self._values[np.ix_(kept, kept)]), -1)

    def _paint_box(self, painter: QPainter) -> None:
        """The square the surface stands on, and along its nearer edges and one corner what x, y and z run over."""
        (low, high), (a, b), r = self.heights(), self._middle, self._reach
        base = np.array([[a - r, b - r, low], [a + r, b - r, low], [a + r, b + r, low], [a - r, b + r, low]])
        flat = self.to_pixels(base)
        painter.setFont(theme.font(theme.LEAST))
        painter.setPen(QPen(theme.colour("border"), 1))
        painter.drawPolygon(QPolygonF([QPointF(x, y) for x, y in flat[:, :2].tolist()]))
        top = self.to_pixels(np.array([*base[flat[:, 0].argmin(), :2], high]))
        foot = flat[flat[:, 0].argmin()]
        painter.drawLine(QPointF(*foot[:2]), QPointF(*top[:2]))
        painter.setPen(theme.colour("muted"))
        for name, middle, edges in (("x", a, ((0, 1), (3, 2))), ("y", b, ((1, 2), (0, 3)))):
            ends = min((flat[list(edge)] for edge in edges), key=lambda ends: ends[:, 2].mean())
            self._write(painter, ends.mean(0)[:2] + (0, 14), f"{name} from {_short(middle - r, r)} to {_short(middle + r, r)}")
        self._write(painter, top[:2] + (0, -8), _short(high, high - low))
        self._write(painter, foot[:2] + (-16, 6), _short(low, high - low))

    def _write(self, painter: QPainter, middle: np.ndarray, words: str) -> None:
        """Words around a place, inside the widget."""
        box = QRectF(0, 0, painter.fontMetrics().horizontalAdvance(words) + 2, 16)
        box.moveCenter(QPointF(*middle))
        box.moveLeft(min(max(box.left(), 4.0), self.width() - box.width() - 4))
        painter.drawText(box, Qt.AlignmentFlag.AlignCenter, words)

    def _paint_patches(self, painter: QPainter) -> None:
        corners = self.grid()
        flat = self.to_pixels(corners)
        around = [(slice(None, -1), slice(None, -1)), (slice(None, -1), slice(1, None)), (slice(1, None), slice(1, None)),
                  (slice(1, None), slice(None, -1))]  # fmt: skip
        quads = np.stack([flat[part] for part in around], -2).reshape(-1, 4, 3)          # (P, 4, 3)
        heights = np.mean([corners[part][..., 2] for part in around], 0).ravel()
        picture = ColourScale.spanning(heights).picture(heights[None])
        painter.setPen(QPen(theme.colour("surface", 120), 0.5))
        for k in np.argsort(-quads[..., 2].mean(1)).tolist():
            if np.isfinite(quads[k]).all():
                painter.setBrush(picture.pixelColor(k, 0))
                painter.drawPolygon(QPolygonF([QPointF(x, y) for x, y in quads[k, :, :2].tolist()]))

    def _paint_plane(self, painter: QPainter) -> None:
        if self._plane is None:
            return
        painter.setPen(QPen(theme.data_colour(3), 1))
        painter.setBrush(theme.data_colour(3, 70))
        painter.drawPolygon(QPolygonF([QPointF(x, y) for x, y in self.to_pixels(self._plane)[:, :2].tolist()]))

    def _paint_line(self, painter: QPainter, line: Line) -> None:
        points = [QPointF(x, y) for x, y, depth in self.to_pixels(line.points).tolist() if math.isfinite(x + y)]
        painter.setPen(QPen(theme.data_colour(line.ink), 2))
        painter.drawPolyline(QPolygonF(points))
        if line.dots:
            painter.setPen(QPen(theme.data_colour(line.ink), 7, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap))
            painter.drawPoints(QPolygonF(points))
        if line.words and points:
            painter.setPen(theme.colour("text"))
            painter.setFont(theme.font(theme.SMALL, bold=True))
            painter.drawText(points[-1] + QPointF(8, -6), line.words)

    # turning -------------------------------------------------------------------------------------------------------

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._held = event.position()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if event.buttons() & Qt.MouseButton.LeftButton:
            moved, self._held = event.position() - self._held, event.position()
            self._turn_by(moved.x() * TURN, moved.y() * TURN)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        steps = {Qt.Key.Key_Left: (-0.1, 0), Qt.Key.Key_Right: (0.1, 0), Qt.Key.Key_Up: (0, -0.1), Qt.Key.Key_Down: (0, 0.1)}
        if event.key() in steps and not is_time_key(event):
            self._turn_by(*steps[event.key()])
        else:
            super().keyPressEvent(event)

    def _turn_by(self, around: float, down: float) -> None:
        self.turn += around
        self.tilt = min(max(self.tilt + down, 0.05), 1.5)
        self.update()


def _short(value: float, span: float) -> str:
    """Three figures of what is seen over a range of that size."""
    digits = max(0, 2 - math.floor(math.log10(max(span, 1e-12))))
    return f"{round(value, digits) + 0.0:.4g}".replace("-", "−")
