"""Strokes as coverage: the pixel side of the edge canvas, in plain numpy.

A stroke is a chain of capsules (a line thickened by half the brush size). The coverage of a pixel is how much of
it the capsule takes, read from the distance of the pixel's centre to the line:

    coverage = clip(radius + 1/2 - distance, 0, 1)

Ink is the *maximum* of what is there and the coverage, the eraser the minimum of what is there and its complement.
Both give the same map however often a place is painted, so the joints of a long stroke never grow hard edges the
way they do when a painter blends antialiased pieces over one another. Long pieces are cut so that the rectangle
looked at stays near the line. Coordinates are in pixels, (0, 0) the corner of the first one; its centre is (½, ½).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

Point = tuple[float, float]
Box = tuple[int, int, int, int]  # left, top, right, bottom; the last two excluded


def stroke_box(points: Iterable[Point], size: float, width: int, height: int) -> Box | None:
    """The pixels a chain of `points` with a brush of `size` can touch, or None when all of them lie outside."""
    xs, ys = zip(*points, strict=True)
    reach = size / 2 + 1
    left, top = max(0, math.floor(min(xs) - reach)), max(0, math.floor(min(ys) - reach))
    right, bottom = min(width, math.ceil(max(xs) + reach)), min(height, math.ceil(max(ys) + reach))
    return (left, top, right, bottom) if left < right and top < bottom else None


def union(a: Box | None, b: Box | None) -> Box | None:
    """The smallest box that holds both."""
    if a is None or b is None:
        return a or b
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def paint_chain(pixels: np.ndarray, points: list[Point], size: float, *, erase: bool = False) -> Box | None:
    """Paint a chain of capsules into `pixels` (H, W) uint8; return the box that may have changed."""
    if size <= 1:
        points = [snapped(p) for p in points]
    changed = None
    pairs = list(zip(points, points[1:], strict=False)) or [(points[0], points[0])]
    for start, end in pairs:
        for a, b in _pieces(start, end, 2 * size + 32):
            changed = union(changed, _capsule(pixels, a, b, size, erase))
    return changed


def snapped(point: Point) -> Point:
    """The centre of the pixel `point` lies in: a brush of one pixel draws crisp lines from centre to centre."""
    return math.floor(point[0]) + 0.5, math.floor(point[1]) + 0.5


def _pieces(start: Point, end: Point, longest: float) -> Iterator[tuple[Point, Point]]:
    count = max(1, math.ceil(math.dist(start, end) / longest))
    cuts = [
        (start[0] + (end[0] - start[0]) * i / count, start[1] + (end[1] - start[1]) * i / count) for i in range(count + 1)
    ]
    return zip(cuts, cuts[1:], strict=False)


def _capsule(pixels: np.ndarray, a: Point, b: Point, size: float, erase: bool) -> Box | None:
    height, width = pixels.shape
    box = stroke_box((a, b), size, width, height)
    if box is None:
        return None
    left, top, right, bottom = box
    x = np.arange(left, right, dtype=np.float32)[None, :] + np.float32(0.5 - a[0])
    y = np.arange(top, bottom, dtype=np.float32)[:, None] + np.float32(0.5 - a[1])
    dx, dy = b[0] - a[0], b[1] - a[1]
    length2 = dx * dx + dy * dy
    along = np.clip((x * dx + y * dy) / length2, 0, 1) if length2 else np.float32(0)
    distance = np.hypot(x - along * dx, y - along * dy)
    cover = (np.clip(size / 2 + 0.5 - distance, 0, 1) * 255 + 0.5).astype(np.uint8)
    here = pixels[top:bottom, left:right]
    if erase:
        np.minimum(here, 255 - cover, out=here)
    else:
        np.maximum(here, cover, out=here)
    return box


def smooth_step(before: Point, middle: Point, after: Point) -> list[Point]:
    """The quadratic curve between the middles of two mouse moves, bent towards the point they share.

    Drawn one after another these pieces meet with equal tangents, so a quick hand-drawn curve has no corners.
    """
    start = ((before[0] + middle[0]) / 2, (before[1] + middle[1]) / 2)
    end = ((middle[0] + after[0]) / 2, (middle[1] + after[1]) / 2)
    bend = math.dist(before, middle) + math.dist(middle, after)
    count = int(min(16, max(1, bend / 4)))
    ts = [i / count for i in range(count + 1)]
    return [
        tuple((1 - t) ** 2 * s + 2 * t * (1 - t) * m + t * t * e for s, m, e in zip(start, middle, end, strict=True))
        for t in ts
    ]


def rectangle(a: Point, b: Point) -> list[Point]:
    """The outline of the rectangle with the corners `a` and `b`."""
    return [a, (b[0], a[1]), b, (a[0], b[1]), a]


def ellipse(a: Point, b: Point) -> list[Point]:
    """The outline of the ellipse that fills the rectangle with the corners `a` and `b`, as a fine polygon."""
    cx, cy, rx, ry = (a[0] + b[0]) / 2, (a[1] + b[1]) / 2, abs(b[0] - a[0]) / 2, abs(b[1] - a[1]) / 2
    count = int(min(180, max(24, math.pi * (rx + ry) / 4)))
    angles = [2 * math.pi * i / count for i in range(count + 1)]
    return [(cx + rx * math.cos(t), cy + ry * math.sin(t)) for t in angles]


def constrained_line(a: Point, b: Point, degrees: float = 15) -> Point:
    """`b` turned about `a` onto the nearest multiple of `degrees`, its distance kept."""
    step = math.radians(degrees)
    angle = round(math.atan2(b[1] - a[1], b[0] - a[0]) / step) * step
    length = math.dist(a, b)
    return a[0] + length * math.cos(angle), a[1] + length * math.sin(angle)


def constrained_square(a: Point, b: Point) -> Point:
    """The corner opposite to `a` of the square (for an ellipse: the circle) nearest to the drag from `a` to `b`."""
    side = max(abs(b[0] - a[0]), abs(b[1] - a[1]))
    return a[0] + math.copysign(side, b[0] - a[0]), a[1] + math.copysign(side, b[1] - a[1])


def resized(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """`pixels` (H, W) scaled by one factor to fit `width` x `height`, centred on black: never stretched.

    Area averaging through the integral image when shrinking, linear interpolation when growing; thin white lines
    keep their place and their brightness is that of the area they cover.
    """
    scale = min(width / pixels.shape[1], height / pixels.shape[0])
    inner = _axis(_axis(pixels.astype(np.float32), max(1, round(pixels.shape[0] * scale))).T, max(1, round(pixels.shape[1] * scale))).T
    out = np.zeros((height, width), np.uint8)
    top, left = (height - inner.shape[0]) // 2, (width - inner.shape[1]) // 2
    out[top : top + inner.shape[0], left : left + inner.shape[1]] = np.clip(inner + 0.5, 0, 255)
    return out


def _axis(values: np.ndarray, count: int) -> np.ndarray:
    """Resample the first axis of `values` to `count` rows."""
    n = values.shape[0]
    if count < n:
        sums = np.concatenate([np.zeros((1, *values.shape[1:]), np.float64), values.cumsum(0, dtype=np.float64)])
        edges = np.arange(count + 1) * (n / count)
        at_edges = _rows_at(sums, edges)
        return ((at_edges[1:] - at_edges[:-1]) * (count / n)).astype(np.float32)
    return _rows_at(values, np.clip((np.arange(count) + 0.5) * (n / count) - 0.5, 0, n - 1))


def _rows_at(values: np.ndarray, positions: np.ndarray) -> np.ndarray:
    low = np.minimum(positions.astype(int), values.shape[0] - 1)
    high = np.minimum(low + 1, values.shape[0] - 1)
    part = (positions - low).astype(values.dtype).reshape(-1, *[1] * (values.ndim - 1))
    return values[low] * (1 - part) + values[high] * part
