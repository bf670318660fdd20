"""The drawing tools of the edge canvas: each turns pointer positions into chains of points to be painted.

Free tools (pen, eraser) add to what they have painted; shape tools (line, rectangle, ellipse) rub out the shape of
the last move and draw it anew. Which is which shows in `Stroke.free`; the rest of the canvas need not know the tool.
"""

from __future__ import annotations

from app.widgets.canvas_raster import Point, constrained_line, constrained_square, ellipse, rectangle, smooth_step, stroke_box

TOOLS = {  # id: (icon, words for the tooltip, keys)
    "pen": ("pen", "Pen: draw white lines; Shift: straight; right button: erase", "B"),
    "eraser": ("eraser", "Eraser: rub lines out", "E"),
    "line": ("line", "Line: drag from end to end; Shift turns in steps of 15 degrees", "L"),
    "rectangle": ("rectangle", "Rectangle: drag from corner to corner; Shift makes a square", "R"),
    "ellipse": ("ellipse", "Ellipse: drag from corner to corner; Shift makes a circle", "O"),
    "pan": ("hand", "Pan: drag the view", "H V"),
}
SHAPES = ("line", "rectangle", "ellipse")


class Stroke:
    """One drag with a tool: from the press at `start` to the release."""

    def __init__(self, tool: str, start: Point, size: float, *, erase: bool = False, straight: bool = False) -> None:
        self.tool = "line" if straight and tool not in SHAPES else tool
        self.size, self.erase = size, erase or tool == "eraser"
        self.free = self.tool not in SHAPES
        self.points = [start]

    def begin(self) -> list[Point]:
        """The dot under the pointer as the button goes down."""
        return [self.points[0]]

    def move(self, point: Point, constrained: bool) -> list[Point]:
        """The chain to paint after a move: the newest bit of a free line, or the whole shape."""
        if not self.free:
            return self._shape(point, constrained)
        if point == self.points[-1]:
            return []
        self.points.append(point)
        if len(self.points) == 2:
            (ax, ay), (bx, by) = self.points
            return [(ax, ay), ((ax + bx) / 2, (ay + by) / 2)]
        self.points = self.points[-3:]
        return smooth_step(*self.points)

    def end(self, point: Point, constrained: bool) -> list[Point]:
        """The last bit, up to where the button went up."""
        chain = self.move(point, constrained)
        if self.free and len(self.points) > 1:
            return [*chain, self.points[-1]] if chain else [self._middle(), self.points[-1]]
        return chain

    def _middle(self) -> Point:
        (ax, ay), (bx, by) = self.points[-2:]
        return (ax + bx) / 2, (ay + by) / 2

    def _shape(self, point: Point, constrained: bool) -> list[Point]:
        start = self.points[0]
        if self.tool == "line":
            return [start, constrained_line(start, point) if constrained else point]
        end = constrained_square(start, point) if constrained else point
        return rectangle(start, end) if self.tool == "rectangle" else ellipse(start, end)

    def box(self, chain: list[Point], width: int, height: int) -> tuple[int, int, int, int] | None:
        """The pixels `chain` can touch."""
        return stroke_box(chain, self.size, width, height)
