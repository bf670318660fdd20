"""A brush over Pillow: filled, outlined shapes in the unit frame of one element.

The same strokes paint the picture and, in flat mode, the map of elements (see `render.instances`), so boxes and masks
follow the drawing itself.
"""

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw

from models.playworld.palette import Rgb

Point = tuple[float, float]


class Painter:
    """Draws on one supersampled canvas; `unit` is the shorter side in canvas pixels."""

    def __init__(self, image: Image.Image, flat: bool = False) -> None:
        self.image = image
        self.width, self.height = image.size
        self.unit = min(image.size)
        self.draw = ImageDraw.Draw(image)
        self.flat = flat
        self.element = 0  # the number painted in flat mode
        self.pen = max(1.0, self.unit * 0.0085)  # outline width

    def ink(self, colour: Rgb) -> Rgb | int:
        return self.element if self.flat else colour

    def polygon(self, points: Sequence[Point], fill: Rgb, line: Rgb | None = None) -> None:
        self.draw.polygon(points, fill=self.ink(fill))
        if line is not None:
            self.path([*points, points[0]], self.pen, line)

    def ellipse(self, x: float, y: float, rx: float, ry: float, fill: Rgb, line: Rgb | None = None) -> None:
        if line is not None:
            pen = self.pen / 2
            self.draw.ellipse((x - rx - pen, y - ry - pen, x + rx + pen, y + ry + pen), fill=self.ink(line))
            rx, ry = max(rx - pen, 0.0), max(ry - pen, 0.0)
        self.draw.ellipse((x - rx, y - ry, x + rx, y + ry), fill=self.ink(fill))

    def path(self, points: Sequence[Point], width: float, fill: Rgb) -> None:
        """A line through points with round joints and ends."""
        ink, radius = self.ink(fill), width / 2
        self.draw.line(points, fill=ink, width=max(1, round(width)))
        if width > 2.5:
            for x, y in points:
                self.draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=ink)

    def limb(self, points: Sequence[Point], width: float, fill: Rgb, line: Rgb) -> None:
        """A thick path with an outline around it."""
        self.path(points, width + 2 * self.pen, line)
        self.path(points, width, fill)


class Frame:
    """Local coordinates of one thing: origin at its foot, x to the right (or left, if flipped), y upwards, unit `size`."""

    def __init__(self, painter: Painter, x: float, y: float, size: float, flip: bool = False) -> None:
        self.painter, self.x, self.y, self.size = painter, x, y, size
        self.sign = -1.0 if flip else 1.0

    def at(self, x: float, y: float) -> Point:
        return (self.x + self.sign * x * self.size, self.y - y * self.size)

    def polygon(self, points: Sequence[Point], fill: Rgb, line: Rgb | None = None) -> None:
        self.painter.polygon([self.at(x, y) for x, y in points], fill, line)

    def box(self, x0: float, y0: float, x1: float, y1: float, fill: Rgb, line: Rgb | None = None) -> None:
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], fill, line)

    def ellipse(self, x: float, y: float, rx: float, ry: float, fill: Rgb, line: Rgb | None = None) -> None:
        self.painter.ellipse(*self.at(x, y), rx * self.size, ry * self.size, fill, line)

    def path(self, points: Sequence[Point], width: float, fill: Rgb) -> None:
        self.painter.path([self.at(x, y) for x, y in points], max(width * self.size, 1.0), fill)

    def limb(self, points: Sequence[Point], width: float, fill: Rgb, line: Rgb) -> None:
        self.painter.limb([self.at(x, y) for x, y in points], width * self.size, fill, line)

    def ground(self, x: float, y: float, rx: float, ry: float, fill: Rgb) -> None:
        """A mark on the ground (shadow, pond); no part of the element."""
        if not self.painter.flat:
            self.ellipse(x, y, rx, ry, fill)


def arc(x: float, y: float, rx: float, ry: float, start: float, stop: float, n: int = 12) -> list[Point]:
    """n + 1 points of an ellipse from start to stop, degrees counter-clockwise from the right, y upwards."""
    angles = (math.radians(start + (stop - start) * i / n) for i in range(n + 1))
    return [(x + rx * math.cos(a), y + ry * math.sin(a)) for a in angles]
